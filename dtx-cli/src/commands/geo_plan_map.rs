//! A plan as a map and a curve.

use std::{collections::BTreeSet, time::Duration};

use dtx::geo::model::{RttMap, layout};
use svg::node::element::Group;

use super::{
    geo_draw::{Axis, Chart, MapDrawing, Role, Series, Spot, Way, chart, map},
    geo_plan::{ModeWord, OfferReport, PlanFile, PlanReport},
};

/// The regions with what each does in a plan, and the plans of which none is better in everything.
pub(super) fn draw(file: &PlanFile, report: &PlanReport, rtts: &RttMap) -> Vec<Group> {
    vec![map(&regions(file, report, rtts)), chart(&offers(report))]
}

fn regions(file: &PlanFile, report: &PlanReport, rtts: &RttMap) -> MapDrawing {
    let names = rtts.regions().iter().zip(layout(rtts));
    let spots = names.map(|(name, at)| {
        let name = name.to_string();
        let holds = |held: &[String]| held.contains(&name);
        let copies = file.operations.iter().any(|operation| holds(&operation.copies));
        let allowed = file.within.is_empty() || holds(&file.within);
        let coordinates = ["TwoPhase", "Local", "Pool"].contains(&report.best.kind);
        let roles = [
            (Role::Coordinator, coordinates && report.best.coordinator == name),
            (Role::Serves, holds(&report.served_by)),
            (Role::Copy, copies && allowed),
            (Role::Client, file.client == name),
        ];
        let mut roles: Vec<Role> =
            roles.into_iter().filter(|(_, is)| *is).map(|(role, _)| role).collect();
        if roles.is_empty() && allowed {
            roles.push(Role::Allowed);
        }
        Spot { name, at, roles }
    });
    let title = format!(
        "{} in {:?}: {:.1} ms expected, p99 {:.1} ms (places by round trip)",
        report.best.kind, report.mode, report.best.expected_ms, report.p99_ms
    );
    MapDrawing { title, spots: spots.collect(), ways: ways(file, report, rtts) }
}

/// Each way once, with its round trip.
fn ways(file: &PlanFile, report: &PlanReport, rtts: &RttMap) -> Vec<Way> {
    let mut ways: Vec<Way> = Vec::new();
    let mut add = |from: &str, to: &str, later: bool| {
        let (Some(from), Some(to)) = (rtts.index(from), rtts.index(to)) else { return };
        let is_there = |way: &Way| [(from, to), (to, from)].contains(&(way.from, way.to));
        if from == to || ways.iter().any(is_there) {
            return;
        }
        let ms = |rtt: Duration| format!("{:.0} ms", rtt.as_secs_f64() * 1e3);
        let label = rtts.rtt(from, to).map_or_else(String::new, |rtt| ms(rtt.value));
        ways.push(Way { from, to, label, later });
    };
    add(&file.client, &report.best.coordinator, false);
    for server in &report.served_by {
        add(&report.best.coordinator, server, false);
    }
    let waits = report.durable.iter().flatten().chain(&report.decision);
    for quorum in waits.filter(|quorum| quorum.needed > 1) {
        for other in quorum.regions.iter().skip(1) {
            add(&quorum.regions[0], other, false);
        }
    }
    for (operation, server) in file.operations.iter().zip(&report.served_by) {
        let holders = operation.copies.iter().chain([&operation.home]);
        let allowed = holders.filter(|to| file.within.is_empty() || file.within.contains(to));
        // Units that are taken from a pool are sent on to no other part of it.
        let takes_units = operation.pooled && !matches!(report.mode, ModeWord::StrongGlobal);
        for holder in allowed.filter(|_| operation.write && !takes_units) {
            add(server, holder, true);
        }
    }
    ways
}

/// Latency and money of the offers; where a price is not known, latency and risk.
fn offers(report: &PlanReport) -> Chart {
    let priced = report.offers.iter().all(|offer| offer.usd_per_million.is_some());
    let cost = |usd: Option<f64>, failure: f64| usd.filter(|_| priced).unwrap_or(failure);
    let points = report
        .offers
        .iter()
        .map(|offer| (offer.expected_ms, cost(offer.usd_per_million, offer.failure)));
    let taken = cost(report.best.usd_per_million, report.best.failure);
    let kinds: BTreeSet<&str> = report.offers.iter().map(|offer| offer.kind).collect();
    let label = |offer: &OfferReport| match kinds.len() {
        1 => offer.coordinator.clone(),
        _ => format!("{} ({})", offer.coordinator, offer.kind),
    };
    let series = [
        Series {
            name: "none is better".to_owned(),
            points: points.collect(),
            labels: report.offers.iter().map(label).collect(),
            apart: true,
        },
        Series {
            name: "p50 to p99 of the plan taken".to_owned(),
            points: vec![(report.p50_ms, taken), (report.p99_ms, taken)],
            ..Series::default()
        },
        Series {
            name: "no plan is sooner".to_owned(),
            points: vec![(report.bound_ms, taken)],
            ..Series::default()
        },
    ];
    let y = if priced { "US dollars for a million" } else { "probability of failure" };
    Chart {
        title: "Plans of which none is better in everything, by coordinator".to_owned(),
        x: Axis { name: "ms".to_owned(), ..Axis::default() },
        y: Axis { name: y.to_owned(), ..Axis::default() },
        series: series.to_vec(),
    }
}
