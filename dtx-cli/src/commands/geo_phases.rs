//! `dtx geo sim phases`, `dtx geo sim fidelity` and `dtx geo sim plans`.

use std::path::PathBuf;

use clap::Args;
use dtx::geo::sim::{CostModel, PhaseComparison, compare_phases, cost_model, fidelity as simulate};

use super::{geo_curves, geo_draw};
use crate::{
    exit::{Exit, Failure},
    output,
};

/// The farthest that a simulated median may be from a published one, as a share.
const OFF_MAX: f64 = 0.03;

/// The options of `dtx geo sim phases`.
#[derive(Debug, Args)]
pub(super) struct PhasesArgs {
    /// The same seed is the same run
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Draw what more jitter does to all ways into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

/// The options of `dtx geo sim fidelity`.
#[derive(Debug, Args)]
pub(super) struct FidelityArgs {
    /// The same seed is the same run
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print one JSON array on stdout
    #[arg(long)]
    json: bool,
}

/// The options of `dtx geo sim plans`.
#[derive(Debug, Args)]
pub(super) struct PlansArgs {
    /// The same seed is the same run
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print one JSON array on stdout
    #[arg(long)]
    json: bool,
}

pub(super) fn phases(args: &PhasesArgs) -> Result<Exit, Failure> {
    let found = compare_phases(args.seed);
    let broken = found.broken();
    if let Some(file) = &args.svg {
        geo_draw::save(file, geo_curves::phases(&found))?;
    }
    if args.json {
        output::json(&found)?;
    } else {
        show(&found)?;
        for what in &broken {
            output::line(format_args!("missed: {what}"))?;
        }
    }
    Ok(if broken.is_empty() { Exit::Sound } else { Exit::Failed })
}

fn show(found: &PhaseComparison) -> Result<(), Failure> {
    let mut table = output::table([
        "MAP",
        "JITTER MS",
        "PARTICIPANTS",
        "HOW",
        "LOCK MS",
        "SAVED",
        "P50 / BOUND",
        "ADDED P50",
        "ADDED P99",
        "WORST P99",
        "SPREAD MS",
        "FOR NOTHING",
        "DETECTED",
    ]);
    let percent = |share: f64| format!("{:.3} %", share * 100.0);
    for row in &found.rows {
        let relayed = if row.relayed { ", relayed" } else { "" };
        for (way, outcome) in &row.ways {
            table.add_row([
                format!("{}{relayed}", row.provider),
                row.jitter_ms.to_string(),
                row.participants.to_string(),
                way.to_string(),
                format!("{:.1}", outcome.lock_ms),
                format!("{:.2} %", outcome.saving_share * 100.0),
                format!("{:.4}", outcome.over_bound_p50),
                percent(outcome.added_p50),
                percent(outcome.added_p99),
                percent(outcome.worst_added_p99),
                format!("{:.2}", outcome.spread_p50_ms),
                percent(outcome.spurious_share),
                format!("{:.2}", outcome.detection),
            ]);
        }
        let mut most = |how: &str, share: f64| {
            table.add_row([
                format!("{}{relayed}", row.provider),
                row.jitter_ms.to_string(),
                row.participants.to_string(),
                how.to_owned(),
                String::new(),
                format!("{:.2} %", share * 100.0),
            ]);
        };
        most("most, fixed delays", row.fixed_max);
        most("most, no foresight", row.any_max);
    }
    output::line(output::text_of(&table))?;
    let mut table = output::table(["MAP", "PARTICIPANTS", "ROUNDS", "SOONER"]);
    for place in &found.places {
        table.add_row([
            place.provider.to_owned(),
            place.participants.to_string(),
            place.rounds.to_string(),
            format!("{:.1} %", place.gain * 100.0),
        ]);
    }
    output::line(output::text_of(&table))?;
    Ok(())
}

pub(super) fn fidelity(args: &FidelityArgs) -> Result<Exit, Failure> {
    let found = simulate(args.seed);
    if args.json {
        output::json(&found)?;
    } else {
        let mut table = output::table([
            "PROTOCOL",
            "REGION",
            "PUBLISHED MS",
            "FORMULA MS",
            "SIMULATED MS",
            "OFF",
            "JUDGED",
        ]);
        for one in &found {
            table.add_row([
                one.protocol.to_owned(),
                one.region.clone(),
                one.published_ms.map_or_else(String::new, |ms| format!("{ms:.2}")),
                format!("{:.2}", one.formula_ms),
                format!("{:.2}", one.simulated_ms),
                one.off.map_or_else(String::new, |off| format!("{:.2} %", off * 100.0)),
                if one.judged { "yes" } else { "" }.to_owned(),
            ]);
        }
        output::line(output::text_of(&table))?;
    }
    let mut judged = found.iter().filter(|one| one.judged);
    let near = judged.all(|one| one.off.is_some_and(|off| off <= OFF_MAX));
    Ok(if near { Exit::Sound } else { Exit::Failed })
}

pub(super) fn plans(args: &PlansArgs) -> Result<Exit, Failure> {
    let found = cost_model(args.seed);
    if args.json {
        output::json(&found)?;
    } else {
        let mut table = output::table([
            "MAP",
            "PLANS",
            "TWO-PHASE",
            "POOL",
            "OFF",
            "WORST",
            "GAP",
            "SOONER THAN CLIENT",
            "THAN HOME",
            "1, 2, 3 ROUNDS",
            "WEAKER",
            "OUTSIDE",
        ]);
        let percent = |share: f64| format!("{:.2} %", share * 100.0);
        for model in &found {
            table.add_row([
                model.provider.to_owned(),
                model.plans.to_string(),
                model.two_phase.to_string(),
                model.pool.to_string(),
                percent(model.mean_off),
                percent(model.worst_off),
                percent(model.mean_gap),
                percent(model.sooner),
                percent(model.sooner_than_home),
                model.by_rounds.map(|row| percent(row.sooner)).join(", "),
                model.weaker.to_string(),
                model.outside.to_string(),
            ]);
        }
        output::line(output::text_of(&table))?;
        for what in found.iter().flat_map(CostModel::broken) {
            output::line(format_args!("missed: {what}"))?;
        }
    }
    let sound = found.iter().all(|model| model.broken().is_empty());
    Ok(if sound { Exit::Sound } else { Exit::Failed })
}
