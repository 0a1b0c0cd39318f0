//! What the simulator must show.
#![forbid(unsafe_code)]

mod budget;
mod faults;
mod own;
mod rules;
mod runs;
