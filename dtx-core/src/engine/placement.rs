//! GA: where participants are, and so when each of them is asked.

use std::{fmt::Debug, time::Duration};

use crate::{
    engine::write::Turn,
    ids::OperationIndex,
    pattern::{Effect, Pattern, Phase},
    time::Timestamp,
    transaction::{Gate, Operation},
};

/// What is known of where participants are and how long each takes.
///
/// It says when a command leaves and when it counts as unanswered, and nothing else: what is
/// decided never rests on it, so a wrong one costs time. Delays are bounded by
/// [`send_delay_max`](super::EngineSettings::send_delay_max), time-outs by those of the settings.
///
/// It is asked by all engines of a coordinator, in the middle of their work: it must not block.
pub trait Placement: Debug + Send + Sync + 'static {
    /// How long each of `operations` waits before it is asked for the first of `phases`, in their
    /// order. All of them are asked for all of `phases`, each for one after the other, and what is
    /// decided then needs every answer. What is missing in the result waits for nothing.
    fn delays(&self, operations: &[&Operation], phases: &[Phase]) -> Vec<Duration>;

    /// How long the answer to a first attempt is waited for; `None` where nothing is known of the
    /// participant's place, and the engine's own measure is used.
    fn timeout(&self, operation: &Operation, phase: Phase) -> Option<Duration>;

    /// The participant has answered the first attempt so long after it was sent. `now` is on the
    /// coordinator's own clock.
    fn answered(&self, operation: &Operation, phase: Phase, now: Timestamp, after: Duration);

    /// What waited to be sent will not be: the transaction goes back.
    fn withdrawn(&self, operation: &Operation, phase: Phase);
}

/// The phases that an operation goes through until what is decided needs it, from the one on in
/// which it begins to hold something that others wait for; none where nothing is held before the
/// decision, or where each operation goes on without the others.
fn phases_held(pattern: Pattern, gate: Gate) -> &'static [Phase] {
    match (pattern, gate) {
        (Pattern::TwoPhaseCommit | Pattern::TwoPhaseSaga, _) => &[Phase::Prepare],
        (Pattern::ThreePhaseSaga, Gate::AllValidated) => &[Phase::Reserve, Phase::Validate],
        _ => &[],
    }
}

impl Turn<'_, '_> {
    /// How long each command among the effects of one step waits, in their order; nothing where
    /// all leave at once.
    pub(super) fn delays(&self, effects: &[Effect]) -> Vec<Duration> {
        let settings = &self.shared.settings;
        let Some(placement) = &settings.placement else { return Vec::new() };
        let transaction = &self.open.transaction;
        let phases = phases_held(transaction.pattern(), transaction.gate());
        let mut operations = Vec::new();
        for effect in effects {
            let Effect::Send { operation, phase, .. } = effect else { continue };
            if Some(phase) != phases.first() {
                return Vec::new();
            }
            operations.push(transaction.operation(*operation));
        }
        if operations.len() < 2 {
            // Nobody waits for a farther one.
            return Vec::new();
        }
        let mut delays = placement.delays(&operations, phases);
        delays.iter_mut().for_each(|delay| *delay = (*delay).min(settings.send_delay_max));
        delays
    }

    /// How long an answer is waited for by what is known of the participant's place.
    pub(super) fn placed_timeout(
        &self,
        operation: OperationIndex,
        phase: Phase,
    ) -> Option<Duration> {
        let placement = self.shared.settings.placement.as_ref()?;
        placement.timeout(self.open.transaction.operation(operation), phase)
    }

    /// Tells how long a participant took.
    pub(super) fn placed_answer(&self, operation: OperationIndex, phase: Phase, after: Duration) {
        let operation = self.open.transaction.operation(operation);
        if let Some(placement) = &self.shared.settings.placement {
            placement.answered(operation, phase, self.cx.now, after);
        }
    }

    /// Tells of each command that waits to be sent that it never will be.
    pub(super) fn withdraw(&self) {
        let Some(placement) = &self.shared.settings.placement else { return };
        for (flight, operation) in self.open.flights.iter().zip(self.open.transaction.operations())
        {
            if let Some(phase) = flight.phase
                && flight.attempt == 0
                && !flight.sent
            {
                placement.withdrawn(operation, phase);
            }
        }
    }
}
