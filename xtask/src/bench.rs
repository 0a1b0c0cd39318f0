//! `cargo xtask bench`: speed as ratios to floors that are measured in the same run.

use crate::{
    process::{cargo, succeeds},
    services::Servers,
    steps::{Ending, Steps},
    workspace::Workspace,
};

/// The servers that are measured, by the words that choose them.
const SERVERS: [&str; 2] = ["postgres", "redis"];

/// What else can be chosen: the parts of the benchmark that needs no server.
const PARTS: [&str; 4] = ["cpu", "embedded", "latency", "memory"];

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    servers: Vec<String>,
    /// `None`: nothing without a server. Empty: all of it.
    parts: Option<Vec<String>>,
    /// For whatever runs.
    settings: Vec<String>,
}

impl Wanted {
    /// Without any word everything is wanted.
    fn of(arguments: &[String]) -> Self {
        let (mut servers, mut parts, mut settings) = (Vec::new(), Vec::new(), Vec::new());
        let mut is_value = false;
        for argument in arguments {
            let is = |words: &[&str]| !is_value && words.contains(&argument.as_str());
            let found = match () {
                () if is(&SERVERS) => &mut servers,
                () if is(&PARTS) => &mut parts,
                () => &mut settings,
            };
            found.push(argument.clone());
            // Every setting has a value.
            is_value = argument.starts_with("--") && !argument.contains('=');
        }
        let nothing = servers.is_empty() && parts.is_empty();
        if nothing {
            servers = SERVERS.map(str::to_owned).into();
        }
        let parts = (nothing || !parts.is_empty()).then_some(parts);
        Self { servers, parts, settings }
    }
}

/// One step for what needs no server, and one for each server. A server that is not here is a
/// skipped step.
pub(crate) fn run(workspace: &Workspace, steps: &mut Steps, arguments: &[String]) {
    let wanted = Wanted::of(arguments);
    if let Some(parts) = &wanted.parts {
        steps.run("bench", || bench(workspace, "dtx", "floors", None, parts, &wanted.settings));
    }
    for server in &wanted.servers {
        let word = std::slice::from_ref(server);
        let found = Servers::find_these(workspace, steps, word, &[]);
        if found.names().next().is_some() {
            steps.run(&format!("bench {server}"), || {
                bench(workspace, "dtx-bench", "servers", Some(&found), word, &wanted.settings)
            });
        }
    }
}

fn bench(
    workspace: &Workspace,
    package: &str,
    name: &str,
    servers: Option<&Servers<'_>>,
    words: &[String],
    settings: &[String],
) -> Ending {
    let mut command = cargo(&workspace.root, &["bench", "-p", package, "--bench", name]);
    command.arg("--").args(words).args(settings);
    if let Some(servers) = servers {
        servers.name(&mut command);
    }
    succeeds(&mut command).map_or_else(Ending::failed, Ending::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(arguments: &[&str]) -> Wanted {
        Wanted::of(&arguments.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn without_a_word_everything_is_wanted_and_settings_are_for_all() {
        let all = wanted(&["--seconds", "1"]);
        assert_eq!(all.servers, SERVERS);
        assert_eq!(all.parts, Some(Vec::new()));
        assert_eq!(all.settings, ["--seconds", "1"]);
    }

    #[test]
    fn a_word_of_one_kind_leaves_the_other_out() {
        let server = wanted(&["postgres", "--windows", "3"]);
        assert_eq!((server.servers, server.parts), (vec!["postgres".to_owned()], None));
        assert_eq!(server.settings, ["--windows", "3"]);
        let value = wanted(&["redis", "--part", "latency"]);
        assert_eq!((value.servers.len(), value.parts), (1, None), "it is the value of a setting");
        assert_eq!(value.settings, ["--part", "latency"]);
        let part = wanted(&["cpu"]);
        assert_eq!((part.servers.len(), part.parts), (0, Some(vec!["cpu".to_owned()])));
        let both = wanted(&["redis", "memory"]);
        assert_eq!((both.servers.len(), both.parts.map(|parts| parts.len())), (1, Some(1)));
    }
}
