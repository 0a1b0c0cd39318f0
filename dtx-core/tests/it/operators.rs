//! What operators and the healer may do with a record, by the record alone.

use std::time::Duration;

use bytes::Bytes;
use dtx_core::{
    answer::Reason,
    engine::{
        Condition, EngineSettings, HEALER, HealSettings, Signal, SignalEntry, SignalStep,
        StoredState, Verb, accept_write, examine, legal_moves, next_pause, signal_write,
    },
    ids::{HolderId, OperationIndex, TxId, Version, WriteId},
    pattern::{Pattern, Phase},
    store::{Outcome, RecordKind, Status, TxRecord, Verdict},
    time::Timestamp,
    transaction::{OperationDraft, Transaction},
};

const ID: WriteId = WriteId { writer: HolderId(1), number: 1 };

/// An open record, as an accept leaves it, and its state to be changed.
fn record(pattern: Pattern, gate: bool) -> (TxRecord, StoredState) {
    let mut builder = Transaction::builder(pattern)
        .operation(OperationDraft::new("bank", "pay"))
        .operation(OperationDraft::new("shop", "take"));
    if gate {
        builder = builder.approval(Duration::from_secs(60));
    }
    let transaction = builder.build().expect("a valid definition");
    let tx = TxId::from_parts(1, [1; 10]);
    let write = accept_write(&transaction, tx, ID, Timestamp::ZERO, Duration::from_secs(60));
    let state = StoredState::decode(&write.state).expect("its own state");
    let record = TxRecord {
        tx,
        version: Version(1),
        last_write: ID,
        key: None,
        definition: write.definition.expect("an accept has one"),
        verdict: write.verdict,
        state: write.state,
        due: write.due,
        summary: write.summary,
        accepted_at: Timestamp::ZERO,
        written_at: Timestamp::ZERO,
    };
    (record, state)
}

/// The record after something happened to it.
fn with(
    (mut record, mut state): (TxRecord, StoredState),
    change: impl FnOnce(&mut TxRecord, &mut StoredState),
) -> TxRecord {
    change(&mut record, &mut state);
    record.state = state.encode();
    record
}

fn stuck_at(at: &[Phase]) -> impl FnOnce(&mut TxRecord, &mut StoredState) {
    let stuck: Vec<_> =
        at.iter().enumerate().map(|(of, phase)| (OperationIndex(of as u16), *phase)).collect();
    move |record, state| {
        state.stuck = stuck.into_iter().collect();
        record.summary.status = Status::NeedsAttention;
        record.summary.exceptions = vec![Reason::new("it failed")];
    }
}

fn decided(
    verdict: Verdict,
    then: impl FnOnce(&mut TxRecord, &mut StoredState),
) -> impl FnOnce(&mut TxRecord, &mut StoredState) {
    move |record, state| {
        record.verdict = Some(verdict);
        then(record, state);
    }
}

fn offered(record: &TxRecord) -> String {
    let moves = legal_moves(record).expect("it can be read");
    let word = |legal: &dtx_core::engine::Move| match legal.operation {
        Some(operation) => format!("{} {operation}", legal.verb),
        None => legal.verb.to_string(),
    };
    moves.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn given(signals: &[Signal]) -> Vec<SignalEntry> {
    let entry = |signal: &Signal| SignalEntry {
        signal: signal.clone(),
        by: Reason::new("ann"),
        reason: Reason::new("because"),
    };
    signals.iter().map(entry).collect()
}

/// What is offered and what is taken must both be this.
fn check(cases: &[(&str, TxRecord, &str)]) {
    for (what, record, moves) in cases {
        assert_eq!(offered(record), *moves, "{what}");
        assert_eq!(taken(record), *moves, "{what}: what is taken is what is offered");
    }
}

#[test]
fn a_one_phase_commit_is_its_participants_until_no_answer_comes() {
    use Pattern::TwoPhaseCommit;
    check(&[
        (
            "delegated: the participant decides",
            with(record(TwoPhaseCommit, false), |_, state| {
                state.point_of_no_return = Some(RecordKind::Delegated);
            }),
            "",
        ),
        (
            "delegated, and no answer comes",
            with(record(TwoPhaseCommit, false), |record, state| {
                stuck_at(&[Phase::Commit])(record, state);
                state.point_of_no_return = Some(RecordKind::Delegated);
            }),
            "retry, skip 0, force-commit, abandon, clear-exceptions",
        ),
    ]);
}

#[test]
fn the_moves_of_what_goes_on_by_itself_are_those_that_fit_it() {
    use Pattern::{Saga, TwoPhaseCommit, TwoPhaseSaga};
    check(&[
        (
            "on its way",
            with(record(Saga, false), |_, _| ()),
            "approve, reject, cancel, force-abort, abandon",
        ),
        (
            "before a gate",
            with(record(TwoPhaseSaga, true), |_, _| ()),
            "approve, reject, cancel, force-commit, force-abort, abandon",
        ),
        (
            "parked at its gate, and approved",
            with(record(TwoPhaseSaga, true), |record, state| {
                record.summary.status = Status::Parked;
                state.signals = given(&[Signal::Approve]).into_iter().collect();
            }),
            "cancel, force-commit, force-abort, abandon",
        ),
        (
            "forced forward",
            with(record(TwoPhaseSaga, true), |_, state| {
                state.signals = given(&[Signal::ForceCommit]).into_iter().collect();
            }),
            "abandon",
        ),
        (
            "cancelled, and not yet heard",
            with(record(TwoPhaseSaga, true), |_, state| {
                state.signals = given(&[Signal::Cancel]).into_iter().collect();
            }),
            "abandon",
        ),
        (
            "carried out",
            with(record(TwoPhaseCommit, false), decided(Verdict::Commit, |_, _| ())),
            "abandon",
        ),
        (
            "ended with an exception",
            with(record(Saga, false), |record, state| {
                stuck_at(&[])(record, state);
                record.due = None;
                record.summary.status = Status::Finished(Outcome::Committed);
            }),
            "clear-exceptions",
        ),
        (
            "ended",
            with(record(Saga, false), |record, _| {
                record.due = None;
                record.summary.status = Status::Finished(Outcome::Committed);
            }),
            "",
        ),
    ]);
}

#[test]
fn the_moves_of_what_waits_for_an_operator_are_those_that_fit_it() {
    use Pattern::{Saga, ThreePhaseSaga, TwoPhaseCommit, TwoPhaseSaga};
    check(&[
        (
            "taken up too often",
            with(record(TwoPhaseSaga, true), stuck_at(&[])),
            "approve, reject, cancel, retry, force-abort, abandon, clear-exceptions",
        ),
        (
            "an execution without an answer",
            with(record(Saga, false), stuck_at(&[Phase::Execute])),
            "approve, reject, cancel, retry, skip 0, edit-input 0, force-commit, force-abort, \
             abandon, clear-exceptions",
        ),
        (
            "a promise without an answer",
            with(record(TwoPhaseCommit, false), stuck_at(&[Phase::Prepare])),
            "approve, reject, cancel, retry, edit-input 0, force-abort, abandon, \
             clear-exceptions",
        ),
        (
            "a no after the decision",
            with(
                record(ThreePhaseSaga, false),
                decided(Verdict::Commit, stuck_at(&[Phase::Execute, Phase::Execute])),
            ),
            "retry, skip 0, skip 1, force-commit, abandon, clear-exceptions",
        ),
        (
            "a compensation that fails",
            with(record(Saga, false), decided(Verdict::Turned, stuck_at(&[Phase::Compensate]))),
            "retry, skip 0, edit-input 0, force-abort, abandon, clear-exceptions",
        ),
    ]);
}

/// The moves that are taken, found by trying all of them.
fn taken(record: &TxRecord) -> String {
    let mut words = Vec::new();
    let of = [0, 1].map(OperationIndex);
    for verb in Verb::ALL {
        let signals: Vec<Signal> = match verb {
            Verb::Approve => vec![Signal::Approve],
            Verb::Reject => vec![Signal::Reject],
            Verb::Cancel => vec![Signal::Cancel],
            Verb::Retry => vec![Signal::Retry],
            Verb::Skip => of.map(Signal::Skip).into(),
            Verb::EditInput => {
                of.map(|operation| Signal::EditInput { operation, payload: Bytes::new() }).into()
            }
            Verb::ForceCommit => vec![Signal::ForceCommit],
            Verb::ForceAbort => vec![Signal::ForceAbort],
            Verb::Abandon => vec![Signal::Abandon],
            Verb::ClearExceptions => vec![Signal::ClearExceptions],
        };
        for entry in given(&signals) {
            let word = match entry.signal.operation() {
                Some(operation) => format!("{verb} {operation}"),
                None => verb.to_string(),
            };
            let settings = EngineSettings::default();
            let step = signal_write(record, entry, ID, Timestamp::ZERO, &settings);
            if matches!(step, SignalStep::Write(_)) {
                words.push(word);
            }
        }
    }
    words.join(", ")
}

#[test]
fn a_record_that_cannot_be_read_takes_no_move() {
    let (mut damaged, _) = record(Pattern::Saga, false);
    damaged.definition = Bytes::from_static(b"damaged");
    legal_moves(&damaged).expect_err("it is quarantined");
    let healing = HealSettings::default();
    let found = examine(&damaged, Timestamp::ZERO, &healing);
    assert!(matches!(found, Condition::Quarantined(_)), "{found:?}");
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

#[test]
fn an_orphan_is_one_at_its_age_and_not_before() {
    let healing = HealSettings { orphan_age: Duration::from_secs(50), ..HealSettings::default() };
    let (open, _) = record(Pattern::Saga, false);
    assert_eq!(examine(&open, at(49), &healing), Condition::Healthy);
    let orphan = |overdue, verdict| Condition::Orphan { verdict, overdue };
    assert_eq!(examine(&open, at(50), &healing), orphan(false, None));
    assert_eq!(examine(&open, at(60), &healing), orphan(false, None), "at its deadline");
    assert_eq!(examine(&open, at(61), &healing), orphan(true, None));
    let decided = with(record(Pattern::Saga, false), decided(Verdict::Turned, |_, _| ()));
    assert_eq!(examine(&decided, at(61), &healing), orphan(false, Some(Verdict::Turned)));
    let parked = with(record(Pattern::TwoPhaseSaga, true), |record, _| {
        record.summary.status = Status::Parked;
        record.due = Some(at(1_000));
    });
    assert_eq!(examine(&parked, at(1_049), &healing), Condition::Healthy);
    assert!(matches!(examine(&parked, at(1_050), &healing), Condition::Orphan { .. }));
    let ended = with(record(Pattern::Saga, false), |record, _| record.due = None);
    assert_eq!(examine(&ended, at(9_999), &healing), Condition::Ended);
}

#[test]
fn what_is_stuck_is_tried_again_so_often_and_each_time_later() {
    let healing = HealSettings {
        stuck_retry_after: Duration::from_secs(10),
        stuck_retries_max: 2,
        ..HealSettings::default()
    };
    let stuck = |tries: usize| {
        with(record(Pattern::Saga, false), |record, state| {
            decided(Verdict::Turned, stuck_at(&[Phase::Compensate]))(record, state);
            state.signals = given(&vec![Signal::Retry; tries]).into_iter().collect();
            state.signals.iter_mut().for_each(|entry| entry.by = Reason::new(HEALER));
            // An operator's own do not count.
            state.signals.extend(given(&[Signal::Retry]));
        })
    };
    for (tries, pause) in [(0, 10), (1, 20)] {
        let number = tries + 1;
        assert_eq!(examine(&stuck(tries), at(pause - 1), &healing), Condition::NeedsOperator);
        assert_eq!(examine(&stuck(tries), at(pause), &healing), Condition::RetryStuck { number });
    }
    assert_eq!(examine(&stuck(2), at(9_999), &healing), Condition::NeedsOperator);
    let no = with(
        record(Pattern::TwoPhaseCommit, false),
        decided(Verdict::Commit, stuck_at(&[Phase::Commit])),
    );
    assert_eq!(examine(&no, at(9_999), &healing), Condition::NeedsOperator, "a no stays a no");
    let poison = with(record(Pattern::Saga, false), stuck_at(&[]));
    assert_eq!(examine(&poison, at(9_999), &healing), Condition::NeedsOperator);
}

#[test]
fn the_pause_doubles_up_to_its_bound_and_is_short_again_when_something_was_found() {
    let (short, long) = (Duration::from_secs(1), Duration::from_secs(5));
    let mut pause = short;
    for wanted in [2, 4, 5, 5] {
        pause = next_pause(pause, false, short, long);
        assert_eq!(pause, Duration::from_secs(wanted));
    }
    assert_eq!(next_pause(pause, true, short, long), short);
}

#[test]
fn the_settings_of_healing_name_what_cannot_be() {
    assert_eq!(HealSettings::default().check(), Ok(()));
    let field = |settings: HealSettings| settings.check().expect_err("it cannot be").field;
    let default = HealSettings::default;
    assert_eq!(
        field(HealSettings { orphan_age: Duration::ZERO, ..default() }),
        "healing.orphan_age"
    );
    assert_eq!(field(HealSettings { records_max: 0, ..default() }), "healing.records_max");
    let at_bound = HealSettings { interval_max: default().interval, ..default() };
    assert_eq!(at_bound.check(), Ok(()));
    let below = default().interval - Duration::from_millis(1);
    assert_eq!(field(HealSettings { interval_max: below, ..default() }), "healing.interval_max");
}

#[test]
fn histories_keep_the_word_of_a_signal_and_never_an_input() {
    let payload = Bytes::from_static(b"secret");
    let edit = Signal::EditInput { operation: OperationIndex(3), payload };
    assert_eq!(edit.to_string(), "edit-input 3 (6 bytes)");
    assert_eq!(Signal::ForceCommit.to_string(), "force-commit");
    for verb in Verb::ALL {
        assert_eq!(verb.name().parse(), Ok(verb));
    }
    let error = "dance".parse::<Verb>().expect_err("no move").to_string();
    assert!(Verb::ALL.iter().all(|verb| error.contains(verb.name())), "{error}");
}
