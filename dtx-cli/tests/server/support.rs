//! Running the program on the server.

use std::{
    env,
    path::PathBuf,
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::address::{APART, SERVICE, VARIABLE};

pub(crate) const PATTERNS: [&str; 6] = ["0.5ps", "saga", "1.5ps", "2ps", "3ps", "2pc"];

const SHIPPED: &str = include_str!("../../../data/cdnow_orders.csv");

/// A store that no other test has, and orders to run on it.
pub(crate) struct Shop {
    pub(crate) store: String,
    orders: PathBuf,
    _folder: TempDir,
}

impl Shop {
    /// The first orders of the shipped file.
    pub(crate) fn new(orders: usize) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let url = env::var(VARIABLE).unwrap_or_else(|_| {
            panic!("{VARIABLE} is not set: cargo xtask services exec {SERVICE} -- COMMAND sets it")
        });
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mark = if url.contains('?') { '&' } else { '?' };
        let store = format!("{url}{mark}{APART}=t_{}_{now}_{number}", std::process::id());
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("orders.csv");
        let lines: Vec<_> = SHIPPED.lines().take(orders + 1).collect();
        std::fs::write(&path, lines.join("\n") + "\n").expect("it can be written");
        Self { store, orders: path, _folder: folder }
    }

    /// `dtx run` of the orders, as JSON.
    pub(crate) fn run(&self, pattern: &str, fail: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dtx"));
        command.args(["run", "--json", "--seed", "7", "--pattern", pattern, "--fail", fail]);
        command.args(["--store", &self.store, "--orders"]).arg(&self.orders);
        command
    }
}

pub(crate) fn dtx(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dtx")).args(args).output().expect("it runs")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The one object on stdout of a command that ended well.
pub(crate) fn object(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}\n{}", stderr(output));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The report of a run, which must be sound.
pub(crate) fn report(command: &mut Command) -> Value {
    let report = object(&command.output().expect("it runs"));
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
    report
}

pub(crate) fn count(report: &Value, field: &str) -> u64 {
    report[field].as_u64().unwrap_or_else(|| panic!("{field}: {report}"))
}
