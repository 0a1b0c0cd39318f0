//! What the simulator must show.
#![forbid(unsafe_code)]

mod budget;
mod rules;
mod runs;
