//! What an operator tells a server, as text.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    process::Command,
};

use dtx_testkit::servers::{Postgres, Server, Service};

/// Sends Redis a command, and gives its answer as it came.
pub(super) fn redis(server: &Server, command: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).expect("it is there");
    stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).expect("it listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(!answer.starts_with('-'), "{command}: {answer}");
    answer
}

/// Has PostgreSQL run a statement, and gives what it answers.
pub(super) fn postgres(server: &Server, statement: &str) -> String {
    let psql = Postgres.programs().expect("its programs are here").join("psql");
    let mut psql = Command::new(psql);
    psql.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &server.url(), "-c", statement]);
    let answer = psql.output().expect("psql runs");
    assert!(answer.status.success(), "{statement}: {}", String::from_utf8_lossy(&answer.stderr));
    String::from_utf8_lossy(&answer.stdout).trim().to_owned()
}
