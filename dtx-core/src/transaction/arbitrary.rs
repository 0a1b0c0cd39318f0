//! Valid transactions of every shape, for property tests.

use std::time::Duration;

use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::{
    ids::TxId,
    modifier::{
        Approval, ExpiryStrategy, Modifiers, OnExpiry, TimeBounds, Verification, VerifyWhen,
        can_do, has_phase,
    },
    name::ActionName,
    pattern::{Pattern, Phase},
    transaction::{
        Consistency, Gate, OperationDraft, RetryPolicy, StepKind, Transaction, TransactionBuilder,
    },
};

fn times() -> impl Strategy<Value = Duration> {
    (1..100_000_000_u64).prop_map(Duration::from_millis)
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        vec(any::<u8>(), 0..40),
        ".{0,20}".prop_map(String::into_bytes),
        "[ -~\\n]{0,20}".prop_map(|text| serde_json::to_vec(&text).expect("text is JSON")),
        select(vec![
            "null",
            "1.0",
            "1e400",
            "\"\\u0000\"",
            "{\"b\": [1,2], \"a\":{} }",
            "{\"b\":1,\"a\":2}",
            " [1] ",
            "[\"a \\\" b\"]",
            "\"\\\\\"",
            "123456789012345678901234567890",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ]
}

fn retry() -> impl Strategy<Value = RetryPolicy> {
    (1..100_u32, 1..1000_u64, 0..100_000_u64).prop_map(|(attempts_max, backoff_ms, more)| {
        RetryPolicy { attempts_max, backoff_ms, backoff_ms_max: backoff_ms + more }
    })
}

/// What is drawn for an operation; which of it is used depends on the pattern.
type Drawn = (Vec<u8>, bool, u32, Option<RetryPolicy>, Option<String>, u8, Vec<u8>);

fn drawn() -> impl Strategy<Value = Drawn> {
    (
        payload(),
        any::<bool>(),
        any::<u32>(),
        option::of(retry()),
        option::of("[a-z0-9][a-z0-9_-]{0,20}"),
        any::<u8>(),
        vec(any::<u8>(), 0..3),
    )
}

fn consistency(pattern: Pattern, gate: Gate, index: usize, seed: u8) -> Consistency {
    let choices: &[Consistency] = match pattern {
        Pattern::FireAndForget => &[Consistency::Eventual, Consistency::BestEffort],
        Pattern::CriticalEventual if index > 0 => {
            &[Consistency::Strong, Consistency::Eventual, Consistency::BestEffort]
        }
        Pattern::Saga | Pattern::CriticalEventual => &[Consistency::Strong],
        Pattern::ThreePhaseSaga if gate == Gate::Independent => &[Consistency::Strong],
        _ => &[Consistency::Strong, Consistency::Immediate],
    };
    choices[usize::from(seed) % choices.len()]
}

fn operations(pattern: Pattern, gate: Gate, drawn: Vec<Drawn>) -> Vec<OperationDraft> {
    // A saga with a pivot is a chain here: what comes before is its ancestor.
    let pivot =
        (pattern == Pattern::Saga && drawn[0].1).then(|| usize::from(drawn[0].5) % drawn.len());
    let levels: Vec<_> =
        drawn.iter().enumerate().map(|(i, d)| consistency(pattern, gate, i, d.5)).collect();
    let mut drafts = Vec::new();
    for (index, (payload, named, version, retry, region, _, dependencies)) in
        drawn.into_iter().enumerate()
    {
        let mut draft = OperationDraft::new(format!("p{}", index % 2), "act")
            .version(version)
            .payload(payload)
            .consistency(levels[index]);
        draft.retry = retry.filter(|_| levels[index] != Consistency::BestEffort);
        draft.region = region;
        // With a name for each one that another depends on.
        if named || pattern == Pattern::Saga {
            draft = draft.name(format!("op{index}"));
        }
        if let Some(pivot) = pivot {
            draft = draft.step(match index.cmp(&pivot) {
                std::cmp::Ordering::Less => StepKind::Compensatable,
                std::cmp::Ordering::Equal => StepKind::Pivot,
                std::cmp::Ordering::Greater => StepKind::Retriable,
            });
            draft = draft.depends_on(index.checked_sub(1).map(|before| format!("op{before}")));
        } else if pattern == Pattern::Saga && index > 0 {
            let mut before: Vec<_> = dependencies.iter().map(|d| usize::from(*d) % index).collect();
            before.sort_unstable();
            before.dedup();
            draft = draft.depends_on(before.into_iter().map(|before| format!("op{before}")));
        }
        drafts.push(draft);
    }
    drafts
}

fn verify_when() -> impl Strategy<Value = VerifyWhen> {
    prop_oneof![
        Just(VerifyWhen::Always),
        any::<i64>().prop_map(VerifyWhen::AmountOver),
        times().prop_map(VerifyWhen::ElapsedOver),
        (0..100_u8).prop_map(VerifyWhen::LoadOver),
        (0..100_u8).prop_map(VerifyWhen::RecentFailuresOver),
        Just(VerifyWhen::Custom(ActionName::new("mine").expect("a name"))),
    ]
}

prop_compose! {
    fn time_bounds(pattern: Pattern, gate: Gate)(
        strategy in prop_oneof![
            Just(ExpiryStrategy::Fixed),
            Just(ExpiryStrategy::Progressive),
            Just(ExpiryStrategy::Adaptive),
            Just(ExpiryStrategy::Custom(ActionName::new("mine").expect("a name"))),
        ],
        times in proptest::collection::btree_map(select(Phase::ALL.to_vec()), times(), 0..4),
        on_expiry in option::of(select(vec![
            OnExpiry::Abort, OnExpiry::Cancel, OnExpiry::Release, OnExpiry::Ask, OnExpiry::Retry,
            OnExpiry::Attention,
        ])),
        extensions_max in option::of(0..=32_u8),
    ) -> TimeBounds {
        TimeBounds {
            strategy,
            base: times.into_iter().filter(|(phase, _)| has_phase(pattern, gate, *phase)).collect(),
            on_expiry: on_expiry.filter(|wanted| can_do(pattern, *wanted)),
            extensions_max,
        }
    }
}

prop_compose! {
    fn modifiers(pattern: Pattern, gate: Gate)(
        when in option::of((verify_when(), any::<i64>())),
        approval in option::of(times()),
        execute_after in option::of(times()),
        time_bounds in option::of(time_bounds(pattern, gate)),
    ) -> Modifiers {
        let gated = matches!(pattern, Pattern::TwoPhaseSaga | Pattern::TwoPhaseCommit)
            || pattern == Pattern::ThreePhaseSaga && gate == Gate::AllValidated;
        let mut modifiers = Modifiers { time_bounds, ..Modifiers::default() };
        if gated {
            modifiers.verification = when.map(|(when, amount)| Verification { when, amount });
            modifiers.approval = approval.map(|timeout| Approval { timeout });
            modifiers.execute_after = execute_after;
        }
        modifiers
    }
}

fn builder(pattern: Pattern, gate: Gate) -> impl Strategy<Value = TransactionBuilder> {
    (
        vec(drawn(), 1..6),
        modifiers(pattern, gate),
        option::of((any::<bool>(), "[^\\p{Cc}]{1,20}")),
        option::of(times()),
        option::of(any::<[u8; 16]>()),
        proptest::collection::btree_map("[A-Za-z0-9._-]{1,8}", "[^\\p{Cc}]{0,8}", 0..3),
    )
        .prop_map(move |(drawn, modifiers, key, deadline, undo_of, metadata)| {
            let mut builder = Transaction::builder(pattern).gate(gate);
            builder.operations = operations(pattern, gate, drawn);
            builder.deadline = deadline.map(|deadline| deadline + modifiers.gate_wait());
            builder.modifiers = modifiers;
            builder.key =
                key.map(|(own, key)| (if own { "shop" } else { "default" }.to_owned(), key));
            builder.undo_of = undo_of.map(TxId::from_bytes);
            builder.metadata = metadata;
            builder
        })
}

/// A valid transaction of any pattern.
pub(crate) fn transaction() -> impl Strategy<Value = Transaction> {
    (select(Pattern::ALL.to_vec()), any::<bool>())
        .prop_flat_map(|(pattern, independent)| {
            let gate = if independent && pattern == Pattern::ThreePhaseSaga {
                Gate::Independent
            } else {
                Gate::AllValidated
            };
            builder(pattern, gate)
        })
        .prop_map(|builder| builder.build().expect("only valid ones are made"))
}
