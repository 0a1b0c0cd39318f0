//! Speed as ratios to floors that are measured in the same run, windows interleaved.
//!
//! `cargo xtask bench` runs all of it. Each line prints the floor, the figure and the goal.
#![allow(clippy::unwrap_used, missing_docs)]

mod cpu;
mod embedded;
mod memory;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(name = "floors", about = "Measures dtx against floors of the same run")]
struct Args {
    /// Which to run; all without it.
    #[arg(value_parser = ["cpu", "embedded", "latency", "memory"])]
    only: Vec<String>,
    /// Seconds of each window.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Windows of each kind.
    #[arg(long, default_value_t = 5)]
    windows: usize,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let mut missed = 0;
    if wanted("cpu") {
        missed += cpu::run(args.seconds, args.windows);
    }
    if wanted("embedded") {
        missed += embedded::throughput(args.seconds, args.windows);
    }
    if wanted("latency") {
        missed += embedded::latency();
    }
    if wanted("memory") {
        missed += memory::run();
    }
    println!("{missed} goals missed");
    std::process::exit(i32::from(missed > 0));
}

/// Prints one line and says whether the goal was missed.
fn judge(name: &str, floor: &str, figure: f64, goal: f64, at_most: bool) -> usize {
    let met = if at_most { figure <= goal } else { figure >= goal };
    let word = if at_most { "at most" } else { "at least" };
    let verdict = if met { "met" } else { "MISSED" };
    println!("{name}: {figure:.2} ({word} {goal}) {verdict}; floor: {floor}");
    usize::from(!met)
}

/// The middle of the measured windows.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
