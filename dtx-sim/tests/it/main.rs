//! What the simulator must show.
#![forbid(unsafe_code)]

mod budget;
mod own;
mod rules;
mod runs;
