//! Requests, grouped per node.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::join_all;
use redis::{Cmd, ConnectionInfo, ErrorKind, RedisError, ServerErrorKind, Value, cmd};
use tokio::sync::{Mutex, RwLock};

use super::{Node, Timeouts, topology::Topology};
use crate::{error::Failure, scripts::Lua};

/// How often a request is sent again because its script was not loaded or its slot has moved.
const ROUNDS_MAX: usize = 5;

/// A command about the keys of one slot.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) slot: u16,
    pub(crate) command: Cmd,
    pub(crate) script: Option<&'static Lua>,
}

impl Request {
    /// A plain command.
    pub(crate) fn new(slot: u16, command: Cmd) -> Self {
        Self { slot, command, script: None }
    }
}

/// Whether requests change anything: then replicas confirm them, where that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writes {
    Yes,
    No,
}

/// What is to be done after a refusal by which nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    Load,
    Refresh,
    Ask,
}

/// The servers of one store.
#[derive(Debug)]
pub(crate) struct Link {
    seeds: Vec<ConnectionInfo>,
    timeouts: Timeouts,
    topology: RwLock<Arc<Topology>>,
    refreshing: Mutex<()>,
}

impl Link {
    pub(crate) async fn open(
        seeds: Vec<ConnectionInfo>,
        timeouts: Timeouts,
    ) -> Result<Self, Failure> {
        let topology = RwLock::new(Arc::new(look(&seeds, &[], timeouts).await?));
        Ok(Self { seeds, timeouts, topology, refreshing: Mutex::new(()) })
    }

    /// The servers as they were last seen.
    pub(crate) async fn nodes(&self) -> Vec<Arc<Node>> {
        self.topology.read().await.nodes.clone()
    }

    /// Whether keys are spread over several servers by their slots.
    pub(crate) async fn is_cluster(&self) -> bool {
        self.topology.read().await.is_cluster()
    }

    /// Sends a request.
    pub(crate) async fn one(&self, request: Request, writes: Writes) -> Result<Value, Failure> {
        self.call(vec![request], writes).await.pop().unwrap_or_else(|| Err(Failure::strange()))
    }

    /// Sends requests: those for one node in one go and in order, all nodes side by side. One
    /// answer each, in order.
    pub(crate) async fn call(
        &self,
        requests: Vec<Request>,
        writes: Writes,
    ) -> Vec<Result<Value, Failure>> {
        let mut answers: Vec<Option<Result<Value, Failure>>> =
            requests.iter().map(|_| None).collect();
        let mut open: Vec<usize> = (0..requests.len()).collect();
        for round in 1..=ROUNDS_MAX {
            let seen = self.topology.read().await.clone();
            let mut again = Vec::new();
            let mut refresh = false;
            for (index, answer) in self.round(&seen, &requests, &open, writes).await {
                match answer {
                    Ok(Value::ServerError(error)) => {
                        let step = what_next(&error.clone().into());
                        let error = RedisError::from(error);
                        refresh |= step == Some(Again::Refresh);
                        match step {
                            Some(Again::Ask) => {
                                let asked = self.ask(&seen, &error, &requests[index], writes).await;
                                answers[index] = Some(asked);
                            }
                            Some(_) if round < ROUNDS_MAX => again.push(index),
                            _ => answers[index] = Some(Err(Failure::of_server(error))),
                        }
                    }
                    other => {
                        // Its node may be gone for good, and another may have its slots.
                        refresh |= other.is_err() && seen.nodes.len() > 1;
                        answers[index] = Some(other);
                    }
                }
            }
            self.load(&seen, &requests, &again).await;
            if refresh {
                self.refresh(&seen).await;
            }
            open = again;
            if open.is_empty() {
                break;
            }
        }
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(|| Err(Failure::strange())))
            .collect()
    }

    async fn round(
        &self,
        seen: &Topology,
        requests: &[Request],
        open: &[usize],
        writes: Writes,
    ) -> Vec<(usize, Result<Value, Failure>)> {
        let mut groups: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        for &index in open {
            groups.entry(seen.node_of(requests[index].slot)).or_default().push(index);
        }
        let group = |(place, members): (Option<usize>, Vec<usize>)| async move {
            let Some(node) = place.and_then(|place| seen.nodes.get(place)) else {
                let down = RedisError::from((
                    ErrorKind::Server(ServerErrorKind::ClusterDown),
                    "no node has the slot",
                ));
                return members
                    .into_iter()
                    .map(|index| (index, Err(Failure::refused(down.clone()))))
                    .collect();
            };
            let commands = members.iter().map(|&index| requests[index].command.clone()).collect();
            let sent = match writes {
                Writes::Yes if !seen.is_cluster() => node.send_whole(commands, true).await,
                _ => node.send(commands, writes == Writes::Yes).await,
            };
            match sent {
                Ok(values) => members.into_iter().zip(values.into_iter().map(Ok)).collect(),
                Err(failure) => members
                    .into_iter()
                    .map(|index| (index, Err(failure.clone())))
                    .collect::<Vec<_>>(),
            }
        };
        join_all(groups.into_iter().map(group)).await.into_iter().flatten().collect()
    }

    /// Loads the scripts of requests where they are sent next.
    async fn load(&self, seen: &Topology, requests: &[Request], again: &[usize]) {
        for &index in again {
            let Some(script) = requests[index].script else { continue };
            let place = seen.node_of(requests[index].slot);
            let Some(node) = place.and_then(|place| seen.nodes.get(place)) else { continue };
            let mut command = cmd("SCRIPT");
            command.arg("LOAD").arg(script.code());
            if let Err(failure) = node.send(vec![command], false).await {
                tracing::debug!(node = node.name(), error = %failure.error, "script not loaded");
                return;
            }
        }
    }

    /// Sends a request whose slot is being moved to the node that the error names.
    async fn ask(
        &self,
        seen: &Topology,
        error: &RedisError,
        request: &Request,
        writes: Writes,
    ) -> Result<Value, Failure> {
        let Some((name, _)) = error.redirect_node() else { return Err(Failure::strange()) };
        let Some(node) = seen.nodes.iter().find(|node| node.name() == name) else {
            return Err(Failure::refused(error.clone()));
        };
        let mut commands = Vec::new();
        if let Some(script) = request.script {
            let mut load = cmd("SCRIPT");
            load.arg("LOAD").arg(script.code());
            commands.push(load);
        }
        commands.extend([cmd("ASKING"), request.command.clone()]);
        let mut answers = node.send(commands, writes == Writes::Yes).await?;
        match answers.pop() {
            Some(Value::ServerError(error)) => Err(Failure::of_server(error.into())),
            Some(value) => Ok(value),
            None => Err(Failure::strange()),
        }
    }

    /// Looks for the servers again, unless somebody did since `seen`.
    async fn refresh(&self, seen: &Arc<Topology>) {
        let _one_at_a_time = self.refreshing.lock().await;
        if !Arc::ptr_eq(seen, &*self.topology.read().await) {
            return;
        }
        match look(&self.seeds, &seen.nodes, self.timeouts).await {
            Ok(topology) => *self.topology.write().await = Arc::new(topology),
            Err(failure) => {
                tracing::warn!(error = %failure.error, "no node of the cluster answers")
            }
        }
    }
}

/// Asks one server after the other.
async fn look(
    seeds: &[ConnectionInfo],
    known: &[Arc<Node>],
    timeouts: Timeouts,
) -> Result<Topology, Failure> {
    let others = known.iter().map(|node| node.connection_info());
    let mut last = Failure::strange();
    for seed in seeds.iter().chain(others) {
        match Topology::ask(seed, known, timeouts).await {
            Ok(topology) => return Ok(topology),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

/// What to do about an error of the server that came before anything was changed.
fn what_next(error: &RedisError) -> Option<Again> {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::NoScript) => Some(Again::Load),
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::ReadOnly) => {
            Some(Again::Refresh)
        }
        ErrorKind::Server(ServerErrorKind::Ask) => Some(Again::Ask),
        _ => None,
    }
}
