//! Races between an owner and other writers of its transactions. The simulator found each of
//! them.

use std::{sync::Arc, time::Duration};

use dtx_core::{
    answer::{Done, Reason},
    engine::{EngineSettings, Input, Notice, Outputs, Signal, StoredState},
    modifier::VerifyWhen,
    name::ParticipantName,
    pattern::{Pattern, Phase},
    store::{CommitResult, Outcome, RecordKind, Status, TxRecord, Verdict},
    transaction::{OperationDraft, Transaction, TransactionBuilder},
};

use crate::rig::{OPERATION, Rig, commands, has, two};

#[test]
fn an_accept_that_landed_unheard_and_was_signalled_to_is_its_own() {
    let mut rig = Rig::new();
    let accept = rig.submit(Transaction::builder(Pattern::Saga)).writes.remove(0);
    assert!(matches!(rig.land(&accept), CommitResult::Committed(_)));
    rig.give(Signal::Cancel);
    // The answer was lost; sent again, the accept finds the signal's version.
    let conflict = rig.land(&accept);
    let asked = rig.written(&accept, conflict);
    assert_eq!(asked.loads, [rig.tx]);
    let out = rig.load();
    assert!(has(&out, |notice| matches!(notice, Notice::Accepted(_))), "{out:?}");
    assert_eq!(out.writes[0].kind, RecordKind::Verdict, "it was cancelled: {out:?}");
}

#[test]
fn an_id_that_belongs_to_another_transaction_is_not_accepted() {
    let mut rig = Rig::new();
    let first = rig.submit(Transaction::builder(Pattern::Saga)).writes.remove(0);
    rig.land(&first);
    rig.engine = Rig::owner(&rig.store, rig.tx, 2, &rig.settings);
    let second = rig.submit(Transaction::builder(Pattern::FireAndForget)).writes.remove(0);
    let conflict = rig.land(&second);
    rig.written(&second, conflict);
    let out = rig.load();
    assert!(has(&out, |notice| matches!(notice, Notice::NotAccepted(..))), "{out:?}");
    assert_eq!(rig.engine.open_count(), 0);
}

#[test]
fn what_has_a_signal_to_hear_is_not_parked() {
    let mut rig = Rig::new();
    let builder = Transaction::builder(Pattern::TwoPhaseSaga).approval(Duration::from_secs(60));
    let accept = rig.submit(builder).writes.remove(0);
    let sent = rig.land_and_tell(&accept);
    let park = rig.done(&commands(&sent)[0]).writes.remove(0);
    assert_eq!(park.summary.status, Status::Parked);
    rig.give(Signal::Approve);
    let conflict = rig.land(&park);
    rig.written(&park, conflict);
    let again = rig.load().writes.remove(0);
    let out = rig.land_and_tell(&again);
    assert!(!has(&out, |notice| matches!(notice, Notice::Parked(_))), "{out:?}");
    assert_eq!(commands(&out)[0].phase, Phase::Execute, "it was approved: {out:?}");
}

#[test]
fn without_a_signal_it_is_parked_and_leaves_the_memory() {
    let mut rig = Rig::new();
    let builder = Transaction::builder(Pattern::TwoPhaseSaga).approval(Duration::from_secs(60));
    let accept = rig.submit(builder).writes.remove(0);
    let sent = rig.land_and_tell(&accept);
    let park = rig.done(&commands(&sent)[0]).writes.remove(0);
    let out = rig.land_and_tell(&park);
    assert!(has(&out, |notice| matches!(notice, Notice::Parked(_))), "{out:?}");
    assert_eq!(rig.engine.open_count(), 0);
}

#[test]
fn what_was_read_before_it_ended_is_not_opened_again() {
    let mut rig = Rig::new();
    let accept = rig.submit(Transaction::builder(Pattern::Saga)).writes.remove(0);
    let sent = rig.land_and_tell(&accept);
    let stale = rig.record();
    let end = rig.done(&commands(&sent)[0]).writes.remove(0);
    rig.land_and_tell(&end);
    assert_eq!(rig.record().due, None);
    // The scan had read it before.
    let record = Ok(Some(Box::new(stale)));
    let out = rig.feed(Input::Loaded { tx: rig.tx, record, store_now: rig.now });
    let resume = &out.writes[0];
    assert_eq!(resume.kind, RecordKind::Resumed);
    let conflict = rig.land(resume);
    rig.written(resume, conflict);
    let out = rig.load();
    assert!(out.writes.is_empty() && out.commands.is_empty(), "{out:?}");
    assert!(has(&out, |notice| matches!(notice, Notice::Told(_, Outcome::Committed))));
    assert_eq!(rig.engine.open_count(), 0);
}

#[test]
fn what_a_verification_found_is_durable_before_anything_is_executed() {
    let mut rig = Rig::noting_from(Duration::ZERO);
    let builder = Transaction::builder(Pattern::TwoPhaseSaga).verify(VerifyWhen::Always, 0);
    let accept = rig.submit(builder).writes.remove(0);
    let sent = rig.land_and_tell(&accept);
    // The note of the attempt is still on its way when the status arrives.
    let attempt = sent.writes[0].clone();
    assert_eq!(attempt.kind, RecordKind::Progress);
    rig.done(&commands(&sent)[0]);
    let asked = rig.land_and_tell(&attempt);
    let status = commands(&asked)[0].clone();
    assert_eq!((status.phase, status.operation), (Phase::Status, OPERATION));
    let note = asked.writes[0].clone();
    rig.done(&status);
    let out = rig.land_and_tell(&note);
    assert!(out.commands.is_empty(), "what was found is not durable yet: {out:?}");
    let out = rig.land_and_tell(&out.writes[0]);
    assert_eq!(commands(&out)[0].phase, Phase::Execute);
}

#[test]
fn the_end_of_a_delegated_commit_lands_over_an_operators_signal() {
    let mut rig = Rig::new();
    let accept = rig.submit(Transaction::builder(Pattern::TwoPhaseCommit)).writes.remove(0);
    let delegated = rig.land_and_tell(&accept).writes.remove(0);
    assert_eq!(delegated.kind, RecordKind::Delegated);
    let sent = rig.land_and_tell(&delegated);
    let out = rig.done(&commands(&sent)[0]);
    assert!(has(&out, |notice| matches!(notice, Notice::Told(_, Outcome::Committed))));
    let end = out.writes[0].clone();
    let mut stuck = rig.record();
    stuck.summary.status = Status::NeedsAttention;
    rig.give_to(&stuck, Signal::Abandon);
    let conflict = rig.land(&end);
    assert_eq!(rig.written(&end, conflict).loads, [rig.tx]);
    let again = rig.load().writes.remove(0);
    rig.land_and_tell(&again);
    assert_eq!(rig.record().due, None);
    assert_eq!(rig.engine.open_count(), 0);
}

#[test]
fn whoever_is_fenced_gives_the_shard_up_whatever_was_written() {
    let mut rig = Rig::new();
    let shard = rig.tx.shard(rig.store.info().shards);
    let lost = |out: &Outputs| {
        has(out, |notice| matches!(notice, Notice::LeaseLost(lost) if *lost == shard))
    };
    let accept = rig.submit(Transaction::builder(Pattern::FireAndForget)).writes.remove(0);
    assert!(lost(&rig.written(&accept, CommitResult::Fenced)));
    // The last, lazy record of a transaction that has left the memory.
    let sent = rig.land_and_tell(&accept);
    let finish = rig.done(&commands(&sent)[0]).writes.remove(0);
    assert!(finish.lazy && finish.kind == RecordKind::Finished, "{finish:?}");
    assert!(lost(&rig.written(&finish, CommitResult::Fenced)));
}

#[test]
fn an_output_at_output_bytes_max_reaches_what_depends_on_it_and_one_past_it_does_not() {
    for (bytes, reaches) in [(8, 1), (9, 0)] {
        let mut rig = Rig::new();
        let settings = EngineSettings { output_bytes_max: 8, ..EngineSettings::default() };
        rig.engine = Rig::owner(&rig.store, rig.tx, 2, &Arc::new(settings));
        let operation = |name| OperationDraft::new("svc", "work").name(name);
        let builder = Transaction::builder(Pattern::Saga).operation(operation("first"));
        let built = builder.operation(operation("second")).in_sequence().build();
        let transaction = Arc::new(built.expect("a valid definition"));
        let submit = Input::Submit { tx: rig.tx, transaction, observed: false };
        let accept = rig.feed(submit).writes.remove(0);
        let sent = rig.land_and_tell(&accept);
        let done = commands(&sent)[0].reply(Ok(Done::with(vec![7; bytes])));
        let next = commands(&rig.feed(Input::Reply(done)));
        assert_eq!(next[0].inputs.len(), reaches, "{bytes} bytes");
    }
}

/// What an operator has cleared at the end is not put back by a repeat of the last write.
#[test]
fn a_last_write_whose_answer_was_lost_leaves_what_came_after_it() {
    let mut rig = Rig::new();
    let accept = rig.submit(Transaction::builder(Pattern::FireAndForget)).writes.remove(0);
    let sent = rig.land_and_tell(&accept);
    let mut end = rig.done(&commands(&sent)[0]).writes.remove(0);
    end.summary.exceptions.push(Reason::new("odd"));
    assert!(end.lazy && matches!(rig.land(&end), CommitResult::Committed(_)));
    rig.give(Signal::ClearExceptions);
    let (version, conflict) = (rig.record().version, rig.land(&end));
    rig.written(&end, conflict);
    let out = rig.load();
    assert!(out.writes.is_empty(), "{out:?}");
    assert_eq!((rig.record().version, rig.engine.open_count()), (version, 0));
}

/// A parked transaction whose wait is over, with its record as it was before.
fn parked(builder: TransactionBuilder) -> (Rig, TxRecord) {
    let mut rig = Rig::new();
    let accept = rig.submit(builder).writes.remove(0);
    let sent = rig.land_and_tell(&accept);
    let mut last = Outputs::default();
    for command in commands(&sent) {
        last = rig.done(&command);
    }
    rig.land_and_tell(&last.writes[0]);
    assert_eq!((rig.engine.open_count(), rig.record().summary.status), (0, Status::Parked));
    let record = rig.record();
    (rig, record)
}

fn delayed() -> TransactionBuilder {
    let after = Duration::from_secs(20);
    Transaction::builder(Pattern::TwoPhaseCommit).execute_after(after).verify(VerifyWhen::Always, 0)
}

#[test]
fn what_was_parked_is_taken_up_by_a_record() {
    let (mut rig, record) = parked(two(delayed()));
    let record = Ok(Some(Box::new(record)));
    let out = rig.feed(Input::Loaded { tx: rig.tx, record, store_now: rig.now });
    assert!(out.commands.is_empty(), "{out:?}");
    let resume = &out.writes[0];
    assert_eq!((resume.kind, resume.summary.status), (RecordKind::Resumed, Status::Open));
    assert_eq!(resume.summary.resumes, 0, "its wait was over, nothing had failed");
    assert!(!rig.land_and_tell(resume).commands.is_empty());
    // Should it kill its owner now, that counts.
    rig.engine = Rig::owner(&rig.store, rig.tx, 2, &rig.settings);
    let out = rig.load();
    assert_eq!(out.writes[0].summary.resumes, 1);
}

/// An inquiry has aborted what was parked. It was read, and again, before its end: the second
/// read arrives when all is over.
#[test]
fn what_was_parked_and_has_ended_is_not_taken_up_again() {
    let (mut rig, _) = parked(two(delayed()));
    rig.abort_by_inquiry();
    assert_eq!(rig.record().summary.status, Status::Open, "it waits for nothing any more");
    let stale = rig.record();
    let resume = rig.load().writes.remove(0);
    let mut asked = commands(&rig.land_and_tell(&resume));
    let mut out = Outputs::default();
    while let Some(command) = asked.pop() {
        out = rig.done(&command);
        asked.extend(commands(&out));
    }
    rig.land_and_tell(&out.writes[0]);
    assert_eq!((rig.record().due, rig.engine.open_count()), (None, 0));
    let end = rig.record();

    let record = Ok(Some(Box::new(stale)));
    let out = rig.feed(Input::Loaded { tx: rig.tx, record, store_now: rig.now });
    assert!(out.commands.is_empty() && out.notices.is_empty(), "{out:?}");
    let conflict = rig.land(&out.writes[0]);
    rig.written(&out.writes[0], conflict);
    let out = rig.load();
    assert!(out.writes.is_empty() && out.commands.is_empty(), "{out:?}");
    assert_eq!((rig.record().version, rig.engine.open_count()), (end.version, 0));
}

/// An owner takes up what it read a while ago. What has become durable since stays.
#[test]
fn all_that_is_durable_is_taken_over_with_the_version() {
    let mut rig = Rig::noting_from(Duration::ZERO);
    let builder = Transaction::builder(Pattern::TwoPhaseSaga).verify(VerifyWhen::Always, 0);
    let accept = rig.submit(builder).writes.remove(0);
    let sent = rig.land_and_tell(&accept);
    let stale = rig.record();
    rig.land_and_tell(&sent.writes[0]);
    let asked = rig.done(&commands(&sent)[0]);
    rig.land_and_tell(&asked.writes[0]);
    let found = rig.done(&commands(&asked)[0]);
    rig.land_and_tell(&found.writes[0]);
    let before = StoredState::decode(&rig.record().state).expect("a state");
    assert_eq!(before.verified, Some(true));
    assert!(!before.attempts.is_empty());

    rig.engine = Rig::owner(&rig.store, rig.tx, 2, &rig.settings);
    let record = Box::new(stale);
    let resume = rig.feed(Input::Recovered { record, store_now: rig.now }).writes.remove(0);
    let conflict = rig.land(&resume);
    rig.written(&resume, conflict);
    let resume = rig.load().writes.remove(0);
    assert_eq!(resume.kind, RecordKind::Resumed);
    let after = StoredState::decode(&resume.state).expect("a state");
    assert_eq!(after, StoredState { resumes: 1, ..before });
    let sent = rig.land_and_tell(&resume);
    assert_eq!(commands(&sent)[0].phase, Phase::Prepare, "it runs forward: {sent:?}");
}

/// A transaction that was taken up as often as it may be, and waits for an operator.
fn exhausted(builder: TransactionBuilder) -> Rig {
    let mut rig = Rig::new();
    let accept = rig.submit(builder).writes.remove(0);
    rig.land_and_tell(&accept);
    for holder in 2..=u128::from(rig.settings.resumes_max) + 1 {
        rig.engine = Rig::owner(&rig.store, rig.tx, holder, &rig.settings);
        let resume = rig.load().writes.remove(0);
        rig.land_and_tell(&resume);
    }
    rig.engine = Rig::owner(&rig.store, rig.tx, 100, &rig.settings);
    let wait = rig.load().writes.remove(0);
    assert_eq!(wait.summary.status, Status::NeedsAttention);
    rig.land_and_tell(&wait);
    rig
}

/// What may kill coordinators waits for an operator, also when an inquiry has decided it.
#[test]
fn what_waits_after_too_many_resumes_is_not_driven_by_a_verdict() {
    let mut rig = exhausted(two(Transaction::builder(Pattern::TwoPhaseCommit)));
    rig.abort_by_inquiry();
    let out = rig.load();
    assert!(out.commands.is_empty() && out.writes.is_empty(), "{out:?}");
    rig.give(Signal::Retry);
    let resume = rig.load().writes.remove(0);
    assert_eq!((resume.kind, resume.summary.resumes), (RecordKind::Resumed, 1));
    let sent = rig.land_and_tell(&resume);
    assert!(commands(&sent).iter().all(|c| c.phase == Phase::Abort), "{sent:?}");
    assert!(!sent.commands.is_empty());
}

#[test]
fn what_waits_after_too_many_resumes_hears_a_caller_only_once_it_is_taken_up() {
    let mut rig = exhausted(Transaction::builder(Pattern::Saga));
    rig.give(Signal::Cancel);
    let out = rig.load();
    assert!(out.commands.is_empty() && out.writes.is_empty(), "{out:?}");
    rig.give(Signal::Retry);
    let resume = rig.load().writes.remove(0);
    assert_eq!((resume.kind, resume.summary.resumes), (RecordKind::Resumed, 1));
    let out = rig.land_and_tell(&resume);
    assert!(out.commands.is_empty(), "{out:?}");
    assert_eq!(out.writes[0].verdict, Some(Verdict::Turned), "it was cancelled");

    // The operator's move was made: whoever takes it up next does not make it again.
    rig.engine = Rig::owner(&rig.store, rig.tx, 200, &rig.settings);
    assert_eq!(rig.load().writes[0].summary.resumes, 2);
}

#[test]
fn a_cancel_that_an_accept_has_met_is_not_overtaken_by_a_delegation() {
    let mut rig = Rig::new();
    let accept = rig.submit(Transaction::builder(Pattern::TwoPhaseCommit)).writes.remove(0);
    assert!(matches!(rig.land(&accept), CommitResult::Committed(_)));
    rig.give(Signal::Cancel);
    let conflict = rig.land(&accept);
    rig.written(&accept, conflict);
    let out = rig.load();
    let written: Vec<_> = out.writes.iter().map(|write| (write.kind, write.verdict)).collect();
    assert_eq!(written, [(RecordKind::Verdict, Some(Verdict::Abort))]);
    assert_eq!(StoredState::decode(&out.writes[0].state).unwrap().point_of_no_return, None);
    assert!(out.commands.is_empty(), "{out:?}");
}

#[test]
fn a_cancel_that_an_answer_has_met_is_not_overtaken_by_the_verdict() {
    let mut rig = Rig::new();
    let without_inbox = [ParticipantName::new("svc").expect("a name")].into();
    rig.settings = Arc::new(EngineSettings { without_inbox, ..(*rig.settings).clone() });
    rig.engine = Rig::owner(&rig.store, rig.tx, 2, &rig.settings);
    let accept = rig.submit(Transaction::builder(Pattern::Saga)).writes.remove(0);
    let sent = rig.land_and_tell(&accept);
    let answered = rig.done(&commands(&sent)[0]).writes.remove(0);
    rig.give(Signal::Cancel);
    let conflict = rig.land(&answered);
    rig.written(&answered, conflict);
    let again = rig.load().writes.remove(0);
    assert_eq!(again.kind, RecordKind::Progress);
    // All is executed now, and the way forward is as short as the way back.
    let out = rig.land_and_tell(&again);
    let written: Vec<_> = out.writes.iter().map(|write| (write.kind, write.verdict)).collect();
    assert_eq!(written, [(RecordKind::Verdict, Some(Verdict::Turned))]);
}
