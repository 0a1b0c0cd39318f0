//! From the command line to the command.

#[cfg(feature = "geo")]
use super::geo;
use super::{
    check_history, completions, demo, doctor, heal, migrate, participant, run, serve, sim, submit,
    tx,
};
use crate::{
    cli::Command,
    exit::{Exit, Failure},
};

/// Does what the command line says.
pub(crate) async fn dispatch(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Run(args) => run::run(args).await,
        Command::Demo(args) => demo::demo(args).await,
        Command::Serve(args) => serve::serve(args).await,
        Command::Submit(args) => submit::submit(args).await,
        Command::Tx(args) => tx::tx(args).await,
        Command::Heal(args) => heal::heal(args).await,
        Command::Participant(args) => participant::participant(args).await,
        Command::Migrate(args) => migrate::migrate(args).await,
        Command::Doctor(args) => doctor::doctor(args).await,
        Command::Sim(args) => sim::sim(args).await,
        #[cfg(feature = "geo")]
        Command::Geo(args) => geo::geo(&args),
        Command::CheckHistory(args) => check_history::check_history(&args),
        Command::Completions(args) => completions::completions(&args),
    }
}
