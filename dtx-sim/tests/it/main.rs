//! What the simulator must show.
#![forbid(unsafe_code)]

mod budget;
mod faults;
mod rules;
mod runs;
