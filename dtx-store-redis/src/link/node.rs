//! One server, with its connections.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, Pipeline, RedisError, Value,
    aio::MultiplexedConnection, cmd,
};
use tokio::sync::Mutex;

use crate::error::Failure;

/// Commits that a node has at once. With one of them the node and the coordinator wait for each
/// other in turn.
pub(crate) const COMMITS_AT_ONCE: usize = 4;

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
    /// `WAIT` stalls its connection, so writes that need it have their own, one for each commit at
    /// once.
    confirmed: [Line; COMMITS_AT_ONCE],
    /// Whose turn it is of these.
    turn: AtomicUsize,
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
        let client = Client::open(connection)?;
        Ok(Arc::new(Self {
            name,
            client,
            timeouts,
            shared: Line::default(),
            confirmed: Default::default(),
            turn: AtomicUsize::new(0),
        }))
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
        let mut line = &self.shared;
        if confirmed {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.confirmed.len();
            line = &self.confirmed[turn];
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

    /// As [`send`](Self::send), of commands that the server runs all at once, and syncs once. Else it
    /// would sync as often as it reads from the connection, which is some ten kilobytes at a time. A
    /// cluster takes this of the commands of one slot only.
    pub(crate) async fn send_whole(
        &self,
        commands: Vec<Cmd>,
        confirmed: bool,
    ) -> Result<Vec<Value>, Failure> {
        let count = commands.len();
        if count < 2 {
            return self.send(commands, confirmed).await;
        }
        let mut whole = Vec::with_capacity(count + 2);
        whole.push(cmd("MULTI"));
        whole.extend(commands);
        whole.push(cmd("EXEC"));
        answers_of(self.send(whole, confirmed).await?)
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

/// The answers of the commands between `MULTI` and `EXEC`.
fn answers_of(mut all: Vec<Value>) -> Result<Vec<Value>, Failure> {
    let (Some(end), false) = (all.pop(), all.is_empty()) else { return Err(Failure::strange()) };
    let begin = all.remove(0);
    match (begin, end) {
        (Value::Okay, Value::Array(answers)) if answers.len() == all.len() => Ok(answers),
        // Nothing was run. The reason stands where one of them was not taken.
        (Value::Okay, Value::ServerError(end)) => {
            let refused = all.iter().find_map(|answer| match answer {
                Value::ServerError(error) => Some(error.clone()),
                _ => None,
            });
            let error = Value::ServerError(refused.unwrap_or(end));
            Ok(all.iter().map(|_| error.clone()).collect())
        }
        // The user may not do this: then they were run one by one.
        (Value::ServerError(_), Value::ServerError(_)) => Ok(all),
        _ => Err(Failure::strange()),
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

#[cfg(test)]
mod tests {
    use redis::{ErrorKind, RedisError, ServerErrorKind, parse_redis_value};

    use super::*;

    fn answers(lines: &[&str]) -> Result<Vec<Value>, Failure> {
        let value = |line: &&str| parse_redis_value(line.as_bytes()).expect("it is well-formed");
        answers_of(lines.iter().map(value).collect())
    }

    fn kind(value: &Value) -> ErrorKind {
        let Value::ServerError(error) = value else { panic!("no error: {value:?}") };
        RedisError::from(error.clone()).kind()
    }

    const QUEUED: &str = "+QUEUED\r\n";

    #[test]
    fn what_was_run_answers_for_itself_also_with_an_error() {
        let end = "*2\r\n:7\r\n-NOSCRIPT No matching script\r\n";
        let found = answers(&["+OK\r\n", QUEUED, QUEUED, end]).expect("it was run");
        assert_eq!(found[0], Value::Int(7));
        assert_eq!(kind(&found[1]), ErrorKind::Server(ServerErrorKind::NoScript));
    }

    #[test]
    fn when_one_is_not_taken_none_is_run_and_all_have_its_reason() {
        let refused = "-READONLY You can't write against a read only replica.\r\n";
        let end = "-EXECABORT Transaction discarded because of previous errors.\r\n";
        let found = answers(&["+OK\r\n", QUEUED, refused, end]).expect("they were answered");
        let kinds: Vec<_> = found.iter().map(kind).collect();
        assert_eq!(kinds, [ErrorKind::Server(ServerErrorKind::ReadOnly); 2]);
        let found = answers(&["+OK\r\n", QUEUED, QUEUED, end]).expect("they were answered");
        assert_eq!(kind(&found[1]), ErrorKind::Server(ServerErrorKind::ExecAbort));
    }

    #[test]
    fn where_it_is_forbidden_they_were_run_one_by_one() {
        let begin = "-NOPERM this user has no permissions to run the 'multi' command\r\n";
        let end = "-ERR EXEC without MULTI\r\n";
        let found = answers(&[begin, ":1\r\n", ":2\r\n", end]).expect("they were run");
        assert_eq!(found, [Value::Int(1), Value::Int(2)]);
    }

    #[test]
    fn any_other_shape_is_an_unknown_effect() {
        for lines in [
            &[][..],
            &["+OK\r\n"],
            &["+OK\r\n", QUEUED, "*0\r\n"],
            &["+OK\r\n", QUEUED, "$-1\r\n"],
            &["-NOPERM no\r\n", ":1\r\n", "*1\r\n:1\r\n"],
        ] {
            let failure = answers(lines).expect_err("it is strange");
            assert_eq!(failure.effect, dtx_core::error::Effect::Unknown, "{lines:?}");
        }
    }
}
