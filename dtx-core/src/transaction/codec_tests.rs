use proptest::prelude::*;

use super::*;
use crate::{
    modifier::{ExpiryStrategy, OnExpiry, TimeBounds, VerifyWhen},
    name::ActionName,
    pattern::Phase,
    transaction::{Consistency, OperationDraft, RetryPolicy, StepKind, arbitrary},
};

fn saga() -> Transaction {
    let retry = RetryPolicy { attempts_max: 3, backoff_ms: 5, backoff_ms_max: 300 };
    Transaction::builder(Pattern::Saga)
        .key_in("shop", "k1")
        .deadline(Duration::from_millis(300))
        .undo_of(TxId::from_bytes([7; 16]))
        .metadata("a", "b")
        .operation(OperationDraft::new("p", "act").payload("{}").retry(retry).region("eu"))
        .operation(
            OperationDraft::new("p", "act").version(2).depends_on(["act"]).step(StepKind::Pivot),
        )
        .build()
        .expect("is right")
}

fn prepared() -> Transaction {
    Transaction::builder(Pattern::TwoPhaseCommit)
        .operation(OperationDraft::new("p", "act").consistency(Consistency::Immediate))
        .verify(VerifyWhen::ElapsedOver(Duration::from_millis(9)), -1)
        .approval(Duration::from_millis(10))
        .execute_after(Duration::from_millis(11))
        .time_bounds(TimeBounds {
            strategy: ExpiryStrategy::Custom(ActionName::new("mine").expect("a name")),
            base: [(Phase::Prepare, Duration::from_millis(12))].into(),
            on_expiry: Some(OnExpiry::Attention),
            extensions_max: Some(4),
        })
        .build()
        .expect("is right")
}

fn independent() -> Transaction {
    Transaction::builder(Pattern::ThreePhaseSaga)
        .gate(Gate::Independent)
        .operation(OperationDraft::new("p", "act"))
        .build()
        .expect("is right")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.bytes().map(|b| (b as char).to_digit(16).expect("a digit") as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

type Golden = (fn() -> Transaction, &'static str);

/// What release 0.1 wrote. These bytes never change: a new version gets a list of its own.
const VERSION_1: [Golden; 3] = [
    (
        saga,
        "d7010101020361637401700361637401000100010305ac0201026575027b7d056163742d32017003616374\
     0201000101000000010473686f70026b3101ac0200011007070707070707070707070707070707000101610162",
    ),
    (
        prepared,
        "d7010105010361637401700361637401000000000000000000000101020901010a010b0103046d696e650100\
     0c0105010400",
    ),
    (independent, "d7010104010361637401700361637401000100000000000001000000"),
];

#[test]
fn the_bytes_of_version_1_stay_readable() {
    for (make, golden) in VERSION_1 {
        assert_eq!(decode(&unhex(golden)).as_ref(), Ok(&make()));
        assert_eq!(hex(&encode(&make())), golden);
    }
}

#[test]
fn every_variant_of_version_1_keeps_its_number() {
    let patterns = Pattern::ALL.map(|pattern| postcard::to_allocvec(&pattern).expect("encodes"));
    assert_eq!(patterns.concat(), [0, 1, 2, 3, 4, 5]);
    let phases = Phase::ALL.map(|phase| postcard::to_allocvec(&phase).expect("encodes"));
    assert_eq!(phases.concat(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    let bytes = postcard::to_allocvec(&(
        [Gate::AllValidated, Gate::Independent],
        [
            Consistency::Immediate,
            Consistency::Strong,
            Consistency::Eventual,
            Consistency::BestEffort,
        ],
        [StepKind::Compensatable, StepKind::Pivot, StepKind::Retriable],
        [ExpiryStrategy::Fixed, ExpiryStrategy::Progressive, ExpiryStrategy::Adaptive],
        [
            OnExpiry::Abort,
            OnExpiry::Cancel,
            OnExpiry::Release,
            OnExpiry::Ask,
            OnExpiry::Retry,
            OnExpiry::Attention,
        ],
        [
            VerifyWhen::Always,
            VerifyWhen::AmountOver(1),
            VerifyWhen::ElapsedOver(Duration::from_millis(1)),
            VerifyWhen::LoadOver(1),
            VerifyWhen::RecentFailuresOver(1),
            VerifyWhen::Custom(ActionName::new("a").expect("a name")),
        ],
    ))
    .expect("encodes");
    assert_eq!(
        hex(&bytes),
        "0001000102030001020001020001020304050001020201030104010501".to_owned() + "61"
    );
}

#[test]
fn an_unknown_version_is_an_error() {
    let mut bytes = encode(&saga()).to_vec();
    bytes[2] = 2;
    assert_eq!(
        decode(&bytes),
        Err(FrameError::Version { kind: Kind::Definition, found: 2 }.into())
    );
}

#[test]
fn stored_bytes_that_break_a_rule_are_an_error() {
    // The pivot of the saga depends on itself.
    let bytes = encode(&saga()).to_vec();
    let bad = (0..bytes.len()).find_map(|place| {
        let mut changed = bytes.clone();
        changed[place] = 1;
        let error = decode(&changed).err()?;
        matches!(&error, CodecError::Definition(error)
            if error.field == "operations[1].depends_on")
        .then_some(error)
    });
    assert!(bad.is_some());
}

#[test]
fn what_is_stored_under_wider_limits_is_readable_under_all() {
    let limits = Limits { metadata_value_bytes_max: 4096, ..Limits::DEFAULT };
    let transaction = Transaction::builder(Pattern::Saga)
        .operation(OperationDraft::new("p", "act"))
        .metadata("long", "x".repeat(4096))
        .build_within(&limits)
        .expect("is within its limits");
    assert_eq!(decode(&encode(&transaction)), Ok(transaction));
}

#[test]
fn operations_of_equal_shape_share_it_and_stay_small() {
    let first = saga();
    let second = decode(&encode(&first)).expect("decodes");
    for (a, b) in first.operations().iter().zip(second.operations()) {
        assert!(std::sync::Arc::ptr_eq(&a.shape, &b.shape));
    }
    // The memory of an open transaction with three operations: their shapes are shared.
    let bytes = size_of::<Transaction>() + 3 * size_of::<Operation>();
    assert!(bytes <= 320, "{bytes}");
}

proptest! {
    #[test]
    fn a_transaction_is_the_same_after_the_store(transaction in arbitrary::transaction()) {
        let bytes = encode(&transaction);
        let read = decode(&bytes);
        prop_assert_eq!(read.as_ref(), Ok(&transaction));
        prop_assert_eq!(encode(&read.expect("decodes")), bytes);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&body);
        let _ = decode(&[&[frame::MAGIC, 1, 1][..], &body].concat());
    }

    #[test]
    fn no_change_of_valid_bytes_makes_the_decoder_panic(
        transaction in arbitrary::transaction(),
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        cut in any::<usize>(),
    ) {
        let mut bytes = encode(&transaction).to_vec();
        for (place, byte) in changes {
            let place = place % bytes.len();
            bytes[place] = byte;
        }
        if let Ok(read) = decode(&bytes) {
            // What is accepted has passed every check, so it survives another round.
            prop_assert_eq!(decode(&encode(&read)), Ok(read));
        }
        let _ = decode(&bytes[..cut % bytes.len()]);
    }
}
