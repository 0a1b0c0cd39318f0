use super::{is_no, refused};
use crate::transaction::Action;
use crate::{
    answer::Refusal,
    pattern::{Pattern, Pattern::*, Phase, Phase::*},
    resource::{
        Amount, Credit, Debit, LEVEL_MAX,
        testing::{World, account, command, with_payload},
    },
    transport::Command,
};

fn debit(number: u64, pattern: Pattern, phase: Phase, cents: u64) -> Command {
    let amount = Amount { account: "alice".to_owned(), cents };
    with_payload(command(number, pattern, phase), Debit::NAME, &amount)
}

fn credit(number: u64, pattern: Pattern, phase: Phase, cents: u64) -> Command {
    let amount = Amount { account: "alice".to_owned(), cents };
    with_payload(command(number, pattern, phase), Credit::NAME, &amount)
}

fn balance(world: &World) -> u64 {
    let audit = world.audit();
    assert!(audit.is_clean(), "{audit:?}");
    audit.level
}

#[test]
fn a_balance_is_never_negative_and_every_claim_is_strict() {
    let mut world = account(100);
    world.send(&debit(1, ThreePhaseSaga, Reserve, 60)).expect("held");
    assert!(is_no(&world.send(&debit(2, ThreePhaseSaga, Reserve, 41))), "one past");
    world.send(&debit(3, ThreePhaseSaga, Reserve, 40)).expect("exactly the rest");
    assert!(is_no(&world.send(&debit(4, Saga, Execute, 1))));
    for phase in [Validate, Execute] {
        world.send(&debit(1, ThreePhaseSaga, phase, 60)).expect("done");
        world.send(&debit(3, ThreePhaseSaga, phase, 40)).expect("done");
    }
    assert_eq!(balance(&world), 0);
    world.send(&debit(5, Saga, Execute, 0)).expect("nothing at all is valid");
}

#[test]
fn a_credit_is_added_once_and_taken_back_only_while_it_is_there() {
    let mut world = account(0);
    for phase in [Prepare, Execute, Execute] {
        world.send(&credit(1, TwoPhaseSaga, phase, 50)).expect("done");
    }
    assert_eq!(balance(&world), 50);
    world.send(&debit(2, Saga, Execute, 1)).expect("done");
    let back = credit(1, TwoPhaseSaga, Compensate, 50);
    assert!(is_no(&world.send(&back)), "it was spent");
    assert_eq!(
        world.send(&credit(1, TwoPhaseSaga, Execute, 50)),
        refused(Refusal::Undone),
        "going back was begun"
    );
    world.send(&debit(2, Saga, Compensate, 1)).expect("done");
    assert!(world.send(&back).expect("it is there again").reversed);
    assert_eq!(balance(&world), 0);
}

#[test]
fn a_credit_over_the_largest_balance_is_a_no_before_anything_is_promised() {
    let mut world = account(LEVEL_MAX - 10);
    world.send(&credit(1, TwoPhaseCommit, Prepare, 6)).expect("held");
    assert!(is_no(&world.send(&credit(2, TwoPhaseCommit, Prepare, 5))), "one past");
    assert!(is_no(&world.send(&credit(3, Saga, Execute, 5))));
    world.send(&credit(4, Saga, Execute, 4)).expect("exactly the rest");
    world.send(&credit(1, TwoPhaseCommit, Commit, 6)).expect("it was promised");
    assert_eq!(balance(&world), LEVEL_MAX);
    assert!(is_no(&world.send(&credit(5, ThreePhaseSaga, Reserve, LEVEL_MAX))));
}

#[test]
fn money_put_back_stays_within_the_largest_balance() {
    let mut world = account(LEVEL_MAX);
    world.send(&debit(1, Saga, Execute, 10)).expect("done");
    world.send(&credit(2, ThreePhaseSaga, Reserve, 10)).expect("held");
    assert!(is_no(&world.send(&debit(1, Saga, Compensate, 10))), "the room is promised");
    world.send(&credit(2, ThreePhaseSaga, Release, 10)).expect("done");
    world.send(&debit(1, Saga, Compensate, 10)).expect("there is room again");
    assert_eq!(balance(&world), LEVEL_MAX);
}
