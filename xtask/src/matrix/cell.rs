//! One cell: runs without faults, with faults, and with kills, each judged by the shop's audit.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    processes::{Ended, Process},
    table::Cell,
};
use crate::{services::Own, workspace::Workspace};

/// How long one process may take.
const LONG: Duration = Duration::from_secs(180);

/// How many orders are on their way at once: few enough for a kill to find some begun and some
/// not.
const CONCURRENCY: &str = "32";

/// How often services say no and messages are lost, each half as often.
const FAIL: &str = "0.2";

/// How far a run is when something is killed for the first time, and then.
const KILL_COORDINATOR_AT: f64 = 0.25;
const KILL_SERVICES_AT: f64 = 0.5;

/// How far a run is when its broker is killed.
const KILL_BROKER_AT: [f64; 2] = [0.25, 0.5];

/// What is done to the orders of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trial {
    /// Nothing.
    Plain,
    /// Services say no, and messages are lost.
    Faults,
    /// The same, and `kill -9` of the coordinator, and of services that are apart.
    Kills,
    /// As with faults, and `kill -9` of the broker, twice, which is then started again.
    Broker,
}

impl Trial {
    pub(crate) const ALL: [Self; 4] = [Self::Plain, Self::Faults, Self::Kills, Self::Broker];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Faults => "faults",
            Self::Kills => "kills",
            Self::Broker => "broker",
        }
    }
}

/// What the trials of a cell run with.
#[derive(Clone, Debug)]
pub(crate) struct Equipment<'a> {
    pub(crate) workspace: &'a Workspace,
    /// The program `dtx`.
    pub(crate) program: PathBuf,
    /// The orders.
    pub(crate) orders: PathBuf,
    /// A folder for files of this matrix alone.
    pub(crate) folder: PathBuf,
    /// What names of runs and messages begin with, so that nothing of another matrix is met.
    pub(crate) stamp: String,
    /// The URLs of the services.
    pub(crate) urls: BTreeMap<String, String>,
}

/// What came of a trial.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) trial: Trial,
    /// Processes of services beside the coordinator's.
    pub(crate) processes: usize,
    pub(crate) kills: u32,
    pub(crate) seconds: f64,
    /// What the run printed.
    pub(crate) report: Value,
}

/// A broker of this trial alone, which can be killed, and in which no topics of other trials take
/// time: with a thousand partitions Kafka was back after 10 to 17 s and not after 4, which is more
/// than the sessions of its consumers.
///
/// # Errors
/// A text when it does not start.
pub(crate) fn own_broker<'a>(
    cell: &Cell,
    trial: Trial,
    with: &Equipment<'a>,
) -> Result<Option<Own<'a>>, String> {
    let folder = format!("{}-{}-{}", cell.store.name, cell.pattern, trial.name());
    let folder = with.folder.join(folder);
    let service = cell.transport.service;
    service.map(|service| Own::start(with.workspace, service, folder)).transpose()
}

/// Runs one trial of a cell, over its own broker if it has one.
///
/// # Errors
/// A text when the run is not sound, or did not end.
pub(crate) fn attempt(
    cell: &Cell,
    trial: Trial,
    with: &Equipment<'_>,
    broker: Option<&Own<'_>>,
) -> Result<Outcome, String> {
    let begun = Instant::now();
    let place = Place::of(cell, trial, with, broker.map(Own::url))?;
    let mut services = Services::start(cell, trial, with, &place)?;
    let mut run = place.run(cell, trial, with)?;
    let kills = match (trial, broker) {
        (Trial::Kills, _) => {
            kill_processes(&mut run, &mut services, || place.run(cell, trial, with))?
        }
        (Trial::Broker, Some(broker)) => kill_broker(&mut run, broker)?,
        _ => None,
    };
    if kills == Some(0) {
        return Err("it ended before anything was killed; give it more --orders".into());
    }
    let ended = run.end()?;
    let processes = services.running.len();
    services.stop();
    let report = judge(&ended)?;
    let (kills, seconds) = (kills.unwrap_or(0), begun.elapsed().as_secs_f64());
    Ok(Outcome { trial, processes, kills, seconds, report })
}

/// Kills the coordinator, and one process of services, while orders are on their way.
fn kill_processes(
    run: &mut Process,
    services: &mut Services<'_>,
    again: impl Fn() -> Result<Process, String>,
) -> Result<Option<u32>, String> {
    let mut kills = 0;
    if run.reaches(KILL_COORDINATOR_AT)? {
        run.kill();
        kills += 1;
        *run = again()?;
    }
    if services.any() && run.reaches(KILL_SERVICES_AT)? {
        kills += services.kill_one()?;
    }
    Ok(Some(kills))
}

/// Kills the broker while orders are on their way, and starts it again, each time.
fn kill_broker(run: &mut Process, broker: &Own<'_>) -> Result<Option<u32>, String> {
    let mut kills = 0;
    for share in KILL_BROKER_AT {
        if run.reaches(share)? {
            broker.kill_and_restart()?;
            kills += 1;
        }
    }
    Ok(Some(kills))
}

fn judge(ended: &Ended) -> Result<Value, String> {
    let report = serde_json::from_str::<Value>(&ended.last_line).ok();
    match report {
        Some(report) if ended.success => Ok(report),
        Some(report) => Err(format!("it is not sound: {report}\n{}", ended.said)),
        None => Err(format!("it printed no report; it said: {}", ended.said)),
    }
}

/// Where a trial keeps its rows and sends its messages.
struct Place {
    run: String,
    store: String,
    transport: String,
}

impl Place {
    /// `broker`: the one of this cell alone, if it has one.
    fn of(
        cell: &Cell,
        trial: Trial,
        with: &Equipment<'_>,
        broker: Option<&str>,
    ) -> Result<Self, String> {
        let pattern = cell.pattern.replace('.', "");
        let run = format!("{}-{}-{}-{pattern}", with.stamp, cell.transport.name, trial.name());
        let url = |service: &str| {
            with.urls.get(service).ok_or_else(|| format!("there is no server of {service}"))
        };
        let store = match (cell.store.service, cell.store.durable) {
            (Some(service), _) => url(service)?.clone(),
            (None, true) => format!("redb:{}", with.folder.join(format!("{run}.redb")).display()),
            (None, false) => cell.store.name.to_owned(),
        };
        let transport = match cell.transport.service {
            // Topics and streams of its own: what is left of another trial is never met.
            Some(service) => {
                let url = broker.map_or_else(|| url(service).map(String::as_str), Ok)?;
                with_prefix(service, url, &format!("{run}-{}", cell.store.name))
            }
            None => cell.transport.name.to_owned(),
        };
        Ok(Self { run, store, transport })
    }

    fn run(&self, cell: &Cell, trial: Trial, with: &Equipment<'_>) -> Result<Process, String> {
        let mut command = Command::new(&with.program);
        command.arg("run").arg("--orders").arg(&with.orders);
        command.args(["--pattern", cell.pattern, "--run", &self.run]);
        command.args(["--store", &self.store, "--transport", &self.transport]);
        command.args(["--concurrency", CONCURRENCY, "--progress", "json", "--json"]);
        if cell.is_apart() {
            command.args(["--services", "apart"]);
        }
        fail(&mut command, trial);
        Process::start(&mut command, LONG)
    }
}

/// The address of a broker, with a prefix for everything that is made there.
pub(super) fn with_prefix(service: &str, url: &str, prefix: &str) -> String {
    let url = if url.contains("://") { url.to_owned() } else { format!("{service}://{url}") };
    let join = if url.contains('?') { '&' } else { '?' };
    format!("{url}{join}prefix={prefix}")
}

fn fail(command: &mut Command, trial: Trial) {
    if trial != Trial::Plain {
        command.args(["--fail", FAIL, "--seed", "7"]);
    }
}

/// The processes of the services: two of them, each with all services, so that they compete.
struct Services<'a> {
    running: Vec<Process>,
    start: Box<dyn Fn() -> Result<Process, String> + 'a>,
}

impl<'a> Services<'a> {
    const PROCESSES: usize = 2;

    fn start(
        cell: &Cell,
        trial: Trial,
        with: &'a Equipment<'a>,
        place: &Place,
    ) -> Result<Self, String> {
        let (store, transport) = (place.store.clone(), place.transport.clone());
        let start = move || {
            let mut command = Command::new(&with.program);
            command.args(["serve", "--json", "--store", &store, "--transport", &transport]);
            fail(&mut command, trial);
            let mut process = Process::start(&mut command, 2 * LONG)?;
            process.first_line()?;
            Ok(process)
        };
        let wanted = if cell.is_apart() { Self::PROCESSES } else { 0 };
        let running = (0..wanted).map(|_| start()).collect::<Result<_, _>>()?;
        Ok(Self { running, start: Box::new(start) })
    }

    fn any(&self) -> bool {
        !self.running.is_empty()
    }

    /// Kills one of them and starts another in its place.
    fn kill_one(&mut self) -> Result<u32, String> {
        let mut first = self.running.remove(0);
        first.kill();
        self.running.push((self.start)()?);
        Ok(1)
    }

    /// Kills them all: what they have answered is durable.
    fn stop(self) {
        drop(self.running);
    }
}

/// Writes the first orders of a file.
///
/// # Errors
/// A text when a file cannot be read or written.
pub(crate) fn first_orders(from: &Path, to: &Path, count: usize) -> Result<(), String> {
    let shown = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(from).map_err(|error| shown(from, error))?;
    let lines: Vec<_> = text.lines().take(count + 1).collect();
    std::fs::write(to, lines.join("\n") + "\n").map_err(|error| shown(to, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_added_to_any_address() {
        let with = |url| with_prefix("kafka", url, "a");
        assert_eq!(with("127.0.0.1:1"), "kafka://127.0.0.1:1?prefix=a");
        assert_eq!(with("kafka://h:1?tls=on"), "kafka://h:1?tls=on&prefix=a");
    }

    #[test]
    fn only_a_sound_report_is_taken() {
        let ended = |success, last_line: &str| Ended {
            success,
            last_line: last_line.to_owned(),
            said: "why".into(),
        };
        assert!(judge(&ended(true, "{\"committed\":1}")).is_ok());
        let unsound = judge(&ended(false, "{\"committed\":1}")).expect_err("it is not sound");
        assert!(unsound.contains("committed") && unsound.contains("why"), "{unsound}");
        assert!(judge(&ended(true, "")).expect_err("nothing").contains("no report"));
    }
}
