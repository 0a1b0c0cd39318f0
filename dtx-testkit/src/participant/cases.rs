//! The cases. Each has a participant of its own, in one pattern, and panics when the contract is
//! broken.

use dtx_core::{
    answer::{NotDone, PhaseAnswer, Refusal},
    ids::{Epoch, OperationIndex},
    name::ActionName,
    pattern::{Pattern, Phase},
    transport::Command,
};

use super::{Break, ParticipantHarness, World};

/// Copies of a command that are on their way at once.
const COPIES: u32 = 8;

/// The points of a run at which it can go back: how many phases are done, and the way back.
fn ways_back<H: ParticipantHarness>(world: &World<H>) -> Vec<(usize, Phase)> {
    (0..=world.forward().len()).filter_map(|done| Some((done, world.back(done)?))).collect()
}

fn is_undone(answer: &PhaseAnswer) -> bool {
    matches!(answer, Err(NotDone::Refused(Refusal::Undone)))
}

/// All forward phases, once.
pub async fn one_run_has_one_effect<H: ParticipantHarness>(world: &mut World<H>) {
    assert_eq!(world.effect().await, 0);
    world.go_all(1).await;
    assert_eq!(world.effect().await, world.sample.effect);
}

/// Every phase several times, and all of them again at the end.
pub async fn every_action_repeated_changes_nothing<H: ParticipantHarness>(world: &mut World<H>) {
    for phase in world.forward() {
        for _ in 0..3 {
            world.done(1, phase).await;
        }
    }
    assert_eq!(world.effect().await, world.sample.effect);
    world.go_all(1).await;
    assert_eq!(world.effect().await, world.sample.effect);
}

/// The output too: what others were told of it stays true.
pub async fn a_repeat_has_the_same_answer<H: ParticipantHarness>(world: &mut World<H>) {
    let mut first = Vec::new();
    for phase in world.forward() {
        first.push(world.settle(&world.command(1, phase)).await);
    }
    world.go_all(2).await;
    for (phase, first) in world.forward().into_iter().zip(first) {
        let again = Command { attempt: 100, ..world.command(1, phase) };
        assert_eq!(world.settle(&again).await, first, "{phase}");
    }
}

/// A coordinator tells answers to old attempts and old epochs from its own by these.
pub async fn replies_echo_attempt_and_epoch<H: ParticipantHarness>(world: &mut World<H>) {
    let phase = world.forward()[0];
    for (attempt, epoch) in [(1, 5), (2, 5), (2, 6), (7, 9)] {
        let command = Command { attempt, epoch: Epoch(epoch), ..world.command(1, phase) };
        world.send(&command);
        let reply = world.reply().await.expect("the process is there");
        let echoed = (reply.tx, reply.operation, reply.phase, reply.shard, reply.participant);
        let asked =
            (command.tx, command.operation, command.phase, command.shard, command.participant);
        assert_eq!(echoed, asked);
        assert_eq!((reply.attempt, reply.epoch), (attempt, Epoch(epoch)));
    }
}

/// One transaction's answer is not another one's.
pub async fn two_transactions_have_two_effects<H: ParticipantHarness>(world: &mut World<H>) {
    world.go_all(1).await;
    world.go_all(2).await;
    assert_eq!(world.effect().await, 2 * world.sample.effect);
}

/// The same action twice in one transaction is two operations.
pub async fn two_operations_have_two_effects<H: ParticipantHarness>(world: &mut World<H>) {
    for operation in [0, 1] {
        for phase in world.forward() {
            let operation = OperationIndex(operation);
            let command = Command { operation, ..world.command(1, phase) };
            let answer = world.settle(&command).await;
            assert!(answer.is_ok(), "{phase}: {answer:?}");
        }
    }
    assert_eq!(world.effect().await, 2 * world.sample.effect);
}

/// From every point of the run.
pub async fn going_back_leaves_nothing<H: ParticipantHarness>(world: &mut World<H>) {
    for (n, (done, back)) in ways_back(world).into_iter().enumerate() {
        world.go(n as u64, done).await;
        world.done(n as u64, back).await;
        assert_eq!(world.effect().await, 0, "{back} after {done} phases");
    }
}

/// The way back again, in the same and in a later attempt.
pub async fn unwinding_twice_changes_nothing<H: ParticipantHarness>(world: &mut World<H>) {
    for (n, (done, back)) in ways_back(world).into_iter().enumerate() {
        world.go(n as u64, done).await;
        for _ in 0..3 {
            world.done(n as u64, back).await;
        }
        assert_eq!(world.effect().await, 0, "{back} after {done} phases");
    }
}

/// A way back that overtakes its way there does nothing, and what it overtook does nothing either.
pub async fn going_back_first_leaves_a_tombstone<H: ParticipantHarness>(world: &mut World<H>) {
    let Some(back) = world.back(0) else { return };
    world.done(1, back).await;
    assert_eq!(world.effect().await, 0);
    for phase in world.forward() {
        let late = world.settle(&world.command(1, phase)).await;
        assert!(is_undone(&late), "{phase} after {back}: {late:?}");
    }
    assert_eq!(world.effect().await, 0);
}

/// A late copy of a forward phase is refused, also where its answer is stored.
pub async fn what_comes_after_going_back_is_refused<H: ParticipantHarness>(world: &mut World<H>) {
    for (n, (done, back)) in ways_back(world).into_iter().enumerate() {
        world.go(n as u64, done).await;
        world.done(n as u64, back).await;
        for phase in world.forward() {
            let late = world.settle(&world.command(n as u64, phase)).await;
            assert!(is_undone(&late), "{phase} after {back}: {late:?}");
        }
        assert_eq!(world.effect().await, 0, "{back} after {done} phases");
    }
}

/// A 2PS `cancel` that comes too late says so, so that the coordinator compensates.
pub async fn what_was_executed_is_not_cancelled<H: ParticipantHarness>(world: &mut World<H>) {
    if world.pattern != Pattern::TwoPhaseSaga {
        return;
    }
    world.go_all(1).await;
    let late = world.settle(&world.command(1, Phase::Cancel)).await;
    assert!(matches!(late, Err(NotDone::Refused(Refusal::Executed))), "{late:?}");
    assert_eq!(world.effect().await, world.sample.effect);
    world.done(1, Phase::Compensate).await;
    assert_eq!(world.effect().await, 0);
}

/// Several copies at once: one is carried out, and none says no.
pub async fn concurrent_duplicates_have_one_effect<H: ParticipantHarness>(world: &mut World<H>) {
    for phase in world.forward() {
        let copy = |attempt| Command { attempt, ..world.command(1, phase) };
        let copies: Vec<_> = (1..=COPIES).map(copy).collect();
        copies.iter().for_each(|copy| world.send(copy));
        for _ in &copies {
            let answer = world.reply().await.expect("the process is there").answer;
            let is_open = matches!(answer, Err(NotDone::Unknown(_)));
            assert!(answer.is_ok() || is_open, "{phase}: {answer:?}");
        }
        world.done(1, phase).await;
    }
    assert_eq!(world.effect().await, world.sample.effect);
}

/// There and back at once: whichever is first, nothing is left in the end.
pub async fn concurrent_forward_and_back_leave_nothing<H: ParticipantHarness>(
    world: &mut World<H>,
) {
    let Some(back) = world.back(0) else { return };
    let phase = world.forward()[0];
    for n in 0..u64::from(COPIES) {
        let (there, back_again) = (world.command(n, phase), world.command(n, back));
        let order = if n % 2 == 0 { [&there, &back_again] } else { [&back_again, &there] };
        for command in [order, order].concat() {
            world.send(command);
        }
        for _ in 0..4 {
            world.reply().await.expect("the process is there");
        }
        world.done(n, back).await;
        assert!(is_undone(&world.settle(&there).await));
        assert_eq!(world.effect().await, 0);
    }
}

/// A no of the handler has no effect, is repeated, and needs no way back.
pub async fn a_no_changes_nothing<H: ParticipantHarness>(world: &mut World<H>) {
    let Some(payload) = world.sample.refused.clone() else { return };
    if world.pattern == Pattern::FireAndForget {
        // A message is tried again after a no, and so its no is no answer.
        return;
    }
    let first = world.forward()[0];
    let refused =
        |world: &World<H>, phase| Command { payload: payload.clone(), ..world.command(1, phase) };
    for _ in 0..3 {
        let answer = world.settle(&refused(world, first)).await;
        assert!(matches!(answer, Err(NotDone::Rejected(_))), "{first}: {answer:?}");
        assert_eq!(world.effect().await, 0);
    }
    if let Some(back) = world.back(0) {
        let answer = world.settle(&refused(world, back)).await;
        assert!(answer.is_ok_and(|done| !done.reversed), "{back} after a no");
    }
    assert_eq!(world.effect().await, 0);
}

/// An owner that lost the transaction to another one starts nothing any more.
pub async fn a_lower_epoch_is_unknown<H: ParticipantHarness>(world: &mut World<H>) {
    let phases = world.forward();
    world.done(1, phases[0]).await;
    for phase in phases.into_iter().chain(world.back(1)) {
        let stale = Command { epoch: Epoch(4), ..world.command(1, phase) };
        let answer = world.ask(&stale).await;
        assert!(matches!(answer, Err(NotDone::Unknown(_))), "{phase}: {answer:?}");
    }
    world.go_all(1).await;
    assert_eq!(world.effect().await, world.sample.effect);
}

/// A newer instance may know it: nobody says no.
pub async fn an_unknown_version_is_unknown<H: ParticipantHarness>(world: &mut World<H>) {
    let action_version = world.sample.action_version + 1_000;
    let phase = world.forward()[0];
    unknown(world, |command| Command { action_version, phase, ..command }).await;
}

/// The same for an action that it does not have.
pub async fn an_unknown_action_is_unknown<H: ParticipantHarness>(world: &mut World<H>) {
    let action = ActionName::new("no-such-action").expect("a name");
    let phase = world.forward()[0];
    unknown(world, |command| Command { action: action.clone(), phase, ..command }).await;
}

async fn unknown<H: ParticipantHarness>(world: &mut World<H>, change: impl Fn(Command) -> Command) {
    if world.pattern == Pattern::FireAndForget {
        // What cannot be delivered is tried again and becomes a dead letter; it has no answer.
        return;
    }
    let strange = change(world.command(1, Phase::Status));
    let answer = world.ask(&strange).await;
    assert!(matches!(answer, Err(NotDone::Unknown(_))), "{answer:?}");
    assert_eq!(world.effect().await, 0);
    world.go_all(1).await;
    assert_eq!(world.effect().await, world.sample.effect, "it was not stored");
}

/// No phase is done before the one that it builds on.
pub async fn a_phase_out_of_order_is_not_done<H: ParticipantHarness>(world: &mut World<H>) {
    let phases = world.forward();
    for (n, phase) in phases.iter().enumerate().skip(1) {
        let early = world.ask(&world.command(n as u64, *phase)).await;
        assert!(early.is_err(), "{phase} before {}", phases[n - 1]);
        assert_eq!(world.effect().await, 0);
    }
}

/// The answer is lost on its way: the same again has it.
pub async fn a_lost_answer_is_told_again<H: ParticipantHarness>(world: &mut World<H>) {
    let mut answers = Vec::new();
    for phase in world.forward() {
        let command = world.command(1, phase);
        world.send(&command);
        answers.push(world.reply().await.expect("the process is there").answer);
        // That was it; as far as anybody knows, it never came.
        let again = world.settle(&command).await;
        assert!(again.is_ok(), "{phase}: {again:?}");
    }
    assert_eq!(world.effect().await, world.sample.effect);
}

/// Another process answers from the rows what the one before it did.
pub async fn answers_survive_a_crash<H: ParticipantHarness>(world: &mut World<H>) {
    for phase in world.forward() {
        let first = world.settle(&world.command(1, phase)).await;
        world.crash().await;
        assert_eq!(world.settle(&world.command(1, phase)).await, first, "{phase}");
    }
    assert_eq!(world.effect().await, world.sample.effect);
}

/// And refuses what the one before it took back.
pub async fn tombstones_survive_a_crash<H: ParticipantHarness>(world: &mut World<H>) {
    for (n, (done, back)) in ways_back(world).into_iter().enumerate() {
        world.go(n as u64, done).await;
        world.done(n as u64, back).await;
        world.crash().await;
        for phase in world.forward() {
            let late = world.settle(&world.command(n as u64, phase)).await;
            assert!(is_undone(&late), "{phase} after {back}: {late:?}");
        }
        world.done(n as u64, back).await;
        assert_eq!(world.effect().await, 0);
    }
}

/// Breaks the first write, the second, and so on until the run has no more, and says how many.
async fn at_every_write<H: ParticipantHarness>(
    pattern: Pattern,
    how: Break,
    run: impl AsyncFn(&mut World<H>),
) -> u64 {
    for number in 0.. {
        let mut world = World::<H>::open_broken(pattern, Some((how, number))).await;
        run(&mut world).await;
        let was_reached = world.was_reached() || world.crashes() > 0;
        if !was_reached {
            return number;
        }
    }
    unreachable!("a run has an end")
}

async fn forward_at_every_write<H: ParticipantHarness>(pattern: Pattern, how: Break) {
    let writes = at_every_write::<H>(pattern, how, async |world| {
        world.go_all(1).await;
        assert_eq!(world.effect().await, world.sample.effect, "{how:?}");
        // Whatever was begun before the break has ended by now, and changes nothing late.
        world.go_all(1).await;
        assert_eq!(world.effect().await, world.sample.effect, "{how:?}, once more");
    })
    .await;
    assert!(writes > 0, "a participant without a write remembers nothing");
}

/// The process ends before each write of a run, in turn.
pub async fn a_crash_before_every_write_leaves_one_effect<H: ParticipantHarness>(
    world: &mut World<H>,
) {
    forward_at_every_write::<H>(world.pattern, Break::CrashBefore).await;
}

/// The process ends after each write of a run, in turn, before it can say so.
pub async fn a_crash_after_every_write_leaves_one_effect<H: ParticipantHarness>(
    world: &mut World<H>,
) {
    forward_at_every_write::<H>(world.pattern, Break::CrashAfter).await;
}

/// The same for a run that goes back: nothing is left, wherever the process ended.
pub async fn a_crash_at_every_write_can_be_taken_back<H: ParticipantHarness>(world: &mut World<H>) {
    for (done, back) in ways_back(world) {
        for how in [Break::CrashBefore, Break::CrashAfter, Break::Fail, Break::LoseAnswer] {
            at_every_write::<H>(world.pattern, how, async |world| {
                world.go(1, done).await;
                world.done(1, back).await;
                world.done(1, back).await;
                assert_eq!(world.effect().await, 0, "{how:?}: {back} after {done} phases");
            })
            .await;
        }
    }
}

/// Each write fails in turn; the participant or its coordinator tries again.
pub async fn every_write_that_fails_leaves_one_effect<H: ParticipantHarness>(world: &mut World<H>) {
    forward_at_every_write::<H>(world.pattern, Break::Fail).await;
}

/// Each write is done and its answer lost, in turn.
pub async fn every_write_whose_answer_is_lost_leaves_one_effect<H: ParticipantHarness>(
    world: &mut World<H>,
) {
    forward_at_every_write::<H>(world.pattern, Break::LoseAnswer).await;
}
