//! Runs cells, on the servers that are there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, process,
};

use serde_json::Value;

use super::{
    cell::{Equipment, Trial, attempt, first_orders, own_broker},
    report::{self, Found},
    table::{Cell, PATTERNS, STORES, TRANSPORTS},
};
use crate::{
    process::{cargo, output},
    services::Servers,
    steps::{Counts, Ending, Steps, say},
    workspace::Workspace,
};

/// How many orders each trial runs, unless asked otherwise.
pub(crate) const ORDERS_DEFAULT: usize = 200;

/// How many orders each trial of the tier runs.
const ORDERS_PROVE: usize = 1_000;

/// Which cells, and how.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// All if empty; so are the next two.
    pub(crate) stores: Vec<String>,
    pub(crate) transports: Vec<String>,
    pub(crate) patterns: Vec<String>,
    /// Only those of the slice of `cargo xtask ci`.
    pub(crate) slice: bool,
    /// Only list them.
    pub(crate) list: bool,
    /// Print one JSON object on stdout, and everything else on stderr.
    pub(crate) json: bool,
    /// Services that must be here: without one of them it fails, not skips.
    pub(crate) require: Vec<String>,
    /// How many orders.
    pub(crate) orders: usize,
}

impl Default for Wanted {
    /// Everything.
    fn default() -> Self {
        Self {
            stores: Vec::new(),
            transports: Vec::new(),
            patterns: Vec::new(),
            slice: false,
            list: false,
            json: false,
            require: Vec::new(),
            orders: ORDERS_DEFAULT,
        }
    }
}

impl Wanted {
    fn cells(&self) -> Result<Vec<Cell>, String> {
        known("--store", &self.stores, STORES.map(|store| store.name))?;
        known("--transport", &self.transports, TRANSPORTS.map(|transport| transport.name))?;
        known("--pattern", &self.patterns, PATTERNS)?;
        if self.orders == 0 {
            return Err("--orders is 0; give at least 1".into());
        }
        let has = |names: &[String], name: &str| {
            names.is_empty() || names.iter().any(|wanted| wanted == name)
        };
        let cells = Cell::all().filter(|cell| {
            has(&self.stores, cell.store.name)
                && has(&self.transports, cell.transport.name)
                && has(&self.patterns, cell.pattern)
                && (!self.slice || cell.is_in_slice())
        });
        Ok(cells.collect())
    }
}

fn known<const N: usize>(
    option: &str,
    names: &[String],
    all: [&'static str; N],
) -> Result<(), String> {
    match names.iter().find(|name| !all.contains(&name.as_str())) {
        Some(name) => Err(format!("{option} {name:?} is unknown; give some of {all:?}")),
        None => Ok(()),
    }
}

/// The slice of `cargo xtask ci`, all of whose servers must be here.
pub(crate) fn slice(workspace: &Workspace, steps: &mut Steps, require: &[String]) {
    let wanted = Wanted { slice: true, require: require.to_vec(), ..Wanted::default() };
    if let Err(problem) = run(workspace, steps, &wanted) {
        steps.run("matrix", || Ending::failed(problem));
    }
}

/// Runs the cells and prints what they came to.
///
/// # Errors
/// A text when the command line is wrong or nothing can be run at all.
pub(crate) fn run(workspace: &Workspace, steps: &mut Steps, wanted: &Wanted) -> Result<(), String> {
    let cells = wanted.cells()?;
    if wanted.list {
        steps.run("matrix", || {
            cells.iter().for_each(|cell| say(&cell.name()));
            Ending::of(true)
        });
        return Ok(());
    }
    let mut found = Vec::new();
    carry_out(workspace, steps, cells, wanted, &mut |one| {
        found.push(one);
        Ok(())
    })?;
    say(&report::table(&found));
    if wanted.json {
        println!("{}", report::object(&found));
    }
    Ok(())
}

/// The tier `matrix`: all cells, but those that are `known` already. `keep` is given each.
///
/// # Errors
/// A text when a cell has failed, or a server is missing.
pub(crate) fn prove(
    workspace: &Workspace,
    known: &[Value],
    mut keep: impl FnMut(Value) -> Result<(), String>,
) -> Result<(), String> {
    let cells: Vec<_> =
        Cell::all().filter(|cell| !known.iter().any(|known| report::is_of(known, cell))).collect();
    let require = cells.iter().flat_map(Cell::services).map(str::to_owned).collect();
    let wanted = Wanted { require, orders: ORDERS_PROVE, ..Wanted::default() };
    let mut steps = Steps::new();
    carry_out(workspace, &mut steps, cells, &wanted, &mut |one| {
        let is_whole = one.failures.is_empty() && !one.outcomes.is_empty();
        keep(report::cell(&one))?;
        if is_whole { Ok(()) } else { Err(format!("{} has failed", one.cell.name())) }
    })
}

/// Runs cells, and hands over each. Ends at the first that cannot be handed over.
fn carry_out(
    workspace: &Workspace,
    steps: &mut Steps,
    cells: Vec<Cell>,
    wanted: &Wanted,
    each: &mut dyn FnMut(Found) -> Result<(), String>,
) -> Result<(), String> {
    let services: BTreeSet<&str> = cells.iter().flat_map(Cell::services).collect();
    let required: Vec<String> =
        wanted.require.iter().filter(|name| services.contains(name.as_str())).cloned().collect();
    let names: Vec<String> = services.into_iter().map(str::to_owned).collect();
    let servers = Servers::find_these(workspace, steps, &names, &required);
    let equipment = equip(workspace, wanted.orders, servers.urls())?;
    let mut result = Ok(());
    for cell in cells {
        steps.run(&format!("matrix: {}", cell.name()), || {
            let found = run_cell(cell, &equipment, wanted.slice);
            let ending = ending(&found);
            result = each(found);
            ending
        });
        if result.is_err() {
            break;
        }
    }
    // What is left there is only in the way.
    let _ = fs::remove_dir_all(&equipment.folder);
    result
}

/// Builds the program `dtx` with what these servers need.
pub(super) fn build(workspace: &Workspace, urls: &BTreeMap<String, String>) -> Result<(), String> {
    let features: Vec<&str> = urls.keys().map(String::as_str).collect();
    let arguments = ["build", "--quiet", "--profile", "checked", "--package", "dtx-cli"];
    let mut build = cargo(&workspace.root, &arguments);
    output(build.args(["--features", &features.join(",")])).map(drop)
}

/// Builds the program and writes the orders.
fn equip(
    workspace: &Workspace,
    orders: usize,
    urls: BTreeMap<String, String>,
) -> Result<Equipment<'_>, String> {
    build(workspace, &urls)?;
    let stamp = format!("m{}", process::id());
    let folder = workspace.target.join("matrix").join(&stamp);
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let shipped = workspace.root.join("data/cdnow_orders.csv");
    let chosen = folder.join("orders.csv");
    first_orders(&shipped, &chosen, orders)?;
    let program = workspace.target.join("checked/dtx");
    Ok(Equipment { workspace, program, orders: chosen, folder, stamp, urls })
}

fn run_cell(cell: Cell, with: &Equipment<'_>, is_slice: bool) -> Found {
    let mut found = Found { cell, outcomes: Vec::new(), failures: Vec::new(), skipped: None };
    if let Some(service) = cell.services().find(|service| !with.urls.contains_key(*service)) {
        found.skipped = Some(format!("NO SERVER OF {}", service.to_uppercase()));
        return found;
    }
    let is_killed = cell.has_broker_killed(is_slice);
    for trial in Trial::ALL {
        if trial == Trial::Kills && !cell.store.durable {
            found.skipped = Some("kills: the store forgets".into());
            continue;
        }
        if trial == Trial::Broker && !is_killed {
            continue;
        }
        let broker = is_killed.then(|| own_broker(&cell, trial, with)).transpose();
        let attempted =
            broker.and_then(|broker| attempt(&cell, trial, with, broker.flatten().as_ref()));
        match attempted {
            Ok(outcome) => found.outcomes.push(outcome),
            Err(problem) => found.failures.push((trial.name(), problem)),
        }
    }
    found
}

fn ending(found: &Found) -> Ending {
    for (trial, problem) in &found.failures {
        say(&format!("FAILED: {trial}: {problem}"));
    }
    match &found.skipped {
        Some(reason) if found.outcomes.is_empty() && found.failures.is_empty() => {
            Ending::skipped(reason)
        }
        _ => Ending::Ran(Counts {
            passed: found.outcomes.len() as u64,
            failed: found.failures.len() as u64,
            skipped: 0,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(stores: &[&str], patterns: &[&str]) -> Wanted {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Wanted { stores: owned(stores), patterns: owned(patterns), ..Wanted::default() }
    }

    #[test]
    fn cells_are_chosen_by_name() {
        assert_eq!(wanted(&[], &[]).cells().expect("all").len(), 72);
        assert_eq!(wanted(&["redb", "redis"], &["2pc"]).cells().expect("some").len(), 6);
        let error = wanted(&["oracle"], &[]).cells().expect_err("no such store");
        assert!(error.contains("oracle") && error.contains("postgres"), "{error}");
        let none = Wanted { orders: 0, ..wanted(&[], &[]) };
        assert!(none.cells().expect_err("none").contains("--orders"));
    }
}
