//! Speed on server stores as ratios to floors that are measured in the same run, windows
//! interleaved.
//!
//! `cargo xtask bench postgres redis` runs all of it. Each line prints the figure, the goal and the
//! floor.
#![allow(clippy::unwrap_used, missing_docs)]

mod bare;
mod coordinator;
mod fullness;
mod latency;
mod purge;
mod raw;
mod sample;
mod server;
mod throughput;

use std::time::Duration;

use clap::Parser;
use dtx_bench::Line;

use server::{Kind, Server};

#[derive(Debug, Parser)]
#[command(name = "servers", about = "Measures dtx on servers against floors of the same run")]
struct Args {
    /// The servers; both without it.
    #[arg(value_parser = ["postgres", "redis"])]
    servers: Vec<String>,
    /// Which parts to run; all without it.
    #[arg(long = "part", value_parser = ["throughput", "latency", "fullness", "purge"])]
    parts: Vec<String>,
    /// Seconds of each window.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Windows of each kind.
    #[arg(long, default_value_t = 5)]
    windows: usize,
    /// How many finished transactions the full store has.
    #[arg(long, default_value_t = 1_000_000)]
    finished: usize,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// How long, and how often, is measured.
#[derive(Clone, Copy, Debug)]
struct Plan {
    window: Duration,
    windows: usize,
    finished: usize,
}

fn load_average() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()
}

async fn run(server: &Server, plan: Plan, wanted: impl Fn(&str) -> bool) -> usize {
    println!("{}: load average {}", server.kind, load_average());
    let sample = sample::Sample::taken(server).await;
    println!("{}: {sample}", server.kind);
    let mut lines: Vec<Line> = Vec::new();
    let mut say = |line: Line| {
        println!("{line}");
        lines.push(line);
    };
    if wanted("throughput") {
        throughput::run(server, &sample, plan).await.into_iter().for_each(&mut say);
    }
    if wanted("latency") {
        say(latency::run(server, &sample, plan).await);
    }
    if wanted("fullness") || wanted("purge") {
        let full = fullness::load(server, &sample, plan).await;
        if wanted("fullness") {
            say(fullness::run(server, &full, plan).await);
        }
        if wanted("purge") {
            say(purge::run(server, &full, plan).await);
        }
        server.forget(&full.name).await;
    }
    println!("{}: load average {}", server.kind, load_average());
    lines.iter().filter(|line| line.is_missed()).count()
}

fn main() {
    let args = Args::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let plan = Plan {
        window: Duration::from_secs(args.seconds),
        windows: args.windows,
        finished: args.finished,
    };
    let mut missed = 0;
    for kind in [Kind::Postgres, Kind::Redis] {
        let name = kind.to_string();
        if !args.servers.is_empty() && !args.servers.contains(&name) {
            continue;
        }
        let Some(server) = Server::named(kind) else {
            println!("{name}: NO SERVER; NOTHING WAS MEASURED: {} is not set", kind.variable());
            continue;
        };
        let wanted = |part: &str| args.parts.is_empty() || args.parts.iter().any(|one| one == part);
        missed += runtime.block_on(run(&server, plan, wanted));
    }
    println!("{missed} goals missed");
    std::process::exit(i32::from(missed > 0));
}
