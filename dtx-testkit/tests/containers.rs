//! Servers in containers: started, used, killed, and removed without a trace. Needs a Docker
//! engine, and the images that `cargo xtask services -- --help` lists or the variables name.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use dtx_testkit::servers::{Found, IMAGES, Redis, Service, Services, Source, Way, named};
use testcontainers::{
    bollard::{
        Docker,
        models::ContainerSummary,
        query_parameters::{KillContainerOptions, ListContainersOptionsBuilder},
    },
    core::client::docker_client_instance,
};
use tokio::runtime::Runtime;

/// How long is waited for what the engine does by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// The engine, seen from outside of the testkit.
struct Engine {
    runtime: Runtime,
    client: Docker,
}

impl Engine {
    fn new() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let client = runtime.block_on(docker_client_instance()).expect("an engine");
        Self { runtime, client }
    }

    /// All containers, also stopped ones, that this folder remembers.
    fn containers(&self, folder: &Path) -> Vec<ContainerSummary> {
        let label = format!("dtx.test.folder={}", folder.display());
        let filters = [("label".to_owned(), vec![label])].into();
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let found = self.client.list_containers(Some(options));
        self.runtime.block_on(found).expect("the engine answers")
    }

    fn kill(&self, container: &ContainerSummary) {
        let id = container.id.as_deref().expect("it has an id");
        let killed = self.client.kill_container(id, None::<KillContainerOptions>);
        self.runtime.block_on(killed).expect("it runs");
    }
}

/// An empty folder for the test of this name. Nothing of an earlier run is left in it or because
/// of it.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("containers").join(name);
    for image in IMAGES {
        let service = named(image.service).expect("it is in the table");
        services(&folder).down(service).expect("the engine answers");
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("it is ours");
    }
    folder
}

fn services(folder: &Path) -> Services {
    Services::in_folder(folder).via(Way::Containers)
}

fn port(found: &Found) -> u16 {
    let port = found.url.split(['/', ':']).filter_map(|part| part.parse().ok()).next_back();
    port.expect("the URL has a port")
}

/// What Redis answers to a command.
fn ask(port: u16, command: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
    stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers and closes");
    answer
}

/// The program, without what the environment names.
fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dtx-services"));
    command.env_remove(Redis.variable()).arg("--folder").arg(folder).args(arguments);
    command
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Looks until it is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}: not in {} s", PATIENCE.as_secs());
        std::thread::yield_now();
    }
}

/// Starts a service, and says how long that took.
fn starts(name: &str) {
    let (engine, folder) = (Engine::new(), folder(name));
    let service = named(name).expect("it is a service");
    let start = Instant::now();
    let found = services(&folder).up(service, false).expect("it starts");
    println!("{name} answers after {:.1} s", start.elapsed().as_secs_f64());
    assert_eq!(found.from, Source::Started(Way::Containers));
    let containers = engine.containers(&folder);
    assert_eq!(containers.len(), 1);
    let ports: Vec<_> = containers[0].ports.iter().flatten().filter_map(|p| p.ip.clone()).collect();
    assert_eq!(ports, ["127.0.0.1"], "only this machine gets to it");
    assert!(services(&folder).down(service).expect("it is removed"));
    assert!(engine.containers(&folder).is_empty());
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port(&found))).is_err());
}

#[test]
fn postgres_starts_and_goes() {
    starts("postgres");
}

#[test]
fn redis_starts_and_goes() {
    starts("redis");
}

#[test]
fn nats_starts_and_goes() {
    starts("nats");
}

#[test]
fn kafka_starts_and_goes() {
    starts("kafka");
}

#[test]
fn a_killed_container_comes_back_on_its_data_and_its_port_with_settings_that_lose_nothing() {
    let (engine, folder) = (Engine::new(), folder("back"));
    let services = services(&folder);
    let first = services.up(&Redis, false).expect("it starts");
    assert!(ask(port(&first), "SET a b").starts_with("+OK"));
    let settings = ask(port(&first), "CONFIG GET append*");
    assert!(settings.contains("always") && settings.contains("yes"), "{settings}");
    engine.kill(&engine.containers(&folder)[0]);
    assert_eq!(services.find(&Redis), None);
    let again = services.up(&Redis, false).expect("it comes back");
    assert_eq!(again.url, first.url);
    assert!(ask(port(&again), "GET a").contains("\r\nb\r\n"));
    assert_eq!(engine.containers(&folder).len(), 1);
    assert!(services.down(&Redis).expect("it is removed"));
    assert!(engine.containers(&folder).is_empty());
}

#[test]
fn it_outlives_the_program_that_started_it_until_it_is_taken_down() {
    let (engine, folder) = (Engine::new(), folder("outlives"));
    let run = |arguments: &[&str]| text(&program(&folder, arguments).output().expect("it runs"));
    let line = run(&["up", "--via", "containers", "redis"]);
    assert!(line.ends_with("(started, container)"), "{line}");
    let line = run(&["status", "redis"]);
    assert!(line.ends_with("(running, container)"), "{line}");
    let native = program(&folder, &["up", "--via", "native", "redis"]).output().expect("it runs");
    assert!(!native.status.success(), "it runs in the other way");
    assert_eq!(run(&["down", "redis"]), "redis stopped");
    assert!(engine.containers(&folder).is_empty());
    assert_eq!(run(&["down", "redis"]), "redis was not started here");
}

#[test]
fn what_a_program_starts_for_a_command_ends_with_it() {
    let (engine, folder) = (Engine::new(), folder("exec"));
    let script = "echo $DTX_TEST_REDIS_URL; exit 7";
    let arguments = ["exec", "--via", "containers", "redis", "--", "sh", "-c", script];
    let output = program(&folder, &arguments).output().expect("it runs");
    assert_eq!(output.status.code(), Some(7), "the code of the command");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("redis://127.0.0.1:"));
    assert!(engine.containers(&folder).is_empty());
}

#[test]
fn what_a_killed_program_left_is_taken_down() {
    let (engine, folder) = (Engine::new(), folder("killed"));
    // In the middle of a start: the container is there, and nobody has remembered it.
    let mut starts = program(&folder, &["up", "--via", "containers", "redis"]);
    let mut starts = starts.stdout(Stdio::null()).spawn().expect("it runs");
    until("a container is made", || !engine.containers(&folder).is_empty());
    starts.kill().expect("it is ours");
    starts.wait().expect("it is ours");
    assert!(!folder.join("redis.running").exists(), "it was not in the middle");
    assert_eq!(engine.containers(&folder).len(), 1);
    assert!(services(&folder).down(&Redis).expect("it is removed"));
    assert!(engine.containers(&folder).is_empty());
    // In the middle of a command.
    let script = "echo runs; exec cat";
    let arguments = ["exec", "--via", "containers", "redis", "--", "sh", "-c", script];
    let mut runs = program(&folder, &arguments);
    let mut runs = runs.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut line = String::new();
    let output = runs.stdout.take().expect("it is piped");
    BufReader::new(output).read_line(&mut line).expect("it prints");
    runs.kill().expect("it is ours");
    runs.wait().expect("it is ours");
    let found = services(&folder).find(&Redis).expect("it still runs");
    assert_eq!(found.from, Source::Running(Way::Containers));
    assert!(services(&folder).down(&Redis).expect("it is removed"));
    assert!(engine.containers(&folder).is_empty());
}

#[test]
fn an_image_that_nobody_has_is_named_with_what_makes_one() {
    let folder = folder("image");
    let mut command = program(&folder, &["up", "--via", "containers", "redis"]);
    command.env("DTX_TEST_REDIS_IMAGE", "dtx/nobody-has-this:0");
    let output = command.output().expect("it runs");
    let says = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    for part in ["dtx/nobody-has-this:0", "scripts/local-images redis", "DTX_TEST_REDIS_IMAGE"] {
        assert!(says.contains(part), "{says}");
    }
}
