//! Which server has which slots.

use std::{collections::BTreeMap, sync::Arc};

use redis::{ConnectionAddr, ConnectionInfo, RedisError, Value, cmd};

use super::{Node, Timeouts};
use crate::{error::Failure, keys::SLOTS};

/// The servers as they were last seen.
#[derive(Debug)]
pub(crate) struct Topology {
    pub(crate) nodes: Vec<Arc<Node>>,
    /// The node of each slot; `None` where one server has all.
    slots: Option<Vec<Option<u16>>>,
}

impl Topology {
    /// The node of a slot; `None` while the cluster has none for it.
    pub(crate) fn node_of(&self, slot: u16) -> Option<usize> {
        match &self.slots {
            None => Some(0),
            Some(slots) => slots.get(usize::from(slot)).copied().flatten().map(usize::from),
        }
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.slots.is_some()
    }

    /// Asks a server. Nodes that are known already keep their connections.
    pub(crate) async fn ask(
        seed: &ConnectionInfo,
        known: &[Arc<Node>],
        timeouts: Timeouts,
    ) -> Result<Self, Failure> {
        let name = seed.addr().to_string();
        let there = known.iter().find(|node| node.name() == name).cloned();
        let node = match there {
            Some(node) => node,
            None => Node::new(seed.clone(), timeouts).map_err(Failure::refused)?,
        };
        let mut command = cmd("CLUSTER");
        command.arg("SLOTS");
        let answer = node.send(vec![command], false).await?.pop();
        let ranges = match answer {
            Some(Value::Array(ranges)) => ranges,
            // It is no cluster, or says nothing about it.
            Some(Value::ServerError(_)) => return Ok(Self { nodes: vec![node], slots: None }),
            _ => return Err(Failure::strange()),
        };
        let mut found = Builder { seed, timeouts, known, asked: node, places: BTreeMap::new() };
        let mut slots = vec![None; usize::from(SLOTS)];
        let mut nodes = Vec::new();
        for range in ranges {
            let (first, last, host, port) = read_range(range).ok_or_else(Failure::strange)?;
            let place = found.place(&host, port, &mut nodes).map_err(Failure::refused)?;
            let range = slots.get_mut(first..=last).ok_or_else(Failure::strange)?;
            range.fill(Some(place));
        }
        Ok(Self { nodes, slots: Some(slots) })
    }
}

struct Builder<'a> {
    seed: &'a ConnectionInfo,
    timeouts: Timeouts,
    known: &'a [Arc<Node>],
    asked: Arc<Node>,
    places: BTreeMap<String, u16>,
}

impl Builder<'_> {
    fn place(
        &mut self,
        host: &str,
        port: u16,
        nodes: &mut Vec<Arc<Node>>,
    ) -> Result<u16, RedisError> {
        let at = address(self.seed.addr(), host, port);
        let name = at.to_string();
        if let Some(&place) = self.places.get(&name) {
            return Ok(place);
        }
        let mut known = self.known.iter().chain([&self.asked]);
        let node = match known.find(|node| node.name() == name) {
            Some(node) => node.clone(),
            None => Node::new(self.seed.clone().set_addr(at), self.timeouts)?,
        };
        let place = nodes.len() as u16;
        nodes.push(node);
        self.places.insert(name, place);
        Ok(place)
    }
}

/// Another node of the same cluster: same security, other address.
fn address(seed: &ConnectionAddr, host: &str, port: u16) -> ConnectionAddr {
    let mut address = seed.clone();
    match &mut address {
        ConnectionAddr::Tcp(its_host, its_port)
        | ConnectionAddr::TcpTls { host: its_host, port: its_port, .. } => {
            // Empty: the host that was asked.
            if !host.is_empty() {
                host.clone_into(its_host);
            }
            *its_port = port;
        }
        _ => {}
    }
    address
}

/// First and last slot, host and port of the master.
fn read_range(range: Value) -> Option<(usize, usize, String, u16)> {
    let Value::Array(parts) = range else { return None };
    let mut parts = parts.into_iter();
    let (Value::Int(first), Value::Int(last)) = (parts.next()?, parts.next()?) else { return None };
    let Value::Array(master) = parts.next()? else { return None };
    let mut master = master.into_iter();
    let host = match master.next()? {
        Value::BulkString(host) => String::from_utf8(host).ok()?,
        Value::SimpleString(host) => host,
        Value::Nil => String::new(),
        _ => return None,
    };
    let Value::Int(port) = master.next()? else { return None };
    Some((first.try_into().ok()?, last.try_into().ok()?, host, port.try_into().ok()?))
}
