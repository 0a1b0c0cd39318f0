//! What searches compare engines by: it changes with whatever decides how an engine goes on.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hasher},
    sync::Arc,
    time::Duration,
};

use dtx_core::{
    answer::{Done, rejected},
    engine::{EngineSettings, Input},
    pattern::Pattern,
    store::{RecordKind, Verdict},
    time::Timestamp,
    transaction::Transaction,
};

use crate::rig::{Rig, commands, two};

/// The engine as a search sees it at a moment: the whole, and each of two operations.
fn seen(rig: &Rig, now: Timestamp) -> [u64; 3] {
    let mut whole = DefaultHasher::new();
    let mut operations = [DefaultHasher::new(), DefaultHasher::new()];
    rig.engine.digest(now, &mut whole, &mut operations);
    [whole.finish(), operations[0].finish(), operations[1].finish()]
}

#[test]
fn every_step_of_a_life_is_seen() {
    let mut rig = Rig::new();
    let mut all = BTreeSet::new();
    let mut see = |rig: &Rig| all.insert(seen(rig, rig.now));
    assert!(see(&rig));
    let accept = rig.submit(two(Transaction::builder(Pattern::TwoPhaseCommit))).writes.remove(0);
    assert!(see(&rig));
    assert_eq!(rig.engine.unsettled(rig.tx), Some(accept.id));
    assert!(rig.engine.is_undecided(rig.tx) && !rig.engine.awaits_answers(rig.tx));
    let sent = rig.land_and_tell(&accept);
    assert!(see(&rig));
    assert_eq!(rig.engine.unsettled(rig.tx), None);
    assert!(rig.engine.awaits_answers(rig.tx));
    rig.done(&commands(&sent)[0]);
    assert!(see(&rig));
    let verdict = rig.done(&commands(&sent)[1]).writes.remove(0);
    assert_eq!((verdict.kind, verdict.verdict), (RecordKind::Verdict, Some(Verdict::Commit)));
    assert!(see(&rig) && !rig.engine.awaits_answers(rig.tx));
    let sent = rig.land_and_tell(&verdict);
    assert!(see(&rig) && !rig.engine.is_undecided(rig.tx));
    rig.done(&commands(&sent)[0]);
    assert!(see(&rig));
    let finish = rig.done(&commands(&sent)[1]).writes.remove(0);
    assert!(see(&rig), "its last write is not settled");
    assert_eq!(rig.engine.unsettled(rig.tx), Some(finish.id));
    rig.land_and_tell(&finish);
    assert!(see(&rig));
    assert_eq!(rig.engine.unsettled(rig.tx), None);
    assert!(!rig.engine.is_undecided(rig.tx) && !rig.engine.awaits_answers(rig.tx));
}

#[test]
fn what_happens_to_one_operation_is_seen_in_it_alone() {
    let mut rig = Rig::new();
    let accept = rig.submit(two(Transaction::builder(Pattern::TwoPhaseCommit))).writes.remove(0);
    let sent = rig.land_and_tell(&accept);
    let before = seen(&rig, rig.now);
    let first = commands(&sent).into_iter().find(|command| command.operation.0 == 0);
    rig.done(&first.expect("both are asked"));
    let after = seen(&rig, rig.now);
    assert_ne!(before[1], after[1]);
    assert_eq!((before[0], before[2]), (after[0], after[2]));
}

#[test]
fn time_is_seen_once_something_is_over() {
    let mut rig = Rig::new();
    let builder = two(Transaction::builder(Pattern::TwoPhaseCommit));
    let accept = rig.submit(builder.deadline(Duration::from_secs(50))).writes.remove(0);
    rig.land_and_tell(&accept);
    let at = |millis: u64| seen(&rig, rig.now + Duration::from_millis(millis));
    assert_eq!(at(0), at(29_999));
    // A prepare of 2PC may take half a minute.
    assert_eq!((at(30_000)[0], at(29_999)[1] == at(30_000)[1]), (at(29_999)[0], false));
    assert_ne!(at(49_999)[0], at(50_000)[0]);
}

#[test]
fn a_last_write_that_says_otherwise_is_seen() {
    let ended = |refused: bool| {
        let mut rig = Rig::new();
        let builder = two(Transaction::builder(Pattern::TwoPhaseCommit));
        let accept = rig.submit(builder).writes.remove(0);
        let sent = commands(&rig.land_and_tell(&accept));
        rig.done(&sent[0]);
        let answer = if refused { rejected("no") } else { Ok(Done::default()) };
        let verdict = rig.feed(Input::Reply(sent[1].reply(answer))).writes.remove(0);
        for command in commands(&rig.land_and_tell(&verdict)) {
            rig.done(&command);
        }
        assert!(!rig.engine.is_open(rig.tx) && rig.engine.open_count() == 1);
        seen(&rig, rig.now)
    };
    assert_eq!(ended(false), ended(false));
    assert_ne!(ended(false), ended(true));
}

#[test]
fn an_attempt_that_is_noted_is_seen_in_its_operation() {
    let begun = |noting_from: Duration| {
        let mut rig = Rig::noting_from(noting_from);
        let accept = rig.submit(two(Transaction::builder(Pattern::Saga))).writes.remove(0);
        rig.land_and_tell(&accept);
        seen(&rig, rig.now)
    };
    assert_ne!(begun(Duration::ZERO)[1], begun(Duration::from_secs(600))[1]);
}

#[test]
fn a_gate_is_seen_and_when_it_is_too_late() {
    let mut rig = Rig::new();
    let park_after = Duration::from_secs(600);
    rig.settings = Arc::new(EngineSettings { park_after, ..(*rig.settings).clone() });
    rig.engine = Rig::owner(&rig.store, rig.tx, 2, &rig.settings);
    let builder = two(Transaction::builder(Pattern::TwoPhaseCommit));
    let builder = builder.approval(Duration::from_secs(40)).deadline(Duration::from_secs(50));
    let accept = rig.submit(builder).writes.remove(0);
    for command in commands(&rig.land_and_tell(&accept)) {
        rig.done(&command);
    }
    let at = |millis: u64| seen(&rig, rig.now + Duration::from_millis(millis));
    assert_eq!(at(0), at(39_999));
    assert_ne!(at(39_999)[0], at(40_000)[0]);
}
