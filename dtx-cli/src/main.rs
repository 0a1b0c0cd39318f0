//! The program `dtx`.
#![forbid(unsafe_code)]

mod cli;
mod commands;
mod exit;
mod logging;
mod output;
mod progress;
mod table;

use clap::Parser;

use crate::{cli::Cli, exit::Exit};

fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // `--help` and `--version` arrive here too, and are no mistakes.
        Err(error) => {
            let is_mistake = error.use_stderr();
            return match (error.print(), is_mistake) {
                (Ok(()), false) => Exit::Sound,
                _ => Exit::Usage,
            };
        }
    };
    logging::start(cli.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the threads of the program could not be started: {error}");
            return Exit::Failed;
        }
    };
    match runtime.block_on(commands::dispatch(cli.command)) {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("{}", error.text());
            error.exit()
        }
    }
}
