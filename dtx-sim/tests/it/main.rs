//! What the simulator must show.
#![forbid(unsafe_code)]

mod budget;
mod faults;
mod history;
mod own;
mod placement;
mod regions;
mod rules;
mod runs;
