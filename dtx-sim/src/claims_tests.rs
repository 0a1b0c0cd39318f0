//! What may be given beside what, with examples on both sides of each bound.

use bytes::Bytes;
use dtx_core::{
    ids::{AcceptSequence, Epoch, OperationIndex, ShardId, TxId},
    name::{ActionName, ParticipantName},
    pattern::Pattern,
    resource::WaiterFacts,
};

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000);
const LATER: Timestamp = Timestamp::from_millis(2_000);

fn tx(number: u8) -> TxId {
    TxId::from_bytes([number; 16])
}

/// An optimistic claim on so much, by the transaction of this number.
fn claim(number: u8, amount: u64) -> ClaimFacts {
    ClaimFacts {
        tx: tx(number),
        operation: OperationIndex(0),
        amount,
        strict: false,
        incoming: false,
        pinned: false,
        expires_at: LATER,
    }
}

fn strict(number: u8, amount: u64) -> ClaimFacts {
    ClaimFacts { strict: true, ..claim(number, amount) }
}

fn pinned(number: u8, amount: u64) -> ClaimFacts {
    ClaimFacts { pinned: true, ..claim(number, amount) }
}

fn pool(level: u64, claims: &[ClaimFacts]) -> PoolFacts {
    PoolFacts { opened: 10, level, latest: NOW, claims: claims.to_vec() }
}

fn lock(holders: &[ClaimFacts], queue: &[u8]) -> LockFacts {
    let waiter =
        |number: &u8| WaiterFacts { tx: tx(*number), operation: OperationIndex(0), until: LATER };
    LockFacts { latest: NOW, holders: holders.to_vec(), queue: queue.iter().map(waiter).collect() }
}

/// A command of the first transaction.
fn ask(phase: Phase, payload: &'static str) -> Command {
    Command {
        tx: tx(1),
        operation: OperationIndex(0),
        phase,
        pattern: Pattern::ThreePhaseSaga,
        participant: ParticipantName::new("stock").expect("a name"),
        action: ActionName::new("take").expect("a name"),
        action_version: 1,
        attempt: 1,
        shard: ShardId(0),
        epoch: Epoch(1),
        sequence: AcceptSequence::default(),
        watermark: AcceptSequence::default(),
        deadline: None,
        ttl: None,
        one_phase: false,
        reply: true,
        payload: Bytes::from_static(payload.as_bytes()),
        inputs: Vec::new(),
    }
}

#[test]
fn a_claim_is_over_at_its_time_and_not_before() {
    let before = Timestamp::from_millis(1_999);
    assert_eq!(outlived(&[claim(1, 1)], before), None);
    assert!(outlived(&[claim(1, 1)], LATER).is_some());
    assert_eq!(outlived(&[pinned(1, 1)], LATER), None);
}

#[test]
fn each_kind_of_claim_fits_beside_what_it_must() {
    let reserve = ask(Phase::Reserve, "");
    let others = [claim(2, 2), strict(3, 3), pinned(4, 4)];
    let fits = |level: u64, own: ClaimFacts| {
        let after = [others.as_slice(), &[own]].concat();
        admitted(&pool(level, &others), &pool(level, &after), &reserve).is_none()
    };
    // Optimistic: beside what is firmly promised. Strict: beside everything that is live.
    assert!(fits(8, claim(1, 1)) && !fits(7, claim(1, 1)));
    assert!(fits(10, strict(1, 1)) && !fits(9, strict(1, 1)));
    let incoming = ClaimFacts { incoming: true, ..claim(1, 100) };
    assert!(fits(1, incoming), "it takes nothing");
    let expired = ClaimFacts { expires_at: NOW, ..strict(2, 9) };
    let after = pool(1, &[strict(1, 1)]);
    assert_eq!(admitted(&pool(1, &[expired]), &after, &reserve), None);
}

#[test]
fn a_validation_counts_what_came_before_it() {
    let validate = ask(Phase::Validate, "");
    let before = [claim(2, 2), claim(1, 1), claim(3, 5), strict(4, 3)];
    let after = [claim(2, 2), pinned(1, 1), claim(3, 5), strict(4, 3)];
    let fits = |level| admitted(&pool(level, &before), &pool(level, &after), &validate).is_none();
    assert!(fits(6) && !fits(5));
}

#[test]
fn nobody_takes_what_is_promised_to_others() {
    let execute = ask(Phase::Execute, "");
    let others = [claim(2, 9), strict(3, 3), pinned(4, 2)];
    let taken = |units: u64| admitted(&pool(7, &others), &pool(7 - units, &others), &execute);
    assert_eq!(taken(2), None);
    assert!(taken(3).is_some());
    let back = ask(Phase::Compensate, "");
    assert_eq!(admitted(&pool(7, &others), &pool(2, &others), &back), None);
}

#[test]
fn an_exclusive_lock_is_alone_and_who_came_first_is_first() {
    let (alone, shared) = (r#"{"key":"k"}"#, r#"{"key":"k","shared":true}"#);
    let prepare = |payload| ask(Phase::Prepare, payload);
    let (free, held) = (lock(&[], &[]), lock(&[pinned(2, 1)], &[]));
    let own = lock(&[pinned(2, 1), pinned(1, 1)], &[]);
    assert_eq!(locked(&free, &own, &prepare(alone)), None);
    assert!(locked(&held, &own, &prepare(alone)).is_some());
    assert_eq!(locked(&held, &own, &prepare(shared)), None);
    assert_eq!(locked(&own, &own, &prepare(alone)), None, "a repeat");
    assert!(locked(&lock(&[], &[3, 1]), &own, &prepare(alone)).is_some());
    assert_eq!(locked(&lock(&[], &[1, 3]), &own, &prepare(alone)), None);
    let late = LockFacts { latest: LATER, ..own };
    assert_eq!(locked(&lock(&[], &[3]), &late, &prepare(alone)), None, "its wait is over");
}
