use std::time::Duration;

use super::{is_no, is_unknown, refused};
use crate::transaction::Action;
use crate::{
    answer::Refusal,
    ids::TxId,
    pattern::{Pattern, Pattern::*, Phase, Phase::*},
    resource::{
        HoldSettings, Lock, LockKey, Locks, StatusOutput,
        testing::{World, command, tx, with_payload},
    },
    transport::Command,
};

fn lock(number: u64, pattern: Pattern, phase: Phase, shared: bool) -> Command {
    let key = LockKey { key: "row".to_owned(), shared };
    let command = with_payload(command(number, pattern, phase), Lock::NAME, &key);
    Command { deadline: Some(Duration::from_secs(30)), ..command }
}

fn prepare(number: u64) -> Command {
    lock(number, TwoPhaseCommit, Prepare, false)
}

fn locks() -> World {
    World::new(Locks::default(), "row")
}

fn waits_for(world: &mut World, number: u64) -> Vec<TxId> {
    let answer = world.send(&lock(number, TwoPhaseCommit, Status, false)).expect("a status");
    serde_json::from_slice::<StatusOutput>(&answer.output).expect("json").waits_for
}

#[test]
fn an_exclusive_lock_excludes_and_shared_ones_share() {
    let mut world = locks();
    world.send(&lock(1, TwoPhaseCommit, Prepare, true)).expect("free");
    world.send(&lock(2, TwoPhaseCommit, Prepare, true)).expect("shared");
    assert!(is_unknown(&world.send(&prepare(3))), "busy is no refusal");
    assert!(is_unknown(&world.send(&lock(4, TwoPhaseCommit, Prepare, true))), "no overtaking");
    world.send(&lock(1, TwoPhaseCommit, Commit, true)).expect("done");
    assert!(is_unknown(&world.send(&prepare(3))));
    world.send(&lock(2, TwoPhaseCommit, Abort, true)).expect("done");
    assert!(is_unknown(&world.send(&lock(4, TwoPhaseCommit, Prepare, true))), "3 came first");
    world.send(&prepare(3)).expect("its turn");
    world.send(&prepare(3)).expect("stored");
}

#[test]
fn a_waiter_leaves_when_it_is_aborted_or_its_prepare_is_over() {
    let mut world = locks();
    world.send(&prepare(1)).expect("free");
    assert!(is_unknown(&world.send(&prepare(2))));
    assert!(is_unknown(&world.send(&prepare(3))));
    assert_eq!(waits_for(&mut world, 3), [tx(1), tx(2)]);
    world.send(&lock(2, TwoPhaseCommit, Abort, false)).expect("done");
    assert_eq!(waits_for(&mut world, 3), [tx(1)]);
    world.wait(30);
    assert!(is_unknown(&world.send(&prepare(4))), "1 holds it as long as it takes");
    world.send(&lock(1, TwoPhaseCommit, Commit, false)).expect("done");
    assert_eq!(world.send(&prepare(2)), refused(Refusal::Undone));
    world.send(&prepare(4)).expect("3 did not ask again in time");
}

#[test]
fn a_free_lock_leaves_no_row() {
    let mut world = locks();
    world.send(&prepare(1)).expect("free");
    let held = world.rows.len();
    world.send(&lock(1, TwoPhaseCommit, Commit, false)).expect("done");
    assert_eq!(world.rows.len(), held - 1);
    world.send(&prepare(2)).expect("free");
}

#[test]
fn the_queue_is_bounded() {
    let settings = HoldSettings { queue_max: 1, ..HoldSettings::default() };
    let mut world = World::new(Locks::new(settings).expect("settings"), "row");
    world.send(&prepare(1)).expect("free");
    world.send(&prepare(2)).expect_err("waits");
    world.send(&prepare(3)).expect_err("is not queued");
    assert_eq!(waits_for(&mut world, 2), [tx(1)]);
    assert!(world.send(&lock(3, TwoPhaseCommit, Status, false)).is_err());
    world.send(&lock(1, TwoPhaseCommit, Commit, false)).expect("done");
    assert!(is_unknown(&world.send(&prepare(3))), "2 waits");
    world.send(&prepare(2)).expect("its turn");
}

#[test]
fn outside_2pc_a_rival_is_refused_at_once_and_a_claim_expires_unless_it_is_pinned() {
    let mut world = locks();
    world.send(&lock(1, TwoPhaseSaga, Prepare, false)).expect("free");
    assert!(is_no(&world.send(&lock(2, ThreePhaseSaga, Reserve, false))));
    assert!(is_no(&world.send(&lock(3, Saga, Execute, false))));
    world.wait(60);
    assert_eq!(world.send(&lock(1, TwoPhaseSaga, Execute, false)), refused(Refusal::Expired));
    for phase in [Reserve, Validate] {
        world.send(&lock(4, ThreePhaseSaga, phase, false)).expect("free");
    }
    world.wait(1_000_000);
    assert!(is_no(&world.send(&lock(5, FireAndForget, Deliver, false))), "it is pinned");
    world.send(&lock(4, ThreePhaseSaga, Execute, false)).expect("done");
    world.send(&lock(5, FireAndForget, Deliver, false)).expect("free");
    let one = Command { one_phase: true, ..lock(6, TwoPhaseCommit, Commit, false) };
    world.send(&one).expect("free");
}
