//! `dtx check-history`.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use clap::Args;
use dtx_sim::history::{Breach, CheckSettings, Coverage, Doubt, Finding, Judgement, judge};
use serde::Serialize;

use crate::{
    exit::{EXIT_HELP, Exit, Failure},
    output,
};

const EXAMPLES: &str = "Examples:
  dtx sim --seed 42 --history run.jsonl && dtx check-history run.jsonl
  dtx check-history first.jsonl second.jsonl --json
  dtx check-history killed.jsonl --fault kill

Each file is a history of its own. Exit code 0 says that all are valid, 1 that one is invalid, 3
that none is invalid and one cannot be judged: it is cut, not readable, or tests nothing.";

/// The options of `dtx check-history`.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_HELP}"))]
pub(crate) struct CheckHistoryArgs {
    /// The histories: JSON lines, as dtx sim and dtx run write them with --history
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// A fault that must be in each history, such as kill or refusal; may be given again
    #[arg(long, value_name = "NAME")]
    fault: Vec<String>,
    /// Within so many seconds after the last fault everything must have ended
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    settle: u32,
    /// The longest line, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = CheckSettings::default().line_bytes_max, value_parser = bytes)]
    line_bytes_max: usize,
    /// The most transactions of one history: all of them are held in memory
    #[arg(long, value_name = "N", default_value_t = CheckSettings::default().transactions_max)]
    transactions_max: usize,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

/// A line is in memory as a whole.
fn bytes(text: &str) -> Result<usize, String> {
    const MOST: usize = 1 << 28;
    let value: usize = text.parse().map_err(|error| format!("{error}"))?;
    if (1..=MOST).contains(&value) { Ok(value) } else { Err(format!("give 1 to {MOST}")) }
}

/// What `dtx check-history --json` prints.
#[derive(Debug, Serialize)]
struct Printed {
    finding: Finding,
    files: Vec<PrintedFile>,
}

#[derive(Debug, Serialize)]
struct PrintedFile {
    file: PathBuf,
    finding: Finding,
    breach_count: u64,
    breaches: Vec<Breach>,
    doubt: Option<String>,
    coverage: Coverage,
}

/// Judges histories.
pub(crate) fn check_history(args: &CheckHistoryArgs) -> Result<Exit, Failure> {
    let settings = CheckSettings {
        line_bytes_max: args.line_bytes_max,
        transactions_max: args.transactions_max,
        settle_ms: u64::from(args.settle) * 1_000,
        faults: args.fault.iter().cloned().collect(),
        ..CheckSettings::default()
    };
    let mut files = Vec::new();
    for path in &args.files {
        let failed = |error| Failure::usage(format!("{}: {error}", path.display()));
        let file = File::open(path).map_err(failed)?;
        let judged = judge(BufReader::new(file), settings.clone());
        if !args.json {
            say(path, &judged)?;
        }
        let Judgement { finding, breaches, breach_count, doubt, coverage } = judged;
        let (file, doubt) = (path.clone(), doubt.as_ref().map(ToString::to_string));
        files.push(PrintedFile { file, finding, breach_count, breaches, doubt, coverage });
    }
    let finding = files.iter().map(|file| file.finding).max().unwrap_or(Finding::Unknown);
    if args.json {
        output::json(&Printed { finding, files })?;
    }
    Ok(match finding {
        Finding::Valid => Exit::Sound,
        Finding::Invalid => Exit::Failed,
        Finding::Unknown => Exit::Unknown,
    })
}

fn say(path: &Path, judged: &Judgement) -> Result<(), Failure> {
    let path = path.display();
    let Coverage { lines, incarnations, accepted, ended, open, kept, effects, .. } =
        &judged.coverage;
    output::line(format!(
        "{path}: {}: {lines} lines of {incarnations} runs, {accepted} accepted, {ended} ended, \
         {open} open, {kept} answers, {effects} effects, {} rules broken",
        judged.finding, judged.breach_count
    ))?;
    for breach in &judged.breaches {
        let line = breach.lines.last().copied().unwrap_or_default();
        output::line(format!("{path}:{line}: {breach}"))?;
    }
    match &judged.doubt {
        Some(doubt @ Doubt::Line { line, .. }) => output::line(format!("{path}:{line}: {doubt}")),
        Some(doubt) => output::line(format!("{path}: {doubt}")),
        None => Ok(()),
    }
}
