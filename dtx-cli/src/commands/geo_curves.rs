//! The curves of `dtx geo sim`.

use dtx::geo::sim::{Comparison, PhaseComparison, PhaseOutcome, PhaseRow, Way};
use svg::node::element::Group;

use super::geo_draw::{Axis, Chart, Series, chart};

/// The latencies of all ways to sell, by the share of requests that are answered so soon.
pub(super) fn pools(found: &Comparison) -> Vec<Group> {
    let ways = [("regional pools", &found.pools)].into_iter();
    let ways = ways.chain(found.baselines.iter().map(|(name, outcome)| (*name, outcome)));
    let series = ways.map(|(name, outcome)| Series {
        name: name.replace('_', " "),
        points: vec![(0.0, outcome.p50_ms), (1.0, outcome.p99_ms), (2.0, outcome.p999_ms)],
        ..Series::default()
    });
    let ticks = ["p50", "p99", "p99.9"].into_iter().enumerate();
    let drawn = Chart {
        title: format!("{}, seed {}: time to the answer", found.workload, found.seed),
        x: Axis {
            name: "share of the requests that got units".to_owned(),
            log: false,
            ticks: ticks.map(|(at, name)| (at as f64, name.to_owned())).collect(),
        },
        y: Axis { name: "ms".to_owned(), log: true, ticks: Vec::new() },
        series: series.collect(),
    };
    vec![chart(&drawn)]
}

/// What more jitter does to what is saved, and to the time of the commit.
pub(super) fn phases(found: &PhaseComparison) -> Vec<Group> {
    let most = found.rows.iter().max_by_key(|row| row.jitter_ms);
    let Some(most) = most else { return Vec::new() };
    let is_same = |row: &&PhaseRow| {
        (row.provider, row.participants, row.relayed)
            == (most.provider, most.participants, most.relayed)
    };
    let mut rows: Vec<&PhaseRow> = found.rows.iter().filter(is_same).collect();
    rows.sort_by_key(|row| row.jitter_ms);
    let title = |what: &str| {
        format!(
            "{what} ({}, {} participants, seed {})",
            most.provider, most.participants, found.seed
        )
    };
    let x = Axis { name: "jitter added to each message, ms".to_owned(), ..Axis::default() };
    let y = |name: &str| Axis { name: name.to_owned(), ..Axis::default() };
    let line = |name: &str, value: &dyn Fn(&PhaseRow) -> Option<f64>| Series {
        name: name.replace('_', " "),
        points: rows
            .iter()
            .filter_map(|row| Some((row.jitter_ms as f64, value(row)? * 100.0)))
            .collect(),
        ..Series::default()
    };
    let each = |value: fn(&PhaseOutcome) -> f64| {
        Way::ALL.map(|way| line(way.name(), &|row| row.ways.get(&way).map(value)))
    };
    let mut saved = each(|outcome| outcome.saving_share).to_vec();
    saved.push(line("most, fixed delays", &|row| Some(row.fixed_max)));
    saved.push(line("most, no foresight", &|row| Some(row.any_max)));
    let chart_of = |what: &str, unit: &str, series| {
        chart(&Chart { title: title(what), x: x.clone(), y: y(unit), series })
    };
    vec![
        chart_of("Lock time saved", "% of what the ideal saves", saved),
        chart_of("Commits later at p50", "% of eager", each(|o| o.added_p50).to_vec()),
        chart_of("Commits later at p99", "% of eager", each(|o| o.added_p99).to_vec()),
    ]
}
