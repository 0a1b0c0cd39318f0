use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::PathBuf,
};

use super::*;
use crate::{
    Sim,
    history::{Finding, HistoryWriter, POOL_RULES, RULES, What},
};

/// How many histories there are at the least for each rule that break it, and that nearly do.
const EACH: usize = 3;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/history"))
}

fn lines() -> Vec<String> {
    let journal = Sim::explore(0..1).replay(7).journal;
    journal.iter().map(|h| serde_json::to_string(h).expect("it is plain data")).collect()
}

fn of_text(text: &str) -> Judgement {
    judge(text.as_bytes(), CheckSettings::default())
}

fn of(lines: &[String]) -> Judgement {
    of_text(&lines.join("\n"))
}

/// Every file says in its name what it must be found to be; what breaks a rule is in the folder
/// of that rule.
#[test]
fn every_written_history_is_found_to_be_what_its_name_says() {
    let mut counts = BTreeMap::<(String, String), usize>::new();
    let mut wrong = Vec::new();
    for rule in fs::read_dir(folder()).expect("the histories are there") {
        let rule = rule.expect("it can be read").path();
        for file in fs::read_dir(&rule).expect("a folder of a rule") {
            let path = file.expect("it can be read").path();
            let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
            let (wanted, _) = name.split_once('-').expect("valid-, invalid- or unknown-");
            let rule = rule.file_name().expect("a folder").to_string_lossy().into_owned();
            let found = of_text(&fs::read_to_string(&path).expect("it can be read"));
            let names: BTreeSet<_> = found.breaches.iter().map(|b| b.rule).collect();
            let is_named = wanted != "invalid" || names.contains(rule.as_str());
            if found.finding.to_string() != wanted || !is_named {
                wrong.push(format!(
                    "{}: {} {names:?} {:?}",
                    path.display(),
                    found.finding,
                    found.doubt
                ));
            }
            *counts.entry((rule, wanted.to_owned())).or_default() += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let names = RULES.iter().map(|rule| rule.name).chain(POOL_RULES.iter().map(|rule| rule.name));
    for name in names {
        for wanted in ["valid", "invalid"] {
            let count = counts.get(&(name.to_owned(), wanted.to_owned()));
            assert!(count.is_some_and(|count| *count >= EACH), "{name}, {wanted}: {count:?}");
        }
    }
}

#[test]
fn every_rule_is_described() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/history.md");
    let docs = fs::read_to_string(docs).expect("the format is described");
    let rules = RULES.iter().map(|rule| (rule.name, rule.says));
    for (name, says) in rules.chain(POOL_RULES.iter().map(|rule| (rule.name, rule.says))) {
        assert!(docs.contains(&format!("| `{name}` | {says} |")), "| `{name}` | {says} |");
    }
}

#[test]
fn a_history_survives_being_written_and_read() {
    let judged = of(&lines());
    assert_eq!((judged.finding, judged.doubt), (Finding::Valid, None));
}

#[test]
fn what_is_cut_anywhere_is_unknown() {
    let lines = lines();
    for end in (0..lines.len()).step_by(7) {
        assert_eq!(of(&lines[..end]).finding, Finding::Unknown, "cut after {end}");
    }
    let text = lines.join("\n");
    let judged = of_text(&text[..text.len() - 1]);
    assert!(matches!(judged.doubt, Some(Doubt::Line { .. })), "{judged:?}");
}

#[test]
fn lines_and_transactions_are_taken_up_to_their_limits() {
    let lines = lines();
    let text = lines.join("\n");
    let longest = lines.iter().map(String::len).max().expect("there are lines");
    let sound = of(&lines);
    let (count, accepted) = (lines.len() as u64, sound.coverage.accepted);
    let with = |change: fn(&mut CheckSettings, u64), value: u64| {
        let mut settings = CheckSettings::default();
        change(&mut settings, value);
        judge(text.as_bytes(), settings).finding
    };
    type Change = fn(&mut CheckSettings, u64);
    let limits: [(Change, u64); 2] = [
        (|settings, value| settings.line_bytes_max = value as usize, longest as u64),
        (|settings, value| settings.lines_max = value, count),
    ];
    for (change, limit) in limits {
        assert_eq!(with(change, limit), Finding::Valid);
        assert_eq!(with(change, limit - 1), Finding::Unknown);
    }
    let most = |most| {
        let settings = CheckSettings { transactions_max: most, ..CheckSettings::default() };
        judge(text.as_bytes(), settings).finding
    };
    let named: BTreeSet<_> =
        Sim::explore(0..1).replay(7).journal.iter().filter_map(|h| h.tx).collect();
    assert!(named.len() as u64 >= accepted);
    assert_eq!(most(named.len()), Finding::Valid);
    assert_eq!(most(named.len() - 1), Finding::Unknown);
}

#[test]
fn a_wanted_fault_must_be_there() {
    let wanted = |fault: &str| {
        let faults = [fault.to_owned()].into();
        judge(lines().join("\n").as_bytes(), CheckSettings { faults, ..CheckSettings::default() })
    };
    let there = of(&lines()).coverage.faults.first().cloned().expect("a fault");
    assert_eq!(wanted(&there).finding, Finding::Valid);
    assert_eq!(wanted("kill").doubt, Some(Doubt::NoFault("kill".to_owned())));
}

#[test]
fn a_writer_goes_on_after_a_torn_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("h.jsonl");
    drop(HistoryWriter::append(&path).expect("it can be written"));
    let mut file = fs::OpenOptions::new().append(true).open(&path).expect("it is there");
    file.write_all(b"{\"at_us\":1,\"no").expect("it can be written");
    let writer = HistoryWriter::append(&path).expect("it can be written");
    writer.note("a", [(None, What::Note { text: "b".to_owned() })]);
    writer.end().expect("it can be written");
    let text = fs::read_to_string(&path).expect("it can be read");
    let judged = of_text(&text);
    assert_eq!((judged.coverage.incarnations, judged.coverage.torn), (2, 1));
    assert!(judged.coverage.faults.contains("kill"), "{judged:?}");
    assert!(matches!(judged.doubt, Some(Doubt::Empty(_))), "{judged:?}");
    let last = text.lines().last().expect("a line");
    assert!(last.contains("\"incarnation\":2") && last.contains("\"lines\":3"), "{last}");
}
