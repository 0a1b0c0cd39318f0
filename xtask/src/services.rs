//! Servers for tests, by the program `dtx-services` of the testkit.
//!
//! A test target that needs a server of `NAME` is called `NAME` and stands behind a feature
//! `test-NAME` of its crate, so that it is not built, and not passed over in silence, where there
//! is no such server.

use std::{
    collections::BTreeMap,
    env, fs,
    net::TcpStream,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    process::{cargo, output, succeeds},
    steps::{Ending, Steps, say},
    workspace::Workspace,
};

/// What the features begin with behind which such tests stand.
pub(crate) const FEATURE: &str = "test-";

/// Behind which feature the tests of containers stand. They need an engine and no server.
pub(crate) const CONTAINERS: &str = "test-containers";

/// Where the engine of this machine listens, if no variable names another.
const ENGINE: &str = "unix:///var/run/docker.sock";

/// What the variables begin with that name servers.
const VARIABLES: &str = "DTX_TEST_";

/// How long a server that was killed may take until it answers again.
const BACK_WITHIN: Duration = Duration::from_secs(90);

/// How long it is left alone before it is tried again.
const LOOK: Duration = Duration::from_millis(50);

/// A server that tests can use.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Server {
    service: String,
    variable: String,
    url: String,
    /// In words.
    from: String,
    /// We have started it, so we stop it.
    ours: bool,
}

/// The servers that are there while tests run. Those that were started for them are stopped when
/// this value is dropped.
#[derive(Debug)]
pub(crate) struct Servers<'a> {
    workspace: &'a Workspace,
    found: Vec<Server>,
    /// They may be in containers.
    in_containers: bool,
}

/// `cargo xtask services ARGUMENTS`.
pub(crate) fn pass(workspace: &Workspace, steps: &mut Steps, arguments: &[String]) {
    steps.run("services", || {
        let in_containers = match via(arguments) {
            Some(via) => via == "containers",
            None => engine_answers() || is_containers(&workspace.target.join("services")),
        };
        let mut command = services(workspace, in_containers);
        command.args(arguments);
        succeeds(&mut command).map_or_else(Ending::failed, Ending::of)
    });
}

/// The way that the arguments ask for, if they do. What is behind `--` is another command's.
fn via(arguments: &[String]) -> Option<&str> {
    let own = arguments.split(|argument| argument == "--").next().unwrap_or_default();
    let mut own = own.iter().map(String::as_str);
    let equal = own.clone().find_map(|argument| argument.strip_prefix("--via="));
    equal.or_else(|| own.find(|argument| *argument == "--via").and_then(|_| own.next()))
}

/// Whether a Docker engine takes connections where the environment says, or on this machine.
pub(crate) fn engine_answers() -> bool {
    let host = env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
    is_open(host.as_deref().unwrap_or(ENGINE))
}

fn is_open(host: &str) -> bool {
    match host.split_once("://") {
        Some(("unix", path)) => UnixStream::connect(path).is_ok(),
        Some(("tcp" | "http" | "https", address)) => TcpStream::connect(address).is_ok(),
        _ => false,
    }
}

/// Whether a server of this folder is in a container, so that an engine is needed to stop it.
fn is_containers(folder: &Path) -> bool {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut records = files.filter(|path| path.extension().is_some_and(|end| end == "running"));
    records.any(|path| fs::read_to_string(path).is_ok_and(|text| text.starts_with("container:")))
}

/// The command for the servers that the workspace shares.
fn services(workspace: &Workspace, in_containers: bool) -> Command {
    let mut command = services_in(workspace, in_containers);
    command.arg(workspace.target.join("services"));
    command
}

/// The command up to the folder of the servers. The client of the engine is built only where
/// containers may be used.
fn services_in(workspace: &Workspace, in_containers: bool) -> Command {
    let feature = if in_containers { "containers" } else { "servers" };
    let run = ["run", "--quiet", "--package", "dtx-testkit", "--features", feature];
    let mut command = cargo(&workspace.root, &run);
    command.args(["--bin", "dtx-services", "--", "--folder"]);
    command
}

impl<'a> Servers<'a> {
    /// Finds or starts a server of every service that tests of the workspace can use. One that is
    /// not there is a skipped step, or a failed one if it is `required`.
    pub(crate) fn find(workspace: &'a Workspace, steps: &mut Steps, required: &[String]) -> Self {
        let mut wanted = wanted(workspace);
        wanted.extend(required.iter().cloned());
        wanted.sort();
        wanted.dedup();
        Self::find_these(workspace, steps, &wanted, required)
    }

    /// No server.
    pub(crate) fn none(workspace: &'a Workspace) -> Self {
        Self { workspace, found: Vec::new(), in_containers: false }
    }

    /// As [`Self::find`], of these services.
    pub(crate) fn find_these(
        workspace: &'a Workspace,
        steps: &mut Steps,
        wanted: &[String],
        required: &[String],
    ) -> Self {
        let in_containers = engine_answers();
        let mut servers = Self { workspace, found: Vec::new(), in_containers };
        for service in wanted {
            steps.run(&format!("server {service}"), || {
                let mut command = services(workspace, in_containers);
                command.args(["up", service.as_str()]);
                let must = required.contains(service);
                if must {
                    command.arg("--install");
                }
                match output(&mut command).and_then(|text| parse(service, &text)) {
                    Ok(server) => {
                        let Server { variable, url, from, .. } = &server;
                        say(&format!("{variable} {url} ({from})"));
                        servers.found.push(server);
                        Ending::of(true)
                    }
                    Err(reason) if must => Ending::failed(reason),
                    Err(reason) => Ending::skipped(format!(
                        "NO SERVER OF {}; no test that needs one was run: {reason}",
                        service.to_uppercase()
                    )),
                }
            });
        }
        servers
    }

    /// Their URLs, by name.
    pub(crate) fn urls(&self) -> BTreeMap<String, String> {
        self.found.iter().map(|server| (server.service.clone(), server.url.clone())).collect()
    }

    /// The names of those that are there, which are also the names of the test targets.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.found.iter().map(|server| server.service.as_str())
    }

    /// Adds the features of the tests whose servers are there, and the URLs of the servers.
    pub(crate) fn give(&self, command: &mut Command) {
        let features = features(self.workspace, &self.found);
        if !features.is_empty() {
            command.args(["--features", &features.join(",")]);
        }
        self.name(command);
    }

    /// Sets the variables with the URLs of the servers.
    pub(crate) fn name(&self, command: &mut Command) {
        command.envs(self.found.iter().map(|server| (&server.variable, &server.url)));
    }
}

impl Drop for Servers<'_> {
    fn drop(&mut self) {
        for server in self.found.iter().filter(|server| server.ours) {
            let mut command = services(self.workspace, self.in_containers);
            if let Err(problem) = output(command.args(["down", server.service.as_str()])) {
                say(&format!("{} WAS NOT STOPPED: {problem}", server.service));
            }
        }
    }
}

/// A native server for one trial alone, which may be killed. It is stopped when this value is
/// dropped.
#[derive(Debug)]
pub(crate) struct Own<'a> {
    workspace: &'a Workspace,
    service: String,
    folder: PathBuf,
    url: String,
}

impl<'a> Own<'a> {
    /// Starts it, with its data in this folder.
    ///
    /// # Errors
    /// A text when it does not start.
    pub(crate) fn start(
        workspace: &'a Workspace,
        service: &str,
        folder: PathBuf,
    ) -> Result<Self, String> {
        let mut own = Self { workspace, service: service.to_owned(), folder, url: String::new() };
        own.url = own.up()?.url;
        Ok(own)
    }

    /// Its URL, the same after a restart.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    fn command(&self, word: &str) -> Command {
        let mut command = services_in(self.workspace, false);
        command.arg(&self.folder).args([word, self.service.as_str()]);
        // Whatever others use, this one is ours.
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with(VARIABLES) {
                command.env_remove(name);
            }
        }
        command
    }

    fn up(&self) -> Result<Server, String> {
        output(self.command("up").args(["--via", "native"]))
            .and_then(|text| parse(&self.service, &text))
    }

    fn kill(&self) -> Result<(), String> {
        let record = self.folder.join(format!("{}.running", self.service));
        let text = fs::read_to_string(&record);
        let text = text.map_err(|error| format!("{}: {error}", record.display()))?;
        let ids = text.split(' ').next().unwrap_or_default().trim().split(',');
        output(Command::new("kill").arg("-9").args(ids)).map(drop)
    }

    /// Kills it, as `kill -9` does, and starts it again on its data. Blocks until it answers.
    ///
    /// # Errors
    /// A text when it is not there, or does not come back.
    pub(crate) fn kill_and_restart(&self) -> Result<(), String> {
        self.kill()?;
        let end = Instant::now() + BACK_WITHIN;
        loop {
            let problem = match self.up() {
                Ok(server) if server.ours && server.url == self.url => return Ok(()),
                Ok(server) if server.ours => return Err("another has taken its port".to_owned()),
                Ok(_) => "it is still there".to_owned(),
                Err(problem) => problem,
            };
            if Instant::now() >= end {
                return Err(format!("{} did not come back: {problem}", self.service));
            }
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Own<'_> {
    /// Kills it: nobody needs its data any more, and a Kafka broker took a minute to end by itself.
    fn drop(&mut self) {
        let killed = self.kill();
        if let Err(problem) = output(&mut self.command("down")).and(killed) {
            say(&format!("{} WAS NOT STOPPED: {problem}", self.service));
        }
    }
}

/// The services that tests of the workspace ask for.
fn wanted(workspace: &Workspace) -> Vec<String> {
    let features = workspace.packages.iter().flat_map(|package| &package.features);
    let features = features.filter(|feature| *feature != CONTAINERS);
    features.filter_map(|feature| feature.strip_prefix(FEATURE)).map(str::to_owned).collect()
}

/// `PACKAGE/test-NAME` for every such feature of a server that is there.
fn features(workspace: &Workspace, found: &[Server]) -> Vec<String> {
    let mut features = Vec::new();
    for package in &workspace.packages {
        for server in found {
            let feature = format!("{FEATURE}{}", server.service);
            if package.features.contains(&feature) {
                features.push(format!("{}/{feature}", package.name));
            }
        }
    }
    features
}

/// Reads `VARIABLE=URL (WORDS)`.
fn parse(service: &str, text: &str) -> Result<Server, String> {
    let not_understood = || format!("`dtx-services` printed {text:?}");
    let line = text.lines().last().unwrap_or_default();
    let (variable, rest) = line.split_once('=').ok_or_else(not_understood)?;
    let (url, words) = rest.split_once(" (").ok_or_else(not_understood)?;
    let from = words.trim_end_matches(')');
    Ok(Server {
        service: service.to_owned(),
        variable: variable.to_owned(),
        url: url.to_owned(),
        from: from.to_owned(),
        ours: from.starts_with("started"),
    })
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::unix::net::UnixListener, path::PathBuf};

    use super::*;
    use crate::workspace::Package;

    #[test]
    fn the_line_of_a_server_is_understood() {
        let server = parse("postgres", "DTX_TEST_POSTGRES_URL=postgres://u@h:1/d?a=b (started)\n");
        let server = server.expect("it is right");
        assert_eq!(server.variable, "DTX_TEST_POSTGRES_URL");
        assert_eq!(server.url, "postgres://u@h:1/d?a=b");
        assert!(server.ours);
        assert!(!parse("postgres", "V=u (given)").expect("it is right").ours);
        let server = parse("redis", "V=u (started, container)").expect("it is right");
        assert!(server.ours && server.from == "started, container" && server.url == "u");
        assert!(!parse("redis", "V=u (running, container)").expect("it is right").ours);
        assert!(parse("postgres", "").is_err());
    }

    #[test]
    fn the_way_is_read_from_the_own_arguments_alone() {
        let way = |line: &str| {
            let arguments: Vec<_> = line.split(' ').map(str::to_owned).collect();
            via(&arguments).map(str::to_owned)
        };
        assert_eq!(way("up --via containers redis"), Some("containers".to_owned()));
        assert_eq!(way("up redis --via=native"), Some("native".to_owned()));
        assert_eq!(way("up redis"), None);
        assert_eq!(way("exec redis -- x --via containers"), None);
    }

    #[test]
    fn an_engine_is_there_when_its_socket_takes_connections() {
        let folder = env::temp_dir().join(format!("dtx-engine-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("it is made");
        let path = folder.join("docker.sock");
        let host = format!("unix://{}", path.display());
        assert!(!is_open(&host), "there is no socket");
        let socket = UnixListener::bind(&path).expect("it is free");
        assert!(is_open(&host));
        drop(socket);
        assert!(!is_open(&host), "nobody listens");
        let socket = TcpListener::bind(("127.0.0.1", 0)).expect("the loopback is there");
        let port = socket.local_addr().expect("it is bound").port();
        assert!(is_open(&format!("tcp://127.0.0.1:{port}")));
        drop(socket);
        assert!(!is_open(&format!("tcp://127.0.0.1:{port}")) && !is_open("127.0.0.1"));
        fs::remove_dir_all(&folder).expect("it is ours");
    }

    #[test]
    fn a_container_that_runs_needs_the_client_of_the_engine() {
        let folder = env::temp_dir().join(format!("dtx-records-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("it is made");
        fs::write(folder.join("redis.running"), "12 6379\n").expect("it is written");
        assert!(!is_containers(&folder));
        fs::write(folder.join("nats.running"), "container:0a 4222\n").expect("it is written");
        assert!(is_containers(&folder));
        fs::remove_dir_all(&folder).expect("it is ours");
        assert!(!is_containers(&folder));
    }

    #[test]
    fn only_tests_whose_server_is_there_are_built() {
        let package = |name: &str, features: &[&str]| Package {
            name: name.to_owned(),
            features: features.iter().map(|feature| (*feature).to_owned()).collect(),
            ..Package::default()
        };
        let packages = vec![
            package("a", &["default", "test-postgres", "test-redis"]),
            package("b", &["test-redis", "test-containers"]),
            package("c", &[]),
        ];
        let workspace = Workspace { root: PathBuf::new(), target: PathBuf::new(), packages };
        assert_eq!(wanted(&workspace), ["postgres", "redis", "redis"]);
        let redis = parse("redis", "V=u (given)").expect("it is right");
        assert_eq!(features(&workspace, &[redis]), ["a/test-redis", "b/test-redis"]);
    }
}
