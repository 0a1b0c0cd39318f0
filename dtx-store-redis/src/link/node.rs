//! One server, with its connections.

use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, Pipeline, RedisError, Value,
    aio::MultiplexedConnection,
};
use tokio::sync::Mutex;

use crate::error::Failure;

/// How long things may take, and what replicas must confirm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) response: Duration,
    pub(crate) replicas: u32,
    pub(crate) replica: Duration,
}

/// A connection that is made when it is needed, and made anew when it broke.
#[derive(Default)]
struct Line {
    /// With the number of the connection, so that a late failure does not end its successor.
    current: Mutex<(u64, Option<MultiplexedConnection>)>,
}

/// A server.
pub(crate) struct Node {
    name: String,
    client: Client,
    timeouts: Timeouts,
    shared: Line,
    /// `WAIT` stalls its connection, so writes that need it have their own.
    confirmed: Line,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Node {
    pub(crate) fn new(
        connection: ConnectionInfo,
        timeouts: Timeouts,
    ) -> Result<Arc<Self>, RedisError> {
        let name = connection.addr().to_string();
        let (shared, confirmed) = (Line::default(), Line::default());
        let client = Client::open(connection)?;
        Ok(Arc::new(Self { name, client, timeouts, shared, confirmed }))
    }

    /// Host and port.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How it is reached.
    pub(crate) fn connection_info(&self) -> &ConnectionInfo {
        self.client.get_connection_info()
    }

    /// Sends commands in one go. One answer each, in order, where errors of the server are
    /// answers too. With `confirmed`, replicas must have confirmed all of it.
    pub(crate) async fn send(
        &self,
        commands: Vec<Cmd>,
        confirmed: bool,
    ) -> Result<Vec<Value>, Failure> {
        let confirmed = confirmed && self.timeouts.replicas > 0;
        let count = commands.len();
        let mut pipeline = Pipeline::with_capacity(count + 1);
        for command in commands {
            pipeline.add_command(command);
        }
        let line = if confirmed { &self.confirmed } else { &self.shared };
        if confirmed {
            let wait = i64::try_from(self.timeouts.replica.as_millis()).unwrap_or(i64::MAX);
            pipeline.cmd("WAIT").arg(self.timeouts.replicas).arg(wait);
        }
        let (number, mut connection) = self.connection(line).await?;
        let sent = count + usize::from(confirmed);
        let mut answers = match connection.send_packed_commands(&pipeline, 0, sent).await {
            Ok(answers) if answers.len() == sent => answers,
            Ok(_) => return Err(Failure::strange()),
            Err(error) => {
                let mut current = line.current.lock().await;
                if current.0 == number {
                    current.1 = None;
                }
                return Err(Failure::lost(error));
            }
        };
        if confirmed {
            check_replicas(answers.pop(), self.timeouts.replicas)?;
        }
        Ok(answers)
    }

    async fn connection(&self, line: &Line) -> Result<(u64, MultiplexedConnection), Failure> {
        let mut current = line.current.lock().await;
        if let Some(connection) = &current.1 {
            return Ok((current.0, connection.clone()));
        }
        // The server may let a confirmation take its time.
        let response = self.timeouts.response + self.timeouts.replica;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeouts.connect))
            .set_response_timeout(Some(response));
        let made = self.client.get_multiplexed_async_connection_with_config(&config).await;
        let connection = made.map_err(Failure::refused)?;
        *current = (current.0 + 1, Some(connection.clone()));
        Ok((current.0, connection))
    }
}

/// Fewer replicas than were asked for leave it open what a failover would keep.
fn check_replicas(answer: Option<Value>, wanted: u32) -> Result<(), Failure> {
    match answer {
        Some(Value::Int(count)) if count >= i64::from(wanted) => Ok(()),
        Some(Value::Int(_)) => {
            let late = std::io::Error::new(std::io::ErrorKind::TimedOut, "too few replicas");
            Err(Failure::lost(late.into()))
        }
        _ => Err(Failure::strange()),
    }
}
