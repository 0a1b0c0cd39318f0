//! Every check with an example that breaks it, and the same made legal.

use std::sync::Arc;

use bytes::Bytes;
use dtx_core::{
    answer::Reason,
    ids::{Epoch, ShardId, TxId, Version},
    modifier::VerifyWhen,
    transaction::{OperationDraft, TransactionBuilder},
};

use super::*;
use crate::view::Sight;

const OPERATION: OperationIndex = OperationIndex(0);

fn of(builder: TransactionBuilder, draft: OperationDraft) -> Transaction {
    builder.operation(draft).build().expect("a valid definition")
}

fn plain(pattern: Pattern) -> Transaction {
    of(Transaction::builder(pattern), OperationDraft::new("svc", "work"))
}

/// A record that was accepted under epoch 1.
fn accepted(transaction: Transaction) -> View {
    let mut view = View::new(Arc::new(transaction), ShardId(0));
    (view.version, view.is_open, view.epochs) = (Version(1), true, vec![Epoch(1)]);
    view.state.sequence = AcceptSequence { epoch: Epoch(1), number: 1 };
    view
}

fn ask(view: &View, phase: Phase) -> Command {
    let operation = view.transaction.operation(OPERATION);
    Command {
        tx: TxId::from_parts(1, [7; 10]),
        operation: OPERATION,
        phase,
        pattern: view.transaction.pattern(),
        participant: operation.participant().clone(),
        action: operation.action().clone(),
        action_version: 1,
        attempt: 1,
        shard: ShardId(0),
        epoch: Epoch(1),
        sequence: view.state.sequence,
        watermark: AcceptSequence::default(),
        deadline: None,
        ttl: None,
        one_phase: false,
        reply: true,
        payload: Bytes::new(),
        inputs: Vec::new(),
    }
}

#[track_caller]
fn breaks(result: Result<(), Broken>, words: &str) {
    let broken = result.expect_err("it is broken");
    assert!(broken.contains(words), "{broken}");
}

#[test]
fn nothing_leaves_before_the_accept_or_the_resume() {
    let mut view = accepted(plain(Pattern::Saga));
    let mut execute = ask(&view, Phase::Execute);
    assert_eq!(command(Some(&view), &execute), Ok(()));
    breaks(command(None, &execute), "persist before send");
    execute.epoch = Epoch(2);
    breaks(command(Some(&view), &execute), "rule 6");
    view.epochs.push(Epoch(2));
    assert_eq!(command(Some(&view), &execute), Ok(()));
}

#[test]
fn nothing_goes_back_before_its_verdict() {
    for (pattern, phase, verdict) in [
        (Pattern::Saga, Phase::Compensate, Verdict::Turned),
        (Pattern::TwoPhaseSaga, Phase::Cancel, Verdict::Turned),
        (Pattern::ThreePhaseSaga, Phase::Release, Verdict::Abort),
        (Pattern::TwoPhaseCommit, Phase::Abort, Verdict::Abort),
    ] {
        let mut view = accepted(plain(pattern));
        let back = ask(&view, phase);
        breaks(command(Some(&view), &back), "rule 2");
        view.verdict = Some(verdict);
        assert_eq!(command(Some(&view), &back), Ok(()));
    }
}

#[test]
fn nothing_is_executed_before_what_it_depends_on() {
    for (pattern, phase, verdict) in [
        (Pattern::ThreePhaseSaga, Phase::Execute, Verdict::Commit),
        (Pattern::TwoPhaseCommit, Phase::Commit, Verdict::Commit),
        (Pattern::CriticalEventual, Phase::Deliver, Verdict::Completed),
        (Pattern::FireAndForget, Phase::Deliver, Verdict::Completed),
    ] {
        let mut view = accepted(plain(pattern));
        let forward = ask(&view, phase);
        breaks(command(Some(&view), &forward), "persist before send");
        view.verdict = Some(verdict);
        assert_eq!(command(Some(&view), &forward), Ok(()));
    }
}

#[test]
fn the_points_of_no_return_are_durable_first() {
    let pivot = OperationDraft::new("svc", "work").step(StepKind::Pivot);
    let mut view = accepted(of(Transaction::builder(Pattern::Saga), pivot));
    let execute = ask(&view, Phase::Execute);
    breaks(command(Some(&view), &execute), "rule 4");
    view.state.point_of_no_return = Some(RecordKind::PivotSent);
    assert_eq!(command(Some(&view), &execute), Ok(()));

    let mut alone = accepted(plain(Pattern::TwoPhaseCommit));
    let commit = Command { one_phase: true, ..ask(&alone, Phase::Commit) };
    breaks(command(Some(&alone), &commit), "rule 4");
    alone.state.point_of_no_return = Some(RecordKind::Delegated);
    assert_eq!(command(Some(&alone), &commit), Ok(()));
}

#[test]
fn what_a_verification_found_is_durable_first() {
    let builder = Transaction::builder(Pattern::TwoPhaseSaga).verify(VerifyWhen::Always, 0);
    let mut view = accepted(of(builder, OperationDraft::new("svc", "work")));
    let execute = ask(&view, Phase::Execute);
    breaks(command(Some(&view), &execute), "OV");
    view.state.verified = Some(false);
    breaks(command(Some(&view), &execute), "OV");
    view.state.verified = Some(true);
    assert_eq!(command(Some(&view), &execute), Ok(()));
}

#[test]
fn a_deadline_ends_only_what_is_undecided() {
    let mut view = accepted(plain(Pattern::TwoPhaseCommit));
    let soon = Some(std::time::Duration::from_secs(1));
    let prepare = Command { deadline: soon, ..ask(&view, Phase::Prepare) };
    assert_eq!(command(Some(&view), &prepare), Ok(()));
    view.verdict = Some(Verdict::Commit);
    let commit = Command { deadline: soon, ..ask(&view, Phase::Commit) };
    breaks(command(Some(&view), &commit), "rule 7");
}

#[test]
fn a_watermark_stays_at_the_oldest_open_transaction() {
    let mut view = accepted(plain(Pattern::Saga));
    let own = view.state.sequence;
    let above = AcceptSequence { number: own.number + 1, ..own };
    assert_eq!(watermark([&view], own), Ok(()));
    breaks(watermark([&view], above), "rule 14");
    view.is_open = false;
    assert_eq!(watermark([&view], above), Ok(()));
}

#[test]
fn an_outcome_is_told_once_a_record_fixes_it() {
    let mut view = accepted(plain(Pattern::Saga));
    breaks(told(None, Outcome::Aborted), "never accepted");
    for outcome in [Outcome::Committed, Outcome::Aborted, Outcome::Compensated] {
        breaks(told(Some(&view), outcome), "before a record fixed it");
    }
    view.verdict = Some(Verdict::Turned);
    breaks(told(Some(&view), Outcome::Aborted), "before a record fixed it");
    view.status = Status::Finished(Outcome::Aborted);
    assert_eq!(told(Some(&view), Outcome::Aborted), Ok(()));
    view.told = Some(Outcome::Aborted);
    assert_eq!(told(Some(&view), Outcome::Aborted), Ok(()));
    breaks(told(Some(&view), Outcome::Compensated), "two outcomes");
}

#[test]
fn a_delegated_commit_is_fixed_by_what_its_participant_holds() {
    let mut view = accepted(plain(Pattern::TwoPhaseCommit));
    view.state.point_of_no_return = Some(RecordKind::Delegated);
    breaks(told(Some(&view), Outcome::Committed), "before a record fixed it");
    assert_eq!(told(Some(&view), Outcome::Aborted), Ok(()));
    let done = Sight { done: vec![Phase::Commit], ..Sight::default() };
    view.operations.insert(OPERATION, done);
    assert_eq!(told(Some(&view), Outcome::Committed), Ok(()));
    breaks(told(Some(&view), Outcome::Aborted), "before a record fixed it");
}

#[test]
fn participants_carry_out_what_was_decided() {
    let run = |view: &View, phase| {
        carried_out(Some(view), OPERATION, phase, view.transaction.pattern(), false)
    };
    let mut view = accepted(plain(Pattern::ThreePhaseSaga));
    breaks(carried_out(None, OPERATION, Phase::Reserve, Pattern::Saga, false), "never accepted");
    assert_eq!(run(&view, Phase::Validate), Ok(()));
    breaks(run(&view, Phase::Execute), "without a durable commit");
    breaks(run(&view, Phase::Release), "without a durable backward verdict");
    view.verdict = Some(Verdict::Commit);
    assert_eq!(run(&view, Phase::Execute), Ok(()));
    let failed = Sight { rejected: vec![Phase::Validate], ..Sight::default() };
    view.operations.insert(OperationIndex(1), failed);
    breaks(run(&view, Phase::Execute), "a validation had failed");

    let mut saga = accepted(plain(Pattern::Saga));
    let undone = Sight { done: vec![Phase::Compensate], ..Sight::default() };
    saga.operations.insert(OPERATION, undone);
    breaks(run(&saga, Phase::Execute), "hanging");
}

fn given(signal: Signal) -> dtx_core::engine::SignalEntry {
    let (by, reason) = (Reason::new("x"), Reason::new("x"));
    dtx_core::engine::SignalEntry { signal, by, reason }
}

#[test]
fn a_gate_needs_the_approval_and_what_stands() {
    let builder =
        Transaction::builder(Pattern::TwoPhaseSaga).approval(std::time::Duration::from_secs(1));
    let mut view = accepted(of(builder, OperationDraft::new("svc", "work")));
    let execute = ask(&view, Phase::Execute);
    assert_eq!(gate(&view, &ask(&view, Phase::Prepare)), Ok(()));
    breaks(gate(&view, &execute), "approval");
    view.state.signals = [given(Signal::Approve)].into();
    assert_eq!(gate(&view, &execute), Ok(()));
    view.is_fallen = true;
    breaks(gate(&view, &execute), "verification");
    view.state.signals = [given(Signal::ForceCommit)].into();
    assert_eq!(gate(&view, &execute), Ok(()), "an operator's word");
}

#[test]
fn what_others_depend_on_goes_back_after_them() {
    let draft = |name: &str| OperationDraft::new("svc", "work").name(name);
    let builder = Transaction::builder(Pattern::Saga).operation(draft("a"));
    let mut view = accepted(of(builder, draft("b").depends_on(["a"])));
    let back = ask(&view, Phase::Compensate);
    assert_eq!(order(&view, &ask(&view, Phase::Execute)), Ok(()));
    breaks(order(&view, &back), "rule 3");
    let dependent = OperationIndex(1);
    let sight = Sight { rejected: vec![Phase::Execute], ..Sight::default() };
    view.operations.insert(dependent, sight);
    assert_eq!(order(&view, &back), Ok(()), "it has nothing to take back");
    view.operations.insert(dependent, Sight { done: vec![Phase::Compensate], ..Sight::default() });
    assert_eq!(order(&view, &back), Ok(()));
    assert_eq!(order(&view, &Command { operation: dependent, ..back }), Ok(()));
}
