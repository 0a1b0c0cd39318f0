//! `dtx geo`.

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::Table;
use dtx::geo::{
    model::{Destination, Origin, Provider, RttMap, Shipped},
    pool::Grants,
    sim::{Comparison, Outcome, Setup, Workload, compare},
};
use serde::Serialize;
use std::{path::PathBuf, time::Duration};

use super::{
    geo_curves, geo_draw,
    geo_phases::{FidelityArgs, PhasesArgs, PlansArgs, fidelity, phases, plans},
    geo_place::{PlaceArgs, PlacesArgs, place, places},
    geo_plan::{PlanArgs, plan},
    geo_zones::zones,
};
use crate::{
    exit::{EXIT_HELP, Exit, Failure},
    output,
};

const EXAMPLES: &str = "Examples:
  dtx geo rtt --provider aws --from eu-west-1
  dtx geo rtt --provider ibm --zones
  dtx geo place --provider azure --replicas 3 --demand westeurope=5 --demand eastus=2
  dtx geo plan dtx-cli/examples/plans/two-regions.json --explain --svg plan.svg
  dtx geo sim pools --workload flash-tight --seed 1
  dtx geo sim pools --workload zipf --grants leased --seed 1 --json
  dtx geo sim phases --svg phases.svg
  dtx geo sim places
  dtx geo sim fidelity

Exit code 1 says that something that must hold was violated.";

/// Units that a region may spend before its buddy knows of it, in runs with leased grants. A flash
/// asks for 20,000 units per second 115 ms from the buddy: 2,300 in a round trip, and some to spare.
const WINDOW: u64 = 4_000;
/// How long the units of a silent region wait until its buddy takes them.
const LEASE: Duration = Duration::from_secs(3);

/// The options of `dtx geo`.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_HELP}"))]
pub(crate) struct GeoArgs {
    /// What to do.
    #[command(subcommand)]
    command: GeoCommand,
}

#[derive(Debug, Subcommand)]
enum GeoCommand {
    /// Show the round trips between the regions of a provider, and what is known of them
    Rtt(RttArgs),
    /// Choose the regions that bring a demand nearest to its replicas
    Place(PlaceArgs),
    /// Say how a transaction over regions is carried out: from where, how soon, for how much
    Plan(PlanArgs),
    /// Run pools or phases over regions in a seeded simulation, beside what others do
    Sim(GeoSimArgs),
}

/// The options of `dtx geo rtt`.
#[derive(Debug, Args)]
struct RttArgs {
    /// The regions of this provider: aws, azure, gcp or ibm
    #[arg(long, value_name = "P", default_value_t = Provider::Aws)]
    provider: Provider,
    /// Only round trips from this region
    #[arg(long, value_name = "REGION")]
    from: Option<String>,
    /// Show the round trip to most of the zones of each region instead
    #[arg(long)]
    zones: bool,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

/// The options of `dtx geo sim`.
#[derive(Debug, Args)]
struct GeoSimArgs {
    /// What is simulated.
    #[command(subcommand)]
    command: GeoSimCommand,
}

#[derive(Debug, Subcommand)]
enum GeoSimCommand {
    /// Regional pools of one stock
    Pools(PoolsArgs),
    /// When the participants of a phase are asked: time of locks and of commits
    Phases(PhasesArgs),
    /// Medians that others measured, beside simulated ones
    Fidelity(FidelityArgs),
    /// Expected latencies of plans, beside simulated ones
    Plans(PlansArgs),
    /// Regions for replicas, beside what others choose
    Places(PlacesArgs),
}

/// The options of `dtx geo sim pools`.
#[derive(Debug, Args)]
struct PoolsArgs {
    /// zipf, hotspot, flash or flash-tight
    #[arg(long, value_name = "W")]
    workload: Workload,
    /// The same seed is the same run
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Whether the units of a lost region can be sold by others
    #[arg(long, value_enum, default_value_t)]
    grants: GrantsWord,
    /// Draw the latencies of all ways into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum GrantsWord {
    /// They wait for as long as the region is lost
    #[default]
    Permanent,
    /// All but a window of them, once it was silent for the time of a lease
    Leased,
}

/// Shows what is known of regions, or simulates them.
pub(crate) fn geo(args: &GeoArgs) -> Result<Exit, Failure> {
    match &args.command {
        GeoCommand::Rtt(args) => rtt(args),
        GeoCommand::Place(args) => place(args),
        GeoCommand::Plan(args) => plan(args),
        GeoCommand::Sim(GeoSimArgs { command }) => match command {
            GeoSimCommand::Pools(args) => pools(args),
            GeoSimCommand::Phases(args) => phases(args),
            GeoSimCommand::Fidelity(args) => fidelity(args),
            GeoSimCommand::Plans(args) => plans(args),
            GeoSimCommand::Places(args) => places(args),
        },
    }
}

/// What `dtx geo rtt --json` prints.
#[derive(Debug, Serialize)]
struct RttReport {
    provider: &'static str,
    regions: Vec<String>,
    pairs: Vec<Pair>,
}

/// One directed pair.
#[derive(Debug, Serialize)]
struct Pair {
    from: String,
    to: String,
    rtt_ms: f64,
    /// Where that is known from: measured, reverse or estimated.
    origin: &'static str,
    /// Over other regions, where that is shorter.
    shortest_ms: f64,
    min_ms: Option<f64>,
    max_ms: Option<f64>,
    usd_per_gb: Option<f64>,
}

fn rtt(args: &RttArgs) -> Result<Exit, Failure> {
    let map = Shipped::rtt(args.provider);
    if let Some(from) = &args.from
        && map.index(from).is_none()
    {
        let known: Vec<_> = map.regions().iter().map(ToString::to_string).collect();
        let text =
            format!("{} has no region {from}: give one of {}", args.provider, known.join(", "));
        return Err(Failure::usage(text));
    }
    if args.zones {
        return zones(args.provider, &map, args.from.as_deref(), args.json);
    }
    let report = RttReport {
        provider: args.provider.name(),
        regions: map.regions().iter().map(ToString::to_string).collect(),
        pairs: pairs(&map, args),
    };
    if args.json {
        output::json(&report)?;
        return Ok(Exit::Sound);
    }
    let mut table = output::table([
        "FROM",
        "TO",
        "RTT MS",
        "KNOWN",
        "SHORTEST MS",
        "MIN MS",
        "MAX MS",
        "USD/GB",
    ]);
    for pair in &report.pairs {
        let some =
            |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.3}"));
        table.add_row([
            pair.from.clone(),
            pair.to.clone(),
            format!("{:.1}", pair.rtt_ms),
            pair.origin.to_owned(),
            format!("{:.1}", pair.shortest_ms),
            some(pair.min_ms),
            some(pair.max_ms),
            some(pair.usd_per_gb),
        ]);
    }
    output::line(output::text_of(&table))?;
    Ok(Exit::Sound)
}

fn pairs(map: &RttMap, args: &RttArgs) -> Vec<Pair> {
    let closed = map.closure();
    let jitters = Shipped::jitter(args.provider);
    let prices = (args.provider == Provider::Aws).then(Shipped::prices);
    let ms = |value: Duration| value.as_secs_f64() * 1e3;
    let mut pairs = Vec::new();
    for (a, from) in map.regions().iter().enumerate() {
        if args.from.as_ref().is_some_and(|only| only != from.as_str()) {
            continue;
        }
        for (b, to) in map.regions().iter().enumerate().filter(|(b, _)| *b != a) {
            let (Some(rtt), Some(shortest)) = (map.rtt(a, b), closed.rtt(a, b)) else { continue };
            let jitter = jitters.get(from, to);
            let to_region = Destination::Region(to.as_str());
            pairs.push(Pair {
                from: from.to_string(),
                to: to.to_string(),
                rtt_ms: ms(rtt.value),
                origin: match rtt.origin {
                    Origin::Measured => "measured",
                    Origin::Reverse => "reverse",
                    Origin::Estimated => "estimated",
                    Origin::Relayed => "relayed",
                },
                shortest_ms: ms(shortest.value),
                min_ms: jitter.map(|jitter| ms(jitter.min)),
                max_ms: jitter.map(|jitter| ms(jitter.max)),
                usd_per_gb: prices.as_ref().and_then(|p| p.usd_per_gb(from.as_str(), to_region)),
            });
        }
    }
    pairs.sort_by(|a, b| a.from.cmp(&b.from).then(a.rtt_ms.total_cmp(&b.rtt_ms)));
    pairs
}

fn pools(args: &PoolsArgs) -> Result<Exit, Failure> {
    let grants = match args.grants {
        GrantsWord::Permanent => Grants::Permanent,
        GrantsWord::Leased => Grants::Leased { window: WINDOW, lease: LEASE },
    };
    let found = compare(args.workload, &Setup::aws8(grants), args.seed);
    if let Some(file) = &args.svg {
        geo_draw::save(file, geo_curves::pools(&found))?;
    }
    if args.json {
        output::json(&found)?;
    } else {
        output::line(output::text_of(&table(&found)))?;
        let by = &found.throughput;
        output::line(format_args!(
            "{:.0} reservations/s with {} clients, {:.1} times one global pool",
            by.pools_per_s, by.clients, by.ratio
        ))?;
    }
    let sound = found.pools.oversold == 0 && found.pools.false_sold_out == 0;
    Ok(if sound && found.pools.stranded == 0 { Exit::Sound } else { Exit::Failed })
}

fn table(found: &Comparison) -> Table {
    let mut table = output::table([
        "HOW",
        "SOLD",
        "AT HOME",
        "P50 MS",
        "P99 MS",
        "P99.9 MS",
        "OVERSOLD",
        "FALSE SOLD OUT",
        "STRANDED",
        "MOVES/1000",
    ]);
    let mut add = |name: &str, outcome: &Outcome| {
        table.add_row([
            name.to_owned(),
            outcome.sold.to_string(),
            format!("{:.2} %", outcome.served_home_share * 100.0),
            format!("{:.2}", outcome.p50_ms),
            format!("{:.2}", outcome.p99_ms),
            format!("{:.2}", outcome.p999_ms),
            outcome.oversold.to_string(),
            outcome.false_sold_out.to_string(),
            outcome.stranded.to_string(),
            format!("{:.2}", outcome.moves_per_1000),
        ]);
    };
    add("regional pools", &found.pools);
    for (name, outcome) in &found.baselines {
        add(name, outcome);
    }
    table
}
