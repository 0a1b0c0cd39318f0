use std::time::Duration;

use crate::{
    answer::{Done, NotDone, PhaseAnswer, Reason, Refusal},
    frame::Kind,
    ids::{AcceptSequence, Epoch, HolderId, OperationIndex, Version},
    pattern::{Pattern, Phase},
    resource::{
        barrier::*,
        codec,
        testing::{at, command, tx},
    },
    store::{RowExpect, RowKey, Scope, StoredRow},
    time::Timestamp,
    transport::Command,
};

const ME: HolderId = HolderId(1);
const DEAD: HolderId = HolderId(2);

fn context() -> ClaimContext<'static> {
    ClaimContext {
        host: ME,
        ended: &|host| host == DEAD,
        forgotten_below: AcceptSequence::default(),
        now: Timestamp::from_millis(1_000),
    }
}

fn done(text: &'static str) -> PhaseAnswer {
    Ok(Done::with(text.as_bytes()))
}

fn no() -> PhaseAnswer {
    Err(NotDone::Rejected(Reason::new("no")))
}

fn unknown() -> PhaseAnswer {
    Err(NotDone::unknown("?"))
}

fn reversed(text: &'static str) -> PhaseAnswer {
    Ok(Done { reversed: true, ..Done::with(text.as_bytes()) })
}

fn refused(refusal: Refusal) -> PhaseAnswer {
    Err(NotDone::Refused(refusal))
}

/// One participant with a handler that gives scripted answers.
struct Inbox {
    pattern: Pattern,
    row: Option<InboxRow>,
    calls: Vec<(Phase, Option<Done>)>,
}

impl Inbox {
    fn new(pattern: Pattern) -> Self {
        Self { pattern, row: None, calls: Vec::new() }
    }

    fn command(&self, phase: Phase) -> Command {
        command(1, self.pattern, phase)
    }

    fn send(&mut self, command: &Command, handler: PhaseAnswer) -> PhaseAnswer {
        match claim(self.row.as_ref(), &context(), command) {
            Claim::Run { row, forward } => {
                self.calls.push((command.phase, forward));
                let handler = stamp(&row, command, handler);
                let row = finish(row, command, &handler);
                // What is stored is what comes back from the store.
                self.row = Some(InboxRow::decode(&row.encode()).expect("a row"));
                handler
            }
            Claim::Ask { .. } => handler,
            Claim::Answer { row, answer } => {
                self.row = row.or_else(|| self.row.take());
                answer
            }
        }
    }

    fn ask(&mut self, phase: Phase, handler: PhaseAnswer) -> PhaseAnswer {
        self.send(&self.command(phase), handler)
    }

    /// Claims as `host` and never finishes.
    fn start(&mut self, phase: Phase, host: HolderId) {
        let context = ClaimContext { host, ..context() };
        match claim(self.row.as_ref(), &context, &self.command(phase)) {
            Claim::Run { row, .. } => self.row = Some(row),
            other => panic!("{other:?}"),
        }
    }

    fn called(&self) -> Vec<Phase> {
        self.calls.iter().map(|(phase, _)| *phase).collect()
    }
}

/// Steps of `phase, what the handler would say -> what the barrier answers`, and the phases in
/// which the handler may have been called.
fn check(pattern: Pattern, steps: &[(Phase, PhaseAnswer, PhaseAnswer)], called: &[Phase]) -> Inbox {
    let mut inbox = Inbox::new(pattern);
    for (index, (phase, handler, expected)) in steps.iter().enumerate() {
        let answer = inbox.ask(*phase, handler.clone());
        let same = match (&answer, expected) {
            (Err(NotDone::Unknown(_)), Err(NotDone::Unknown(_))) => true,
            (answer, expected) => answer == expected,
        };
        assert!(same, "{pattern} step {index} {phase}: {answer:?}, not {expected:?}");
    }
    assert_eq!(inbox.called(), called, "{pattern}");
    inbox
}

use Phase::*;

#[test]
fn a_repeat_gets_the_stored_answer() {
    let again = [(Execute, done("a"), done("a")), (Execute, done("b"), done("a"))];
    check(Pattern::Saga, &again, &[Execute]);
    let no_again = [(Execute, no(), no()), (Execute, done("b"), no())];
    check(Pattern::Saga, &no_again, &[Execute]);
}

#[test]
fn rule_2_a_forward_repeat_after_going_back_is_refused_and_never_its_stored_done() {
    let undone = refused(Refusal::Undone);
    check(
        Pattern::ThreePhaseSaga,
        &[
            (Reserve, done("r"), done("r")),
            (Release, done(""), done("")),
            (Reserve, done("r"), undone.clone()),
            (Validate, done("v"), undone.clone()),
            (Release, done("x"), done("")),
        ],
        &[Reserve, Release],
    );
    // Also while the backward phase is only started, or its effect is unknown.
    let mut inbox = Inbox::new(Pattern::Saga);
    inbox.ask(Execute, done("a")).expect("done");
    inbox.start(Compensate, ME);
    assert_eq!(inbox.ask(Execute, done("b")), undone);
    let row = finish(inbox.row.take().expect("a row"), &inbox.command(Compensate), &unknown());
    inbox.row = Some(row);
    assert_eq!(inbox.ask(Execute, done("b")), undone);
    assert_eq!(inbox.ask(Compensate, done("c")), reversed("c"));
}

#[test]
fn rule_3_backward_before_forward_is_a_tombstone_and_the_handler_is_not_called() {
    for (pattern, forward, backward) in [
        (Pattern::Saga, Execute, Compensate),
        (Pattern::CriticalEventual, Execute, Compensate),
        (Pattern::TwoPhaseSaga, Prepare, Cancel),
        (Pattern::TwoPhaseSaga, Prepare, Compensate),
        (Pattern::ThreePhaseSaga, Reserve, Release),
        (Pattern::ThreePhaseSaga, Reserve, Compensate),
        (Pattern::TwoPhaseCommit, Prepare, Abort),
    ] {
        let empty = done("");
        check(
            pattern,
            &[
                (backward, done("x"), empty.clone()),
                (forward, done("x"), refused(Refusal::Undone)),
                (backward, done("x"), empty.clone()),
            ],
            &[],
        );
        check(pattern, &[(forward, no(), no()), (backward, done("x"), empty)], &[forward]);
    }
}

#[test]
fn rule_3_a_no_of_a_later_phase_does_not_hide_what_the_first_one_did() {
    let inbox = check(
        Pattern::ThreePhaseSaga,
        &[(Reserve, done("r"), done("r")), (Validate, no(), no()), (Release, done("x"), done("x"))],
        &[Reserve, Validate, Release],
    );
    assert_eq!(inbox.calls[2].1, Some(Done::with("r")), "it gets its own forward output");
}

#[test]
fn rule_3_a_cancel_after_the_execution_is_refused_and_compensate_does_both() {
    check(
        Pattern::TwoPhaseSaga,
        &[
            (Prepare, done("p"), done("p")),
            (Execute, done("e"), done("e")),
            (Cancel, done("x"), refused(Refusal::Executed)),
            (Execute, done("x"), done("e")),
            (Compensate, done("c"), reversed("c")),
            (Cancel, done("x"), reversed("")),
            (Execute, done("x"), refused(Refusal::Undone)),
        ],
        &[Prepare, Execute, Compensate],
    );
    // Whether it was executed is unknown: dropping the intent alone could leave the effect.
    check(
        Pattern::TwoPhaseSaga,
        &[
            (Prepare, done("p"), done("p")),
            (Execute, unknown(), unknown()),
            (Cancel, done("x"), refused(Refusal::Executed)),
            (Compensate, done("c"), reversed("c")),
        ],
        &[Prepare, Execute, Compensate],
    );
}

#[test]
fn rule_5_a_lower_epoch_is_unknown_and_a_higher_one_is_remembered() {
    let mut inbox = Inbox::new(Pattern::Saga);
    inbox.ask(Execute, done("a")).expect("done");
    let newer = Command { epoch: Epoch(5), ..inbox.command(Execute) };
    assert_eq!(inbox.send(&newer, done("b")), done("a"));
    let stale = Command { epoch: Epoch(4), ..inbox.command(Compensate) };
    assert!(matches!(inbox.send(&stale, done("b")), Err(NotDone::Unknown(_))));
    assert_eq!(inbox.row.as_ref().map(InboxRow::epoch), Some(Epoch(5)));
    assert_eq!(inbox.called(), [Execute]);
}

#[test]
fn rule_12_a_running_phase_blocks_repeats_and_going_back_until_its_host_is_gone() {
    let mut inbox = Inbox::new(Pattern::Saga);
    inbox.start(Execute, HolderId(7));
    assert!(matches!(inbox.ask(Execute, done("x")), Err(NotDone::Unknown(_))));
    assert!(matches!(inbox.ask(Compensate, done("x")), Err(NotDone::Unknown(_))));
    assert_eq!(inbox.called(), []);

    let mut orphan = Inbox::new(Pattern::Saga);
    orphan.start(Execute, DEAD);
    assert_eq!(orphan.ask(Compensate, done("c")), reversed("c"));
    assert_eq!(orphan.called(), [Compensate], "the real handler: it may have been executed");

    let mut taken = Inbox::new(Pattern::Saga);
    taken.start(Execute, DEAD);
    assert_eq!(taken.ask(Execute, done("a")), done("a"));
}

#[test]
fn rule_12_an_unknown_ends_the_claim_and_a_backward_phase_runs_the_real_handler() {
    check(
        Pattern::Saga,
        &[(Execute, unknown(), unknown()), (Execute, done("a"), done("a"))],
        &[Execute, Execute],
    );
    check(
        Pattern::Saga,
        &[(Execute, unknown(), unknown()), (Compensate, done("c"), reversed("c"))],
        &[Execute, Compensate],
    );
}

#[test]
fn a_compensation_that_failed_can_be_asked_for_again() {
    check(
        Pattern::Saga,
        &[
            (Execute, done("a"), done("a")),
            (Compensate, no(), no()),
            (Execute, done("a"), refused(Refusal::Undone)),
            (Compensate, done("c"), reversed("c")),
        ],
        &[Execute, Compensate, Compensate],
    );
}

#[test]
fn a_compensation_says_that_it_reversed_something_only_if_it_was_executed() {
    check(
        Pattern::TwoPhaseSaga,
        &[
            (Prepare, done("p"), done("p")),
            (Compensate, reversed("c"), done("c")),
            (Compensate, reversed("c"), done("c")),
        ],
        &[Prepare, Compensate],
    );
    check(Pattern::Saga, &[(Compensate, done("x"), done("")), (Compensate, no(), done(""))], &[]);
}

#[test]
fn what_was_reversed_stays_reversed_when_another_owner_asks_by_the_other_phase() {
    check(
        Pattern::TwoPhaseSaga,
        &[
            (Prepare, done("p"), done("p")),
            (Execute, done("e"), done("e")),
            (Compensate, done("c"), reversed("c")),
            (Cancel, done("x"), reversed("")),
        ],
        &[Prepare, Execute, Compensate],
    );
}

#[test]
fn a_refusal_is_not_stored() {
    let expired = refused(Refusal::Expired);
    check(
        Pattern::TwoPhaseSaga,
        &[
            (Prepare, done("p"), done("p")),
            (Execute, expired.clone(), expired),
            (Cancel, done("c"), done("c")),
        ],
        &[Prepare, Execute, Cancel],
    );
}

#[test]
fn a_refusal_does_not_hide_an_earlier_run_whose_effect_is_unknown() {
    let expired = refused(Refusal::Expired);
    check(
        Pattern::TwoPhaseSaga,
        &[
            (Prepare, done("p"), done("p")),
            (Execute, unknown(), unknown()),
            (Execute, expired.clone(), expired),
            (Cancel, done("x"), refused(Refusal::Executed)),
        ],
        &[Prepare, Execute, Execute],
    );
}

#[test]
fn a_delivery_that_was_rejected_is_tried_again() {
    check(
        Pattern::FireAndForget,
        &[(Deliver, no(), no()), (Deliver, done("d"), done("d")), (Deliver, no(), done("d"))],
        &[Deliver, Deliver],
    );
}

#[test]
fn a_later_phase_does_not_run_before_the_earlier_one_was_done() {
    check(Pattern::TwoPhaseSaga, &[(Execute, done("x"), unknown())], &[]);
    check(Pattern::TwoPhaseCommit, &[(Commit, done("x"), unknown())], &[]);
    check(
        Pattern::Saga,
        &[(Execute, done("a"), done("a")), (Deliver, done("x"), unknown())],
        &[Execute],
    );
    let mut inbox = Inbox::new(Pattern::TwoPhaseCommit);
    let commit = Command { one_phase: true, ..inbox.command(Commit) };
    assert_eq!(inbox.send(&commit, done("c")), done("c"));
    assert_eq!(inbox.send(&commit, done("d")), done("c"));
    assert_eq!(inbox.ask(Abort, done("x")), refused(Refusal::Executed));
    assert!(matches!(inbox.ask(Prepare, done("x")), Err(NotDone::Unknown(_))));
}

#[test]
fn a_status_writes_nothing_and_a_phase_of_another_pattern_is_unknown() {
    check(Pattern::Saga, &[(Status, done("s"), done("s"))], &[]);
    check(Pattern::Saga, &[(Abort, done("x"), unknown())], &[]);
    check(Pattern::FireAndForget, &[(Execute, done("x"), unknown())], &[]);
}

#[test]
fn what_no_clock_may_release_can_be_asked_about_and_carried_out() {
    let inbox = check(Pattern::TwoPhaseCommit, &[(Prepare, done("p"), done("p"))], &[Prepare]);
    let row = inbox.row.expect("a row");
    assert_eq!(row.recall().map(|r| r.ask_at), Some(Timestamp::from_millis(61_000)));
    let participant = inbox_command().participant;
    let abort = row.recalled(tx(1), OperationIndex(0), &participant, Abort).expect("held");
    let Claim::Run { row, .. } = claim(Some(&row), &context(), &abort) else { panic!("it runs") };
    assert_eq!(finish(row, &abort, &done("")).recall(), None);

    let mut voted = Inbox::new(Pattern::TwoPhaseCommit);
    voted.ask(Prepare, Ok(Done { read_only: true, ..Done::default() })).expect("done");
    assert_eq!(voted.row.expect("a row").recall(), None, "it holds nothing");
}

fn inbox_command() -> Command {
    command(1, Pattern::TwoPhaseCommit, Prepare)
}

fn stored(version: u64, value: bytes::Bytes) -> StoredRow {
    StoredRow { version: Version(version), value }
}

fn finished_row(number: u64) -> (RowKey, StoredRow) {
    let execute = command(number, Pattern::Saga, Execute);
    let Claim::Run { row, .. } = claim(None, &context(), &execute) else { panic!("it runs") };
    let row = finish(row, &execute, &done("a"));
    (inbox_key(execute.tx, execute.operation), stored(4, row.encode()))
}

fn collected(
    rows: &[(RowKey, StoredRow)],
    marks: &[(RowKey, StoredRow)],
    watermark: u64,
    now_ms: u64,
) -> Option<crate::store::RowSet> {
    let scope = Scope::new("inventory/cd").expect("a scope");
    collect(&Collect {
        scope: &scope,
        rows,
        marks,
        watermark: &|_| at(watermark),
        now: Timestamp::from_millis(now_ms),
        retention: Duration::from_secs(10),
    })
}

#[test]
fn rule_14_a_row_is_forgotten_once_both_conditions_hold_and_its_mark_is_written_with_it() {
    let rows = [finished_row(1), finished_row(2)];
    assert_eq!(collected(&rows, &[], 1, 11_000), None, "not below the watermark");
    assert_eq!(collected(&rows, &[], 2, 10_999), None, "retention is not over");
    let set = collected(&rows, &[], 2, 11_000).expect("one row");
    let [row, mark] = &set.changes[..] else { panic!("{set:?}") };
    assert_eq!((&row.key, &row.value), (&rows[0].0, &None));
    assert_eq!(row.expect, RowExpect::Version(Version(4)));
    assert_eq!((&mark.key, mark.expect), (&mark_key(inbox_command().shard), RowExpect::Absent));
    assert_eq!(forgotten_below(mark.value.as_deref()), Ok(at(2)));

    // A late copy of what was forgotten does not run again, a new transaction does.
    let context = ClaimContext { forgotten_below: at(2), ..context() };
    let late = claim(None, &context, &command(1, Pattern::Saga, Execute));
    assert!(
        matches!(late, Claim::Answer { row: None, answer: Err(NotDone::Unknown(_)) }),
        "{late:?}"
    );
    assert!(matches!(
        claim(None, &context, &command(2, Pattern::Saga, Execute)),
        Claim::Run { .. }
    ));
    let late = Command { watermark: at(2), ..command(1, Pattern::Saga, Execute) };
    assert!(matches!(claim(None, &self::context(), &late), Claim::Answer { .. }));
}

#[test]
fn rule_14_a_mark_never_falls_and_what_cannot_be_read_is_left_alone() {
    let rows = [finished_row(1)];
    let key = mark_key(inbox_command().shard);
    let high = [(key.clone(), stored(9, codec::encode(Kind::InboxMark, &at(8))))];
    let set = collected(&rows, &high, 2, 11_000).expect("one row");
    assert_eq!(forgotten_below(set.changes[1].value.as_deref()), Ok(at(8)));
    assert_eq!(set.changes[1].expect, RowExpect::Version(Version(9)));

    let damaged = [(key, stored(9, bytes::Bytes::from_static(b"\xff")))];
    assert_eq!(collected(&rows, &damaged, 2, 11_000), None);
    let torn = [(rows[0].0.clone(), stored(1, bytes::Bytes::from_static(b"\x01\xff")))];
    assert_eq!(collected(&torn, &[], 2, 11_000), None);
}

#[test]
fn rule_14_what_runs_or_holds_something_is_not_forgotten() {
    let mut held = Inbox::new(Pattern::TwoPhaseCommit);
    held.ask(Prepare, done("p")).expect("done");
    let mut running = Inbox::new(Pattern::Saga);
    running.start(Execute, ME);
    for inbox in [held, running] {
        let row = inbox.row.expect("a row").encode();
        let rows = [(inbox_key(tx(1), OperationIndex(0)), stored(1, row))];
        assert_eq!(collected(&rows, &[], 9, 99_000), None);
    }
}

#[test]
fn the_key_of_an_inbox_row_says_what_it_is_about_and_the_row_is_small() {
    let key = inbox_key(tx(5), OperationIndex(258));
    assert_eq!(parse_inbox_key(&key), Some((tx(5), OperationIndex(258))));
    assert_eq!(parse_inbox_key(&mark_key(inbox_command().shard)), None);
    let (_, row) = finished_row(1);
    assert!(row.value.len() <= 24, "{} bytes", row.value.len());
}
