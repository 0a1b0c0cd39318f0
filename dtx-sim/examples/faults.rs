//! Every single fault, or every pair of faults, at every step of one transaction, for every
//! pattern and every set of modifiers.
//!
//! `faults list` prints the scenarios; `faults explore FAULTS FROM COUNT SECONDS` explores so many
//! of them from a number on, begins none after so many seconds, and prints one JSON object for
//! each; `faults replay NAME STEP:FAULT..` prints the sequence diagram of one run. Without a word
//! it explores every single fault of the first scenario.

use std::{process::ExitCode, time::Instant};

use dtx_sim::{Planned, Scenario, StepFault, explore_faults, replay_faults};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match *words.as_slice() {
        [] => explore(1, 0, 1, 60),
        ["list"] => {
            Scenario::all().iter().for_each(|scenario| println!("{}", scenario.name()));
            ExitCode::SUCCESS
        }
        ["explore", faults, from, count, seconds] => {
            let number = |word: &str| word.parse::<usize>().expect("a number");
            explore(number(faults), number(from), number(count), number(seconds))
        }
        ["replay", name, ref plan @ ..] => replay(name, plan),
        _ => {
            eprintln!(
                "give `list`, `explore FAULTS FROM COUNT SECONDS` or `replay NAME STEP:FAULT..`"
            );
            ExitCode::from(2)
        }
    }
}

fn explore(faults: usize, from: usize, count: usize, seconds: usize) -> ExitCode {
    let begun = Instant::now();
    let mut is_sound = true;
    for scenario in Scenario::all().iter().skip(from).take(count) {
        if begun.elapsed().as_secs() >= seconds as u64 {
            break;
        }
        let start = Instant::now();
        let explored = explore_faults(scenario, faults);
        is_sound &= explored.is_sound();
        let mut object = serde_json::to_value(&explored).expect("a report is plain data");
        object["seconds"] = start.elapsed().as_secs_f64().into();
        println!("{object}");
    }
    if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay(name: &str, plan: &[&str]) -> ExitCode {
    let scenarios = Scenario::all();
    let Some(scenario) = scenarios.iter().find(|scenario| scenario.name() == name) else {
        eprintln!("there is no scenario {name:?}");
        return ExitCode::from(2);
    };
    let plan: Option<Vec<Planned>> = plan.iter().map(|word| planned(word)).collect();
    let Some(plan) = plan else {
        eprintln!("a fault is written as in a report, such as `12:Drop` or `3:Stall(0)`");
        return ExitCode::from(2);
    };
    let report = replay_faults(scenario, &plan);
    println!("{}", report.diagram());
    report.violations.iter().for_each(|violation| println!("%% {}", violation.what));
    if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn planned(word: &str) -> Option<Planned> {
    let (step, name) = word.split_once(':')?;
    let (kind, node) = name.split_once('(').unwrap_or((name, "0)"));
    let node: u8 = node.strip_suffix(')')?.parse().ok()?;
    let fault = match kind {
        "CrashCoordinator" => StepFault::CrashCoordinator(node),
        "CrashParticipant" => StepFault::CrashParticipant(node),
        "Stall" => StepFault::Stall(node),
        "Drop" => StepFault::Drop,
        "Delay" => StepFault::Delay,
        "Duplicate" => StepFault::Duplicate,
        "LostAcknowledgement" => StepFault::LostAcknowledgement,
        "Unavailable" => StepFault::Unavailable,
        "LateLanding" => StepFault::LateLanding,
        _ => return None,
    };
    Some(Planned { step: step.parse().ok()?, fault })
}
