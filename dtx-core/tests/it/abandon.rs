//! An operator gives a transaction up: what is told, when, and what it may not undo.

use std::time::Duration;

use dtx_core::{
    answer::Reason,
    engine::{Notice, Signal},
    ids::{HolderId, WriteId},
    pattern::{Pattern, Phase},
    store::{CommitResult, Expect, LeaseRequest, Outcome, RecordKind, Status, Verdict},
    transaction::{OperationDraft, StepKind, Transaction},
};

use crate::rig::{Rig, commands, has, two};

fn tells(outcome: Outcome) -> impl Fn(&Notice) -> bool {
    move |notice| matches!(notice, Notice::Told(_, told) if *told == outcome)
}

#[test]
fn it_is_told_once_it_is_durable() {
    let mut rig = Rig::new();
    let accept = rig.submit(Transaction::builder(Pattern::TwoPhaseSaga)).writes.remove(0);
    rig.land_and_tell(&accept);
    rig.give(Signal::Abandon);
    let out = rig.load();
    assert!(!has(&out, |notice| matches!(notice, Notice::Told(..))), "{out:?}");
    let out = rig.land_and_tell(&out.writes[0]);
    assert!(has(&out, tells(Outcome::Abandoned)), "{out:?}");
    assert_eq!(rig.record().summary.status, Status::Finished(Outcome::Abandoned));
    assert_eq!(rig.engine.open_count(), 0);
}

#[test]
fn what_was_decided_in_between_stays_decided() {
    let mut rig = Rig::new();
    let accept = rig.submit(two(Transaction::builder(Pattern::TwoPhaseCommit))).writes.remove(0);
    rig.land_and_tell(&accept);
    rig.give(Signal::Abandon);
    let abandoned = rig.load().writes.remove(0);
    rig.abort_by_inquiry();
    let conflict = rig.land(&abandoned);
    rig.written(&abandoned, conflict);
    let out = rig.load();
    assert!(out.commands.is_empty(), "nothing more is sent: {out:?}");
    let out = rig.land_and_tell(&out.writes[0]);
    assert!(has(&out, tells(Outcome::Aborted)), "{out:?}");
    let record = rig.record();
    assert_eq!(record.verdict, Some(Verdict::Abort));
    assert_eq!(record.summary.status, Status::Finished(Outcome::Aborted));
}

#[test]
fn what_was_told_stands_and_an_exception_stands_beside_it() {
    let mut rig = Rig::new();
    let accept = rig.submit(two(Transaction::builder(Pattern::TwoPhaseCommit))).writes.remove(0);
    let sent = rig.land_and_tell(&accept);
    let [first, second] = &commands(&sent)[..] else { panic!("{sent:?}") };
    rig.done(first);
    let verdict = rig.done(second).writes.remove(0);
    let out = rig.land_and_tell(&verdict);
    assert!(has(&out, tells(Outcome::Committed)), "{out:?}");
    rig.give(Signal::Abandon);
    let end = rig.load().writes.remove(0);
    let out = rig.land_and_tell(&end);
    assert!(!has(&out, |notice| matches!(notice, Notice::Told(..))), "it was told: {out:?}");
    let record = rig.record();
    assert_eq!(record.summary.status, Status::Finished(Outcome::Committed));
    assert_eq!(record.summary.exceptions, [Reason::new("abandoned, and committed all the same")]);
}

#[test]
fn while_its_only_participant_is_asked_for_the_verdict_it_is_not_heard() {
    let mut rig = Rig::new();
    let accept = rig.submit(Transaction::builder(Pattern::TwoPhaseCommit)).writes.remove(0);
    let delegated = rig.land_and_tell(&accept).writes.remove(0);
    let sent = rig.land_and_tell(&delegated);
    let mut stuck = rig.record();
    stuck.summary.status = Status::NeedsAttention;
    // Whoever gave it saw it stuck; it is asked for again by now.
    rig.give_to(&stuck, Signal::Abandon);
    let out = rig.load();
    assert!(out.writes.is_empty() && out.notices.is_empty(), "{out:?}");
    let out = rig.done(&commands(&sent)[0]);
    assert!(has(&out, tells(Outcome::Committed)), "{out:?}");
}

#[test]
fn a_pivot_that_landed_unheard_is_not_given_up() {
    let mut rig = Rig::new();
    let pivot = OperationDraft::new("svc", "work").name("pivot").step(StepKind::Pivot);
    let saga = Transaction::builder(Pattern::Saga).operation(pivot.depends_on(["work"]));
    let accept = rig.submit(saga).writes.remove(0);
    let sent = rig.land_and_tell(&accept);
    let sent = rig.done(&commands(&sent)[0]);
    let point = sent.writes.iter().find(|write| write.kind == RecordKind::PivotSent);
    let point = point.expect("the pivot is recorded before it is sent").clone();
    assert!(matches!(rig.land(&point), CommitResult::Committed(_)));
    // Its answer is lost, and somebody writes before it is sent again.
    rig.give(Signal::Abandon);
    let conflict = rig.land(&point);
    rig.written(&point, conflict);
    let out = rig.load();
    let executes =
        |command: &&std::sync::Arc<dtx_core::transport::Command>| command.phase == Phase::Execute;
    assert_eq!(commands(&out).iter().filter(executes).count(), 1, "it is durable: {out:?}");
}

#[test]
fn whoever_hears_late_of_its_own_accept_tells_what_was_told() {
    let mut rig = Rig::new();
    let accept = rig.submit(two(Transaction::builder(Pattern::TwoPhaseCommit))).writes.remove(0);
    assert!(matches!(rig.land(&accept), CommitResult::Committed(_)));
    // The answer stays out so long that another owner gives it up, as an operator wants it. Then
    // a participant asks, and what it holds is released.
    let mut given_up = accept.clone();
    given_up.id = WriteId { writer: HolderId(2), number: 1 };
    given_up.kind = RecordKind::Progress;
    given_up.expect = Expect::Version(rig.record().version);
    let shards = vec![rig.tx.shard(rig.store.info().shards)];
    let request = LeaseRequest { holder: HolderId(2), shards, ttl: Duration::from_secs(1) };
    let leases = rig.store.acquire(&request, rig.now).expect("the shard exists");
    given_up.fence = Some(leases[0].fence());
    (given_up.key, given_up.definition, given_up.due) = (None, None, None);
    given_up.summary.status = Status::Finished(Outcome::Abandoned);
    let landed = rig.land(&given_up);
    assert!(matches!(landed, CommitResult::Committed(_)), "{landed:?}");
    rig.abort_by_inquiry();
    assert_eq!(rig.record().verdict, Some(Verdict::Abort));
    let conflict = rig.land(&accept);
    rig.written(&accept, conflict);
    let out = rig.load();
    assert!(has(&out, |notice| matches!(notice, Notice::Accepted(_))), "{out:?}");
    assert!(has(&out, tells(Outcome::Abandoned)), "{out:?}");
    assert!(!has(&out, tells(Outcome::Aborted)), "one outcome only: {out:?}");
    assert!(out.commands.is_empty() && out.writes.is_empty(), "it is over: {out:?}");
    assert_eq!(rig.engine.open_count(), 0);
}
