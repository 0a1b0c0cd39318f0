//! Histories of processes that ran side by side, judged as one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::process::Watched;

/// What happened, line by line, in the order of the one clock that all of them read.
pub(super) struct Merged {
    lines: Vec<Value>,
}

pub(super) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_micros()).expect("before the year 500 000")
}

fn at(line: &Value) -> u64 {
    line["at_us"].as_u64().expect("every line has its time")
}

/// Whether a write has an effect and its reversal. The checker takes the lines of one write one by
/// one, and what the inbox rows of such a write say comes after both.
fn is_done_and_undone(line: &Value) -> bool {
    let effects = line["effects"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of = |effect: &Value| (effect["tx"].clone(), effect["operation"].clone());
    let reversed = || effects.iter().filter(|effect| effect["reversal"] == true).map(of);
    let done = effects.iter().filter(|effect| effect["reversal"] == false);
    done.map(of).any(|done| reversed().any(|reversed| reversed == done))
}

/// What was seen had landed before, also where the answer to the write came later: after the
/// server was killed, or when a process went on that had stood still.
fn put_landings_before_sightings(lines: &mut [Value]) {
    let id = |line: &Value| Some((line["tx"].as_str()?.to_owned(), line["version"].as_u64()?));
    let mut seen: BTreeMap<(String, u64), u64> = BTreeMap::new();
    for line in lines.iter().filter(|line| line["what"] == "seen") {
        if let Some(id) = id(line) {
            let first = seen.entry(id).or_insert(u64::MAX);
            *first = at(line).min(*first);
        }
    }
    for line in lines.iter_mut().filter(|line| line["what"] == "landed") {
        if let Some(first) =
            id(line).and_then(|id| seen.get(&id)).filter(|first| **first < at(line))
        {
            line["at_us"] = json!(first);
        }
    }
}

fn is_first_of_its_moment(line: &Value) -> bool {
    line["what"] == "landed" || is_done_and_undone(line)
}

impl Merged {
    /// Reads the files; each is a run of a process of its own. `killed` has not ended its own.
    pub(super) fn read(folder: &Path, files: &[&str], killed: Option<&str>) -> Self {
        let mut lines = Vec::new();
        let mut tables = Vec::new();
        let mut began = None;
        for (index, file) in files.iter().enumerate() {
            let text = fs::read_to_string(folder.join(file)).expect("it was written");
            let (mut first, mut last) = (None, 0);
            for line in text.lines() {
                let Ok(mut line) = serde_json::from_str::<Value>(line) else {
                    // A kill may have torn the last one.
                    assert!(killed == Some(*file), "{file}: {line}");
                    continue;
                };
                line["incarnation"] = json!(index + 1);
                if line["what"] == "pool" && line["version"].is_null() {
                    // A new row in a new store.
                    line["version"] = json!(1);
                }
                last = at(&line);
                match line["what"].as_str() {
                    Some("began") => first = Some(line),
                    Some("ended") => {}
                    Some(what) if what.starts_with("final_") => tables.push(line),
                    _ => lines.push(line),
                }
            }
            let first = first.expect("it has begun");
            if killed == Some(*file) {
                // Whoever goes on is another run: the history was cut here.
                let mut again = first.clone();
                again["at_us"] = json!(last + 1);
                lines.push(again);
            }
            began.get_or_insert(first);
        }
        put_landings_before_sightings(&mut lines);
        lines.sort_by_key(|line| (at(line), !is_first_of_its_moment(line)));
        // Each run has the tables of its own orders.
        lines.extend(tables);
        let begun = lines.iter().rposition(|line| line["what"] == "began");
        let count = begun.map_or(lines.len() + 1, |place| lines.len() - place);
        let mut began = began.expect("there are files");
        began["at_us"] = json!(lines.first().map_or(0, at));
        lines.insert(0, began);
        let ended = json!({ "at_us": lines.last().map_or(0, at), "node": "run", "incarnation": 1,
            "kind": "ok", "what": "ended", "lines": count + 1 });
        lines.push(ended);
        Self { lines }
    }

    /// How many shards each run had leased before a moment.
    pub(super) fn leases_before(&self, moment_us: u64) -> BTreeMap<u64, usize> {
        let mut leases = BTreeMap::new();
        let leased = |line: &&Value| line["what"] == "leased" && at(line) < moment_us;
        for line in self.lines.iter().filter(leased) {
            *leases.entry(line["incarnation"].as_u64().expect("a number")).or_insert(0) += 1;
        }
        leases
    }

    /// The transactions of the first run that were open at a moment, as far as it had written that
    /// down.
    pub(super) fn open_at(&self, moment_us: u64) -> BTreeSet<&str> {
        let mut open = BTreeSet::new();
        for (line, tx) in self.records().filter(|(line, _)| at(line) <= moment_us) {
            if line["status"].is_object() {
                open.remove(tx);
            } else if line["incarnation"] == 1 {
                open.insert(tx);
            }
        }
        open
    }

    /// How many transactions were open at the moment when the first run was struck and were ended
    /// by others, and how long after it the last of them was, in microseconds.
    ///
    /// What the first run itself had ended and could not write down in time is none of these: the
    /// store knows it, and the tables of the end.
    pub(super) fn carried_on(&self, struck_us: u64) -> (usize, u64) {
        let mut open = self.open_at(struck_us);
        let mut after = Vec::new();
        for (line, tx) in self.records().filter(|(line, _)| at(line) > struck_us) {
            if line["status"].is_object() && line["incarnation"] != 1 && open.remove(tx) {
                after.push(at(line) - struck_us);
            }
        }
        (after.len(), after.into_iter().max().unwrap_or(0))
    }

    /// The lines that tell of a record as it is in the store, with its transaction.
    fn records(&self) -> impl Iterator<Item = (&Value, &str)> {
        let is_record = |line: &&Value| matches!(line["what"].as_str(), Some("landed" | "seen"));
        self.lines
            .iter()
            .filter(is_record)
            .filter_map(|line| line["tx"].as_str().map(|tx| (line, tx)))
    }

    /// The checker finds nothing wrong in it. `fault` must be in it.
    pub(super) fn assert_valid(&self, folder: &Path, fault: Option<&str>, of: &str) {
        let text: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(folder.join("merged.jsonl"), text).expect("it is written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_dtx"));
        command.current_dir(folder).env_remove("RUST_LOG");
        command.args(["check-history", "merged.jsonl"]);
        if let Some(fault) = fault {
            command.args(["--fault", fault]);
        }
        let ended = Watched::start(&mut command, |_| ()).wait();
        assert!(ended.status.success(), "{of}: {}", ended.stdout);
    }
}
