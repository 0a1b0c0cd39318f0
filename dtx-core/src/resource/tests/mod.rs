//! Tests of the built-in participants through the plan of a batch.

mod batch;
mod ledger;
mod locks;
mod properties;
mod reservations;
mod stored;

use crate::answer::{NotDone, PhaseAnswer, Refusal};

fn is_no(answer: &PhaseAnswer) -> bool {
    matches!(answer, Err(NotDone::Rejected(_)))
}

fn is_unknown(answer: &PhaseAnswer) -> bool {
    matches!(answer, Err(NotDone::Unknown(_)))
}

fn refused(refusal: Refusal) -> PhaseAnswer {
    Err(NotDone::Refused(refusal))
}
