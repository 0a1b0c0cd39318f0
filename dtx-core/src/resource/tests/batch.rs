use bytes::Bytes;

use super::{is_no, is_unknown};
use crate::{
    ids::OperationIndex,
    pattern::{Pattern::*, Phase::*},
    resource::{
        HoldSettings, Work,
        barrier::{inbox_key, mark_key},
        testing::{World, item, take, tx},
    },
    store::{RowExpect, RowKey, StoredRow},
    time::Timestamp,
};

fn stock(units: u64) -> World {
    item(units, HoldSettings::default())
}

fn pool_row() -> RowKey {
    RowKey(Bytes::from_static(b"p"))
}

#[test]
fn rule_12_claim_effect_and_answer_of_many_commands_are_one_write_of_the_hot_row() {
    let mut world = stock(3);
    let commands: Vec<_> = (1..=5).map(|number| take(number, Saga, Execute, 1)).collect();
    let works: Vec<_> = commands.iter().map(|c| Work { command: c, not_after: None }).collect();
    let plan = world.plan(&works);
    assert_eq!(plan.answers.iter().filter(|answer| answer.is_ok()).count(), 3);
    assert!(plan.answers[3..].iter().all(is_no), "each command has its own savepoint");
    let set = plan.write.expect("a write");
    let hot = set.changes.iter().filter(|change| change.key == pool_row());
    assert_eq!(hot.count(), 1);
    assert_eq!(set.changes.len(), 1 + 3 + 5, "the item, three effects, five answers");
    world.write(&set);
    // Every answer, the noes too, is in its row.
    assert_eq!(world.batch(&commands), plan.answers);
    assert!(world.audit().is_clean());
}

#[test]
fn a_no_expects_what_it_was_decided_from_and_a_repeat_expects_nothing() {
    let mut world = stock(1);
    let no = take(1, Saga, Execute, 2);
    let plan = world.plan(&[Work { command: &no, not_after: None }]);
    let set = plan.write.expect("the no is stored");
    assert!(
        set.unchanged.contains(&(pool_row(), RowExpect::Version(world.rows[&pool_row()].version)))
    );
    assert!(set.unchanged.contains(&(mark_key(no.shard), RowExpect::Absent)));
    world.write(&set);
    assert_eq!(world.plan(&[Work { command: &no, not_after: None }]).write, None);
}

/// Where the row was read at a server that is lost with it, the write at the next one must not go
/// through: it would tell an answer that nobody has.
#[test]
fn an_earlier_answer_that_is_told_with_a_write_expects_its_row() {
    let mut world = stock(5);
    let (earlier, new) = (take(1, Saga, Execute, 1), take(2, Saga, Execute, 1));
    world.send(&earlier).expect("done");
    let works = [&earlier, &new].map(|command| Work { command, not_after: None });
    let set = world.plan(&works).write.expect("that of the new one");
    let row = inbox_key(tx(1), OperationIndex(0));
    let version = world.rows[&row].version;
    assert!(set.unchanged.contains(&(row, RowExpect::Version(version))), "{:?}", set.unchanged);
}

#[test]
fn a_command_is_begun_until_its_deadline_and_not_after_it() {
    let mut world = stock(5);
    let command = take(1, Saga, Execute, 1);
    let passed = Some(Timestamp::from_micros(world.now.as_micros() - 1));
    let late = world.plan(&[Work { command: &command, not_after: passed }]);
    assert!(is_unknown(&late.answers[0]));
    assert_eq!(late.write, None, "and that is not stored");
    let in_time = world.plan(&[Work { command: &command, not_after: Some(world.now) }]);
    let set = in_time.write.expect("a write");
    assert_eq!(set.not_after, Some(world.now), "the store checks it again");
    world.write(&set);
    // What is stored is told at any time.
    let late = world.plan(&[Work { command: &command, not_after: passed }]);
    assert_eq!(late.answers, in_time.answers);
}

#[test]
fn a_damaged_row_stops_only_the_commands_that_need_it() {
    let mut world = stock(5);
    world.send(&take(1, Saga, Execute, 1)).expect("done");
    let damaged = StoredRow { version: crate::ids::Version(9), value: Bytes::from_static(b"\x01") };
    let commands = [take(1, Saga, Execute, 1), take(2, Saga, Execute, 1)];
    let works = commands.each_ref().map(|command| Work { command, not_after: None });

    let mut torn_inbox = world.clone();
    let inbox = inbox_key(tx(1), OperationIndex(0));
    torn_inbox.rows.insert(inbox.clone(), damaged.clone());
    let plan = torn_inbox.plan(&works);
    assert!(is_unknown(&plan.answers[0]) && plan.answers[1].is_ok());
    assert_eq!(plan.damaged, std::slice::from_ref(&inbox));
    assert!(plan.write.expect("of the other").changes.iter().all(|c| c.key != inbox));

    let mut torn_pool = world.clone();
    torn_pool.rows.insert(pool_row(), damaged.clone());
    let plan = torn_pool.plan(&works);
    assert!(plan.answers[0].is_ok(), "it is in the inbox");
    assert!(is_unknown(&plan.answers[1]));
    assert_eq!((plan.write, plan.damaged), (None, vec![pool_row()]));
    assert!(!torn_pool.audit().is_clean());

    let mut torn_mark = world;
    torn_mark.rows.insert(mark_key(commands[0].shard), damaged);
    assert!(torn_mark.plan(&works).answers.iter().all(is_unknown));
}

#[test]
fn the_same_operation_may_come_several_times_in_a_batch() {
    let mut world = stock(5);
    let answers = world.batch(&[
        take(1, ThreePhaseSaga, Reserve, 2),
        take(1, ThreePhaseSaga, Reserve, 2),
        take(1, ThreePhaseSaga, Validate, 2),
        take(1, ThreePhaseSaga, Execute, 2),
        take(1, ThreePhaseSaga, Execute, 2),
    ]);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let audit = world.audit();
    assert!(audit.is_clean());
    assert_eq!((audit.level, audit.effects), (3, 1));
}
