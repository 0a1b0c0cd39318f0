//! A store that is full of what is finished, against an empty one.

use std::time::Instant;

use dtx_bench::{Goal, Line, median};

use super::{
    Plan,
    bare::Bare,
    coordinator,
    sample::Sample,
    server::{Kind, Server},
};

const IN_FLIGHT: usize = 1_024;

/// A store with many finished transactions.
#[derive(Debug)]
pub(crate) struct Full {
    pub(crate) name: String,
    /// When the last of them was written.
    pub(crate) since: Instant,
    finished: usize,
}

/// Fills a store by its own commits, as fast as it takes them.
pub(crate) async fn load(server: &Server, sample: &Sample, plan: Plan) -> Full {
    let name = server.name();
    let begun = Instant::now();
    let bare = Bare::new(server.open(&name).await, sample).await;
    bare.load(plan.finished).await;
    bare.release().await;
    drop(bare);
    let since = Instant::now();
    let took = begun.elapsed().as_secs_f64();
    println!("{}: {} finished were written in {took:.0} s", server.kind, plan.finished);
    Full { name, since, finished: plan.finished }
}

/// Transactions per second, and pages touched for each where the server counts them.
async fn window(server: &Server, name: &str, plan: Plan) -> (f64, Option<f64>) {
    let counts = server.kind == Kind::Postgres;
    drop(server.open(name).await);
    // Dead rows of the windows before are no matter of what is finished.
    server.settle(name).await;
    // What opening alone touches is in neither reading.
    let before = if counts { server.pages().await } else { 0 };
    drop(server.open(name).await);
    let opened = if counts { server.pages().await } else { 0 };
    let window = coordinator::window(server.open(name).await, IN_FLIGHT, plan.window).await;
    let after = if counts { server.pages().await } else { 0 };
    let touched = (after - opened) - (opened - before);
    (window.rate, counts.then(|| touched as f64 / window.all))
}

pub(crate) async fn run(server: &Server, full: &Full, plan: Plan) -> Line {
    let (mut ratios, mut empty_rates, mut full_rates) = (vec![], vec![], vec![]);
    let (mut empty_pages, mut full_pages) = (vec![], vec![]);
    for _ in 0..plan.windows {
        let name = server.name();
        let (empty, pages) = window(server, &name, plan).await;
        empty_pages.extend(pages);
        server.forget(&name).await;
        let (rate, pages) = window(server, &full.name, plan).await;
        full_pages.extend(pages);
        ratios.push(100.0 * rate / empty);
        empty_rates.push(empty);
        full_rates.push(rate);
    }
    let mut floor =
        format!("empty {:.0} per second; full {:.0}", median(empty_rates), median(full_rates));
    if server.kind == Kind::Postgres {
        let (empty, full) = (median(empty_pages), median(full_pages));
        floor += &format!("; pages touched per transaction {empty:.1} and {full:.1}");
    }
    Line {
        name: format!(
            "2ps on {} at {IN_FLIGHT} in flight with {} finished, percent of an empty store",
            server.kind, full.finished
        ),
        figure: median(ratios),
        goal: Goal::AtLeast(90.0),
        floor,
    }
}
