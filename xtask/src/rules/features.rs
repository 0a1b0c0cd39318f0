//! The rule that features add items and change none: code that compiles with one set of them
//! compiles with every larger one, and means the same.

use crate::{
    rules::table::Finding,
    source::{SourceFile, has_word},
    workspace::Facts,
};

/// Crates that nobody builds on.
const PROGRAMS: [&str; 2] = ["dtx-cli/", "xtask/"];

/// What an item, an arm or a statement begins with.
const WHOLE: [&str; 15] = [
    "mod ",
    "use ",
    "extern ",
    "macro_rules!",
    "impl",
    "const ",
    "static ",
    "fn ",
    "async fn ",
    "struct ",
    "enum ",
    "trait ",
    "type ",
    "let ",
    "{",
];

pub(super) fn features_add(facts: &Facts) -> Vec<Finding> {
    let binds = |file: &&SourceFile| !PROGRAMS.iter().any(|start| file.path.starts_with(start));
    facts.sources.iter().filter(binds).flat_map(examine).collect()
}

fn examine(file: &SourceFile) -> Vec<Finding> {
    let lines: Vec<(usize, &str)> =
        file.product_lines().map(|(number, line)| (number, line.trim())).collect();
    let mut findings = Vec::new();
    for (at, (number, line)) in lines.iter().enumerate() {
        if !line.starts_with("#[cfg(") || !has_word(line, "feature") {
            continue;
        }
        let (mut hidden, mut rest) = (false, &lines[at + 1..]);
        while let [(_, next), more @ ..] = rest
            && (next.is_empty() || next.starts_with("#["))
        {
            hidden |= next.contains("doc(hidden)");
            rest = more;
        }
        let Some((_, item)) = rest.first() else { continue };
        if let Some(text) = wrong(line, item).filter(|_| !hidden) {
            findings.push(Finding::new(&file.path, *number, text));
        }
    }
    findings
}

/// What is wrong with an item under a condition.
fn wrong(condition: &str, item: &str) -> Option<&'static str> {
    let is_public = item.starts_with("pub ");
    if is_public && has_word(condition, "not") {
        return Some("a public item has another form where a feature is missing");
    }
    let inner = match item.strip_prefix("pub(") {
        Some(rest) => rest.split_once(") ").map_or(rest, |(_, item)| item),
        None => item.strip_prefix("pub ").unwrap_or(item),
    };
    let is_whole = WHOLE.iter().any(|start| inner.starts_with(start)) || item.contains("=>");
    (!is_whole).then_some("a part of an item depends on a feature")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, code: &str) -> usize {
        let sources = vec![SourceFile::new(path, code)];
        features_add(&Facts { sources, ..Facts::default() }).len()
    }

    #[test]
    fn an_item_that_a_feature_changes_is_found() {
        for code in [
            "struct A {\n    #[cfg(feature = \"a\")]\n    pub a: u8,\n}",
            "enum A {\n    #[cfg(feature = \"a\")]\n    Postgres(u8),\n}",
            "fn f(\n    #[cfg(feature = \"a\")]\n    a: u8,\n) {}",
            "#[cfg(not(feature = \"a\"))]\npub fn f(a: u8) {}",
            "#[cfg(not(any(feature = \"a\", unix)))]\n#[inline]\npub struct A;",
        ] {
            assert_eq!(broken("dtx-core/src/a.rs", code), 1, "{code}");
            assert_eq!(broken("dtx-cli/src/a.rs", code), 0, "{code}");
        }
    }

    #[test]
    fn an_item_that_a_feature_adds_passes() {
        for code in [
            "#[cfg(feature = \"a\")]\npub mod a;",
            "#[cfg(all(feature = \"a\", unix))]\npub use a::B;",
            "#[cfg(feature = \"a\")]\n/// It does.\n#[must_use]\npub async fn f() {}",
            "match a {\n    #[cfg(not(feature = \"a\"))]\n    1 => 2,\n}",
            "#[cfg(not(feature = \"a\"))]\n#[macro_export]\nmacro_rules! m { () => {} }",
            "#[cfg(not(feature = \"a\"))]\n#[doc(hidden)]\npub const fn f() {}",
            "#[cfg(unix)]\npub struct A;",
            "#[cfg(all(test, feature = \"a\"))]\nmod tests {\n    struct A;\n}",
        ] {
            assert_eq!(broken("dtx-core/src/a.rs", code), 0, "{code}");
        }
    }
}
