//! Rules about who may depend on whom.

use crate::{
    rules::table::Finding,
    workspace::{DependencyKind, Facts, Package},
};

/// Which crates of the workspace each crate may need, dev-dependencies apart. A crate that is
/// not in the table has no place in the architecture yet.
const LAYERS: &[(&str, &[&str])] = &[
    ("dtx-core", &[]),
    ("dtx-geo", &["dtx-core"]),
    ("dtx-runtime", &["dtx-core"]),
    ("dtx-geo-host", &["dtx-core", "dtx-geo", "dtx-runtime"]),
    ("dtx-store-postgres", &["dtx-core"]),
    ("dtx-store-redb", &["dtx-core"]),
    ("dtx-store-redis", &["dtx-core"]),
    ("dtx-transport-inmem", &["dtx-core"]),
    ("dtx-transport-kafka", &["dtx-core"]),
    ("dtx-transport-nats", &["dtx-core"]),
    ("dtx-testkit", &["dtx-core"]),
    ("dtx-sim", &["dtx-core"]),
    (
        "dtx",
        &[
            "dtx-core",
            "dtx-geo",
            "dtx-geo-host",
            "dtx-runtime",
            "dtx-store-postgres",
            "dtx-store-redb",
            "dtx-store-redis",
            "dtx-transport-inmem",
            "dtx-transport-kafka",
            "dtx-transport-nats",
            "dtx-sim",
        ],
    ),
    // Its benchmarks need more, as dev-dependencies.
    ("dtx-bench", &["dtx-core", "dtx-runtime"]),
    ("dtx-shop", &["dtx"]),
    ("dtx-cli", &["dtx", "dtx-shop", "dtx-sim"]),
    ("xtask", &[]),
];

/// What dtx-core must not need: async runtimes, clients of servers, and sources of chance.
const IMPURE: [&str; 10] = [
    "tokio",
    "tokio-util",
    "async-std",
    "smol",
    "sqlx",
    "redis",
    "rdkafka",
    "async-nats",
    "rand",
    "getrandom",
];

/// What builds C code.
const C_BUILDERS: [&str; 5] = ["cc", "cmake", "bindgen", "pkg-config", "vcpkg"];

/// Crates named `-sys` that hold declarations only and build nothing.
const DECLARATIONS_ONLY: [&str; 4] = ["linux-raw-sys", "windows-sys", "js-sys", "web-sys"];

const PUBLIC_REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn is_backend(name: &str) -> bool {
    name.starts_with("dtx-store-") || name.starts_with("dtx-transport-")
}

/// The dependencies of a package on other packages of the workspace.
fn inner<'a>(
    facts: &'a Facts,
    package: &'a Package,
) -> impl Iterator<Item = (&'a str, DependencyKind)> {
    let known = |name: &str| facts.packages.iter().any(|other| other.name == name);
    let found = package.dependencies.iter().filter(move |found| known(&found.name));
    found.map(|found| (found.name.as_str(), found.kind))
}

pub(super) fn layers(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &facts.packages {
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == package.name) else {
            let text = "is not in the table of layers (xtask/src/rules/dependencies.rs)";
            findings.push(Finding::new(&package.name, 0, text));
            continue;
        };
        for (name, kind) in inner(facts, package) {
            if kind != DependencyKind::Dev && !allowed.contains(&name) {
                findings.push(Finding::new(&package.name, 0, format!("may not need {name}")));
            }
        }
    }
    findings
}

pub(super) fn backends_apart(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in facts.packages.iter().filter(|package| is_backend(&package.name)) {
        for (name, kind) in inner(facts, package) {
            let allowed = match kind {
                DependencyKind::Dev => !is_backend(name),
                DependencyKind::Normal | DependencyKind::Build => name == "dtx-core",
            };
            if !allowed {
                findings.push(Finding::new(&package.name, 0, format!("imports {name}")));
            }
        }
    }
    findings
}

pub(super) fn testkit_dev_only(facts: &Facts) -> Vec<Finding> {
    let needs = |package: &&Package| {
        let mut inner = inner(facts, package);
        inner.any(|(name, kind)| name == "dtx-testkit" && kind != DependencyKind::Dev)
    };
    let broken = facts.packages.iter().filter(needs);
    broken.map(|package| Finding::new(&package.name, 0, "needs the testkit")).collect()
}

pub(super) fn pure_core_tree(facts: &Facts) -> Vec<Finding> {
    let broken = facts.core_tree.iter().filter(|name| IMPURE.contains(&name.as_str()));
    broken.map(|name| Finding::new("dtx-core", 0, format!("needs {name}"))).collect()
}

pub(super) fn no_c_build(facts: &Facts) -> Vec<Finding> {
    let builds_c = |name: &&String| {
        let name = name.as_str();
        C_BUILDERS.contains(&name) || (name.ends_with("-sys") && !DECLARATIONS_ONLY.contains(&name))
    };
    let broken = facts.facade_tree.iter().filter(builds_c);
    broken.map(|name| Finding::new("dtx", 0, format!("needs {name}"))).collect()
}

pub(super) fn public_registry_only(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in facts.texts.iter().filter(|(path, _)| path == "Cargo.lock") {
        for (index, line) in text.lines().enumerate() {
            let Some(source) = line.strip_prefix("source = ") else { continue };
            if source.trim_matches('"') != PUBLIC_REGISTRY {
                findings.push(Finding::new(path, index + 1, "comes from elsewhere"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use DependencyKind::{Build, Dev, Normal};

    use super::*;
    use crate::workspace::Dependency;

    fn facts(packages: &[(&str, &[(&str, DependencyKind)])]) -> Facts {
        let package = |(name, needs): &(&str, &[(&str, DependencyKind)])| Package {
            name: (*name).to_owned(),
            dependencies: needs
                .iter()
                .map(|(name, kind)| Dependency { name: (*name).to_owned(), kind: *kind })
                .collect(),
            ..Package::default()
        };
        Facts { packages: packages.iter().map(package).collect(), ..Facts::default() }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_crate_that_needs_one_above_it_is_found() {
        let good: &[(&str, DependencyKind)] = &[("dtx-core", Normal), ("serde", Normal)];
        assert_eq!(layers(&facts(&[("dtx-core", &[]), ("dtx-runtime", good)])), []);
        let bad = facts(&[("dtx-core", &[("dtx-runtime", Build)]), ("dtx-runtime", good)]);
        assert_eq!(layers(&bad), [Finding::new("dtx-core", 0, "may not need dtx-runtime")]);
        assert_eq!(layers(&facts(&[("dtx-new", &[])])).len(), 1);
        assert_eq!(
            layers(&facts(&[("xtask", &[("dtx-core", Normal)]), ("dtx-core", &[])])).len(),
            1
        );
    }

    #[test]
    fn a_backend_that_imports_another_is_found_even_in_its_tests() {
        for (name, kind, broken) in [
            ("dtx-core", Normal, 0),
            ("dtx-testkit", Dev, 0),
            ("dtx-runtime", Normal, 1),
            ("dtx-transport-inmem", Normal, 1),
            ("dtx-transport-inmem", Dev, 1),
            ("redb", Normal, 0),
        ] {
            let needs: &[(&str, DependencyKind)] = &[(name, kind)];
            let all = facts(&[
                ("dtx-store-redb", needs),
                ("dtx-core", &[]),
                ("dtx-runtime", &[]),
                ("dtx-testkit", &[]),
                ("dtx-transport-inmem", &[]),
            ]);
            assert_eq!(backends_apart(&all).len(), broken, "{name} {kind:?}");
        }
    }

    #[test]
    fn the_testkit_as_a_normal_dependency_is_found() {
        let with = |kind| facts(&[("dtx", &[("dtx-testkit", kind)]), ("dtx-testkit", &[])]);
        assert_eq!(testkit_dev_only(&with(Dev)), []);
        assert_eq!(testkit_dev_only(&with(Normal)).len(), 1);
        assert_eq!(testkit_dev_only(&with(Build)).len(), 1);
    }

    #[test]
    fn a_runtime_or_a_client_below_core_is_found() {
        let with = |tree: &[&str]| Facts { core_tree: names(tree), ..Facts::default() };
        assert_eq!(pure_core_tree(&with(&["serde", "tracing", "tokio-not"])), []);
        assert_eq!(pure_core_tree(&with(&["serde", "tokio", "redis"])).len(), 2);
    }

    #[test]
    fn a_build_of_c_code_is_found() {
        let with = |tree: &[&str]| Facts { facade_tree: names(tree), ..Facts::default() };
        assert_eq!(no_c_build(&with(&["libc", "linux-raw-sys", "windows-sys"])), []);
        assert_eq!(no_c_build(&with(&["cc", "zstd-sys", "ccx"])).len(), 2);
    }

    #[test]
    fn a_source_other_than_the_public_registry_is_found() {
        let with = |line: &str| Facts {
            texts: vec![("Cargo.lock".into(), format!("name = \"a\"\n{line}\n"))],
            ..Facts::default()
        };
        assert_eq!(public_registry_only(&with(&format!("source = \"{PUBLIC_REGISTRY}\""))), []);
        assert_eq!(public_registry_only(&with("source = \"git+https://x.org/a\"")).len(), 1);
    }
}
