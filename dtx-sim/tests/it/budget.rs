//! The budget of design section 5: how many records a transaction needs, whatever the number of
//! its participants, and how many messages.

use dtx_core::{
    pattern::Pattern,
    store::Outcome,
    transaction::{Gate, OperationDraft, StepKind, Transaction, TransactionBuilder},
};
use dtx_sim::{Report, Sim};

const ITEM: &str = "cd";
/// As many participants as the budget is shown for.
const COUNTS: [usize; 3] = [1, 3, 30];

fn take(index: usize, units: u64) -> OperationDraft {
    OperationDraft::new(format!("p{index}"), "take")
        .name(format!("o{index}"))
        .payload(format!(r#"{{"item":"{ITEM}","units":{units}}}"#))
}

/// A transaction of so many operations; one of them asks for more than there is when `fails`.
fn transaction(builder: TransactionBuilder, count: usize, fails: bool) -> Transaction {
    let units = |index: usize| if fails && index + 1 == count { 5_000 } else { 1 };
    let built = (0..count).fold(builder, |b, index| b.operation(take(index, units(index))));
    built.build().expect("a valid definition")
}

fn run(transaction: Transaction) -> Report {
    let report = Sim::calm(vec![transaction], &[ITEM]).run();
    assert!(report.is_sound(), "{:#?}", report.violations);
    report
}

fn of(pattern: Pattern, count: usize, fails: bool) -> Report {
    run(transaction(Transaction::builder(pattern), count, fails))
}

fn records(report: &Report) -> (u32, u32) {
    (report.ends[0].awaited_writes, report.ends[0].lazy_writes)
}

#[test]
fn the_records_of_a_success_do_not_depend_on_the_number_of_participants() {
    for count in COUNTS {
        for (pattern, awaited, lazy) in [
            (Pattern::FireAndForget, 1, 1),
            (Pattern::Saga, 2, 0),
            (Pattern::CriticalEventual, 2, 1),
            (Pattern::TwoPhaseSaga, 2, 0),
            (Pattern::ThreePhaseSaga, 2, 1),
            (Pattern::TwoPhaseCommit, 2, 1),
        ] {
            let report = of(pattern, count, false);
            let told = match pattern {
                Pattern::FireAndForget => Outcome::Dispatched,
                _ => Outcome::Committed,
            };
            assert_eq!(report.ends[0].outcome, Some(told), "{pattern} {count}");
            assert_eq!(records(&report), (awaited, lazy), "{pattern} {count}");
        }
    }
}

#[test]
fn the_records_of_going_back_do_not_depend_on_the_number_of_participants() {
    for count in COUNTS {
        for (pattern, awaited, lazy) in [
            (Pattern::Saga, 3, 0),
            (Pattern::CriticalEventual, 3, 0),
            (Pattern::TwoPhaseSaga, 3, 0),
            (Pattern::ThreePhaseSaga, 2, 1),
            (Pattern::TwoPhaseCommit, 2, 1),
        ] {
            let report = of(pattern, count, true);
            let told = report.ends[0].outcome.expect("it has ended");
            assert!(matches!(told, Outcome::Aborted | Outcome::Compensated), "{pattern} {count}");
            assert_eq!(records(&report), (awaited, lazy), "{pattern} {count}");
        }
    }
}

#[test]
fn a_pivot_costs_one_record_more() {
    for count in COUNTS {
        let builder = (0..count).fold(Transaction::builder(Pattern::Saga), |builder, index| {
            let last = index + 1 == count;
            let step = if last { StepKind::Pivot } else { StepKind::Compensatable };
            builder.operation(take(index, 1).step(step))
        });
        let report = run(builder.in_sequence().build().expect("a valid definition"));
        assert_eq!(records(&report), (3, 0), "{count}");
    }
}

#[test]
fn a_verification_costs_one_record_more() {
    use dtx_core::modifier::VerifyWhen::Always;
    for (pattern, awaited, lazy) in [
        (Pattern::TwoPhaseSaga, 3, 0),
        (Pattern::ThreePhaseSaga, 3, 1),
        (Pattern::TwoPhaseCommit, 3, 1),
    ] {
        for count in COUNTS {
            let builder = Transaction::builder(pattern).verify(Always, 0);
            let report = run(transaction(builder, count, false));
            assert_eq!(records(&report), (awaited, lazy), "{pattern} {count}");
        }
    }
}

#[test]
fn an_independent_gate_has_the_records_of_a_saga() {
    for (fails, awaited) in [(false, 2), (true, 3)] {
        for count in COUNTS {
            let builder = Transaction::builder(Pattern::ThreePhaseSaga).gate(Gate::Independent);
            let report = run(transaction(builder, count, fails));
            assert_eq!(records(&report), (awaited, 0), "{count} {fails}");
        }
    }
}

#[test]
fn messages_of_three_participants() {
    for (pattern, messages) in [
        (Pattern::FireAndForget, 6),
        (Pattern::Saga, 6),
        (Pattern::CriticalEventual, 6),
        (Pattern::TwoPhaseSaga, 12),
        (Pattern::TwoPhaseCommit, 12),
        (Pattern::ThreePhaseSaga, 18),
    ] {
        let report = of(pattern, 3, false);
        assert_eq!(report.counters.commands + report.counters.replies, messages, "{pattern}");
    }
}
