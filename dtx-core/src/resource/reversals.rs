//! What reverses the actions of the built-in participants.

use crate::{
    resource::{Credit, Debit, PutBack, Take},
    transaction::Reversals,
};

/// Money and units go back where they came from. A user adds the reversals of own actions.
pub fn reversals() -> Reversals {
    Reversals::default()
        .reverse::<Debit, Credit>(|amount| amount)
        .reverse::<Credit, Debit>(|amount| amount)
        .reverse::<Take, PutBack>(|units| units)
        .reverse::<PutBack, Take>(|units| units)
}
