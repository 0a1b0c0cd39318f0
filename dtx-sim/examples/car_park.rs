//! A participant of one's own under the simulator: a car park that must never hold more cars than
//! it has places, whatever is lost, doubled or crashes.
//!
//! `cargo run --profile checked -p dtx-sim --example car_park`

use std::{collections::BTreeMap, process::ExitCode};

use dtx_core::{
    answer::{Done, PhaseAnswer, rejected},
    ids::TxId,
    pattern::{Pattern, Phase},
    transaction::{OperationDraft, Transaction},
    transport::Command,
};
use dtx_sim::{Draw, Faults, Participant, Run, Sim};

const PLACES: usize = 3;

/// The model of the service: what its own database would hold.
#[derive(Debug, Default)]
struct CarPark {
    /// Whether the place is only held, by transaction.
    places: BTreeMap<TxId, bool>,
}

impl Participant for CarPark {
    fn handle(&mut self, command: &Command, _: &mut Draw) -> PhaseAnswer {
        let tx = command.tx;
        match command.phase {
            // The transaction is the idempotency key: a repeat finds its own place.
            Phase::Reserve if self.places.contains_key(&tx) => {}
            Phase::Reserve if self.places.len() >= PLACES => return rejected("it is full"),
            Phase::Reserve => drop(self.places.insert(tx, true)),
            Phase::Execute => drop(self.places.insert(tx, false)),
            Phase::Release => drop(self.places.remove(&tx)),
            _ => {}
        }
        Ok(Done::default())
    }
}

fn bookings(draw: &mut Draw) -> Vec<Transaction> {
    let booking = |_| {
        let park = || OperationDraft::new("car-park", "book");
        let built = Transaction::builder(Pattern::ThreePhaseSaga).operation(park()).build();
        built.expect("a valid definition")
    };
    (0..draw.range(2, 6)).map(booking).collect()
}

fn never_too_many(run: &Run<'_>) -> Result<(), String> {
    use dtx_core::store::Outcome::Committed;
    let park = run.participant::<CarPark>("car-park").ok_or("there is a car park")?;
    if park.places.len() > PLACES {
        return Err(format!("{} cars in {PLACES} places", park.places.len()));
    }
    let committed = run.transactions().filter(|(_, outcome)| *outcome == Some(Committed)).count();
    if run.is_over() && park.places.len() != committed {
        return Err(format!("{} places are taken by {committed}", park.places.len()));
    }
    Ok(())
}

fn main() -> ExitCode {
    let explorer = |seeds| {
        Sim::explore(seeds)
            .participant("car-park", CarPark::default)
            .transactions(bookings)
            .check(never_too_many)
    };
    let mut is_sound = true;
    for (how, summary) in [
        ("as they come", explorer(0..2_000).run()),
        ("each step twice", explorer(0..500).each_step_twice().run()),
        ("a crash everywhere", explorer(0..1).faults(Faults::none()).crash_everywhere().run()),
    ] {
        println!("{how}: {} runs, {} seeds failed", summary.runs, summary.failed);
        summary.first_violations.iter().for_each(|text| println!("  {text}"));
        is_sound &= summary.failed == 0;
    }
    if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
