//! The program `dtx-services`: servers for tests from a command line. `cargo xtask services` runs
//! it.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
