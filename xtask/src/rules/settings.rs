//! The rule about settings: what a user can set stands in the table of settings.

use crate::{
    rules::table::Finding,
    source::{SourceFile, block_end},
    workspace::Facts,
};

const TABLE: &str = "docs/settings.md";

/// Structs whose public fields are settings, beside those whose name ends with `Settings`.
const STRUCTS: [&str; 3] = ["Limits", "RetryPolicy", "StoreLimits"];

/// Where builders stand whose methods that take `mut self` are settings.
const BUILDERS: [(&str, &str); 6] = [
    ("dtx-store-postgres/src/config.rs", "PgConfig"),
    ("dtx-store-redb/src/builder.rs", "RedbStoreBuilder"),
    ("dtx-store-redis/src/settings.rs", "RedisSettings"),
    ("dtx-transport-inmem/src/settings.rs", "Builder"),
    ("dtx-transport-kafka/src/settings.rs", "KafkaSettings"),
    ("dtx-transport-nats/src/settings.rs", "NatsSettings"),
];

/// A setting: where it is, of what, and its name.
type Setting = (String, String, String);

pub(super) fn settings_described(facts: &Facts) -> Vec<Finding> {
    let table = facts.texts.iter().find(|(path, _)| path == TABLE);
    let table = table.map_or("", |(_, text)| text.as_str());
    let missing = settings(facts).into_iter().filter(|(_, of, name)| !names(table, of, name));
    missing
        .map(|(path, of, name)| {
            Finding::new(&path, 0, format!("{TABLE} does not describe `{name}` under `{of}`"))
        })
        .collect()
}

/// Whether the section of `of` has a row for `name`.
fn names(table: &str, of: &str, name: &str) -> bool {
    let heading = format!("`{of}`");
    let sections = table
        .split("\n## ")
        .filter(|section| section.lines().next().is_some_and(|first| first.contains(&heading)));
    sections.flat_map(str::lines).any(|line| line.starts_with(&format!("| `{name}` |")))
}

fn settings(facts: &Facts) -> Vec<Setting> {
    let mut found = Vec::new();
    for file in facts.sources.iter().filter(|file| is_product(&file.path)) {
        let code = file.product_code();
        for (at, _) in code.match_indices("pub struct ") {
            let name = word(&code[at + "pub struct ".len()..]);
            if name.ends_with("Settings") || STRUCTS.contains(&name) {
                found.extend(fields(file, &code, at, name));
            }
        }
        for (path, name) in BUILDERS {
            if file.path == path {
                found.extend(setters(file, &code, name));
            }
        }
    }
    found
}

/// Libraries that users build with; not the tools around them.
fn is_product(path: &str) -> bool {
    let crates =
        ["dtx-core/", "dtx-geo/", "dtx-geo-host/", "dtx-runtime/", "dtx-store-", "dtx-transport-"];
    crates.iter().any(|name| path.starts_with(name)) && path.contains("/src/")
}

fn word(code: &str) -> &str {
    let end = code.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(code.len());
    &code[..end]
}

fn fields(file: &SourceFile, code: &str, at: usize, of: &str) -> Vec<Setting> {
    let Some(open) = code[at..].find('{') else { return Vec::new() };
    let body = &code[at + open..block_end(code, at + open)];
    let fields = body.lines().filter_map(|line| line.trim().strip_prefix("pub "));
    let fields = fields.filter(|field| field.contains(':'));
    fields.map(|field| (file.path.clone(), of.to_owned(), word(field).to_owned())).collect()
}

fn setters(file: &SourceFile, code: &str, of: &str) -> Vec<Setting> {
    let setters = code.lines().filter_map(|line| line.trim().strip_prefix("pub fn "));
    let setters = setters.filter(|method| method.contains("(mut self"));
    setters.map(|method| (file.path.clone(), of.to_owned(), word(method).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(table: &str) -> Facts {
        let code = "/// Words.\npub struct HostSettings {\n    /// pub no: u8\n    pub prefetch: usize,\n    inner: u8,\n}\npub struct Other { pub x: u8 }\n";
        let builder = "impl Builder {\n    pub fn ack_wait(mut self, wait: Duration) -> Self {\n        self\n    }\n    pub fn build(self) {}\n}\n";
        Facts {
            sources: vec![
                SourceFile::new("dtx-runtime/src/settings.rs", code),
                SourceFile::new("dtx-transport-inmem/src/settings.rs", builder),
                SourceFile::new("dtx-sim/src/settings.rs", code),
            ],
            texts: vec![(TABLE.to_owned(), table.to_owned())],
            ..Facts::default()
        }
    }

    #[test]
    fn a_setting_without_a_row_in_its_section_is_found() {
        let whole = "# S\n\n## The host: `HostSettings`\n\n| `prefetch` | x |\n\n## `Builder`\n\n| `ack_wait` | y |\n";
        assert_eq!(settings_described(&facts(whole)), []);
        let elsewhere =
            whole.replace("| `prefetch` | x |", "").replace("| y |", "| y |\n| `prefetch` | x |");
        assert_eq!(settings_described(&facts(&elsewhere)).len(), 1);
        assert_eq!(settings_described(&facts("")).len(), 2);
    }
}
