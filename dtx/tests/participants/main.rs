//! The built-in participants, and two of a user, pass the suite of participants.
#![allow(missing_docs)]

mod bookings;
mod ledger;
mod locks;
mod reservations;
mod support;
