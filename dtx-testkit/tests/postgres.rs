//! A server is started, killed, started again on its data, and stopped.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    process::{Command, Output},
    time::{Duration, Instant},
};

use dtx_testkit::servers::{Postgres, Server, Service};

/// A folder that the user of the server can reach, which a temporary one is not.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("it is of an earlier run");
    }
    folder
}

fn answers(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[test]
fn a_killed_server_comes_back_on_its_data_and_its_port() {
    let folder = folder("kill");
    let mut server = Server::start(&Postgres, &folder).expect("it starts");
    let (url, port) = (server.url(), server.port());
    let system = fs::read(folder.join("data/global/pg_control")).expect("it is there");
    assert!(answers(port) && !server.processes().is_empty());

    server.kill().expect("it ends");
    assert!(!answers(port) && server.processes().is_empty());
    server.restart().expect("it starts again");
    assert_eq!((server.url(), server.port()), (url, port));
    assert!(answers(port));
    let again = fs::read(folder.join("data/global/pg_control")).expect("it is there");
    assert_eq!(system[..8], again[..8], "another system: its data were not kept");

    let first = server.processes().to_vec();
    server.restart().expect("it is there already");
    assert_eq!(server.processes(), first);
    drop(server);
    assert!(!answers(port));
    fs::remove_dir_all(&folder).expect("it is ours");
}

fn services(folder: &PathBuf, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dtx-services"));
    command.env_remove(Postgres.variable()).arg("--folder").arg(folder).args(arguments);
    // This is about native servers, whatever engine is here.
    command.env("DOCKER_HOST", "unix:///dev/null");
    command.output().expect("it runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_program_starts_once_runs_a_command_and_stops_what_it_has_started() {
    let folder = folder("program");
    let line = "echo $DTX_TEST_POSTGRES_URL; exit 7";
    let exec = ["exec", "postgres", "--", "sh", "-c", line];
    let alone = services(&folder, &exec);
    assert_eq!(alone.status.code(), Some(7));
    assert!(text(&alone).starts_with("postgres://dtx@127.0.0.1:"), "{alone:?}");
    assert!(text(&services(&folder, &["status"])).contains("postgres can be started"));

    let up = services(&folder, &["up", "postgres"]);
    assert!(text(&up).ends_with("(started)\n"), "{up:?}");
    let again = services(&folder, &["up", "postgres"]);
    assert!(text(&again).ends_with("(running)\n"), "{again:?}");
    assert_eq!(services(&folder, &exec).status.code(), Some(7));
    let status = text(&services(&folder, &["status", "postgres"]));
    assert!(status.contains("(running)"), "it was not started by exec: {status}");
    let down = ["down", "postgres"];
    assert_eq!(text(&services(&folder, &down)), "postgres stopped\n");
    assert_eq!(text(&services(&folder, &down)), "postgres was not started here\n");
    let all = text(&services(&folder, &["down"]));
    assert!(all.lines().all(|line| line.ends_with(" was not started here")), "{all}");
    fs::remove_dir_all(&folder).expect("it is ours");
}

#[test]
fn a_server_that_has_died_comes_back_on_its_data_and_its_port() {
    let folder = folder("died");
    let up = text(&services(&folder, &["up", "postgres"]));
    assert!(up.ends_with("(started)\n"), "{up}");
    let system = fs::read(folder.join("postgres/data/global/pg_control")).expect("it is there");
    let record = fs::read_to_string(folder.join("postgres.running")).expect("it is remembered");
    let (ids, _) = record.split_once(' ').expect("ids and a port");
    let killed = Command::new("kill").arg("-9").args(ids.split(',')).status();
    assert!(killed.expect("it runs").success());
    // It is seen as running until its last thread is gone, and its children may outlive it.
    let end = Instant::now() + Duration::from_secs(60);
    let mut again = text(&services(&folder, &["up", "postgres"]));
    while !again.ends_with("(started)\n") {
        assert!(Instant::now() < end, "it does not come back: {again}");
        again = text(&services(&folder, &["up", "postgres"]));
    }
    assert_eq!(again, up, "another port");
    let same = fs::read(folder.join("postgres/data/global/pg_control")).expect("it is there");
    assert_eq!(system[..8], same[..8], "another system: its data were not kept");
    assert_eq!(text(&services(&folder, &["down", "postgres"])), "postgres stopped\n");
    fs::remove_dir_all(&folder).expect("it is ours");
}

#[test]
fn a_server_that_the_environment_names_is_used_as_it_is() {
    let folder = folder("given");
    let mut command = Command::new(env!("CARGO_BIN_EXE_dtx-services"));
    command.env(Postgres.variable(), "postgres://a@b/c").arg("--folder").arg(&folder);
    let up = command.args(["up", "postgres"]).output().expect("it runs");
    assert_eq!(text(&up), "DTX_TEST_POSTGRES_URL=postgres://a@b/c (given)\n");
    assert!(!folder.exists());
}

#[test]
fn a_service_that_nobody_knows_is_refused() {
    let refused = services(&folder("unknown"), &["up", "nonsense"]);
    assert_eq!(refused.status.code(), Some(2));
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("only: postgres, redis, redis-cluster"), "{text}");
}
