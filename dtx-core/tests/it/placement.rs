//! GA, by hand: when commands leave that a placement delays, and what that never changes.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use dtx_core::{
    answer::{Done, NotDone, PhaseAnswer, Reason},
    engine::{EngineSettings, Input, Outputs, Placement},
    pattern::{Pattern, Phase},
    store::Verdict,
    time::Timestamp,
    transaction::{Gate, Operation, OperationDraft, Transaction, TransactionBuilder},
    transport::Command,
};

use crate::rig::{Rig, commands};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What a placement was asked and told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    Delays(usize, Vec<Phase>),
    Answered(String, Phase, u64),
    Withdrawn(String, Phase),
}

/// Gives the delays and the time-out that a test wants.
#[derive(Debug, Default)]
struct Fixed {
    delays: Vec<Duration>,
    timeout: Option<Duration>,
    heard: Mutex<Vec<Heard>>,
}

impl Fixed {
    fn of(millis: &[u64]) -> Self {
        Self { delays: millis.iter().map(|millis| ms(*millis)).collect(), ..Self::default() }
    }

    fn hear(&self, heard: Heard) {
        self.heard.lock().unwrap().push(heard);
    }

    fn heard(&self) -> Vec<Heard> {
        std::mem::take(&mut self.heard.lock().unwrap())
    }
}

impl Placement for Fixed {
    fn delays(&self, operations: &[&Operation], phases: &[Phase]) -> Vec<Duration> {
        self.hear(Heard::Delays(operations.len(), phases.to_vec()));
        self.delays.clone()
    }

    fn timeout(&self, _: &Operation, _: Phase) -> Option<Duration> {
        self.timeout
    }

    fn answered(&self, operation: &Operation, phase: Phase, _: Timestamp, after: Duration) {
        let after = after.as_millis() as u64;
        self.hear(Heard::Answered(operation.name().to_string(), phase, after));
    }

    fn withdrawn(&self, operation: &Operation, phase: Phase) {
        self.hear(Heard::Withdrawn(operation.name().to_string(), phase));
    }
}

struct Bench {
    rig: Rig,
    placement: Arc<Fixed>,
    begin: Timestamp,
}

impl Bench {
    /// Submits a transaction of three operations whose accept is durable, and gives what left then.
    fn new(builder: TransactionBuilder, placement: Fixed) -> (Self, Vec<String>) {
        Self::with(builder, placement, |_| {})
    }

    fn with(
        builder: TransactionBuilder,
        placement: Fixed,
        change: impl Fn(&mut EngineSettings),
    ) -> (Self, Vec<String>) {
        let mut rig = Rig::noting_from(Duration::from_secs(600));
        let placement = Arc::new(placement);
        let mut settings = (*rig.settings).clone();
        settings.placement = Some(placement.clone());
        change(&mut settings);
        rig.settings = Arc::new(settings);
        rig.engine = Rig::owner(&rig.store, rig.tx, 2, &rig.settings);
        let draft = |name: &str| OperationDraft::new("svc", "work").name(name);
        let builder = ["a", "b"].into_iter().fold(builder, |b, name| b.operation(draft(name)));
        let out = rig.submit(builder);
        assert!(out.commands.is_empty(), "nothing leaves before the accept is durable");
        let begin = rig.now;
        let mut bench = Self { rig, placement, begin };
        let out = bench.rig.land_and_tell(&out.writes[0]);
        let left = bench.names(&out);
        (bench, left)
    }

    fn names(&self, out: &Outputs) -> Vec<String> {
        let name = |command: &Arc<Command>| {
            let index = command.operation.0;
            format!("{} {}", ["a", "b", "work"][usize::from(index)], command.phase)
        };
        commands(out).iter().map(name).collect()
    }

    /// Lets time pass up to so many milliseconds after the begin.
    fn at(&mut self, millis: u64) -> Outputs {
        self.rig.now = self.begin + ms(millis);
        self.rig.feed(Input::Tick)
    }

    fn left_at(&mut self, millis: u64) -> Vec<String> {
        let out = self.at(millis);
        self.names(&out)
    }

    /// The first command of an operation, as it left.
    fn first(&self, operation: u16, phase: Phase) -> Command {
        let transaction = dtx_core::transaction::codec::decode(&self.rig.record().definition);
        let transaction = transaction.expect("it can be read");
        let operation = dtx_core::ids::OperationIndex(operation);
        let definition = transaction.operation(operation);
        let fence = self.rig.engine.fence();
        Command {
            tx: self.rig.tx,
            operation,
            phase,
            pattern: transaction.pattern(),
            participant: definition.participant().clone(),
            action: definition.action().clone(),
            action_version: definition.action_version(),
            attempt: 1,
            shard: fence.shard,
            epoch: fence.epoch,
            sequence: Default::default(),
            watermark: Default::default(),
            deadline: None,
            ttl: None,
            one_phase: false,
            reply: true,
            payload: Default::default(),
            inputs: Vec::new(),
        }
    }

    fn answer(&mut self, command: &Command, answer: PhaseAnswer) -> Outputs {
        self.rig.feed(Input::Reply(command.reply(answer)))
    }
}

fn no() -> PhaseAnswer {
    Err(NotDone::Rejected(Reason::new("no")))
}

#[test]
fn what_is_held_until_the_decision_is_asked_for_at_its_time() {
    for (pattern, first, phases) in [
        (Pattern::TwoPhaseCommit, Phase::Prepare, vec![Phase::Prepare]),
        (Pattern::TwoPhaseSaga, Phase::Prepare, vec![Phase::Prepare]),
        (Pattern::ThreePhaseSaga, Phase::Reserve, vec![Phase::Reserve, Phase::Validate]),
    ] {
        let (mut bench, left) = Bench::new(Transaction::builder(pattern), Fixed::of(&[130, 0, 60]));
        assert_eq!(left, [format!("b {first}")], "{pattern}");
        assert_eq!(bench.placement.heard(), [Heard::Delays(3, phases)]);
        assert_eq!(bench.rig.engine.next_timer(), Some(bench.begin + ms(60)));
        assert!(bench.left_at(59).is_empty());
        assert_eq!(bench.left_at(60), [format!("work {first}")]);
        assert_eq!(bench.rig.engine.next_timer(), Some(bench.begin + ms(130)));
        assert!(bench.left_at(129).is_empty());
        assert_eq!(bench.left_at(130), [format!("a {first}")]);
        assert!(bench.left_at(131).is_empty(), "each leaves once");
    }
}

#[test]
fn what_nobody_waits_for_is_asked_for_at_once() {
    for builder in [
        Transaction::builder(Pattern::Saga),
        Transaction::builder(Pattern::CriticalEventual),
        Transaction::builder(Pattern::ThreePhaseSaga).gate(Gate::Independent),
        Transaction::builder(Pattern::FireAndForget),
    ] {
        let (bench, left) = Bench::new(builder, Fixed::of(&[130, 130, 130]));
        assert_eq!(left.len(), 3, "{left:?}");
        assert_eq!(bench.placement.heard(), []);
    }
}

#[test]
fn the_phases_after_the_first_are_never_delayed() {
    let (mut bench, _) =
        Bench::new(Transaction::builder(Pattern::ThreePhaseSaga), Fixed::of(&[50, 50, 0]));
    let out = bench.at(50);
    let reserve = commands(&out);
    assert_eq!(reserve.len(), 2);
    let out = bench.answer(&reserve[0], Ok(Done::default()));
    assert_eq!(bench.names(&out), ["a validate"], "at its own pace");
}

#[test]
fn a_missing_delay_is_none_and_one_too_many_is_not_looked_at() {
    let (_, left) = Bench::new(Transaction::builder(Pattern::TwoPhaseCommit), Fixed::of(&[9]));
    assert_eq!(left, ["b prepare", "work prepare"]);
    let (_, left) =
        Bench::new(Transaction::builder(Pattern::TwoPhaseCommit), Fixed::of(&[9, 0, 0, 9, 9]));
    assert_eq!(left, ["b prepare", "work prepare"]);
}

#[test]
fn a_delay_is_never_over_its_bound() {
    for (given, after) in [(700, 700), (701, 700), (u64::MAX, 700)] {
        let (mut bench, left) = Bench::with(
            Transaction::builder(Pattern::TwoPhaseCommit),
            Fixed::of(&[given, 0, 0]),
            |settings| settings.send_delay_max = ms(700),
        );
        assert_eq!(left.len(), 2);
        // The others are asked again meanwhile.
        assert!(!bench.left_at(after - 1).contains(&"a prepare".to_owned()));
        assert!(bench.left_at(after).contains(&"a prepare".to_owned()), "{given}");
    }
}

#[test]
fn a_refusal_withdraws_what_has_not_left_and_everything_goes_back_after_the_verdict() {
    for (pattern, verdict, back) in [
        (Pattern::TwoPhaseCommit, Verdict::Abort, "abort"),
        (Pattern::TwoPhaseSaga, Verdict::Turned, "cancel"),
        (Pattern::ThreePhaseSaga, Verdict::Abort, "release"),
    ] {
        let (mut bench, _) = Bench::new(Transaction::builder(pattern), Fixed::of(&[130, 130, 0]));
        let phase =
            if pattern == Pattern::ThreePhaseSaga { Phase::Reserve } else { Phase::Prepare };
        bench.placement.heard();
        bench.at(10);
        let first = bench.first(2, phase);
        let out = bench.answer(&first, no());
        let heard = bench.placement.heard();
        let withdrawn = |name: &str| Heard::Withdrawn(name.to_owned(), phase);
        assert_eq!(heard[0], Heard::Answered("work".into(), phase, 10));
        assert_eq!(heard[1..], [withdrawn("a"), withdrawn("b")], "{pattern}");
        assert_eq!(out.writes[0].verdict, Some(verdict));
        assert!(out.commands.is_empty(), "going back is a verdict too");
        let out = bench.rig.land_and_tell(&out.writes[0]);
        // Sent or not, all but the one that said no itself are told.
        assert_eq!(bench.names(&out), [format!("a {back}"), format!("b {back}")]);
        let later = bench.left_at(130);
        assert!(later.iter().all(|name| name.ends_with(back)), "{later:?}");
    }
}

#[test]
fn what_has_left_and_is_to_be_sent_again_is_not_withdrawn() {
    let builder = Transaction::builder(Pattern::TwoPhaseCommit);
    let (mut bench, _) = Bench::new(builder, Fixed::of(&[0, 130, 0]));
    let (first, third) = (bench.first(0, Phase::Prepare), bench.first(2, Phase::Prepare));
    bench.answer(&first, Err(NotDone::unknown("busy")));
    bench.placement.heard();
    bench.answer(&third, no());
    let heard = bench.placement.heard();
    assert_eq!(heard[1..], [Heard::Withdrawn("b".into(), Phase::Prepare)]);
}

#[test]
fn a_deadline_that_passes_while_commands_wait_withdraws_them() {
    let builder = Transaction::builder(Pattern::TwoPhaseCommit).deadline(ms(40));
    let (mut bench, left) = Bench::new(builder, Fixed::of(&[130, 130, 130]));
    assert!(left.is_empty());
    bench.placement.heard();
    assert!(bench.at(39).writes.is_empty());
    let out = bench.at(40);
    assert_eq!(out.writes[0].verdict, Some(Verdict::Abort));
    assert_eq!(bench.placement.heard().len(), 3);
    let out = bench.rig.land_and_tell(&out.writes[0]);
    assert_eq!(bench.names(&out), ["a abort", "b abort", "work abort"]);
}

#[test]
fn a_time_out_is_that_of_the_place_within_the_bounds_and_is_no_answer() {
    for (placed, first, second) in [
        (Some(ms(300)), 300, 600),
        // A wrong one is never below the least time, so it cannot use the attempts up.
        (Some(Duration::ZERO), 200, 400),
        (Some(Duration::MAX), 10_000, 10_000),
        (None, 200, 400),
    ] {
        let placement = Fixed { timeout: placed, ..Fixed::default() };
        let (mut bench, left) =
            Bench::new(Transaction::builder(Pattern::TwoPhaseCommit), placement);
        assert_eq!(left.len(), 3);
        assert!(bench.left_at(first - 1).is_empty(), "{placed:?}");
        let out = bench.at(first);
        assert_eq!(commands(&out).len(), 3, "{placed:?}");
        assert!(commands(&out).iter().all(|command| command.attempt == 2));
        assert!(out.writes.is_empty(), "silence is no answer");
        assert!(bench.left_at(first + second - 1).is_empty());
        assert_eq!(bench.left_at(first + second).len(), 3);
    }
}

#[test]
fn only_an_answer_to_a_first_attempt_is_a_measure() {
    let (mut bench, _) =
        Bench::new(Transaction::builder(Pattern::TwoPhaseCommit), Fixed::default());
    bench.placement.heard();
    bench.at(25);
    let first = bench.first(2, Phase::Prepare);
    bench.answer(&first, Err(NotDone::unknown("busy")));
    assert_eq!(bench.placement.heard(), [], "it has not done what takes the time");
    let again = commands(&bench.at(200));
    let again = again.iter().find(|command| command.operation.0 == 2).expect("it is asked again");
    bench.answer(again, Ok(Done::default()));
    assert_eq!(bench.placement.heard(), [], "it is not known to which attempt it belongs");
}

#[test]
fn the_time_of_a_phase_begins_when_its_command_leaves() {
    let (mut bench, _) = Bench::with(
        Transaction::builder(Pattern::TwoPhaseCommit),
        Fixed::of(&[300, 0, 0]),
        |settings| {
            settings.bounds.base.set(Pattern::TwoPhaseCommit, Phase::Prepare, ms(500)).unwrap();
            settings.attempt_timeout_min = ms(9_000);
        },
    );
    let out = bench.at(300);
    let command = &commands(&out)[0];
    assert_eq!((command.operation.0, command.deadline), (0, Some(ms(500))));
    assert_eq!(command.ttl, Some(ms(500)));
}
