//! `dtx check-history`.

use std::{fs::File, io::BufReader, path::PathBuf};

use clap::Args;
use dtx_sim::history::{Breach, Coverage, Finding, Judgement, judge};
use serde::Serialize;

use crate::{
    exit::{EXIT_HELP, Exit, Failure},
    output,
};

const EXAMPLES: &str = "Examples:
  dtx sim --seed 42 --journal > run.jsonl
  dtx check-history run.jsonl

Exit code 0 says that the history is valid, 1 that it is invalid, 3 that it cannot be said: it is
cut, empty, not readable, or of another version.";

/// The options of `dtx check-history`.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_HELP}"))]
pub(crate) struct CheckHistoryArgs {
    /// The history: JSON lines, as `dtx sim --seed N --journal` prints them
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

/// What `dtx check-history --json` prints.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    finding: Finding,
    breach_count: u64,
    breaches: &'a [Breach],
    doubt: Option<String>,
    coverage: &'a Coverage,
}

/// Judges a history.
pub(crate) fn check_history(args: &CheckHistoryArgs) -> Result<Exit, Failure> {
    let file = File::open(&args.file)
        .map_err(|error| Failure::usage(format!("{}: {error}", args.file.display())))?;
    let judged = judge(BufReader::new(file));
    if args.json {
        output::json(&Printed {
            finding: judged.finding,
            breach_count: judged.breach_count,
            breaches: &judged.breaches,
            doubt: judged.doubt.as_ref().map(ToString::to_string),
            coverage: &judged.coverage,
        })?;
    } else {
        say(&judged)?;
    }
    Ok(match judged.finding {
        Finding::Valid => Exit::Sound,
        Finding::Invalid => Exit::Failed,
        Finding::Unknown => Exit::Unknown,
    })
}

fn say(judged: &Judgement) -> Result<(), Failure> {
    let Coverage { lines, accepted, commands, kept, told, .. } = &judged.coverage;
    let finding = judged.finding;
    output::line(format!(
        "{finding}: {lines} lines, {accepted} accepted, {commands} commands, {kept} answers kept, \
         {told} outcomes told, {} rules broken",
        judged.breach_count
    ))?;
    for Breach { rule, says, tx, lines } in &judged.breaches {
        let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
        output::line(format!("broken: {rule}: {says}; {tx}, lines {}", lines.join(", ")))?;
    }
    match &judged.doubt {
        Some(doubt) => output::line(format!("in doubt: {doubt}")),
        None => Ok(()),
    }
}
