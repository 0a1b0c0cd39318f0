//! Rules about documents: they are there, they name what there is, and their links lead
//! somewhere.

use crate::{
    rules::table::{Finding, RULES},
    workspace::Facts,
};

const DOCUMENTS: [&str; 9] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "deny.toml",
    ".ci/run",
];

const ARCHITECTURE: &str = "ARCHITECTURE.md";
const DATA_SOURCES: &str = "data/README.md";

fn text<'a>(facts: &'a Facts, path: &str) -> &'a str {
    let found = facts.texts.iter().find(|(found, _)| found == path);
    found.map_or("", |(_, text)| text.as_str())
}

fn names(document: &str, name: &str) -> bool {
    document.contains(&format!("`{name}`"))
}

pub(super) fn documents(facts: &Facts) -> Vec<Finding> {
    let missing = DOCUMENTS.iter().filter(|path| !facts.paths.iter().any(|found| found == *path));
    let mut findings: Vec<_> = missing.map(|path| Finding::new(path, 0, "is missing")).collect();
    let sources = text(facts, DATA_SOURCES);
    for path in facts.paths.iter().filter(|path| *path != DATA_SOURCES) {
        let Some(name) = path.strip_prefix("data/") else { continue };
        if !names(sources, name) {
            findings.push(Finding::new(
                path,
                0,
                format!("{DATA_SOURCES} does not name its source"),
            ));
        }
    }
    findings
}

pub(super) fn crates_described(facts: &Facts) -> Vec<Finding> {
    let architecture = text(facts, ARCHITECTURE);
    let missing = facts.packages.iter().filter(|package| !names(architecture, &package.name));
    let text = |name: &str| format!("does not name the crate `{name}`");
    missing.map(|package| Finding::new(ARCHITECTURE, 0, text(&package.name))).collect()
}

pub(super) fn rules_described(facts: &Facts) -> Vec<Finding> {
    let architecture = text(facts, ARCHITECTURE);
    let missing = RULES.iter().filter(|rule| !names(architecture, rule.name));
    let text = |name: &str| format!("does not name the rule `{name}`");
    missing.map(|rule| Finding::new(ARCHITECTURE, 0, text(rule.name))).collect()
}

pub(super) fn links(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in facts.texts.iter().filter(|(path, _)| path.ends_with(".md")) {
        for (index, line) in text.lines().enumerate() {
            for target in targets(line) {
                if !leads_somewhere(facts, path, target) {
                    let text = format!("the link to `{target}` leads nowhere");
                    findings.push(Finding::new(path, index + 1, text));
                }
            }
        }
    }
    findings
}

/// The targets of a line's links, as in `[text](target)`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

fn leads_somewhere(facts: &Facts, from: &str, target: &str) -> bool {
    let target = target.split('#').next().unwrap_or(target);
    if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
        return true;
    }
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let full = parts.join("/");
    facts.paths.iter().any(|path| *path == full || path.starts_with(&format!("{full}/")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Package;

    fn facts(texts: &[(&str, &str)]) -> Facts {
        let own = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
        Facts {
            texts: texts.iter().map(own).collect(),
            paths: texts.iter().map(|(path, _)| (*path).to_owned()).collect(),
            ..Facts::default()
        }
    }

    #[test]
    fn a_missing_document_and_a_data_file_without_a_source_are_found() {
        let mut all: Vec<_> = DOCUMENTS.iter().map(|path| (*path, "")).collect();
        all.extend([("data/README.md", "`a.csv` is ours"), ("data/a.csv", "")]);
        assert_eq!(documents(&facts(&all)), []);
        assert_eq!(documents(&facts(&all[1..])).len(), 1);
        all.push(("data/b.csv", ""));
        assert_eq!(documents(&facts(&all)).len(), 1);
    }

    #[test]
    fn a_crate_or_a_rule_that_the_architecture_does_not_name_is_found() {
        let mut known = facts(&[(ARCHITECTURE, "`dtx-core` is pure; `layers` checks it")]);
        known.packages = vec![Package { name: "dtx-core".into(), ..Package::default() }];
        assert_eq!(crates_described(&known), []);
        assert_eq!(rules_described(&known).len(), RULES.len() - 1);
        known.packages.push(Package { name: "dtx".into(), ..Package::default() });
        assert_eq!(crates_described(&known).len(), 1);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let line = "[a](b.md) [b](../README.md#x) [c](https://x.org) [d](#here) [e](../docs)";
        let good = facts(&[("docs/a.md", line), ("docs/b.md", ""), ("README.md", "")]);
        assert_eq!(links(&good), []);
        assert_eq!(links(&facts(&[("docs/a.md", "[a](b.md) and [b](../c.md)")])).len(), 2);
    }
}
