//! Random commands, in any order and any number of times.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};

use crate::transaction::Action;
use crate::{
    answer::{NotDone, PhaseAnswer, Refusal},
    ids::{Epoch, OperationIndex, TxId},
    pattern::{Pattern, Phase},
    resource::{
        Amount, Credit, Debit, HoldSettings, Lock, LockKey, Locks, Take, Units,
        barrier::{Entry, InboxRow, parse_inbox_key},
        testing::{World, account, command, item, with_payload},
    },
    transport::Command,
};

#[derive(Clone, Copy, Debug)]
enum Kind {
    Stock,
    Money,
    Lock,
}

fn world(kind: Kind) -> World {
    match kind {
        Kind::Stock => item(10, HoldSettings { holds_max: 4, ..HoldSettings::default() }),
        Kind::Money => account(10),
        Kind::Lock => World::new(Locks::default(), "row"),
    }
}

/// What a transaction asks for depends on its number alone, as its definition never changes.
fn make(kind: Kind, number: u64, step: usize, operation: u16, epoch: u64) -> Command {
    let pattern = Pattern::ALL[(number % 6) as usize];
    let phases = phases(pattern);
    let mut command = command(number, pattern, phases[step % phases.len()]);
    command.operation = OperationIndex(operation);
    command.epoch = Epoch(epoch);
    command.one_phase = command.phase == Phase::Commit && number.is_multiple_of(5);
    let amount = (number * 7 + u64::from(operation)) % 6;
    match kind {
        Kind::Stock => {
            let strict = number.is_multiple_of(4);
            let units = Units { item: "cd".to_owned(), units: amount, strict };
            with_payload(command, Take::NAME, &units)
        }
        Kind::Money => {
            let name = if (number + u64::from(operation)).is_multiple_of(3) {
                Credit::NAME
            } else {
                Debit::NAME
            };
            with_payload(command, name, &Amount { account: "alice".to_owned(), cents: amount })
        }
        Kind::Lock => {
            let key = LockKey { key: "row".to_owned(), shared: number.is_multiple_of(2) };
            with_payload(command, Lock::NAME, &key)
        }
    }
}

/// Forward phases more often than once, so that transactions get far.
fn phases(pattern: Pattern) -> &'static [Phase] {
    use Phase::*;
    match pattern {
        Pattern::FireAndForget => &[Deliver, Status],
        Pattern::Saga | Pattern::CriticalEventual => &[Execute, Execute, Compensate, Deliver],
        Pattern::TwoPhaseSaga => &[Prepare, Execute, Prepare, Execute, Cancel, Compensate, Status],
        Pattern::ThreePhaseSaga => {
            &[Reserve, Validate, Execute, Reserve, Validate, Execute, Release, Compensate]
        }
        Pattern::TwoPhaseCommit => &[Prepare, Commit, Prepare, Commit, Abort, Status],
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Stock), Just(Kind::Money), Just(Kind::Lock)]
}

/// Batches of commands, each with the seconds that pass before it.
fn schedule(kind: Kind) -> impl Strategy<Value = Vec<(u64, Vec<Command>)>> {
    let command = (0_u64..18, 0_usize..16, 0_u16..2, 1_u64..3).prop_map(
        move |(number, step, operation, epoch)| make(kind, number, step, operation, epoch),
    );
    let wait = prop_oneof![4 => Just(0_u64), 2 => 1_u64..40, 1 => 60_u64..100];
    vec((wait, vec(command, 1..7)), 1..14)
}

fn any_schedule() -> impl Strategy<Value = (Kind, Vec<(u64, Vec<Command>)>)> {
    kinds().prop_flat_map(|kind| (Just(kind), schedule(kind)))
}

fn values(world: &World) -> BTreeMap<Vec<u8>, Vec<u8>> {
    world.rows.iter().map(|(key, row)| (key.0.to_vec(), row.value.to_vec())).collect()
}

type Owner = (TxId, OperationIndex);

fn inbox(world: &World) -> BTreeMap<Owner, InboxRow> {
    let decode = |row: &crate::store::StoredRow| InboxRow::decode(&row.value).expect("a row");
    let rows = world.rows.iter();
    rows.filter_map(|(key, row)| Some((parse_inbox_key(key)?, decode(row)))).collect()
}

fn is_done(row: &InboxRow, phase: Phase) -> bool {
    matches!(row.entry(phase), Some(Entry::Done(done)) if !done.read_only)
}

/// Whether the operation must have a claim that no clock may release.
fn must_be_pinned(row: &InboxRow) -> bool {
    let promised = match row.pattern() {
        Pattern::ThreePhaseSaga => is_done(row, Phase::Validate),
        Pattern::TwoPhaseCommit => is_done(row, Phase::Prepare),
        _ => false,
    };
    promised && !row.is_executed() && !row.is_undone()
}

/// What must hold whatever was sent.
fn check_rows(world: &World, kind: Kind) -> Result<(), TestCaseError> {
    if matches!(kind, Kind::Lock) {
        return Ok(());
    }
    let audit = world.audit();
    prop_assert!(audit.is_clean(), "{:?}", audit);
    let rows = inbox(world);
    let pinned = rows.values().filter(|row| must_be_pinned(row)).count();
    prop_assert_eq!(audit.pinned, pinned as u64, "a pinned claim never ends by itself");
    for row in rows.values() {
        prop_assert_eq!(row.recall().is_some(), must_be_pinned(row), "{:?}", row);
    }
    Ok(())
}

/// What an answer must be, given the earlier answers of the same operation.
fn check_answer(
    told: &mut BTreeMap<(Owner, Phase), PhaseAnswer>,
    command: &Command,
    answer: &PhaseAnswer,
) -> Result<(), TestCaseError> {
    let owner = (command.tx, command.operation);
    // A backward phase that the handler rejected has begun too; one that was refused has not.
    let is_begun = |(phase, answer): (Phase, &PhaseAnswer)| {
        phase.is_backward() && !matches!(answer, Err(NotDone::Refused(_)))
    };
    let of_owner = told.iter().filter(|((of, _), _)| *of == owner);
    let undone = of_owner.map(|((_, phase), answer)| (*phase, answer)).any(is_begun);
    let is_forward = !command.phase.is_backward() && command.phase != Phase::Status;
    if undone && is_forward {
        let is_no_effect =
            matches!(answer, Err(NotDone::Refused(Refusal::Undone) | NotDone::Unknown(_)));
        prop_assert!(is_no_effect, "{:?} after going back", answer);
    } else if let Some(Ok(before)) = told.get(&(owner, command.phase))
        && command.phase != Phase::Status
        && !matches!(answer, Err(NotDone::Unknown(_)))
    {
        prop_assert_eq!(answer, &Ok(before.clone()), "a repeat gets the stored answer");
    }
    if !matches!(answer, Err(NotDone::Unknown(_))) {
        told.insert((owner, command.phase), answer.clone());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 2, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_batch_gives_the_rows_and_answers_of_its_commands_one_by_one(
        (kind, schedule) in any_schedule()
    ) {
        let mut batched = world(kind);
        let mut single = world(kind);
        for (wait, commands) in &schedule {
            batched.wait(*wait);
            single.wait(*wait);
            let answers = batched.batch(commands);
            let alone: Vec<_> = commands.iter().map(|command| single.send(command)).collect();
            prop_assert_eq!(answers, alone);
            prop_assert_eq!(values(&batched), values(&single));
        }
    }

    #[test]
    fn whatever_is_sent_in_whatever_order_nothing_is_oversold_doubled_or_leaked(
        (kind, schedule) in any_schedule()
    ) {
        let mut world = world(kind);
        let mut told = BTreeMap::new();
        for (wait, commands) in &schedule {
            world.wait(*wait);
            for command in commands {
                let answer = world.send(command);
                check_answer(&mut told, command, &answer)?;
                check_rows(&world, kind)?;
            }
        }
        // Everything again, shuffled by its own order: nothing has another effect.
        let level = world.audit().level_by_effects;
        let effects = world.audit().effects;
        for ((owner, _), _) in told.iter().filter(|(_, answer)| answer.is_ok()) {
            let repeats = schedule.iter().flat_map(|(_, commands)| commands);
            let done = |command: &&Command| {
                (command.tx, command.operation) == *owner
                    && matches!(told.get(&(*owner, command.phase)), Some(Ok(_)))
            };
            for command in repeats.filter(done) {
                drop(world.send(command));
            }
        }
        prop_assert_eq!(world.audit().effects, effects);
        prop_assert_eq!(world.audit().level_by_effects, level);
    }

    #[test]
    fn once_everything_has_gone_back_all_is_there_again(
        (kind, schedule) in any_schedule()
    ) {
        let mut world = world(kind);
        let mut met = BTreeMap::new();
        for (wait, commands) in &schedule {
            world.wait(*wait);
            drop(world.batch(commands));
            met.extend(commands.iter().map(|c| ((c.tx, c.operation), c.clone())));
        }
        // Money that was spent must come back first, so a no is asked for again.
        for _ in 0..met.len() {
            for command in met.values() {
                for phase in crate::resource::barrier::backward_phases(command.pattern) {
                    let epoch = Epoch(9);
                    drop(world.send(&Command { phase: *phase, epoch, one_phase: false, ..command.clone() }));
                }
            }
        }
        check_rows(&world, kind)?;
        if !matches!(kind, Kind::Lock) {
            prop_assert_eq!(world.audit().holds, 0);
            let stays = inbox(&world).into_values().any(|row| row.is_executed() && !row.is_undone());
            prop_assert!(stays || world.audit().taken() == 0, "{:?}", world.audit());
        } else {
            let lock_row = crate::store::RowKey(bytes::Bytes::from_static(b"l"));
            prop_assert!(!world.rows.contains_key(&lock_row), "nobody holds or waits");
        }
    }
}
