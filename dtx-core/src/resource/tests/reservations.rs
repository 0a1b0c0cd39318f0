use std::time::Duration;

use super::{is_no, is_unknown, refused};
use crate::transaction::Action;
use crate::{
    answer::Refusal,
    ids::OperationIndex,
    name::ParticipantName,
    pattern::{Pattern::*, Phase::*},
    resource::{
        ExtendError, HoldSettings, LEVEL_MAX, NAME_MAX, OpenError, PoolOutput, Reservations,
        StatusOutput, StatusState, Take, Units, route,
        testing::{World, command, item, take, tx, with_payload},
    },
    transport::Command,
};

fn stock(units: u64) -> World {
    item(units, HoldSettings::default())
}

fn left(world: &World) -> u64 {
    let audit = world.audit();
    assert!(audit.is_clean(), "{audit:?}");
    audit.level
}

fn strict(number: u64, units: u64) -> Command {
    let units = Units { item: "cd".to_owned(), units, strict: true };
    with_payload(command(number, ThreePhaseSaga, Reserve), Take::NAME, &units)
}

#[test]
fn a_three_phase_take_claims_pins_and_takes() {
    let mut world = stock(10);
    for phase in [Reserve, Validate] {
        world.send(&take(1, ThreePhaseSaga, phase, 4)).expect("done");
        assert_eq!(left(&world), 10, "{phase} changes no stock");
    }
    let done = world.send(&take(1, ThreePhaseSaga, Execute, 4)).expect("done");
    assert_eq!(serde_json::from_slice::<PoolOutput>(&done.output).expect("json").left, 6);
    assert_eq!((left(&world), world.audit().holds, world.audit().effects), (6, 0, 1));
}

#[test]
fn of_two_optimistic_reservations_the_later_fails_unless_the_earlier_left_first() {
    for earlier_leaves in [false, true] {
        let mut world = stock(5);
        world.send(&take(1, ThreePhaseSaga, Reserve, 3)).expect("fits");
        world.send(&take(2, ThreePhaseSaga, Reserve, 3)).expect("fits on paper");
        if earlier_leaves {
            world.send(&take(1, ThreePhaseSaga, Release, 3)).expect("done");
        }
        // Also when the later one asks first.
        let later = world.send(&take(2, ThreePhaseSaga, Validate, 3));
        assert_eq!(later.is_ok(), earlier_leaves, "{later:?}");
        if !earlier_leaves {
            assert!(is_no(&later));
            assert_eq!(world.audit().holds, 1, "a claim that fails is dropped");
            world.send(&take(1, ThreePhaseSaga, Validate, 3)).expect("the earlier one passes");
        }
    }
}

#[test]
fn an_optimistic_claim_fits_beside_the_firm_ones_and_a_strict_one_beside_all() {
    let mut world = stock(10);
    world.send(&take(1, ThreePhaseSaga, Reserve, 6)).expect("optimistic");
    assert!(is_no(&world.send(&strict(2, 5))), "one past what is beside all claims");
    world.send(&strict(3, 4)).expect("exactly what is beside all claims");
    assert!(is_no(&world.send(&take(4, ThreePhaseSaga, Reserve, 7))), "one past the firm ones");
    world.send(&take(5, ThreePhaseSaga, Reserve, 6)).expect("exactly beside the firm ones");
    // A direct take counts the firm ones only; afterwards the optimistic claims do not fit.
    assert!(is_no(&world.send(&take(6, Saga, Execute, 7))));
    world.send(&take(7, Saga, Execute, 6)).expect("beside the strict claim");
    assert!(is_no(&world.send(&take(1, ThreePhaseSaga, Validate, 6))));
    assert_eq!(left(&world), 4);
}

#[test]
fn an_unpinned_claim_expires_and_a_pinned_one_never_does() {
    let mut world = stock(10);
    world.send(&take(1, ThreePhaseSaga, Reserve, 4)).expect("fits");
    world.send(&take(2, ThreePhaseSaga, Reserve, 7)).expect("fits");
    world.send(&take(2, ThreePhaseSaga, Validate, 7)).expect_err("the earlier one is in the way");
    world.send(&take(1, ThreePhaseSaga, Validate, 4)).expect("pinned");
    world.send(&take(3, ThreePhaseSaga, Reserve, 4)).expect("fits");
    world.send(&take(4, TwoPhaseCommit, Prepare, 2)).expect("pinned");
    world.wait(60);
    let late = world.send(&take(3, ThreePhaseSaga, Validate, 4));
    assert_eq!(late, refused(Refusal::Expired));
    world.wait(1_000_000_000);
    world.send(&take(1, ThreePhaseSaga, Execute, 4)).expect("pinned");
    world.send(&take(4, TwoPhaseCommit, Commit, 2)).expect("pinned");
    assert_eq!(left(&world), 4);
}

#[test]
fn a_claim_lives_to_its_last_microsecond_and_time_never_goes_back() {
    let mut world = stock(10);
    let start = world.now;
    world.send(&take(1, TwoPhaseSaga, Prepare, 4)).expect("fits");
    world.now = start + (Duration::from_secs(60) - Duration::from_micros(1));
    let mut later = world.clone();
    world.send(&take(1, TwoPhaseSaga, Execute, 4)).expect("in time");
    later.now = later.now + Duration::from_micros(1);
    assert_eq!(later.send(&take(1, TwoPhaseSaga, Execute, 4)), refused(Refusal::Expired));
    // The expiry was written: a clock that steps back does not revive the claim.
    later.now = start;
    assert_eq!(later.send(&take(1, TwoPhaseSaga, Execute, 4)), refused(Refusal::Expired));
    later.send(&take(1, TwoPhaseSaga, Cancel, 4)).expect("nothing was executed");
    assert_eq!(left(&later), 10);
}

#[test]
fn two_phase_rivals_meet_in_prepare_and_the_second_is_refused_at_once() {
    let mut world = stock(5);
    world.send(&take(1, TwoPhaseSaga, Prepare, 3)).expect("first");
    assert!(is_no(&world.send(&take(2, TwoPhaseSaga, Prepare, 3))));
    world.send(&take(2, TwoPhaseSaga, Cancel, 3)).expect("recorded");
    world.send(&take(1, TwoPhaseSaga, Execute, 3)).expect("consumes the claim");
    assert_eq!(world.send(&take(1, TwoPhaseSaga, Cancel, 3)), refused(Refusal::Executed));
    let back = world.send(&take(1, TwoPhaseSaga, Compensate, 3)).expect("reversed");
    assert!(back.reversed);
    assert_eq!((left(&world), world.audit().effects), (5, 2));
    // Compensate alone also drops an intent.
    world.send(&take(3, TwoPhaseSaga, Prepare, 5)).expect("all is free");
    assert!(!world.send(&take(3, TwoPhaseSaga, Compensate, 5)).expect("dropped").reversed);
    assert_eq!(world.audit().holds, 0);
}

#[test]
fn a_commit_takes_what_its_prepare_pinned() {
    let mut world = stock(5);
    world.send(&take(1, TwoPhaseCommit, Prepare, 3)).expect("held");
    assert!(is_no(&world.send(&take(2, TwoPhaseCommit, Prepare, 3))));
    world.send(&take(3, TwoPhaseCommit, Prepare, 2)).expect("units are held, not the row");
    world.send(&take(3, TwoPhaseCommit, Abort, 2)).expect("dropped");
    world.send(&take(1, TwoPhaseCommit, Commit, 3)).expect("done");
    let vote = world.send(&take(4, TwoPhaseCommit, Prepare, 0)).expect("voted");
    assert!(vote.read_only);
    world.send(&take(4, TwoPhaseCommit, Commit, 0)).expect("nothing to do");
    let one = Command { one_phase: true, ..take(5, TwoPhaseCommit, Commit, 2) };
    world.send(&one).expect("in one phase");
    world.send(&one).expect("stored");
    assert_eq!(left(&world), 0);
}

#[test]
fn a_saga_takes_directly_and_puts_back_and_a_delivery_takes_if_it_can() {
    let mut world = stock(5);
    world.send(&take(1, CriticalEventual, Execute, 3)).expect("done");
    let deliver = take(2, FireAndForget, Deliver, 4);
    assert!(is_no(&world.send(&deliver)));
    world.send(&take(1, CriticalEventual, Compensate, 3)).expect("put back");
    world.send(&deliver).expect("it fits now");
    world.send(&deliver).expect("stored");
    assert_eq!((left(&world), world.audit().effects), (1, 3));
}

#[test]
fn rule_2_what_was_released_is_neither_validated_nor_executed() {
    let mut world = stock(5);
    world.send(&take(1, ThreePhaseSaga, Reserve, 3)).expect("done");
    world.send(&take(1, ThreePhaseSaga, Release, 3)).expect("done");
    for phase in [Reserve, Validate, Execute] {
        let late = world.send(&take(1, ThreePhaseSaga, phase, 3));
        assert_eq!(late, refused(Refusal::Undone), "{phase}");
    }
    assert_eq!((left(&world), world.audit().holds), (5, 0));
}

#[test]
fn rule_3_going_back_before_going_forward_changes_nothing() {
    let mut world = stock(5);
    world.send(&take(1, Saga, Compensate, 3)).expect("empty");
    assert_eq!(world.send(&take(1, Saga, Execute, 3)), refused(Refusal::Undone));
    assert!(is_no(&world.send(&take(2, Saga, Execute, 6))));
    assert!(!world.send(&take(2, Saga, Compensate, 6)).expect("recorded").reversed);
    assert_eq!((left(&world), world.audit().effects), (5, 0));
}

#[test]
fn rule_14_a_late_copy_of_what_was_forgotten_does_not_run() {
    use crate::resource::barrier::{Collect, INBOX_PREFIX, MARK_PREFIX, collect};
    let mut world = stock(5);
    world.send(&take(1, Saga, Execute, 2)).expect("done");
    let under = |world: &World, prefix: &[u8]| -> Vec<_> {
        let rows = world.rows.iter().filter(|(key, _)| key.0.starts_with(prefix));
        rows.map(|(key, row)| (key.clone(), row.clone())).collect()
    };
    world.wait(100);
    let set = collect(&Collect {
        scope: &world.scope.clone(),
        rows: &under(&world, INBOX_PREFIX),
        marks: &under(&world, MARK_PREFIX),
        watermark: &|_| crate::resource::testing::at(2),
        now: world.now,
        retention: Duration::from_secs(100),
    });
    world.write(&set.expect("one row"));
    assert!(under(&world, INBOX_PREFIX).is_empty());
    assert!(is_unknown(&world.send(&take(1, Saga, Execute, 2))));
    world.send(&take(2, Saga, Execute, 2)).expect("a new one runs");
    assert_eq!(left(&world), 1);
}

#[test]
fn extending_never_revives_and_is_bounded_in_number_and_life() {
    let settings = HoldSettings { life_ms_max: 600_000, ..HoldSettings::default() };
    let stock = Reservations::new(settings.clone()).expect("settings");
    let mut world = item(10, settings);
    let participant = ParticipantName::new("inventory").expect("a name");
    let read = Reservations::item(&participant, "cd").expect("an item");
    let of = |number| (tx(number), OperationIndex(0));
    let extend = |world: &mut World, number, seconds| {
        let rows = world.read(&read.keys);
        let set = stock.extend(&read, &rows, of(number), Duration::from_secs(seconds))?;
        world.write(&set);
        Ok::<(), ExtendError>(())
    };
    assert_eq!(extend(&mut world, 1, 60), Err(ExtendError::Gone));
    world.send(&take(1, ThreePhaseSaga, Reserve, 1)).expect("fits");
    world.send(&take(2, ThreePhaseSaga, Reserve, 1)).expect("fits");
    world.send(&take(3, ThreePhaseSaga, Reserve, 1)).expect("fits");
    world.send(&take(3, ThreePhaseSaga, Validate, 1)).expect("pinned");
    assert_eq!(extend(&mut world, 3, 60), Err(ExtendError::Pinned));
    assert_eq!(extend(&mut world, 1, 541), Err(ExtendError::Life));
    extend(&mut world, 1, 540).expect("exactly the longest life");
    for _ in 0..3 {
        extend(&mut world, 2, 10).expect("three times");
    }
    assert_eq!(extend(&mut world, 2, 10), Err(ExtendError::Extensions(3)));
    world.wait(90);
    assert_eq!(extend(&mut world, 2, 10), Err(ExtendError::Gone));
    world.send(&take(1, ThreePhaseSaga, Validate, 1)).expect("it was extended");
}

#[test]
fn the_number_of_live_claims_is_bounded() {
    let mut world = item(10, HoldSettings { holds_max: 2, ..HoldSettings::default() });
    world.send(&take(1, ThreePhaseSaga, Reserve, 1)).expect("first");
    world.send(&take(2, ThreePhaseSaga, Reserve, 1)).expect("at the limit");
    let over = take(3, ThreePhaseSaga, Reserve, 1);
    assert!(is_unknown(&world.send(&over)), "overload is no refusal");
    world.send(&take(1, ThreePhaseSaga, Release, 1)).expect("done");
    world.send(&over).expect("and is not stored");
}

#[test]
fn an_item_is_opened_once_and_within_bounds() {
    let world = stock(10);
    let participant = ParticipantName::new("inventory").expect("a name");
    let read = Reservations::item(&participant, "cd").expect("an item");
    let rows = world.read(&read.keys);
    let open = |units| Reservations::open_item(&read, &rows, units);
    assert_eq!(open(11), Err(OpenError::Differs { opened: 10, asked: 11 }));
    assert_eq!(open(LEVEL_MAX + 1), Err(OpenError::TooMuch(LEVEL_MAX + 1)));
    item(LEVEL_MAX, HoldSettings::default());
    assert!(Reservations::item(&participant, &"x".repeat(NAME_MAX)).is_ok());
    assert!(Reservations::item(&participant, &"x".repeat(NAME_MAX + 1)).is_err());
    assert!(Reservations::item(&participant, "").is_err());
}

#[test]
fn what_can_never_be_right_is_a_no_and_nothing_to_take_back() {
    let stock = Reservations::default();
    let wrong = |phase| with_payload(command(1, Saga, phase), Take::NAME, &"cd");
    assert!(matches!(route(&stock, &wrong(Execute)), Err(answer) if is_no(&answer)));
    assert!(matches!(route(&stock, &wrong(Compensate)), Err(Ok(done)) if !done.reversed));
    let over = take(1, Saga, Execute, LEVEL_MAX + 1);
    assert!(matches!(route(&stock, &over), Err(answer) if is_no(&answer)));
    let newer = Command { action_version: 2, ..take(1, Saga, Compensate, 1) };
    assert!(matches!(route(&stock, &newer), Err(answer) if is_unknown(&answer)));

    let mut unopened = World::new(stock, "cd");
    assert!(is_no(&unopened.send(&take(1, Saga, Execute, 1))));
    unopened.send(&take(2, Saga, Compensate, 1)).expect("recorded");
}

#[test]
fn a_status_says_how_far_it_is_and_writes_nothing() {
    let mut world = stock(5);
    let status = |world: &mut World, number, pattern| {
        let rows = world.rows.clone();
        let answer = world.send(&take(number, pattern, Status, 3));
        assert_eq!(world.rows, rows);
        answer.map(|done| serde_json::from_slice::<StatusOutput>(&done.output).expect("json").state)
    };
    assert!(status(&mut world, 1, ThreePhaseSaga).is_err());
    for (phase, state) in [
        (Reserve, StatusState::Held),
        (Validate, StatusState::Pinned),
        (Execute, StatusState::Executed),
    ] {
        world.send(&take(1, ThreePhaseSaga, phase, 3)).expect("done");
        assert_eq!(status(&mut world, 1, ThreePhaseSaga), Ok(state));
    }
    world.send(&take(2, TwoPhaseSaga, Prepare, 1)).expect("done");
    world.wait(60);
    let refusal = |refusal| Err(crate::answer::NotDone::Refused(refusal));
    assert_eq!(
        world.clone().send(&take(2, TwoPhaseSaga, Status, 1)).map(|_| ()),
        refusal(Refusal::Expired)
    );
    world.send(&take(2, TwoPhaseSaga, Cancel, 1)).expect("done");
    assert_eq!(status(&mut world, 2, TwoPhaseSaga).map(|_| ()), refusal(Refusal::Undone));
}
