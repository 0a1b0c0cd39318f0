//! Judges a recorded run: the same code for simulated runs and for any other that is written down
//! as JSON lines of [`Happening`](crate::Happening).

mod checker;
mod past;
mod read;
mod rules;

pub use checker::{Breach, Checker, Coverage, Doubt, Finding, Judgement};
pub use past::Past;
pub use read::{LINE_BYTES_MAX, LINES_MAX, judge};
pub use rules::{Moment, RULES, Rule};
