//! What an acknowledged write survives, as the servers are configured.

use std::{collections::BTreeMap, sync::Arc};

use dtx_core::{
    error::StoreError,
    store::Durability::{self, Nothing, PowerLoss, ProcessCrash},
};
use redis::{Value, cmd};

use crate::{
    error::invalid,
    link::Node,
    values::{bytes, texts},
};

/// What is stated, and why it is not more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stated {
    pub(crate) durability: Durability,
    pub(crate) reasons: Vec<String>,
}

/// What one server says of itself. What it does not tell is not there.
#[derive(Clone, Debug, Default)]
struct Server {
    info: BTreeMap<String, String>,
    config: BTreeMap<String, String>,
}

/// The settings that decide.
const SETTINGS: [&str; 4] =
    ["appendonly", "appendfsync", "maxmemory-policy", "no-appendfsync-on-rewrite"];

/// Asks every server; the weakest counts.
pub(crate) async fn state(nodes: &[Arc<Node>]) -> Result<Stated, StoreError> {
    let mut stated = Stated { durability: PowerLoss, reasons: Vec::new() };
    for node in nodes {
        let server = Server::ask(node).await.map_err(|failure| failure.of_read("open"))?;
        if server.info.get("role").is_some_and(|role| role != "master") {
            let name = node.name();
            return Err(invalid(
                "open",
                format!("{name} is a replica; give the URL of its master"),
            ));
        }
        for (durability, reason) in server.weaknesses() {
            stated.durability = stated.durability.min(durability);
            stated.reasons.push(format!("{}: {reason}", node.name()));
        }
    }
    Ok(stated)
}

impl Server {
    async fn ask(node: &Node) -> Result<Self, crate::error::Failure> {
        let mut commands = vec![cmd("INFO")];
        for setting in SETTINGS {
            let mut command = cmd("CONFIG");
            command.arg("GET").arg(setting);
            commands.push(command);
        }
        let mut server = Self::default();
        let mut answers = node.send(commands, false).await?.into_iter();
        match answers.next() {
            Some(Value::ServerError(_)) | None => {}
            Some(Value::VerbatimString { text, .. }) => server.info = lines(&text),
            Some(answer) => server.info = lines(&String::from_utf8_lossy(&bytes(answer)?)),
        }
        for answer in answers {
            if matches!(answer, Value::ServerError(_)) {
                continue;
            }
            if let Ok([name, value]) = <[_; 2]>::try_from(texts(answer)?) {
                let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
                server.config.insert(text(name), text(value));
            }
        }
        Ok(server)
    }

    fn info(&self, name: &str) -> Option<&str> {
        self.info.get(name).map(String::as_str)
    }

    /// A setting, or what INFO shows of it.
    fn setting(&self, name: &str, shown: &str) -> Option<&str> {
        self.config.get(name).map(String::as_str).or_else(|| self.info(shown))
    }

    /// Everything that makes it less than the loss of power.
    fn weaknesses(&self) -> Vec<(Durability, String)> {
        let mut found = Vec::new();
        match self.setting("appendonly", "aof_enabled") {
            Some("yes" | "1") => self.weak_syncs(&mut found),
            Some(_) => found.push((Nothing, "appendonly is off".to_owned())),
            None => found.push((Nothing, "CONFIG and INFO are forbidden".to_owned())),
        }
        match self.setting("maxmemory-policy", "maxmemory_policy") {
            Some("noeviction") => {}
            Some(policy) => {
                found.push((Nothing, format!("maxmemory-policy is {policy}, not noeviction")));
            }
            None => found.push((Nothing, "maxmemory-policy cannot be read".to_owned())),
        }
        match self.info("connected_slaves") {
            Some("0") => {}
            Some(count) => found.push((
                ProcessCrash,
                format!("{count} replicas may be promoted without what they have not yet"),
            )),
            None => found.push((ProcessCrash, "whether there are replicas cannot be read".into())),
        }
        found
    }

    fn weak_syncs(&self, found: &mut Vec<(Durability, String)>) {
        match self.config.get("appendfsync").map(String::as_str) {
            Some("always") => {}
            Some(other) => {
                found.push((ProcessCrash, format!("appendfsync is {other}, not always")));
            }
            None => found.push((ProcessCrash, "CONFIG is forbidden: appendfsync unknown".into())),
        }
        if self.config.get("no-appendfsync-on-rewrite").is_some_and(|value| value != "no") {
            found.push((ProcessCrash, "no-appendfsync-on-rewrite is on".to_owned()));
        }
    }
}

/// The `name:value` lines of INFO.
fn lines(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.trim_end().split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(info: &str, config: &[(&str, &str)]) -> Server {
        let config = config.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        Server { info: lines(info), config: config.collect() }
    }

    const INFO: &str = "# Server\r\nrole:master\r\nconnected_slaves:0\r\naof_enabled:1\r\nmaxmemory_policy:noeviction\r\n";
    const SAFE: [(&str, &str); 4] = [
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("maxmemory-policy", "noeviction"),
        ("no-appendfsync-on-rewrite", "no"),
    ];

    #[test]
    fn only_the_safe_settings_survive_the_loss_of_power() {
        assert_eq!(server(INFO, &SAFE).weaknesses(), []);
        for (name, value, expected) in [
            ("appendonly", "no", Nothing),
            ("appendfsync", "everysec", ProcessCrash),
            ("appendfsync", "no", ProcessCrash),
            ("maxmemory-policy", "allkeys-lru", Nothing),
            ("no-appendfsync-on-rewrite", "yes", ProcessCrash),
        ] {
            let config: Vec<_> =
                SAFE.map(|(of, safe)| (of, if of == name { value } else { safe })).into();
            let found = server(INFO, &config).weaknesses();
            assert_eq!(found.len(), 1, "{name} {value}: {found:?}");
            assert_eq!(found[0].0, expected, "{name} {value}");
        }
        let replica = INFO.replace("slaves:0", "slaves:2");
        assert_eq!(server(&replica, &SAFE).weaknesses()[0].0, ProcessCrash);
    }

    #[test]
    fn what_is_forbidden_is_not_assumed() {
        let found = server(INFO, &[]).weaknesses();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, ProcessCrash, "{found:?}");
        let weakest = server("", &[]).weaknesses().into_iter().map(|found| found.0).min();
        assert_eq!(weakest, Some(Nothing));
    }
}
