use bytes::Bytes;

use super::*;
use crate::{
    ids::ShardId,
    name::Namespace,
    store::{Status, Summary},
    transaction::Key,
};

const LIMITS: StoreLimits = StoreLimits { batch_writes_max: 2, value_bytes_max: 8 };
const SHARDS: ShardCount = ShardCount::DEFAULT;
const ME: HolderId = HolderId(7);
const VERDICTS: [Verdict; 4] =
    [Verdict::Completed, Verdict::Turned, Verdict::Commit, Verdict::Abort];
const KINDS: [RecordKind; 8] = [
    RecordKind::Accepted,
    RecordKind::Resumed,
    RecordKind::Progress,
    RecordKind::Signal,
    RecordKind::PivotSent,
    RecordKind::Delegated,
    RecordKind::Verdict,
    RecordKind::Finished,
];

fn tx() -> TxId {
    TxId::from_parts(1_000, [9; 10])
}

fn id(number: u64) -> WriteId {
    WriteId { writer: ME, number }
}

fn fence(epoch: u64) -> Fence {
    Fence { shard: tx().shard(SHARDS), holder: ME, epoch: Epoch(epoch) }
}

fn write(kind: RecordKind, expect: Expect) -> TxWrite {
    TxWrite {
        id: id(100),
        tx: tx(),
        kind,
        expect,
        fence: Some(fence(3)),
        key: None,
        definition: (kind == RecordKind::Accepted).then(|| Bytes::from_static(b"def")),
        verdict: (kind == RecordKind::Verdict).then_some(Verdict::Abort),
        state: Bytes::from_static(b"state"),
        due: None,
        summary: Summary {
            pattern: Pattern::TwoPhaseCommit,
            status: Status::Open,
            operations: 1,
            dead_letters: 0,
            resumes: 0,
            exceptions: Vec::new(),
        },
        journal: [].into(),
        lazy: false,
    }
}

fn row(version: u64, verdict: Option<Verdict>) -> Option<RowFacts> {
    Some(RowFacts { version: Version(version), verdict, last_write: id(1) })
}

fn facts(row: Option<RowFacts>) -> Facts {
    Facts { row, lease: Some(LeaseFacts { holder: ME, epoch: Epoch(3) }), key: None }
}

fn decide(write: &TxWrite, facts: &Facts) -> Decision {
    check_write(write, &LIMITS, SHARDS).expect("valid write");
    evaluate(&WriteClaim::from(write), facts)
}

fn check(write: &TxWrite) -> Result<(), InvalidWrite> {
    check_write(write, &LIMITS, SHARDS)
}

fn at(version: u64) -> Expect {
    Expect::Version(Version(version))
}

#[test]
fn versions_count_from_one() {
    let accept = write(RecordKind::Accepted, Expect::Absent);
    assert_eq!(decide(&accept, &facts(None)), Decision::Apply(Version(1)));
    let progress = write(RecordKind::Progress, at(4));
    assert_eq!(decide(&progress, &facts(row(4, None))), Decision::Apply(Version(5)));
}

#[test]
fn what_was_not_expected_is_a_conflict_that_shows_the_row() {
    let accept = write(RecordKind::Accepted, Expect::Absent);
    let shown = Decision::Conflict { found: Some(Version(4)), verdict: Some(Verdict::Abort) };
    assert_eq!(decide(&accept, &facts(row(4, Some(Verdict::Abort)))), shown);
    let progress = write(RecordKind::Progress, at(3));
    let none = Decision::Conflict { found: None, verdict: None };
    assert_eq!(decide(&progress, &facts(None)), none);
    for version in [2, 4] {
        let found = Some(Version(version));
        let decision = decide(&progress, &facts(row(version, None)));
        assert_eq!(decision, Decision::Conflict { found, verdict: None });
    }
}

#[test]
fn a_repeat_answers_with_its_version_whatever_has_happened_to_the_lease() {
    let mut accept = write(RecordKind::Accepted, Expect::Absent);
    accept.id = id(1);
    accept.key = Some(Key { namespace: Namespace::new("n").expect("valid"), key: "k".into() });
    let leases = [
        None,
        Some(LeaseFacts { holder: HolderId(8), epoch: Epoch(3) }),
        Some(LeaseFacts { holder: ME, epoch: Epoch(4) }),
    ];
    for lease in leases {
        let stored = Facts { lease, ..facts(row(1, Some(Verdict::Abort))) };
        assert_eq!(decide(&accept, &stored), Decision::Repeat(Version(1)));
    }
}

#[test]
fn only_the_newest_lease_exactly_may_write() {
    let progress = write(RecordKind::Progress, at(4));
    let leases = [
        None,
        Some(LeaseFacts { holder: HolderId(8), epoch: Epoch(3) }),
        Some(LeaseFacts { holder: ME, epoch: Epoch(2) }),
        Some(LeaseFacts { holder: ME, epoch: Epoch(4) }),
    ];
    for lease in leases {
        // Also when the version is not the expected one: an owner that lost its shard must drop
        // it, not read again and go on.
        for version in [4, 5] {
            let stored = Facts { lease, ..facts(row(version, None)) };
            assert_eq!(decide(&progress, &stored), Decision::Fenced);
        }
    }
}

#[test]
fn a_verdict_never_changes_and_none_keeps_it() {
    for stored in VERDICTS {
        for written in VERDICTS {
            let mut again = write(RecordKind::Verdict, at(4));
            again.verdict = Some(written);
            let decision = decide(&again, &facts(row(4, Some(stored))));
            let expected = if stored == written {
                Decision::Apply(Version(5))
            } else {
                Decision::Conflict { found: Some(Version(4)), verdict: Some(stored) }
            };
            assert_eq!(decision, expected);
        }
        let finish = write(RecordKind::Finished, at(4));
        assert_eq!(decide(&finish, &facts(row(4, Some(stored)))), Decision::Apply(Version(5)));
    }
}

#[test]
fn an_unfenced_going_back_needs_an_undecided_row() {
    for verdict in [Verdict::Abort, Verdict::Turned] {
        let mut back = write(RecordKind::Verdict, at(4));
        (back.fence, back.verdict) = (None, Some(verdict));
        let unowned = |row| Facts { lease: None, ..facts(row) };
        assert_eq!(decide(&back, &unowned(row(4, None))), Decision::Apply(Version(5)));
        for stored in VERDICTS {
            let shown = Decision::Conflict { found: Some(Version(4)), verdict: Some(stored) };
            assert_eq!(decide(&back, &unowned(row(4, Some(stored)))), shown);
        }
    }
}

#[test]
fn a_signal_keeps_the_verdict_and_expects_the_version() {
    let mut signal = write(RecordKind::Signal, at(4));
    signal.fence = None;
    let decided = facts(row(4, Some(Verdict::Commit)));
    assert_eq!(decide(&signal, &decided), Decision::Apply(Version(5)));
    let later = facts(row(5, Some(Verdict::Commit)));
    assert!(matches!(decide(&signal, &later), Decision::Conflict { .. }));
}

#[test]
fn a_key_belongs_to_its_first_transaction_for_ever() {
    let mut accept = write(RecordKind::Accepted, Expect::Absent);
    accept.key = Some(Key { namespace: Namespace::new("n").expect("valid"), key: "k".into() });
    let with = |tx, forgotten| Facts { key: Some(KeyFacts { tx, forgotten }), ..facts(None) };
    let other = TxId::from_parts(5, [1; 10]);
    assert_eq!(decide(&accept, &with(other, false)), Decision::DuplicateKey(other));
    assert_eq!(decide(&accept, &with(other, true)), Decision::DuplicateKey(other));
    // Claimed just before, by a store that cannot hold both in one step: the accept completes it.
    assert_eq!(decide(&accept, &with(tx(), false)), Decision::Apply(Version(1)));
    // A very late copy of the accept must not run a forgotten transaction a second time.
    assert_eq!(decide(&accept, &with(tx(), true)), Decision::DuplicateKey(tx()));
}

/// Every kind x expectation x verdict without a fence, against the rule written out once more.
#[test]
fn exactly_three_writes_go_without_a_fence() {
    let mut passed = 0;
    for kind in KINDS {
        for expect in [Expect::Absent, at(1)] {
            for verdict in VERDICTS.into_iter().map(Some).chain([None]) {
                let mut write = write(kind, expect);
                (write.fence, write.verdict) = (None, verdict);
                let forward = matches!(verdict, Some(Verdict::Completed | Verdict::Commit));
                let absent = expect == Expect::Absent;
                let allowed = match kind {
                    RecordKind::Accepted => absent && !forward,
                    RecordKind::Signal => !absent && !forward,
                    RecordKind::Verdict if absent => verdict == Some(Verdict::Abort),
                    RecordKind::Verdict => verdict.is_some() && !forward,
                    _ => false,
                };
                assert_eq!(check(&write).is_ok(), allowed, "{kind:?} {expect:?} {verdict:?}");
                passed += usize::from(allowed);
            }
        }
    }
    assert_eq!(passed, 9);
}

#[test]
fn only_the_accept_of_fire_and_forget_decides_forward_unfenced() {
    for pattern in Pattern::ALL {
        let mut accept = write(RecordKind::Accepted, Expect::Absent);
        accept.fence = None;
        accept.verdict = Some(Verdict::Completed);
        accept.summary.pattern = pattern;
        assert_eq!(check(&accept).is_ok(), pattern == Pattern::FireAndForget);
        accept.verdict = Some(Verdict::Commit);
        assert!(check(&accept).is_err());
    }
    let mut signal = write(RecordKind::Signal, at(1));
    signal.verdict = Some(Verdict::Commit);
    assert!(check(&signal).is_err(), "not under a fence either");
}

fn named(write: &TxWrite, field: &str) {
    let error = check(write).expect_err(field).to_string();
    assert!(error.starts_with(field), "{error}");
}

#[test]
fn fields_that_do_not_go_together_are_named() {
    named(&write(RecordKind::Accepted, at(1)), "expect");
    named(&write(RecordKind::Progress, Expect::Absent), "expect");
    let mut accept = write(RecordKind::Accepted, Expect::Absent);
    accept.definition = None;
    named(&accept, "definition");
    let mut progress = write(RecordKind::Progress, at(1));
    progress.definition = Some(Bytes::new());
    named(&progress, "definition");
    let mut keyed = write(RecordKind::Progress, at(1));
    keyed.key = Some(Key { namespace: Namespace::new("n").expect("valid"), key: "k".into() });
    named(&keyed, "key");
    let mut empty = write(RecordKind::Verdict, at(1));
    empty.verdict = None;
    named(&empty, "verdict");
    let mut foreign = write(RecordKind::Progress, at(1));
    let ShardId(shard) = tx().shard(SHARDS);
    foreign.fence = Some(Fence { shard: ShardId((shard + 1) % 64), ..fence(3) });
    named(&foreign, "fence");
}

#[test]
fn sizes_at_the_limit_pass_and_one_past_it_are_named() {
    let mut accept = write(RecordKind::Accepted, Expect::Absent);
    accept.definition = Some(Bytes::from(vec![0; LIMITS.value_bytes_max]));
    accept.state = Bytes::from(vec![0; LIMITS.value_bytes_max]);
    let namespace = Namespace::new("n").expect("valid");
    accept.key = Some(Key { namespace, key: "k".repeat(KEY_BYTES_MAX) });
    assert_eq!(check(&accept), Ok(()));

    let mut large = accept.clone();
    large.definition = Some(Bytes::from(vec![0; LIMITS.value_bytes_max + 1]));
    named(&large, "definition");
    let mut large = accept.clone();
    large.state = Bytes::from(vec![0; LIMITS.value_bytes_max + 1]);
    named(&large, "state");
    let mut large = accept.clone();
    large.key.as_mut().expect("has a key").key.push('k');
    named(&large, "key");
    let mut empty = accept;
    empty.key.as_mut().expect("has a key").key.clear();
    named(&empty, "key");

    assert!(check_batch(2, &LIMITS).is_ok());
    assert!(check_batch(3, &LIMITS).expect_err("one past").to_string().starts_with("batch"));
}
