//! Throughput: the raw server, the same writes without a coordinator, and with one.

use dtx_bench::{Goal, Line, median};

use super::{
    Plan,
    bare::Bare,
    coordinator, raw,
    sample::Sample,
    server::{Kind, Server},
};

const IN_FLIGHT: usize = 1_024;

/// What the windows have measured, one value per window.
#[derive(Debug, Default)]
struct Measured {
    raw: Vec<f64>,
    bare: Vec<f64>,
    dtx: Vec<f64>,
    records: Vec<f64>,
    batch: Vec<f64>,
}

impl Measured {
    /// The middle of one in percent of the other, window by window.
    fn percent(&self, of: impl Fn(&Self, usize) -> (f64, f64)) -> f64 {
        median((0..self.dtx.len()).map(|at| {
            let (figure, floor) = of(self, at);
            100.0 * figure / floor
        }))
    }
}

pub(crate) async fn run(server: &Server, sample: &Sample, plan: Plan) -> Vec<Line> {
    let mut all = Measured::default();
    for _ in 0..plan.windows {
        all.raw.push(raw::window(server, sample.record_bytes(), plan.window).await);
        let name = server.name();
        let bare = Bare::new(server.open(&name).await, sample).await;
        all.bare.push(bare.window(IN_FLIGHT, plan.window).await);
        drop(bare);
        server.forget(&name).await;
        let name = server.name();
        let window = coordinator::window(server.open(&name).await, IN_FLIGHT, plan.window).await;
        all.dtx.push(window.rate);
        all.records.push(window.records);
        all.batch.push(window.batch);
        server.forget(&name).await;
    }
    lines(server.kind, sample, &all)
}

fn lines(kind: Kind, sample: &Sample, all: &Measured) -> Vec<Line> {
    let of = |values: &Vec<f64>| median(values.iter().copied());
    let raw = format!(
        "{} {:.0} records of {} bytes per second, {:.2} records per transaction",
        raw::says(kind),
        of(&all.raw),
        sample.record_bytes(),
        of(&all.records)
    );
    let bare = format!("the same writes {:.0} per second", of(&all.bare));
    let dtx = format!("dtx {:.0} per second, {:.0} per commit", of(&all.dtx), of(&all.batch));
    let name = |what: &str| format!("2ps on {kind} at {IN_FLIGHT} in flight, {what}");
    let per_record = |all: &Measured, at: usize| all.raw[at] / all.records[at];
    match kind {
        Kind::Postgres => vec![
            Line {
                name: name("percent of the same writes without a coordinator"),
                figure: all.percent(|all, at| (all.dtx[at], all.bare[at])),
                goal: Goal::AtLeast(50.0),
                floor: format!("{bare}; {dtx}"),
            },
            Line {
                name: name("percent that the same writes are of raw inserts"),
                figure: all.percent(|all, at| (all.bare[at], per_record(all, at))),
                goal: Goal::AtLeast(25.0),
                floor: format!("{raw}; {bare}"),
            },
        ],
        Kind::Redis => vec![Line {
            name: name("percent of raw scripts"),
            figure: all.percent(|all, at| (all.dtx[at], per_record(all, at))),
            goal: Goal::AtLeast(40.0),
            floor: format!("{raw}; {bare}; {dtx}"),
        }],
    }
}
