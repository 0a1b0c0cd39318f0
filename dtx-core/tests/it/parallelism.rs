//! Each pattern's kind of parallelism (source text 5.2), seen in the trace of a run.

use std::collections::VecDeque;

use dtx_core::{
    ids::OperationIndex,
    pattern::{Effect, Event, Heard, Machine, Phase},
    store::{RecordKind, Verdict},
    transaction::Transaction,
};

use crate::script::Script;

/// What happened, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Sent(u16, Phase),
    Done(u16, Phase),
    Decided,
}

/// Runs a transaction whose participants all say yes, each command being answered in the order
/// that `pick` chooses among those that are on their way.
fn trace(transaction: &Transaction, pick: impl Fn(&VecDeque<(u16, Phase)>) -> usize) -> Vec<Seen> {
    let mut machine = Machine::new(transaction);
    let (mut seen, mut sent) = (Vec::new(), VecDeque::new());
    let mut records = VecDeque::new();
    let fire = dtx_core::pattern::tables::of(transaction).first() == Phase::Deliver;
    let mut next = Some(match fire {
        true => Event::Decided(Verdict::Completed),
        false => Event::Start,
    });
    while let Some(event) = next {
        let mut effects = Vec::new();
        machine.advance(transaction, event, &mut effects).unwrap();
        for effect in effects {
            match effect {
                Effect::Send { operation, phase, .. } => {
                    seen.push(Seen::Sent(operation.0, phase));
                    sent.push_back((operation.0, phase));
                }
                Effect::Record { kind, verdict, lazy: false, .. } => {
                    records.push_back((kind, verdict))
                }
                _ => {}
            }
        }
        next = match records.pop_front() {
            Some((RecordKind::Verdict, Some(verdict))) => {
                seen.push(Seen::Decided);
                Some(Event::Decided(verdict))
            }
            Some((kind, _)) => Some(Event::Recorded(kind)),
            None if sent.is_empty() => None,
            None => {
                let (operation, phase) = sent.remove(pick(&sent)).unwrap();
                seen.push(Seen::Done(operation, phase));
                let heard = Heard::Done { read_only: false, reversed: false };
                Some(Event::Answer { operation: OperationIndex(operation), phase, heard })
            }
        };
    }
    seen
}

fn transaction(text: &str) -> Transaction {
    Script::parse(text).transaction
}

fn oldest(_: &VecDeque<(u16, Phase)>) -> usize {
    0
}

/// Answers the first operation for as long as something is asked of it.
fn first_one_first(sent: &VecDeque<(u16, Phase)>) -> usize {
    (0..sent.len()).min_by_key(|place| sent[*place].0).unwrap()
}

fn at(seen: &[Seen], what: Seen) -> usize {
    let found = seen.iter().position(|other| *other == what);
    found.unwrap_or_else(|| panic!("no {what:?} in {seen:?}"))
}

/// How many commands of the phase are on their way at once, at the most.
fn most_at_once(seen: &[Seen], phase: Phase) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    for what in seen {
        match what {
            Seen::Sent(_, of) if *of == phase => now += 1,
            Seen::Done(_, of) if *of == phase => now -= 1,
            _ => {}
        }
        most = most.max(now);
    }
    most
}

/// All of a phase at once, and the next phase after all of it.
fn within_a_phase(seen: &[Seen], first: Phase, second: Phase) {
    assert_eq!((most_at_once(seen, first), most_at_once(seen, second)), (3, 3), "{seen:?}");
    let last_done = (0..3).map(|o| at(seen, Seen::Done(o, first))).max();
    let first_sent = (0..3).map(|o| at(seen, Seen::Sent(o, second))).min();
    assert!(last_done < first_sent, "{seen:?}");
}

#[test]
fn two_phase_commit_is_parallel_within_a_phase() {
    let transaction = transaction("2pc\nop a\nop b\nop c");
    for pick in [oldest, first_one_first] {
        within_a_phase(&trace(&transaction, pick), Phase::Prepare, Phase::Commit);
    }
}

#[test]
fn two_phase_saga_is_parallel_within_a_phase() {
    let transaction = transaction("2ps\nop a\nop b\nop c");
    for pick in [oldest, first_one_first] {
        within_a_phase(&trace(&transaction, pick), Phase::Prepare, Phase::Execute);
    }
}

#[test]
fn three_phase_saga_is_parallel_across_phases() {
    let seen = trace(&transaction("3ps\nop a\nop b\nop c"), first_one_first);
    let validated = at(&seen, Seen::Done(0, Phase::Validate));
    assert!(validated < at(&seen, Seen::Done(1, Phase::Reserve)), "{seen:?}");
    assert!(validated < at(&seen, Seen::Done(2, Phase::Reserve)), "{seen:?}");
    // The execution is parallel, and comes after all validations and the verdict.
    assert_eq!(most_at_once(&seen, Phase::Execute), 3);
    let all_validated = (0..3).map(|o| at(&seen, Seen::Done(o, Phase::Validate))).max().unwrap();
    assert!(all_validated < at(&seen, Seen::Decided));
    assert!(at(&seen, Seen::Decided) < at(&seen, Seen::Sent(0, Phase::Execute)));
}

#[test]
fn independent_participants_are_parallel_across_all_phases() {
    let seen = trace(&transaction("3ps-independent\nop a\nop b\nop c"), first_one_first);
    let executed = at(&seen, Seen::Done(0, Phase::Execute));
    assert!(executed < at(&seen, Seen::Done(1, Phase::Reserve)), "{seen:?}");
}

#[test]
fn fire_and_forget_is_parallel_per_operation() {
    let seen = trace(&transaction("0.5ps\nop a\nop b\nop c"), oldest);
    let sent: Vec<Seen> = (0..3).map(|o| Seen::Sent(o, Phase::Deliver)).collect();
    assert_eq!(seen[..3], sent, "each is sent at once and waits for no other");
}

#[test]
fn the_eventual_part_is_parallel_per_operation() {
    let text = "1.5ps\nop a\nop b after a\nop e eventual\nop f eventual\nop g eventual";
    let seen = trace(&transaction(text), oldest);
    assert_eq!(most_at_once(&seen, Phase::Deliver), 3, "{seen:?}");
    assert_eq!(most_at_once(&seen, Phase::Execute), 1, "a sequence stays one");
    let decided = at(&seen, Seen::Decided);
    assert!(at(&seen, Seen::Done(1, Phase::Execute)) < decided);
    assert!(decided < at(&seen, Seen::Sent(2, Phase::Deliver)));
}

#[test]
fn independent_branches_of_a_saga_are_parallel() {
    let text = "saga\nop a\nop b after a\nop c after a\nop d after b,c\nop e after a\nop f after e";
    let seen = trace(&transaction(text), first_one_first);
    assert_eq!(most_at_once(&seen, Phase::Execute), 3, "{seen:?}");
    // A branch does not wait for another one, and a join waits for all that it joins.
    assert!(at(&seen, Seen::Done(1, Phase::Execute)) < at(&seen, Seen::Done(2, Phase::Execute)));
    let (c, d) = (Seen::Done(2, Phase::Execute), Seen::Sent(3, Phase::Execute));
    assert!(at(&seen, c) < at(&seen, d), "{seen:?}");
    assert!(at(&seen, Seen::Sent(3, Phase::Execute)) < at(&seen, Seen::Done(4, Phase::Execute)));
    let sequence = trace(&transaction("saga\nop a\nop b after a\nop c after b"), oldest);
    assert_eq!(most_at_once(&sequence, Phase::Execute), 1, "{sequence:?}");
}
