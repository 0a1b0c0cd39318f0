//! Servers for tests, by the program `dtx-services` of the testkit.
//!
//! A test target that needs a server of `NAME` is called `NAME` and stands behind a feature
//! `test-NAME` of its crate, so that it is not built, and not passed over in silence, where there
//! is no such server.

use std::{
    collections::BTreeMap,
    env, fs,
    path::PathBuf,
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
    /// We have started it, so we stop it.
    ours: bool,
}

/// The servers that are there while tests run. Those that were started for them are stopped when
/// this value is dropped.
#[derive(Debug)]
pub(crate) struct Servers<'a> {
    workspace: &'a Workspace,
    found: Vec<Server>,
}

/// `cargo xtask services ARGUMENTS`.
pub(crate) fn pass(workspace: &Workspace, steps: &mut Steps, arguments: &[String]) {
    steps.run("services", || {
        let mut command = services(workspace);
        command.args(arguments);
        succeeds(&mut command).map_or_else(Ending::failed, Ending::of)
    });
}

fn services(workspace: &Workspace) -> Command {
    let mut command = services_in(workspace);
    command.arg(workspace.target.join("services"));
    command
}

/// The command up to the folder of the servers.
fn services_in(workspace: &Workspace) -> Command {
    let run = ["run", "--quiet", "--package", "dtx-testkit", "--features", "servers"];
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
        Self { workspace, found: Vec::new() }
    }

    /// As [`Self::find`], of these services.
    pub(crate) fn find_these(
        workspace: &'a Workspace,
        steps: &mut Steps,
        wanted: &[String],
        required: &[String],
    ) -> Self {
        let mut servers = Self::none(workspace);
        for service in wanted {
            steps.run(&format!("server {service}"), || {
                let mut command = services(workspace);
                command.args(["up", service.as_str()]);
                let must = required.contains(service);
                if must {
                    command.arg("--install");
                }
                match output(&mut command).and_then(|text| parse(service, &text)) {
                    Ok(server) => {
                        say(&format!("{} {}", server.variable, server.url));
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
            let mut command = services(self.workspace);
            if let Err(problem) = output(command.args(["down", server.service.as_str()])) {
                say(&format!("{} WAS NOT STOPPED: {problem}", server.service));
            }
        }
    }
}

/// A server for one trial alone, which may be killed. It is stopped when this value is dropped.
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
        let mut command = services_in(self.workspace);
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
        output(&mut self.command("up")).and_then(|text| parse(&self.service, &text))
    }

    /// Kills it, as `kill -9` does, and starts it again on its data. Blocks until it answers.
    ///
    /// # Errors
    /// A text when it is not there, or does not come back.
    pub(crate) fn kill_and_restart(&self) -> Result<(), String> {
        let record = self.folder.join(format!("{}.running", self.service));
        let text = fs::read_to_string(&record);
        let text = text.map_err(|error| format!("{}: {error}", record.display()))?;
        let ids = text.split(' ').next().unwrap_or_default().trim().split(',');
        output(Command::new("kill").arg("-9").args(ids))?;
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
    fn drop(&mut self) {
        if let Err(problem) = output(&mut self.command("down")) {
            say(&format!("{} WAS NOT STOPPED: {problem}", self.service));
        }
    }
}

/// The services that tests of the workspace ask for.
fn wanted(workspace: &Workspace) -> Vec<String> {
    let features = workspace.packages.iter().flat_map(|package| &package.features);
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

/// Reads `VARIABLE=URL (WORD)`.
fn parse(service: &str, text: &str) -> Result<Server, String> {
    let not_understood = || format!("`dtx-services` printed {text:?}");
    let line = text.lines().last().unwrap_or_default();
    let (variable, rest) = line.split_once('=').ok_or_else(not_understood)?;
    let (url, word) = rest.rsplit_once(' ').ok_or_else(not_understood)?;
    Ok(Server {
        service: service.to_owned(),
        variable: variable.to_owned(),
        url: url.to_owned(),
        ours: word == "(started)",
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

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
        assert!(parse("postgres", "").is_err());
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
            package("b", &["test-redis"]),
            package("c", &[]),
        ];
        let workspace = Workspace { root: PathBuf::new(), target: PathBuf::new(), packages };
        assert_eq!(wanted(&workspace), ["postgres", "redis", "redis"]);
        let redis = parse("redis", "V=u (given)").expect("it is right");
        assert_eq!(features(&workspace, &[redis]), ["a/test-redis", "b/test-redis"]);
    }
}
