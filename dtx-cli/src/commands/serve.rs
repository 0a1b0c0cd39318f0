//! `dtx serve`.

use std::time::Duration;

use clap::Args;
use dtx::participant::HostStats;
use dtx_shop::{
    FaultRates, PARTICIPANTS, Rate, ServeSettings, ShopStore, StoreAddress, TransportAddress,
};
use serde::Serialize;

use super::{
    run::{both, shared_by_processes},
    store::{on, open},
};
use crate::{
    exit::{EXIT_HELP, Exit, Failure},
    output,
};

const EXAMPLES: &str = "Examples:
  dtx serve inventory --store postgres://dtx@db/shop --transport kafka://broker:9092
  dtx serve --store redis://cache:6379 --transport nats://broker:4222 --fail 0.2 --seed 7

Several processes may serve one service: each command goes to one of them. The orders come from
`dtx run --services apart` with the same store and transport.";

/// How long a service may take to do what it has in its hands when it is stopped.
const GRACE: Duration = Duration::from_secs(10);

/// The options of `dtx serve`.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_HELP}"))]
pub(crate) struct ServeArgs {
    /// Which services [default: payment inventory shipping notification analytics]
    #[arg(value_name = "SERVICE", value_parser = PARTICIPANTS)]
    services: Vec<String>,
    /// Where the rows of the services are kept: postgres://USER@HOST/DATABASE or redis://HOST:PORT
    #[arg(long, value_name = "STORE")]
    store: StoreAddress,
    /// What carries the messages: kafka://HOST:PORT or nats://HOST:PORT
    #[arg(long, value_name = "TRANSPORT")]
    transport: TransportAddress,
    /// Say no to commands, and lose replies, each half as often as this, from 0 to 1
    #[arg(long, allow_negative_numbers = true, value_name = "RATE", default_value_t)]
    fail: Rate,
    /// From what the faults are drawn
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print JSON: one object when the services run, and one when they have stopped
    #[arg(long)]
    json: bool,
}

/// What is printed when the services run.
#[derive(Debug, Serialize)]
struct Begun<'a> {
    serving: &'a [String],
}

/// What is printed when they have stopped.
#[derive(Debug, Serialize)]
struct Stopped<'a> {
    stopped: Vec<Did<'a>>,
}

/// What one service did.
#[derive(Debug, Serialize)]
struct Did<'a> {
    service: &'a str,
    commands: u64,
    replies: u64,
    runs: u64,
    faults: u64,
    dead_letters: u64,
}

/// Serves until it is told to stop.
pub(crate) async fn serve(args: ServeArgs) -> Result<Exit, Failure> {
    shared_by_processes(&args.store, &args.transport)?;
    let opened = open(&args.store).await?;
    on!(&opened, store => serve_on(store, &args).await)?;
    opened.close().await?;
    Ok(Exit::Sound)
}

async fn serve_on<S: ShopStore>(store: &S, args: &ServeArgs) -> Result<(), Failure> {
    let services = if args.services.is_empty() {
        PARTICIPANTS.map(str::to_owned).to_vec()
    } else {
        args.services.clone()
    };
    let settings = ServeSettings {
        services,
        transport: args.transport.clone(),
        faults: if args.fail.is_zero() { FaultRates::default() } else { both(args.fail) },
        seed: args.seed,
    };
    // Before anything runs, so that nobody is killed who is asked to stop in between.
    let told = told_to_stop()?;
    let serving = dtx_shop::serve(store, &settings).await.map_err(Failure::failed)?;
    if args.json {
        output::json(&Begun { serving: &settings.services })?;
    } else {
        output::line(format_args!("serving {}", settings.services.join(", ")))?;
    }
    told.await;
    let stats = serving.stop(GRACE).await;
    let stopped: Vec<_> = settings
        .services
        .iter()
        .zip(stats)
        .map(|(service, stats)| Did::of(service, stats))
        .collect();
    if args.json {
        return output::json(&Stopped { stopped });
    }
    let mut table = output::table(["SERVICE", "COMMANDS", "REPLIES", "RUNS", "FAULTS"]);
    for did in &stopped {
        let numbers = [did.commands, did.replies, did.runs, did.faults].map(|n| n.to_string());
        let [commands, replies, runs, faults] = numbers;
        table.add_row([did.service.to_owned(), commands, replies, runs, faults]);
    }
    output::line(output::text_of(&table))
}

impl<'a> Did<'a> {
    fn of(service: &'a str, stats: HostStats) -> Self {
        Self {
            service,
            commands: stats.commands,
            replies: stats.replies,
            runs: stats.runs,
            faults: stats.faults,
            dead_letters: stats.dead_letters,
        }
    }
}

/// Ends when this process is told to stop: by ctrl-c, or by SIGTERM.
#[cfg(unix)]
fn told_to_stop() -> Result<impl Future<Output = ()>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::failed)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Ends when this process is told to stop, by ctrl-c.
#[cfg(not(unix))]
fn told_to_stop() -> Result<impl Future<Output = ()>, Failure> {
    Ok(async {
        // Where it cannot be heard, the process is killed: that is safe too.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
