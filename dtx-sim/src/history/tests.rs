use super::*;
use crate::{
    Sim,
    history::{Doubt, Finding},
};

fn lines() -> Vec<String> {
    let journal = Sim::explore(0..1).replay(7).journal;
    journal.iter().map(|h| serde_json::to_string(h).expect("it is plain data")).collect()
}

fn of(lines: &[String]) -> Judgement {
    judge(lines.join("\n").as_bytes())
}

#[test]
fn a_history_survives_being_written_and_read() {
    let judged = of(&lines());
    assert_eq!((judged.finding, judged.doubt), (Finding::Valid, None));
}

#[test]
fn what_is_cut_anywhere_is_unknown() {
    let lines = lines();
    for end in 0..lines.len() {
        assert_eq!(of(&lines[..end]).finding, Finding::Unknown, "cut after {end}");
    }
    let text = lines.join("\n");
    let judged = judge(&text.as_bytes()[..text.len() - 1]);
    assert!(matches!(judged.doubt, Some(Doubt::Line { .. })), "{judged:?}");
}

#[test]
fn another_version_a_lost_line_and_a_line_after_the_end_are_unknown() {
    let mut other = lines();
    other[0] = other[0].replace("\"version\":1", "\"version\":2");
    assert_eq!(of(&other).doubt, Some(Doubt::Version(2)));
    let mut lost = lines();
    // A note, which no rule asks for.
    let note = lost.iter().position(|line| line.contains("\"note\"")).expect("there is one");
    lost.remove(note);
    assert!(matches!(of(&lost).doubt, Some(Doubt::MisplacedEnd(_))));
    let mut more = lines();
    more.push(more[1].clone());
    assert!(matches!(of(&more).doubt, Some(Doubt::MisplacedEnd(_))));
    assert_eq!(of(&lines()[1..]).doubt, Some(Doubt::NoBeginning));
}

#[test]
fn an_empty_run_covers_nothing() {
    let line =
        |what: &str| format!("{{\"at_us\":0,\"from\":\"a\",\"to\":\"a\",\"tx\":null,{what}}}");
    let began = line("\"what\":\"began\",\"version\":1");
    let ended = line("\"what\":\"ended\",\"lines\":2");
    let judged = of(&[began, ended]);
    assert_eq!(judged.finding, Finding::Unknown);
    assert_eq!(judged.doubt, Some(Doubt::Empty("accepted transaction")));
}

#[test]
fn a_line_and_a_count_are_read_up_to_their_limits() {
    let padded = |more| {
        let mut lines = lines();
        let padding = LINE_BYTES_MAX - lines[0].len() + more;
        lines[0] += &" ".repeat(padding);
        of(&lines).finding
    };
    assert_eq!(padded(0), Finding::Valid);
    assert_eq!(padded(1), Finding::Unknown);
    let lines = lines();
    let (text, count) = (lines.join("\n"), lines.len() as u64);
    assert_eq!(judge_within(text.as_bytes(), count).finding, Finding::Valid);
    assert_eq!(judge_within(text.as_bytes(), count - 1).finding, Finding::Unknown);
}

#[test]
fn a_changed_verdict_and_an_older_lease_are_named_with_their_lines() {
    for (old, new, rule) in [
        ("\"verdict\":\"Completed\"", "\"verdict\":\"Turned\"", "one-decision"),
        ("\"epoch\":2", "\"epoch\":0", "fencing"),
    ] {
        let mut lines = lines();
        let is_it = |line: &&mut String| line.contains("\"landed\"") && line.contains(old);
        let last = lines.iter_mut().rev().find(is_it).expect("there is one");
        *last = last.replace(old, new);
        let judged = of(&lines);
        assert_eq!(judged.finding, Finding::Invalid);
        let breach = judged.breaches.iter().find(|breach| breach.rule == rule);
        assert!(breach.is_some_and(|breach| breach.lines.len() > 1), "{judged:#?}");
    }
}
