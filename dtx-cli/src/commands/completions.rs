//! `dtx completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{
    cli::Cli,
    exit::{Exit, Failure},
    output,
};

/// The options of `dtx completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// For which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints what a shell needs to complete this program's options.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "dtx", &mut script);
    output::line(String::from_utf8_lossy(&script))?;
    Ok(Exit::Sound)
}
