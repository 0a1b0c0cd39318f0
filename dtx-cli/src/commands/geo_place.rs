//! `dtx geo place`.

use std::time::Duration;

use clap::Args;
use dtx::geo::{
    model::{Provider, RttMap, Shipped},
    plan::{ReplicaSet, replicas},
    sim::{PlaceWay, compare_places},
};
use serde::Serialize;

use crate::{
    exit::{Exit, Failure},
    output,
};

/// The options of `dtx geo place`.
#[derive(Debug, Args)]
pub(super) struct PlaceArgs {
    /// The regions of this provider: aws, azure, gcp or ibm
    #[arg(long, value_name = "P", default_value_t = Provider::Aws)]
    provider: Provider,
    /// In how many regions
    #[arg(long, value_name = "N", default_value_t = 3)]
    replicas: usize,
    /// What a region asks, beside the others; without any, all ask the same. Can be repeated
    #[arg(long, value_name = "REGION=WEIGHT", value_parser = demand)]
    demand: Vec<(String, f64)>,
    /// Only in this region; can be repeated
    #[arg(long, value_name = "REGION")]
    within: Vec<String>,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

fn demand(text: &str) -> Result<(String, f64), String> {
    let (region, weight) = text.split_once('=').ok_or("give REGION=WEIGHT, as in eu-west-1=2.5")?;
    let weight = weight.parse().map_err(|error| format!("{weight:?}: {error}"))?;
    Ok((region.to_owned(), weight))
}

/// What `dtx geo place --json` prints.
#[derive(Debug, Serialize)]
struct PlaceReport {
    provider: &'static str,
    regions: Vec<String>,
    /// The mean round trip of the demand to its nearest replica.
    mean_ms: f64,
    /// No choice has less.
    bound_ms: f64,
    /// How far the choice can be from the best, as a share of the bound.
    gap: f64,
    /// The same mean when one region after the other is added.
    greedy_ms: f64,
    visits: u64,
}

/// Chooses regions for replicas.
pub(super) fn place(args: &PlaceArgs) -> Result<Exit, Failure> {
    let map = Shipped::rtt(args.provider);
    let index = |region: &str| {
        let text = || format!("{} has no region {region}", args.provider);
        map.index(region).ok_or_else(|| Failure::usage(text()))
    };
    let count = map.regions().len();
    let mut weights = vec![if args.demand.is_empty() { 1.0 } else { 0.0 }; count];
    for (region, weight) in &args.demand {
        weights[index(region)?] += weight;
    }
    let within: Result<Vec<_>, _> = args.within.iter().map(|region| index(region)).collect();
    let mut within = within?;
    if within.is_empty() {
        within = (0..count).collect();
    }
    let found = replicas(&map, &weights, &within, args.replicas);
    let found = found.map_err(|error| Failure::usage(error.to_string()))?;
    let report = report(args.provider, &map, &found);
    if args.json {
        output::json(&report)?;
        return Ok(Exit::Sound);
    }
    output::line(report.regions.join(", "))?;
    output::line(format_args!(
        "{:.3} ms on average to the nearest; no other choice is below {:.3} ms (gap {:.3} %); \
         adding one after the other gives {:.3} ms",
        report.mean_ms,
        report.bound_ms,
        report.gap * 100.0,
        report.greedy_ms
    ))?;
    Ok(Exit::Sound)
}

fn report(provider: Provider, map: &RttMap, found: &ReplicaSet) -> PlaceReport {
    let ms = |value: Duration| value.as_secs_f64() * 1e3;
    PlaceReport {
        provider: provider.name(),
        regions: found.regions.iter().map(|region| map.regions()[*region].to_string()).collect(),
        mean_ms: ms(found.mean),
        bound_ms: ms(found.bound),
        gap: found.gap(),
        greedy_ms: ms(found.greedy),
        visits: found.visits,
    }
}

/// The options of `dtx geo sim places`.
#[derive(Debug, Args)]
pub(super) struct PlacesArgs {
    /// The same seed is the same run
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print one JSON array on stdout
    #[arg(long)]
    json: bool,
}

/// Places replicas of many demands in several ways.
pub(super) fn places(args: &PlacesArgs) -> Result<Exit, Failure> {
    let found = compare_places(args.seed);
    if args.json {
        output::json(&found)?;
    } else {
        let mut table = output::table([
            "MAP",
            "REPLICAS",
            "PROVEN",
            "MEAN MS",
            "NEAREST REGION",
            "WORST",
            "GREEDY",
            "WORST",
            "ITERATIVE",
            "WORST",
        ]);
        let percent = |share: f64| format!("+{:.2} %", share * 100.0);
        for row in &found {
            let mut cells = vec![
                row.provider.to_owned(),
                row.replicas.to_string(),
                format!("{} of {}", row.proven, row.demands),
                format!("{:.2}", row.mean_ms),
            ];
            for way in PlaceWay::ALL {
                let longer = row.ways.get(&way).copied().unwrap_or_default();
                cells.extend([percent(longer.mean), percent(longer.worst)]);
            }
            table.add_row(cells);
        }
        output::line(output::text_of(&table))?;
    }
    // Means are whole nanoseconds.
    let is_least = found.iter().flat_map(|row| row.ways.values()).all(|way| way.least > -1e-6);
    Ok(if is_least { Exit::Sound } else { Exit::Failed })
}
