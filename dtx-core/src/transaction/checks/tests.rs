use std::time::Duration;

use proptest::prelude::*;

use crate::{
    modifier::{OnExpiry, TimeBounds, VerifyWhen},
    name::NameError,
    pattern::{Pattern, Phase},
    transaction::{
        Action, Consistency, DefinitionError, Gate, Limits, OperationDraft, Problem, RetryPolicy,
        StepKind, Transaction, TransactionBuilder,
    },
};

const SECOND: Duration = Duration::from_secs(1);

struct Debit;
impl Action for Debit {
    const NAME: &'static str = "debit";
    const VERSION: u32 = 3;
    type Input = u32;
    type Output = ();
}

fn op(name: &str) -> OperationDraft {
    OperationDraft::new("payment", "debit").name(name)
}

fn transaction(pattern: Pattern) -> TransactionBuilder {
    Transaction::builder(pattern).operation(op("a"))
}

#[track_caller]
fn wrong(builder: TransactionBuilder, field: &str) -> Problem {
    let error = builder.build().expect_err("is wrong");
    assert_eq!(error.field, field, "{error}");
    assert!(error.to_string().starts_with(&format!("{field}: ")), "{error}");
    error.problem
}

#[track_caller]
fn fine(builder: TransactionBuilder) -> Transaction {
    builder.build().expect("is right")
}

#[test]
fn a_call_is_typed_and_named_after_its_action() {
    let built = fine(
        Transaction::builder(Pattern::TwoPhaseSaga)
            .call::<Debit>("payment", 7)
            .operation(op("debit-2"))
            .call::<Debit>("payment", 8)
            .key("order-1"),
    );
    let names: Vec<_> = built.operations().iter().map(|o| o.name().as_str()).collect();
    assert_eq!(names, ["debit", "debit-2", "debit-3"]);
    assert_eq!(built.operations()[2].payload(), "8");
    assert_eq!(built.operations()[2].action_version(), 3);
    assert_eq!(built.key().expect("has one").namespace.as_str(), "default");
}

#[test]
fn a_name_made_from_a_long_action_is_still_a_name() {
    let long = "a".repeat(64);
    let built = fine(
        Transaction::builder(Pattern::Saga)
            .operation(OperationDraft::new("p", &long))
            .operation(OperationDraft::new("p", &long)),
    );
    assert_eq!(built.operations()[1].name().as_str(), format!("{}-2", "a".repeat(62)));
}

#[test]
fn bad_names_are_found_where_they_are() {
    let with = |draft| Transaction::builder(Pattern::Saga).operation(op("x")).operation(draft);
    let is_name =
        |problem, what| matches!(problem, Problem::Name(NameError { kind, .. }) if kind == what);
    let bad = OperationDraft::new("a.b", "debit");
    assert!(is_name(wrong(with(bad), "operations[1].participant"), "participant"));
    assert!(is_name(wrong(with(OperationDraft::new("p", "A")), "operations[1].action"), "action"));
    assert!(is_name(wrong(with(op("")), "operations[1].name"), "operation"));
    assert!(is_name(wrong(with(op("y").region("eu west")), "operations[1].region"), "region"));
    assert!(is_name(
        wrong(transaction(Pattern::Saga).key_in("Shop", "k"), "namespace"),
        "namespace"
    ));
    let twice = with(op("x"));
    assert_eq!(
        wrong(twice, "operations[1].name"),
        Problem::DuplicateName { name: "x".to_owned(), first: 0 }
    );
}

#[test]
fn an_input_that_is_no_json_is_found() {
    let map = std::collections::BTreeMap::from([((1, 2), 3)]);
    let draft = op("b").json(&map);
    let problem = wrong(transaction(Pattern::Saga).operation(draft), "operations[1].payload");
    assert!(matches!(problem, Problem::Input(_)));
}

#[test]
fn dependencies_that_make_no_order_are_found() {
    let saga = || Transaction::builder(Pattern::Saga);
    assert_eq!(wrong(saga(), "operations"), Problem::Empty("operation"));
    assert_eq!(
        wrong(saga().operation(op("a").depends_on(["z"])), "operations[0].depends_on"),
        Problem::UnknownDependency("z".to_owned())
    );
    let twice = saga().operation(op("a")).operation(op("b").depends_on(["a", "a"]));
    assert_eq!(
        wrong(twice, "operations[1].depends_on"),
        Problem::DuplicateDependency("a".to_owned())
    );
    let own = saga().operation(op("a").depends_on(["a"]));
    let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(wrong(own, "operations[0].depends_on"), Problem::Cycle(names(&["a", "a"])));
    let three = saga()
        .operation(op("free"))
        .operation(op("last").depends_on(["a"]))
        .operation(op("a").depends_on(["c", "free"]))
        .operation(op("b").depends_on(["a"]))
        .operation(op("c").depends_on(["b"]));
    let problem = wrong(three, "operations[4].depends_on");
    assert_eq!(problem, Problem::Cycle(names(&["c", "b", "a", "c"])));
    assert_eq!(
        problem.to_string(),
        "a cycle: c needs b needs a needs c; leave one of these dependencies out"
    );
}

#[test]
fn the_order_in_which_dependencies_are_named_makes_no_other_transaction() {
    let saga = |before: [&str; 2]| {
        fine(transaction(Pattern::Saga).operation(op("b")).operation(op("c").depends_on(before)))
    };
    assert_eq!(saga(["a", "b"]), saga(["b", "a"]));
}

#[test]
fn only_patterns_with_an_order_have_dependencies() {
    for pattern in Pattern::ALL {
        let builder = transaction(pattern).operation(op("b").depends_on(["a"]));
        match pattern {
            Pattern::Saga | Pattern::CriticalEventual | Pattern::TwoPhaseSaga => {
                assert_eq!(fine(builder).operations()[1].depends_on().len(), 1);
            }
            _ => assert_eq!(
                wrong(builder, "operations[1].depends_on"),
                Problem::NoDependencies(pattern)
            ),
        }
    }
    for (first, second) in [
        (Consistency::Strong, Consistency::Eventual),
        (Consistency::Eventual, Consistency::Strong),
        (Consistency::Eventual, Consistency::Eventual),
    ] {
        let builder = transaction(Pattern::CriticalEventual)
            .operation(op("b").consistency(first))
            .operation(op("c").consistency(second).depends_on(["b"]));
        assert_eq!(
            wrong(builder, "operations[2].depends_on"),
            Problem::NotBothCritical("b".to_owned())
        );
    }
}

#[test]
fn a_sequence_is_a_chain_of_dependencies() {
    let chain = |built: Transaction| -> Vec<Vec<u16>> {
        let of = |o: &crate::transaction::Operation| o.depends_on().iter().map(|d| d.0).collect();
        built.operations().iter().map(of).collect()
    };
    let builder = transaction(Pattern::Saga)
        .operation(op("b"))
        .operation(op("c").depends_on(["a"]))
        .operation(op("d"))
        .in_sequence();
    assert_eq!(chain(fine(builder)), [vec![], vec![0], vec![0], vec![2]]);
    let builder = transaction(Pattern::CriticalEventual)
        .operation(op("b").consistency(Consistency::Eventual))
        .operation(op("c"))
        .in_sequence();
    assert_eq!(chain(fine(builder)), [vec![], vec![], vec![0]]);
}

#[test]
fn each_pattern_takes_only_its_consistency_levels() {
    use Consistency::{BestEffort, Eventual, Immediate, Strong};
    for (pattern, gate, allowed) in [
        (Pattern::FireAndForget, Gate::AllValidated, &[Eventual, BestEffort][..]),
        (Pattern::Saga, Gate::AllValidated, &[Strong]),
        (Pattern::CriticalEventual, Gate::AllValidated, &[Strong, Eventual, BestEffort]),
        (Pattern::TwoPhaseSaga, Gate::AllValidated, &[Immediate, Strong]),
        (Pattern::ThreePhaseSaga, Gate::AllValidated, &[Immediate, Strong]),
        (Pattern::ThreePhaseSaga, Gate::Independent, &[Strong]),
        (Pattern::TwoPhaseCommit, Gate::AllValidated, &[Immediate, Strong]),
    ] {
        for found in [Immediate, Strong, Eventual, BestEffort] {
            let builder = transaction(pattern).gate(gate).operation(op("b").consistency(found));
            if allowed.contains(&found) {
                assert_eq!(fine(builder).operations()[1].consistency(), found);
            } else {
                let problem = wrong(builder, "operations[1].consistency");
                let expected = if gate == Gate::Independent && found == Immediate {
                    Problem::ImmediateWithoutGate
                } else {
                    Problem::Consistency { pattern, found }
                };
                assert_eq!(problem, expected);
            }
        }
    }
    let default = fine(transaction(Pattern::FireAndForget));
    assert_eq!(default.operations()[0].consistency(), Eventual);
    let builder =
        Transaction::builder(Pattern::CriticalEventual).operation(op("a").consistency(Eventual));
    assert_eq!(wrong(builder, "operations"), Problem::NothingCritical);
}

#[test]
fn the_steps_of_a_saga_stand_around_one_pivot() {
    use StepKind::{Compensatable, Pivot, Retriable};
    let saga = |steps: &[(StepKind, &[&str])]| {
        let mut builder = Transaction::builder(Pattern::Saga);
        for (index, (step, before)) in steps.iter().enumerate() {
            let name = ["a", "b", "c", "d"][index];
            builder = builder.operation(op(name).step(*step).depends_on(before.iter().copied()));
        }
        builder
    };
    fine(saga(&[(Pivot, &[])]));
    fine(saga(&[
        (Compensatable, &[]),
        (Compensatable, &["a"]),
        (Pivot, &["b"]),
        (Retriable, &["c"]),
    ]));
    let pivot = |name: &str| name.to_owned();
    assert_eq!(
        wrong(saga(&[(Compensatable, &[]), (Retriable, &["a"])]), "operations[1].step"),
        Problem::RetriableWithoutPivot
    );
    assert_eq!(
        wrong(saga(&[(Pivot, &[]), (Pivot, &["a"])]), "operations[1].step"),
        Problem::SecondPivot { first: 0 }
    );
    // Beside the pivot is not before it, and not after it.
    for before in [&["a"][..], &[]] {
        assert_eq!(
            wrong(saga(&[(Pivot, &[]), (Compensatable, before)]), "operations[1].step"),
            Problem::CompensatableAfterPivot { pivot: pivot("a") }
        );
    }
    assert_eq!(
        wrong(saga(&[(Pivot, &["b"]), (Retriable, &[])]), "operations[1].step"),
        Problem::RetriableBeforePivot { pivot: pivot("a") }
    );
    for pattern in Pattern::ALL.into_iter().filter(|pattern| *pattern != Pattern::Saga) {
        for step in [Pivot, Retriable] {
            let builder = Transaction::builder(pattern).operation(op("a").step(step));
            assert_eq!(wrong(builder, "operations[0].step"), Problem::StepOutsideSaga(pattern));
        }
    }
}

#[test]
fn a_modifier_needs_what_it_touches() {
    type Change = fn(TransactionBuilder) -> TransactionBuilder;
    let changes: [(&str, Change); 3] = [
        ("modifiers.verification", |b| b.verify(VerifyWhen::Always, 0)),
        ("modifiers.approval", |b| b.approval(SECOND)),
        ("modifiers.execute_after_ms", |b| b.execute_after(SECOND)),
    ];
    for (field, change) in changes {
        for pattern in [Pattern::TwoPhaseSaga, Pattern::ThreePhaseSaga, Pattern::TwoPhaseCommit] {
            fine(change(transaction(pattern)));
        }
        for pattern in [Pattern::FireAndForget, Pattern::Saga, Pattern::CriticalEventual] {
            assert_eq!(wrong(change(transaction(pattern)), field), Problem::NoLastGate { pattern });
        }
        let pattern = Pattern::ThreePhaseSaga;
        let independent = transaction(pattern).gate(Gate::Independent);
        assert_eq!(wrong(change(independent), field), Problem::NoLastGate { pattern });
    }
    for pattern in Pattern::ALL {
        let builder = transaction(pattern).gate(Gate::Independent);
        if pattern == Pattern::ThreePhaseSaga {
            fine(builder);
        } else {
            assert_eq!(wrong(builder, "gate"), Problem::GateOutside3ps(pattern));
        }
    }
}

#[test]
fn time_bounds_name_only_phases_and_ends_that_the_pattern_has() {
    let with = |pattern, gate, bounds| transaction(pattern).gate(gate).time_bounds(bounds);
    let phases = |pattern, gate| -> Vec<Phase> {
        let bound = |phase| TimeBounds { base: [(phase, SECOND)].into(), ..TimeBounds::default() };
        let (has, has_not): (Vec<_>, Vec<_>) = Phase::ALL
            .into_iter()
            .partition(|phase| with(pattern, gate, bound(*phase)).build().is_ok());
        for phase in has_not {
            let field = format!("modifiers.time_bounds.base_ms.{phase}");
            let problem = wrong(with(pattern, gate, bound(phase)), &field);
            assert_eq!(problem, Problem::NoSuchPhase { pattern, phase });
        }
        has
    };
    use Phase::{Abort, Cancel, Commit, Compensate, Deliver, Execute, Prepare, Release, Reserve};
    let all = Gate::AllValidated;
    assert_eq!(phases(Pattern::FireAndForget, all), [Deliver]);
    assert_eq!(phases(Pattern::Saga, all), [Execute, Compensate]);
    assert_eq!(phases(Pattern::CriticalEventual, all), [Execute, Compensate, Deliver]);
    assert_eq!(phases(Pattern::TwoPhaseSaga, all), [Prepare, Execute, Cancel, Compensate]);
    assert_eq!(phases(Pattern::ThreePhaseSaga, all), [Reserve, Phase::Validate, Execute, Release]);
    assert_eq!(phases(Pattern::ThreePhaseSaga, Gate::Independent).last(), Some(&Compensate));
    assert_eq!(phases(Pattern::TwoPhaseCommit, all), [Prepare, Commit, Abort]);

    for pattern in Pattern::ALL {
        for (found, allowed) in [
            (OnExpiry::Abort, pattern != Pattern::FireAndForget),
            (OnExpiry::Cancel, pattern == Pattern::TwoPhaseSaga),
            (OnExpiry::Release, pattern == Pattern::ThreePhaseSaga),
            (OnExpiry::Ask, pattern != Pattern::FireAndForget),
            (OnExpiry::Retry, true),
            (OnExpiry::Attention, pattern != Pattern::FireAndForget),
        ] {
            let bounds = TimeBounds { on_expiry: Some(found), ..TimeBounds::default() };
            let builder = with(pattern, all, bounds);
            if allowed {
                fine(builder);
            } else {
                let problem = wrong(builder, "modifiers.time_bounds.on_expiry");
                assert_eq!(problem, Problem::OnExpiry { pattern, found });
            }
        }
    }
}

#[test]
fn no_time_is_zero_and_none_is_too_long() {
    let longest = Limits::DEFAULT.duration_max;
    type Change = fn(TransactionBuilder, Duration) -> TransactionBuilder;
    let changes: [(&str, Change); 5] = [
        ("deadline_ms", |b, time| b.deadline(time)),
        ("modifiers.approval.timeout_ms", |b, time| b.approval(time)),
        ("modifiers.execute_after_ms", |b, time| b.execute_after(time)),
        ("modifiers.verification.when.elapsed_over_ms", |b, time| {
            b.verify(VerifyWhen::ElapsedOver(time), 0)
        }),
        ("modifiers.time_bounds.base_ms.prepare", |b, time| {
            b.time_bounds(TimeBounds {
                base: [(Phase::Prepare, time)].into(),
                ..TimeBounds::default()
            })
        }),
    ];
    for (field, change) in changes {
        let with = |time| change(transaction(Pattern::TwoPhaseCommit), time);
        assert_eq!(wrong(with(Duration::ZERO), field), Problem::ZeroTime);
        fine(with(longest));
        let over = longest + Duration::from_nanos(1);
        assert_eq!(wrong(with(over), field), Problem::TooLong { max: longest });
        assert_eq!(wrong(with(Duration::MAX), field), Problem::TooLong { max: longest });
    }
    // Times are whole milliseconds, rounded up.
    let built = fine(transaction(Pattern::Saga).deadline(Duration::from_micros(1)));
    assert_eq!(built.deadline(), Some(Duration::from_millis(1)));
}

#[test]
fn a_deadline_includes_the_waits_at_the_gate() {
    let base = || transaction(Pattern::TwoPhaseSaga).deadline(SECOND * 10);
    fine(base().approval(SECOND * 9).execute_after(SECOND * 9));
    let wait = "approval.timeout_ms";
    assert_eq!(
        wrong(base().approval(SECOND * 10), "deadline_ms"),
        Problem::DeadlineBeforeWait { wait }
    );
    let wait = "execute_after_ms";
    assert_eq!(
        wrong(base().execute_after(SECOND * 10), "deadline_ms"),
        Problem::DeadlineBeforeWait { wait }
    );
    let waiting = fine(transaction(Pattern::TwoPhaseSaga).approval(SECOND).execute_after(SECOND));
    assert_eq!(waiting.deadline_or(SECOND), SECOND * 3);
    assert_eq!(fine(base().approval(SECOND)).deadline_or(SECOND), SECOND * 10);
}

#[test]
fn retry_policies_make_sense() {
    let with = |change: fn(&mut RetryPolicy)| {
        let mut retry = RetryPolicy::default();
        change(&mut retry);
        Transaction::builder(Pattern::Saga).operation(op("a").retry(retry))
    };
    let attempts = |value| Problem::OutOfRange { value, min: 1, max: 10_000 };
    let field = "operations[0].retry.attempts_max";
    assert_eq!(wrong(with(|r| r.attempts_max = 0), field), attempts(0));
    fine(with(|r| r.attempts_max = 10_000));
    assert_eq!(wrong(with(|r| r.attempts_max = 10_001), field), attempts(10_001));
    let field = "operations[0].retry.backoff_ms";
    assert_eq!(wrong(with(|r| r.backoff_ms = 0), field), Problem::ZeroTime);
    assert_eq!(wrong(with(|r| r.backoff_ms = 30_001), field), Problem::BackoffOrder);
    fine(with(|r| r.backoff_ms = 30_000));
    let field = "operations[0].retry.backoff_ms_max";
    assert!(matches!(wrong(with(|r| r.backoff_ms_max = u64::MAX), field), Problem::TooLong { .. }));
    let draft = op("a").consistency(Consistency::BestEffort).retry(RetryPolicy::default());
    let builder = Transaction::builder(Pattern::FireAndForget).operation(draft);
    assert_eq!(wrong(builder, "operations[0].retry"), Problem::RetryOfBestEffort);
}

#[test]
fn conditions_and_extensions_are_in_range() {
    let over = |when| transaction(Pattern::TwoPhaseSaga).verify(when, 0);
    let out = Problem::OutOfRange { value: 100, min: 0, max: 99 };
    let field = "modifiers.verification.when.load_over";
    fine(over(VerifyWhen::LoadOver(99)));
    assert_eq!(wrong(over(VerifyWhen::LoadOver(100)), field), out);
    let field = "modifiers.verification.when.recent_failures_over";
    fine(over(VerifyWhen::RecentFailuresOver(99)));
    assert_eq!(wrong(over(VerifyWhen::RecentFailuresOver(100)), field), out);
    let bounds = |most| {
        let bounds = TimeBounds { extensions_max: Some(most), ..TimeBounds::default() };
        transaction(Pattern::Saga).time_bounds(bounds)
    };
    fine(bounds(32));
    assert_eq!(
        wrong(bounds(33), "modifiers.time_bounds.extensions_max"),
        Problem::OutOfRange { value: 33, min: 0, max: 32 }
    );
}

/// Builds at a limit and one past it; the second must fail at the field.
#[track_caller]
fn limit(limits: &Limits, field: &str, max: usize, make: impl Fn(usize) -> TransactionBuilder) {
    make(max).build_within(limits).expect("is at the limit");
    let error: DefinitionError = make(max + 1).build_within(limits).expect_err("is past it");
    assert_eq!(error.field, field, "{error}");
    let over = max + 1;
    assert!(
        error.problem == Problem::TooLarge { bytes: over, max }
            || error.problem == Problem::TooMany { count: over, max },
        "{error}"
    );
}

#[test]
fn every_limit_holds_exactly() {
    let limits = Limits::DEFAULT;
    limit(&limits, "operations", 256, |count| {
        let add = |b: TransactionBuilder, i| b.operation(op(&format!("o{i}")));
        (0..count).fold(Transaction::builder(Pattern::TwoPhaseSaga), add)
    });
    limit(&limits, "operations[80].depends_on", 64, |count| {
        let add = |b: TransactionBuilder, i| b.operation(op(&format!("o{i}")));
        let before = (0..count).map(|i| format!("o{i}"));
        (0..80)
            .fold(Transaction::builder(Pattern::Saga), add)
            .operation(op("last").depends_on(before))
    });
    let payload = |size| OperationDraft::new("p", "a").payload(vec![0; size]);
    limit(&limits, "operations[0].payload", 1024 * 1024, |size| {
        Transaction::builder(Pattern::Saga).operation(payload(size))
    });
    limit(&limits, "operations", 2 * 1024 * 1024, |size| {
        let parts = [1024 * 1024, 1024 * 1024 - 7, size - 2 * 1024 * 1024 + 7];
        parts
            .into_iter()
            .fold(Transaction::builder(Pattern::Saga), |b, part| b.operation(payload(part)))
    });
    limit(&limits, "key", 128, |size| transaction(Pattern::Saga).key("k".repeat(size)));
    limit(&limits, "metadata", 32, |count| {
        (0..count).fold(transaction(Pattern::Saga), |b, i| b.metadata(format!("m{i}"), ""))
    });
    let long = format!("metadata.{}", "m".repeat(65));
    limit(&limits, &long, 64, |size| transaction(Pattern::Saga).metadata("m".repeat(size), ""));
    limit(&limits, "metadata.m", 1024, |size| {
        transaction(Pattern::Saga).metadata("m", "v".repeat(size))
    });
}

#[test]
fn no_setting_goes_over_the_ceiling() {
    let wide = Limits { operations_max: usize::MAX, ..Limits::DEFAULT };
    let most = Limits::CEILING.operations_max;
    limit(&wide, "operations", most, |count| {
        let add = |b: TransactionBuilder, i| b.operation(op(&format!("o{i}")));
        (0..count).fold(Transaction::builder(Pattern::TwoPhaseSaga), add)
    });
    assert_eq!(Limits::DEFAULT.within_ceiling(), Limits::DEFAULT);
    assert_eq!(Limits::CEILING.within_ceiling(), Limits::CEILING);
}

#[test]
fn keys_and_metadata_cannot_break_what_carries_them() {
    let saga = || transaction(Pattern::Saga);
    assert_eq!(wrong(saga().key(""), "key"), Problem::Empty("character"));
    assert!(matches!(wrong(saga().key("a\0"), "key"), Problem::Character(_)));
    fine(saga().key("Bestellung Nr. 7/ä"));
    assert!(matches!(wrong(saga().metadata("", "v"), "metadata"), Problem::Empty(_)));
    assert!(matches!(wrong(saga().metadata("a:b", "v"), "metadata.a:b"), Problem::Character(_)));
    assert!(matches!(
        wrong(saga().metadata("a", "x\r\nb: c"), "metadata.a"),
        Problem::Character(_)
    ));
}

/// What the graph checks must agree with, written the slow way: is there a path?
fn path(edges: &[Vec<bool>], from: usize, to: usize) -> bool {
    let mut reached: Vec<bool> = edges[from].clone();
    for _ in 0..edges.len() {
        for middle in 0..edges.len() {
            if reached[middle] {
                for end in 0..edges.len() {
                    reached[end] |= edges[middle][end];
                }
            }
        }
    }
    reached[to]
}

proptest! {
    #[test]
    fn a_saga_builds_exactly_when_it_has_an_order_around_its_pivot(
        cells in proptest::collection::vec(0..4_u8, 25),
        steps in proptest::collection::vec(0..6_usize, 1..6),
    ) {
        let count = steps.len();
        let steps: Vec<StepKind> = steps
            .into_iter()
            .map(|s| [StepKind::Compensatable, StepKind::Pivot, StepKind::Retriable][s / 2])
            .collect();
        let edges: Vec<Vec<bool>> =
            (0..count).map(|i| (0..count).map(|j| cells[5 * i + j] == 0).collect()).collect();
        let mut builder = Transaction::builder(Pattern::Saga);
        for (index, step) in steps.iter().enumerate() {
            let before = (0..count).filter(|&other| edges[index][other]);
            let before = before.map(|other| format!("o{other}"));
            builder = builder.operation(op(&format!("o{index}")).step(*step).depends_on(before));
        }
        let pivots: Vec<_> = (0..count).filter(|&i| steps[i] == StepKind::Pivot).collect();
        let ordered = !(0..count).any(|i| path(&edges, i, i));
        let placed = match pivots[..] {
            [] => !steps.contains(&StepKind::Retriable),
            [pivot] => (0..count).all(|i| match steps[i] {
                StepKind::Compensatable => path(&edges, pivot, i),
                StepKind::Pivot => true,
                StepKind::Retriable => path(&edges, i, pivot),
            }),
            _ => false,
        };
        prop_assert_eq!(builder.build().is_ok(), ordered && placed);
    }
}
