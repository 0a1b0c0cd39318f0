//! The golden scripts cover the tables, and the machines do nothing but what the tables say.

use std::collections::BTreeSet;

use dtx_core::pattern::{
    table::{Row, Table},
    tables,
};

use crate::{golden::scripts, script::Script};

fn parsed(table: &str) -> Vec<(Script, String)> {
    let read = scripts(table).into_iter();
    read.map(|(_, given, expected)| (Script::parse(&given), expected)).collect()
}

#[test]
fn every_cell_of_every_table_is_in_a_golden_script() {
    let mut missing = Vec::new();
    for table in tables::ALL {
        let mut fired = BTreeSet::new();
        for (script, _) in parsed(table.name) {
            let run = script.run(table);
            fired.extend(run.fired.iter().map(|f| (f.row, format!("{:?} {:?}", f.from, f.on))));
        }
        for (place, row) in table.rows.iter().enumerate() {
            for (from, on) in row.cells() {
                if !fired.contains(&(place, format!("{from:?} {on:?}"))) {
                    missing.push(format!("{}: {from:?}, {on:?}, {:?}", table.name, row.when));
                }
            }
        }
    }
    assert!(missing.is_empty(), "no script covers\n{}", missing.join("\n"));
}

/// Whether some golden script shows something else by this table.
fn is_noticed(scripts: &[(Script, String)], table: &Table<'_>) -> bool {
    scripts.iter().any(|(script, expected)| script.run(table).text != *expected)
}

#[test]
fn a_row_that_is_taken_out_is_noticed() {
    let mut unnoticed = Vec::new();
    for table in tables::ALL {
        let scripts = parsed(table.name);
        assert!(!is_noticed(&scripts, table), "the whole table of {} passes", table.name);
        for place in 0..table.rows.len() {
            let mut rows: Vec<Row> = table.rows.to_vec();
            let row = rows.remove(place);
            if !is_noticed(&scripts, &Table { rows: &rows, ..*table }) {
                unnoticed.push(format!("{}: {row:?}", table.name));
            }
        }
    }
    assert!(unnoticed.is_empty(), "nobody misses\n{}", unnoticed.join("\n"));
}

#[test]
fn an_act_that_is_taken_out_is_noticed() {
    let mut unnoticed = Vec::new();
    for table in tables::ALL {
        let scripts = parsed(table.name);
        for place in 0..table.rows.len() {
            let mut rows: Vec<Row> = table.rows.to_vec();
            // Without its last act and without its first one.
            let [_, shorter @ ..] = rows[place].acts else { continue };
            let last = rows[place].acts.len() - 1;
            for acts in [shorter, &table.rows[place].acts[..last]] {
                rows[place].acts = acts;
                if !is_noticed(&scripts, &Table { rows: &rows, ..*table }) {
                    unnoticed.push(format!("{}: {:?}", table.name, table.rows[place]));
                }
            }
        }
    }
    assert!(unnoticed.is_empty(), "nobody misses an act of\n{}", unnoticed.join("\n"));
}
