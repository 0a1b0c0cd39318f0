//! Redis.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Place, Recipe, Service, ServiceError,
    process::{PATIENCE, free_port, make_folder, on_path, program, run, wait},
};

const SERVER: &str = "redis-server";

/// Nobody but this machine gets in, and the start returns.
const NATIVE: [(&str, &str); 3] = [("bind", "127.0.0.1"), ("daemonize", "yes"), ("pidfile", "pid")];

/// The engine lets nobody but this machine in.
const CONTAINER: [(&str, &str); 2] = [("bind", "0.0.0.0"), ("protected-mode", "no")];

/// Nothing that was acknowledged is lost with the power, and nothing is evicted.
const SETTINGS: [(&str, &str); 5] = [
    ("appendonly", "yes"),
    ("appendfsync", "always"),
    ("no-appendfsync-on-rewrite", "no"),
    ("maxmemory-policy", "noeviction"),
    ("save", ""),
];

/// How many masters a cluster has.
const NODES: usize = 3;

/// Redis, one server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Redis;

/// A cluster of three masters; the URL is that of the first.
#[derive(Clone, Copy, Debug, Default)]
pub struct RedisCluster;

/// One server that only speaks TLS. Its folder must have `ca.pem`, `server.pem` and `server.key`
/// before it is started.
#[derive(Clone, Copy, Debug, Default)]
pub struct RedisTls;

/// Starts a server in a folder. Says its process id.
fn start(
    programs: &Path,
    folder: &Path,
    port: u16,
    more: &[(&str, &str)],
    answers: impl Fn() -> bool,
) -> Result<u32, ServiceError> {
    let data = folder.join("data");
    make_folder(&data)?;
    let pid = data.join("pid");
    let mut command = program(programs.join(SERVER), &data);
    command.arg("--dir").arg(&data).arg("--logfile").arg(data.join("log"));
    if !more.iter().any(|(name, _)| *name == "tls-port") {
        command.arg("--port").arg(port.to_string());
    }
    for (name, value) in NATIVE.iter().chain(&SETTINGS).chain(more) {
        command.arg(format!("--{name}"));
        match *name {
            "pidfile" => command.arg(&pid),
            _ => command.arg(value),
        };
    }
    // That of an earlier run would be taken for this one's.
    let _ = fs::remove_file(&pid);
    run(&mut command)?;
    // It listens before it has written its process id.
    let mut id = None;
    let is_there = wait(|| {
        id = id.or_else(|| fs::read_to_string(&pid).ok()?.strip_suffix('\n')?.parse().ok());
        id.is_some() && answers()
    });
    id.filter(|_| is_there).ok_or_else(|| {
        let log = fs::read_to_string(data.join("log")).unwrap_or_default();
        let says = log.lines().rev().take(5).collect::<Vec<_>>().join("\n");
        ServiceError::Failed { program: SERVER.to_owned(), says }
    })
}

/// What a container runs.
fn recipe() -> Recipe {
    let mut command = vec![SERVER.to_owned()];
    for (name, value) in CONTAINER.iter().chain(&SETTINGS) {
        command.extend([format!("--{name}"), (*value).to_owned()]);
    }
    let (environment, files) = (Vec::new(), Vec::new());
    Recipe { port: 6379, environment, command, files, answers: is_ready }
}

/// What the server on this port answers to a command without spaces in its arguments.
fn ask(port: u16, command: &str) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Whether a server is there and has read its data.
fn is_ready(port: u16) -> bool {
    ask(port, "PING").is_some_and(|answer| answer.starts_with("+PONG"))
}

impl Service for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn variable(&self) -> &'static str {
        "DTX_TEST_REDIS_URL"
    }

    fn package(&self) -> &'static str {
        SERVER
    }

    fn programs(&self) -> Option<PathBuf> {
        on_path(SERVER)
    }

    fn url(&self, port: u16) -> String {
        format!("redis://127.0.0.1:{port}")
    }

    fn start(&self, place: &Place) -> Result<Vec<u32>, ServiceError> {
        let port = place.port;
        Ok(vec![start(&place.programs, &place.folder, port, &[], || is_ready(port))?])
    }

    fn process_name(&self) -> &'static str {
        SERVER
    }

    fn recipe(&self, _: &str, _: u16) -> Option<Recipe> {
        Some(recipe())
    }
}

impl Service for RedisTls {
    fn name(&self) -> &'static str {
        "redis-tls"
    }

    fn variable(&self) -> &'static str {
        "DTX_TEST_REDIS_TLS_URL"
    }

    fn package(&self) -> &'static str {
        SERVER
    }

    fn programs(&self) -> Option<PathBuf> {
        on_path(SERVER)
    }

    fn url(&self, port: u16) -> String {
        format!("rediss://127.0.0.1:{port}")
    }

    fn start(&self, place: &Place) -> Result<Vec<u32>, ServiceError> {
        let file = |name: &str| place.folder.join(name).to_string_lossy().into_owned();
        let (ca, certificate, key) = (file("ca.pem"), file("server.pem"), file("server.key"));
        let port = place.port.to_string();
        let settings = [
            ("port", "0"),
            ("tls-port", port.as_str()),
            ("tls-ca-cert-file", &ca),
            ("tls-cert-file", &certificate),
            ("tls-key-file", &key),
            ("tls-auth-clients", "no"),
        ];
        let answers = || TcpStream::connect((Ipv4Addr::LOCALHOST, place.port)).is_ok();
        Ok(vec![start(&place.programs, &place.folder, place.port, &settings, answers)?])
    }

    fn process_name(&self) -> &'static str {
        SERVER
    }
}

/// Ports of a node: for clients and for the other nodes. The same after a restart.
fn ports(place: &Place, node: usize, folder: &Path) -> Result<(u16, u16), ServiceError> {
    let path = folder.join("ports");
    let known = fs::read_to_string(&path).ok();
    let known = known.as_deref().and_then(|text| text.trim().split_once(' '));
    if let Some((port, bus)) = known
        && let (Ok(port), Ok(bus)) = (port.parse(), bus.parse())
        && (node > 0 || port == place.port)
    {
        return Ok((port, bus));
    }
    let port = if node == 0 { place.port } else { free_port()? };
    let bus = free_port()?;
    fs::write(&path, format!("{port} {bus}\n"))
        .map_err(|error| ServiceError::io("cannot write", &path, error))?;
    Ok((port, bus))
}

impl Service for RedisCluster {
    fn name(&self) -> &'static str {
        "redis-cluster"
    }

    fn variable(&self) -> &'static str {
        "DTX_TEST_REDIS_CLUSTER_URL"
    }

    fn package(&self) -> &'static str {
        SERVER
    }

    fn programs(&self) -> Option<PathBuf> {
        on_path("redis-cli").filter(|folder| folder.join(SERVER).is_file())
    }

    fn url(&self, port: u16) -> String {
        format!("redis://127.0.0.1:{port}")
    }

    fn start(&self, place: &Place) -> Result<Vec<u32>, ServiceError> {
        let (mut processes, mut addresses, mut clients) = (Vec::new(), Vec::new(), Vec::new());
        for node in 0..NODES {
            let folder = place.folder.join(format!("node-{node}"));
            make_folder(&folder)?;
            let (port, bus) = ports(place, node, &folder)?;
            let bus = bus.to_string();
            let settings = [
                ("cluster-enabled", "yes"),
                ("cluster-port", bus.as_str()),
                ("cluster-node-timeout", "5000"),
            ];
            let answers = || is_ready(port);
            processes.push(start(&place.programs, &folder, port, &settings, answers)?);
            addresses.push(format!("127.0.0.1:{port}"));
            clients.push(port);
        }
        let is = |port: u16, words: &str| {
            ask(port, "CLUSTER INFO").is_some_and(|answer| answer.contains(words))
        };
        if is(place.port, "cluster_slots_assigned:0") {
            let mut create = program(place.programs.join("redis-cli"), &place.folder);
            create.args(["--cluster", "create"]).args(&addresses).arg("--cluster-yes");
            run(&mut create)?;
        }
        let ok = || clients.iter().all(|&port| is(port, "cluster_state:ok"));
        if !wait(ok) {
            let (name, seconds) = (self.name(), PATIENCE.as_secs());
            return Err(ServiceError::Late { name, what: "form a cluster", seconds });
        }
        Ok(processes)
    }

    fn process_name(&self) -> &'static str {
        SERVER
    }
}
