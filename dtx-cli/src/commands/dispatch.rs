//! From the command line to the command.

use super::{demo, run};
use crate::{
    cli::Command,
    exit::{Exit, Failure},
};

/// Does what the command line says.
pub(crate) async fn dispatch(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Run(args) => run::run(args).await,
        Command::Demo(args) => demo::demo(args).await,
    }
}
