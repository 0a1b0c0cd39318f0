//! One rule at a time, by hand: what an engine does at the one moment at which the rule matters.

use std::{sync::Arc, time::Duration};

use dtx_core::{
    answer::{Done, NotDone, PhaseAnswer, Reason, Refusal},
    engine::{EngineSettings, Input, InquiryStep, Notice, Outputs, Signal, answer_inquiry},
    error::{ErrorKind, StoreError},
    ids::{AcceptSequence, Epoch, HolderId, WriteId},
    modifier::VerifyWhen,
    name::ParticipantName,
    pattern::{Pattern, Phase},
    store::{CommitResult, RecordKind, Verdict},
    time::Timestamp,
    transaction::{Transaction, TransactionBuilder},
    transport::{Command, Inquiry},
};

use crate::rig::{OPERATION, Rig, commands, has, two};

/// A transaction whose first commands have left.
fn begun(rig: &mut Rig, builder: TransactionBuilder) -> Vec<Arc<Command>> {
    let accept = rig.submit(builder).writes.remove(0);
    commands(&rig.land_and_tell(&accept))
}

fn answer(rig: &mut Rig, command: &Command, answer: PhaseAnswer) -> Outputs {
    rig.feed(Input::Reply(command.reply(answer)))
}

fn rejected() -> PhaseAnswer {
    Err(NotDone::Rejected(Reason::new("no")))
}

/// A one-phase commit that was recorded, and the commands that left after that.
fn delegated(rig: &mut Rig) -> Vec<Arc<Command>> {
    let accept = rig.submit(Transaction::builder(Pattern::TwoPhaseCommit)).writes.remove(0);
    let record = rig.land_and_tell(&accept).writes.remove(0);
    assert_eq!(record.kind, RecordKind::Delegated);
    commands(&rig.land_and_tell(&record))
}

#[test]
fn an_unknown_answer_is_no_answer_and_is_asked_for_again() {
    let mut rig = Rig::new();
    let sent = begun(&mut rig, Transaction::builder(Pattern::Saga));
    let out = answer(&mut rig, &sent[0], Err(NotDone::unknown("busy")));
    assert!(out.writes.is_empty(), "{out:?}");
    rig.now = rig.now + Duration::from_secs(1);
    let again = commands(&rig.feed(Input::Tick));
    assert_eq!((again[0].phase, again[0].attempt), (Phase::Execute, 2));
}

#[test]
fn silence_is_no_answer_and_is_asked_for_again() {
    let mut rig = Rig::noting_from(Duration::from_secs(600));
    begun(&mut rig, Transaction::builder(Pattern::Saga));
    rig.now = rig.engine.next_timer().expect("an answer is awaited");
    let out = rig.feed(Input::Tick);
    assert!(out.writes.is_empty(), "{out:?}");
    assert_eq!(commands(&out)[0].attempt, 2);
}

#[test]
fn an_answer_to_another_epoch_is_not_heard() {
    let mut rig = Rig::new();
    let sent = begun(&mut rig, Transaction::builder(Pattern::Saga));
    let mut reply = sent[0].reply(Ok(Done::default()));
    reply.epoch = Epoch(reply.epoch.0 + 1);
    let out = rig.feed(Input::Reply(reply));
    assert!(out.writes.is_empty(), "{out:?}");
}

#[test]
fn commands_after_the_decision_have_no_deadline() {
    let mut rig = Rig::new();
    let sent = begun(&mut rig, two(Transaction::builder(Pattern::TwoPhaseCommit)));
    assert!(sent.iter().all(|command| command.deadline.is_some()));
    rig.done(&sent[0]);
    let verdict = rig.done(&sent[1]).writes.remove(0);
    let commits = commands(&rig.land_and_tell(&verdict));
    assert_eq!(commits.len(), 2);
    assert!(commits.iter().all(|c| c.phase == Phase::Commit && c.deadline.is_none()));
}

#[test]
fn the_watermark_waits_for_the_recovery_and_for_what_is_open() {
    let mut rig = Rig::new();
    let sent = begun(&mut rig, Transaction::builder(Pattern::Saga));
    assert_eq!(sent[0].watermark, AcceptSequence::default(), "not all that is open was seen");
    let mut rig = Rig::new();
    rig.feed(Input::RecoveryComplete);
    let sent = begun(&mut rig, Transaction::builder(Pattern::Saga));
    assert_eq!(sent[0].watermark, sent[0].sequence, "this one is open");
}

#[test]
fn who_takes_over_knows_that_the_commit_was_delegated() {
    let mut rig = Rig::new();
    delegated(&mut rig);
    rig.engine = Rig::owner(&rig.store, rig.tx, 2, &rig.settings);
    let (record, store_now) = (Box::new(rig.record()), rig.now);
    let resumed = rig.feed(Input::Recovered { record, store_now }).writes.remove(0);
    assert_eq!(resumed.kind, RecordKind::Resumed);
    let again = commands(&rig.land_and_tell(&resumed));
    assert_eq!((again[0].phase, again[0].one_phase), (Phase::Commit, true));
}

#[test]
fn an_inquiry_does_not_abort_what_was_delegated() {
    let mut rig = Rig::new();
    delegated(&mut rig);
    let inquiry = Inquiry {
        tx: rig.tx,
        pattern: Pattern::TwoPhaseCommit,
        operation: OPERATION,
        participant: ParticipantName::new("svc").expect("a name"),
        host: HolderId(9),
    };
    let id = WriteId { writer: HolderId(9), number: 1 };
    let late = Timestamp::from_millis(3_600_000);
    let step = answer_inquiry(&inquiry, Some(&rig.record()), late, id);
    assert!(matches!(step, InquiryStep::Pending(_)), "{step:?}");
}

#[test]
fn an_accept_whose_answer_was_lost_is_written_again_under_the_same_id() {
    let mut rig = Rig::new();
    let accept = rig.submit(Transaction::builder(Pattern::Saga)).writes.remove(0);
    let lost = StoreError::new(ErrorKind::Unavailable, "memory", "commit");
    let out = rig.written(&accept, CommitResult::Failed(lost));
    assert!(!has(&out, |notice| matches!(notice, Notice::NotAccepted(..))), "{out:?}");
    rig.now = rig.engine.next_timer().expect("it is written again");
    assert_eq!(rig.feed(Input::Tick).writes[0].id, accept.id);
}

#[test]
fn a_no_to_a_delivery_or_to_going_back_is_not_done() {
    let mut rig = Rig::new();
    let sent = begun(&mut rig, Transaction::builder(Pattern::FireAndForget));
    let out = answer(&mut rig, &sent[0], rejected());
    assert!(out.writes.is_empty(), "{out:?}");
    let mut rig = Rig::new();
    begun(&mut rig, Transaction::builder(Pattern::Saga));
    rig.give(Signal::Cancel);
    let turned = rig.load().writes.remove(0);
    let back = commands(&rig.land_and_tell(&turned));
    assert_eq!(back[0].phase, Phase::Compensate);
    let out = answer(&mut rig, &back[0], rejected());
    assert!(out.writes.is_empty(), "{out:?}");
}

#[test]
fn a_verification_that_fails_goes_back() {
    let mut rig = Rig::new();
    let builder = Transaction::builder(Pattern::TwoPhaseSaga).verify(VerifyWhen::Always, 0);
    let sent = begun(&mut rig, builder);
    let asked = commands(&rig.done(&sent[0]));
    assert_eq!(asked[0].phase, Phase::Status);
    let gone = Err(NotDone::Refused(Refusal::Expired));
    let found = answer(&mut rig, &asked[0], gone).writes.remove(0);
    let out = rig.land_and_tell(&found);
    assert_eq!(out.writes[0].verdict, Some(Verdict::Turned), "{out:?}");
}

#[test]
fn what_waits_in_the_store_is_due_when_its_time_is_over() {
    let mut rig = Rig::new();
    let wait = Duration::from_secs(60);
    let sent = begun(&mut rig, Transaction::builder(Pattern::TwoPhaseSaga).approval(wait));
    let park = rig.done(&sent[0]).writes.remove(0);
    assert_eq!(park.due, Some(rig.now + wait));
}

#[test]
fn a_cancel_that_was_durable_first_stands_against_a_verdict() {
    let mut rig = Rig::new();
    let sent = begun(&mut rig, Transaction::builder(Pattern::Saga));
    let completed = rig.done(&sent[0]).writes.remove(0);
    assert_eq!(completed.verdict, Some(Verdict::Completed));
    rig.give(Signal::Cancel);
    let conflict = rig.land(&completed);
    rig.written(&completed, conflict);
    assert_eq!(rig.load().writes[0].verdict, Some(Verdict::Turned));
}

#[test]
fn the_answer_that_no_inbox_keeps_is_written_before_it_is_acted_on() {
    let mut rig = Rig::new();
    let without_inbox = [ParticipantName::new("svc").expect("a name")].into();
    rig.settings = Arc::new(EngineSettings { without_inbox, ..(*rig.settings).clone() });
    rig.engine = Rig::owner(&rig.store, rig.tx, 2, &rig.settings);
    let sent = begun(&mut rig, Transaction::builder(Pattern::Saga));
    assert_eq!(rig.done(&sent[0]).writes[0].kind, RecordKind::Progress);
}
