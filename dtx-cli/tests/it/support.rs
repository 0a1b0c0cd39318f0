//! Running the program over the first rows of the shipped orders.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) const PATTERNS: [&str; 6] = ["0.5ps", "saga", "1.5ps", "2ps", "3ps", "2pc"];

const SHIPPED: &str = include_str!("../../../data/cdnow_orders.csv");

/// A folder of its own for each test.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The first orders of the shipped file.
    pub(crate) fn orders(&self, count: usize) -> PathBuf {
        let lines: Vec<_> = SHIPPED.lines().take(count + 1).collect();
        self.write("orders.csv", &(lines.join("\n") + "\n"))
    }

    pub(crate) fn redb(&self, name: &str) -> String {
        format!("redb:{}", self.path(name).display())
    }
}

/// `dtx run` of these orders, as JSON.
pub(crate) fn run(orders: &Path, pattern: &str, store: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dtx"));
    command.args(["run", "--pattern", pattern, "--store", store, "--json", "--orders"]);
    command.arg(orders);
    command
}

pub(crate) fn dtx(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dtx")).args(args).output().unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The one object on stdout of a run that ended well.
pub(crate) fn report(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}\n{}", stderr(&output));
    assert_eq!(text.lines().count(), 1, "{text}");
    let report = serde_json::from_str(&text).unwrap();
    assert_sound(&report);
    report
}

pub(crate) fn count(report: &Value, field: &str) -> u64 {
    report[field].as_u64().unwrap_or_else(|| panic!("{field}: {report}"))
}

pub(crate) fn assert_sound(report: &Value) {
    let sound = serde_json::json!({
        "money_conserved": true,
        "stock_conserved": true,
        "oversold": 0,
        "double_effects": 0,
        "mixed_outcomes": 0,
        "leaked_reservations": 0,
        "unfinished": 0,
    });
    assert_eq!(report["invariants"], sound, "{report}");
}
