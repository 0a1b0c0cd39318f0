//! The table of the rules.

use std::fmt;

use crate::{
    rules::{
        dependencies, documents, exceptions, features, layout, purity, settings, testing, words,
    },
    workspace::Facts,
};

/// One rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// Its name in reports, in `ARCHITECTURE.md` and in the table of exceptions.
    pub(crate) name: &'static str,
    /// What must not be.
    pub(crate) says: &'static str,
    /// Finds what breaks the rule.
    pub(crate) check: fn(&Facts) -> Vec<Finding>,
}

/// One place where a rule is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The file, or the crate.
    pub(crate) place: String,
    /// The line, from 1; 0 when the whole file is meant.
    pub(crate) line: usize,
    /// What is wrong.
    pub(crate) text: String,
}

impl Finding {
    pub(crate) fn new(place: &str, line: usize, text: impl Into<String>) -> Self {
        Self { place: place.to_owned(), line, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.place, self.text),
            line => write!(f, "{}:{line}: {}", self.place, self.text),
        }
    }
}

macro_rules! rules {
    ($($name:literal, $says:literal, $check:expr;)*) => {
        &[$(Rule { name: $name, says: $says, check: $check }),*]
    };
}

/// All rules.
pub(crate) const RULES: &[Rule] = rules! {
    "layers", "no crate depends on a crate that stands above it", dependencies::layers;
    "backends-apart", "no backend imports anything but core, and never another backend",
        dependencies::backends_apart;
    "testkit-dev-only", "the testkit is no normal dependency", dependencies::testkit_dev_only;
    "pure-core-tree", "no async runtime and no client in the tree of dtx-core",
        dependencies::pure_core_tree;
    "no-c-build", "no C code is built for the default features", dependencies::no_c_build;
    "public-registry-only", "no dependency comes from anywhere but the public registry",
        dependencies::public_registry_only;
    "pure-machines",
        "no async, clock, randomness, I/O or unordered iteration in pattern, engine, resource and pool",
        purity::pure_machines;
    "features-add", "no item that a feature changes: features add items", features::features_add;
    "no-unsafe", "no crate without `#![forbid(unsafe_code)]`", layout::no_unsafe;
    "declare-only", "no code in lib.rs and mod.rs: they declare and re-export",
        layout::declare_only;
    "short-files", "no file over 600 lines", layout::short_files;
    "short-functions", "no function over 70 lines", layout::short_functions;
    "no-unwrap", "no `unwrap` outside tests", testing::no_unwrap;
    "no-ignored-tests", "no test that is never run", testing::no_ignored_tests;
    "no-sleep-in-tests", "no test waits by sleeping", testing::no_sleep_in_tests;
    "no-unfinished-work", "no marks of unfinished work", words::no_unfinished_work;
    "no-machine-words", "no paths of a machine and no hosts of registries",
        words::no_machine_words;
    "documents", "no repository without its documents, no data file without its source",
        documents::documents;
    "crates-described", "no crate that ARCHITECTURE.md does not name",
        documents::crates_described;
    "settings-described", "no setting that docs/settings.md does not describe",
        settings::settings_described;
    "rules-described", "no rule that ARCHITECTURE.md does not name", documents::rules_described;
    "links", "no link to a file that is not there", documents::links;
    "exceptions-used", "no exception without a use and a reason", exceptions::exceptions_used;
};

/// What breaks this rule and is no exception.
pub(crate) fn examine(rule: &Rule, facts: &Facts) -> Vec<Finding> {
    let mut findings = (rule.check)(facts);
    findings.retain(|finding| exceptions::find(rule.name, finding).is_none());
    findings
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_of_rules_are_unique() {
        let names: BTreeSet<_> = RULES.iter().map(|rule| rule.name).collect();
        assert_eq!(names.len(), RULES.len());
    }
}
