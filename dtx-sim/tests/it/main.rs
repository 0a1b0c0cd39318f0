//! What the simulator must show.
#![forbid(unsafe_code)]

mod budget;
mod history;
mod own;
mod rules;
mod runs;
