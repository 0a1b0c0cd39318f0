//! The project's own commands, run as `cargo xtask COMMAND`.
//!
//! This crate depends on no other crate of the workspace, so that it is built in seconds and
//! still runs when the rest does not compile.
#![forbid(unsafe_code)]

mod bench;
mod cargo_mutants;
mod check;
mod ci;
mod cli;
mod crash;
mod crash_points;
mod diagrams;
mod examine;
mod exhaustive;
mod failures;
mod features;
mod instructions;
mod matrix;
mod mutant_list;
mod mutants;
mod page;
mod pools;
mod process;
mod prove;
mod rules;
mod server_crashes;
mod services;
mod simulator;
mod source;
mod steps;
mod subject;
mod watchdog;
mod workspace;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
