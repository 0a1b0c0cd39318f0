//! What the matrix came to, for people and as one JSON object.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{cell::Outcome, table::Cell};

/// What came of one cell.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) cell: Cell,
    pub(crate) outcomes: Vec<Outcome>,
    /// Trials that failed, and why.
    pub(crate) failures: Vec<(&'static str, String)>,
    /// Why it, or a part of it, was not run.
    pub(crate) skipped: Option<String>,
}

/// One object: `cells` with their trials, and how many trials `failed`.
pub(crate) fn object(found: &[Found]) -> Value {
    let failed: usize = found.iter().map(|found| found.failures.len()).sum();
    json!({ "cells": found.iter().map(cell).collect::<Vec<_>>(), "failed": failed })
}

/// Whether an object is of this cell.
pub(crate) fn is_of(object: &Value, cell: &Cell) -> bool {
    object["store"] == cell.store.name
        && object["transport"] == cell.transport.name
        && object["pattern"] == cell.pattern
}

/// One cell as an object.
pub(crate) fn cell(found: &Found) -> Value {
    let trials = found.outcomes.iter().map(|outcome| {
        json!({
            "trial": outcome.trial.name(),
            "service_processes": outcome.processes,
            "kills": outcome.kills,
            "seconds": outcome.seconds,
            "report": outcome.report,
        })
    });
    let failures = found.failures.iter();
    let failures = failures.map(|(trial, why)| json!({ "trial": trial, "problem": why }));
    json!({
        "store": found.cell.store.name,
        "transport": found.cell.transport.name,
        "pattern": found.cell.pattern,
        "trials": trials.collect::<Vec<_>>(),
        "failures": failures.collect::<Vec<_>>(),
        "skipped": found.skipped,
    })
}

/// A table: one line for each trial.
pub(crate) fn table(found: &[Found]) -> String {
    let mut text = format!(
        "{:9} {:6} {:6} {:7} {:>4} {:>5} {:>6} {:>6} {:>6} {:>6} {:>6} {:>8}  {}\n",
        "store",
        "over",
        "as",
        "trial",
        "proc",
        "kills",
        "orders",
        "done",
        "undone",
        "attn",
        "p50ms",
        "tps",
        "sound"
    );
    for found in found {
        let cell = &found.cell;
        let names = format!("{:9} {:6} {:6}", cell.store.name, cell.transport.name, cell.pattern);
        for outcome in &found.outcomes {
            let number = |name: &str| outcome.report[name].as_u64().unwrap_or(0);
            let done = number("committed") + number("dispatched");
            let undone = number("aborted") + number("compensated");
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "{names} {:7} {:>4} {:>5} {:>6} {done:>6} {undone:>6} {:>6} {:>6.1} {:>8.0}  yes",
                outcome.trial.name(),
                outcome.processes + 1,
                outcome.kills,
                number("transactions"),
                number("needs_attention"),
                outcome.report["latency_ms"]["p50"].as_f64().unwrap_or(0.0),
                outcome.report["throughput_tps"].as_f64().unwrap_or(0.0),
            );
        }
        for (trial, why) in &found.failures {
            let _ = writeln!(text, "{names} {trial:7} FAILED: {why}");
        }
        if let Some(why) = &found.skipped {
            let _ = writeln!(text, "{names} SKIPPED: {why}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::cell::Trial;

    #[test]
    fn failures_and_what_was_skipped_are_in_both_forms() {
        let cell = Cell::all().next().expect("there are cells");
        let report = json!({ "committed": 3, "transactions": 4, "compensated": 1 });
        let outcome = Outcome { trial: Trial::Plain, processes: 2, kills: 1, seconds: 1.0, report };
        let found = [Found {
            cell,
            outcomes: vec![outcome],
            failures: vec![("faults", "half done".into())],
            skipped: Some("kills: it forgets".into()),
        }];
        let object = object(&found);
        assert!(is_of(&object["cells"][0], &cell));
        assert!(!Cell::all().skip(1).any(|other| is_of(&object["cells"][0], &other)));
        assert_eq!(object["failed"], 1);
        assert_eq!(object["cells"][0]["trials"][0]["report"]["committed"], 3);
        assert_eq!(object["cells"][0]["failures"][0]["problem"], "half done");
        let table = table(&found);
        assert!(table.contains("FAILED: half done") && table.contains("SKIPPED: kills"), "{table}");
    }
}
