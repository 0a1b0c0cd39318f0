//! `cargo xtask features`: every feature of every crate alone, and the pairs that go together.

use std::time::Instant;

use serde_json::{Value, json};

use crate::{
    process::{cargo, output},
    services,
    steps::{Ending, Steps, say},
    workspace::{Package, Workspace},
};

/// Features that people choose together: one of the first with one of the second.
const PAIRS: [(&[&str], &[&str]); 2] = [
    (&["redb", "postgres", "redis"], &["inmem", "kafka", "nats"]),
    (&["crash-points"], &["mutants"]),
];

/// The crate that people use: each slice has all its features, one at a time.
const FACADE: &str = "dtx";

/// Over how many slices all other sets are spread.
const SLICES: usize = 4;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Only these packages; all if empty.
    pub(crate) packages: Vec<String>,
    /// Only list the sets.
    pub(crate) list: bool,
    /// Print one JSON object on stdout, and everything else on stderr.
    pub(crate) json: bool,
    /// Only the slice of `cargo xtask ci` with this number: over commits the slices add up.
    pub(crate) slice: Option<u64>,
}

impl Wanted {
    fn is_in_slice(&self, index: usize, set: &Set) -> bool {
        let of = |slice: u64| index % SLICES == (slice % SLICES as u64) as usize;
        let is_of_facade = set.package == FACADE && set.features.len() < 2;
        is_of_facade || self.slice.is_none_or(of)
    }

    fn has(&self, index: usize, set: &Set) -> bool {
        let is_of = self.packages.is_empty() || self.packages.contains(&set.package);
        is_of && self.is_in_slice(index, set)
    }
}

/// Features of a package that are built together, without the default ones.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Set {
    package: String,
    features: Vec<String>,
}

impl Set {
    fn of(package: &Package, features: &[&str]) -> Self {
        let features = features.iter().map(|name| (*name).to_owned()).collect();
        Self { package: package.name.clone(), features }
    }

    fn name(&self) -> String {
        let package = &self.package;
        match self.features.as_slice() {
            [] => format!("{package} without features"),
            [feature] => format!("{package} with {feature} alone"),
            several => format!("{package} with {}", several.join(" and ")),
        }
    }

    fn arguments(&self) -> Vec<String> {
        let fixed = ["check", "--locked", "--quiet", "--no-default-features", "--package"];
        let mut arguments = fixed.map(str::to_owned).to_vec();
        arguments.push(self.package.clone());
        if !self.features.is_empty() {
            arguments.extend(["--features".to_owned(), self.features.join(",")]);
        }
        arguments
    }
}

/// Builds each set, and says what does not build.
///
/// # Errors
/// A text when a package or a feature of the table is unknown.
pub(crate) fn run(workspace: &Workspace, steps: &mut Steps, wanted: &Wanted) -> Result<(), String> {
    let all = sets(&workspace.packages)?;
    let is_known = |name: &&String| workspace.packages.iter().any(|found| found.name == **name);
    if let Some(name) = wanted.packages.iter().find(|name| !is_known(name)) {
        return Err(format!("--package {name:?} is unknown"));
    }
    let (mut built, mut failed) = (Vec::new(), 0);
    for (_, set) in all.iter().enumerate().filter(|(index, set)| wanted.has(*index, set)) {
        if wanted.list {
            say(&set.name());
            built.push(json!({ "package": set.package, "features": set.features }));
            continue;
        }
        steps.run(&set.name(), || {
            let (result, value) = build(workspace, set);
            built.push(value);
            failed += usize::from(result.is_err());
            result.map_or_else(Ending::failed, |()| Ending::of(true))
        });
    }
    if wanted.list {
        steps.run("features", || Ending::of(true));
    }
    if wanted.json {
        println!("{}", json!({ "sets": built, "failed": failed }));
    }
    Ok(())
}

fn build(workspace: &Workspace, set: &Set) -> (Result<(), String>, Value) {
    let begun = Instant::now();
    let result = output(cargo(&workspace.root, &[]).args(set.arguments())).map(drop);
    let value = json!({
        "package": set.package,
        "features": set.features,
        "seconds": begun.elapsed().as_secs_f64(),
        "problem": result.as_ref().err(),
    });
    (result, value)
}

/// No feature, each alone, and the pairs, of every package that has features. What tests of
/// servers stand behind is left out: it changes what is tested, not what is built.
fn sets(packages: &[Package]) -> Result<Vec<Set>, String> {
    let mut sets = Vec::new();
    for package in packages {
        let is_own = |name: &&str| *name != "default" && !name.starts_with(services::FEATURE);
        let own: Vec<&str> = package.features.iter().map(String::as_str).filter(is_own).collect();
        if own.is_empty() {
            continue;
        }
        sets.push(Set::of(package, &[]));
        sets.extend(own.iter().map(|feature| Set::of(package, &[feature])));
        let both = pairs().filter(|(one, other)| own.contains(one) && own.contains(other));
        sets.extend(both.map(|(one, other)| Set::of(package, &[one, other])));
    }
    let is_there = |pair: &(&str, &str)| {
        sets.iter().any(|set| set.features.iter().map(String::as_str).eq([pair.0, pair.1]))
    };
    match pairs().find(|pair| !is_there(pair)) {
        Some((one, other)) => Err(format!("no package has the features {one} and {other}")),
        None => Ok(sets),
    }
}

fn pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    let each = |(ones, others): (&'static [_], &'static [_])| {
        ones.iter().flat_map(move |one| others.iter().map(move |other| (*one, *other)))
    };
    PAIRS.into_iter().flat_map(each)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, features: &[&str]) -> Package {
        let features = features.iter().map(|feature| (*feature).to_owned()).collect();
        Package { name: name.to_owned(), features, ..Package::default() }
    }

    fn facade() -> Package {
        let stores_and_transports = ["redb", "postgres", "redis", "inmem", "kafka", "nats"];
        let others = ["default", "crash-points", "mutants", "test-kafka"];
        package("dtx", &[&stores_and_transports[..], &others[..]].concat())
    }

    #[test]
    fn every_feature_is_built_alone_and_each_store_with_each_transport() {
        let all = sets(&[package("a", &[]), facade(), package("b", &["default", "ssl"])]);
        let names: Vec<_> = all.expect("they are there").iter().map(Set::name).collect();
        assert_eq!(names.len(), 1 + 8 + 9 + 1 + 2, "{names:#?}");
        for name in [
            "dtx without features",
            "dtx with kafka alone",
            "dtx with redis and nats",
            "dtx with crash-points and mutants",
            "b with ssl alone",
        ] {
            assert!(names.iter().any(|found| found == name), "{name}: {names:#?}");
        }
    }

    #[test]
    fn the_slices_add_up_and_each_has_every_feature_of_the_facade() {
        let all = sets(&[facade(), package("b", &["one", "two", "three", "four", "five"])]);
        let all = all.expect("they are there");
        let slice = |number| {
            let wanted = Wanted { slice: Some(number), ..Wanted::default() };
            let numbered = all.iter().enumerate();
            numbered
                .filter(|(index, set)| wanted.has(*index, set))
                .map(|(i, _)| i)
                .collect::<Vec<_>>()
        };
        let is_of_facade = |set: &&Set| set.package == FACADE && set.features.len() < 2;
        let facade = all.iter().filter(is_of_facade).count();
        let mut seen: Vec<_> = (7..7 + SLICES as u64).flat_map(slice).collect();
        assert_eq!(seen.len(), SLICES * facade + (all.len() - facade));
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), all.len());
        assert_eq!(slice(3), slice(3 + SLICES as u64));
    }

    #[test]
    fn a_pair_that_nobody_has_is_an_error() {
        let mut facade = facade();
        facade.features.retain(|name| name != "redis");
        assert!(sets(&[facade]).expect_err("redis is gone").contains("redis"));
    }

    #[test]
    fn a_set_is_built_without_the_default_features() {
        let arguments = Set::of(&facade(), &["redb", "nats"]).arguments().join(" ");
        assert!(arguments.contains("--no-default-features --package dtx --features redb,nats"));
        assert!(!Set::of(&facade(), &[]).arguments().join(" ").contains("--features "));
    }
}
