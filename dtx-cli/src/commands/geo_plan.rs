//! `dtx geo plan`.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use dtx::geo::{
    model::{JitterMap, Provider, RttMap, Shipped},
    plan::{
        Criterion, DataOperation, HomeMove, Kind, Market, Mode, Offer, PlanError, PlanMap, Quorum,
        Remaster, Risk, Shape, TransactionPlan,
    },
    sim::drawn_latency,
};
use serde::{Deserialize, Serialize};

use super::{geo_draw, geo_plan_map};
use crate::{
    exit::{Exit, Failure},
    output,
};

/// The largest file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// How far copies are behind, where the file does not say.
const LAG_MS: f64 = 1_000.0;
/// How often a region fails, where the file does not say: what clouds promise of a database in one.
const REGION_FAILS: f64 = 1e-4;
/// Transactions of each plan of which the quantiles are taken, and their seed.
const DRAWN: (u64, usize) = (1, 10_000);

/// The options of `dtx geo plan`.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// What a transaction does, and where its data are: see dtx-cli/examples/plans
    file: PathBuf,
    /// Which of the plans is taken of which none is better in everything
    #[arg(long, value_enum, default_value_t)]
    by: By,
    /// Draw the regions with what each does, and the other plans, into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Also say why: where the data are, and what the other plans would take
    #[arg(long)]
    explain: bool,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum By {
    /// The soonest
    #[default]
    Latency,
    /// The cheapest
    Money,
    /// The one that fails least
    Failure,
}

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanFile {
    provider: String,
    pub(super) client: String,
    mode: ModeWord,
    /// Where data may be; everywhere if empty.
    #[serde(default)]
    pub(super) within: Vec<String>,
    pub(super) operations: Vec<OperationEntry>,
    /// How often the participants are asked before the decision.
    rounds: Option<u32>,
    /// How many such transactions are expected before the data is needed elsewhere.
    repeats: Option<u64>,
    zones_ms: Option<f64>,
    lag_ms: Option<f64>,
    risk: Option<RiskEntry>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) enum ModeWord {
    StrongGlobal,
    StrongRegional,
    EventualGlobal,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OperationEntry {
    #[serde(default)]
    pub(super) write: bool,
    pub(super) home: String,
    #[serde(default)]
    pub(super) copies: Vec<String>,
    #[serde(default)]
    bytes: u64,
    /// Of its data in all; without it, as many as it reads or writes.
    data_bytes: Option<u64>,
    /// Whether it takes units from a regional pool.
    #[serde(default)]
    pub(super) pooled: bool,
    #[serde(default)]
    staleness_ms: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RiskEntry {
    region: f64,
    #[serde(default)]
    zone: f64,
    #[serde(default)]
    link: f64,
}

/// What `dtx geo plan --json` prints.
#[derive(Debug, Serialize)]
pub(super) struct PlanReport {
    provider: &'static str,
    pub(super) mode: ModeWord,
    #[serde(flatten)]
    pub(super) best: OfferReport,
    /// The region that decides on most of what is written, or read where nothing is.
    primary: String,
    /// The other regions that hold a copy.
    secondaries: Vec<String>,
    /// The region that serves each operation.
    pub(super) served_by: Vec<String>,
    /// Where each operation must be durable before the client is told; null for one that reads.
    pub(super) durable: Vec<Option<QuorumReport>>,
    /// The same of the decision of a two-phase commit.
    pub(super) decision: Option<QuorumReport>,
    /// How long the coordinator waits before it asks each of them.
    delays_ms: Vec<f64>,
    /// Over drawn round trips.
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// No plan of its kind is below, over the shortest ways.
    pub(super) bound_ms: f64,
    gap: f64,
    locality: Locality,
    /// The plans of which none is better in everything; the first is the one above.
    pub(super) offers: Vec<OfferReport>,
    /// So many transactions are expected, if it was said.
    repeats: Option<u64>,
    /// Moving homes first; null when that does not pay, or it was not said.
    remaster: Option<RemasterReport>,
}

/// Moving homes to one region.
#[derive(Debug, Serialize)]
struct RemasterReport {
    region: String,
    /// The operations whose homes move, by index.
    operations: Vec<usize>,
    /// How the transaction is carried out then.
    kind: &'static str,
    coordinator: String,
    expected_ms: f64,
    /// How long the data is at rest.
    takes_ms: f64,
    /// What sending data costs, in US dollars; null where a price is not known.
    usd: Option<f64>,
    /// By how much each transaction is sooner than the soonest plan without a move.
    saving_ms: f64,
    /// After so many transactions the move has paid for its time.
    break_even: Option<u64>,
}

/// Regions, of which so many must have something.
#[derive(Debug, Serialize)]
pub(super) struct QuorumReport {
    /// The first one must.
    pub(super) regions: Vec<String>,
    pub(super) needed: usize,
}

impl fmt::Display for QuorumReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.regions.split_first() {
            Some((first, [])) => f.write_str(first),
            Some((first, others)) => {
                write!(f, "{first} and {} of {}", self.needed - 1, others.join(", "))
            }
            None => Ok(()),
        }
    }
}

/// A plan, and what it takes.
#[derive(Clone, Debug, Serialize)]
pub(super) struct OfferReport {
    pub(super) kind: &'static str,
    pub(super) coordinator: String,
    pub(super) expected_ms: f64,
    /// In US dollars for a million transactions; null where a price is not known.
    pub(super) usd_per_million: Option<f64>,
    pub(super) failure: f64,
}

/// Where the data of the operations are.
#[derive(Debug, Serialize)]
struct Locality {
    /// The share of the operations with each home.
    homes: BTreeMap<String, f64>,
    /// The share of the operations that only read.
    reads: f64,
}

/// Reads a file and plans what it says.
pub(super) fn plan(args: &PlanArgs) -> Result<Exit, Failure> {
    let file = read(args)?;
    let wrong = |text: String| Failure::usage(format!("{}: {text}", args.file.display()));
    let provider: Provider =
        file.provider.parse().map_err(|error| wrong(format!("provider: {error}")))?;
    let (map, jitter) = (Shipped::rtt(provider).symmetric(), Shipped::jitter(provider));
    let report = Planner { file: &file, provider, map: &map, jitter: &jitter };
    let report = report.report(args.by).map_err(wrong)?;
    if let Some(out) = &args.svg {
        geo_draw::save(out, geo_plan_map::draw(&file, &report, &map))?;
    }
    if args.json {
        output::json(&report)?;
    } else {
        print(&report, args.explain)?;
    }
    Ok(Exit::Sound)
}

fn read(args: &PlanArgs) -> Result<PlanFile, Failure> {
    let file = args.file.display();
    let cannot = |error: std::io::Error| Failure::usage(format!("{file} cannot be read: {error}"));
    let bytes = std::fs::metadata(&args.file).map_err(cannot)?.len();
    if bytes > FILE_BYTES_MAX {
        let text = format!("{file} has {bytes} bytes; {FILE_BYTES_MAX} are the most");
        return Err(Failure::usage(text));
    }
    let text = std::fs::read(&args.file).map_err(cannot)?;
    let mut reader = serde_json::Deserializer::from_slice(&text);
    let parsed = serde_path_to_error::deserialize(&mut reader);
    let parsed = parsed.map_err(|error| Failure::usage(format!("{file}: {error}")))?;
    reader.end().map_err(|error| Failure::usage(format!("{file}: {error}")))?;
    Ok(parsed)
}

struct Planner<'a> {
    file: &'a PlanFile,
    provider: Provider,
    map: &'a RttMap,
    jitter: &'a JitterMap,
}

impl Planner<'_> {
    fn region(&self, field: &str, name: &str) -> Result<usize, String> {
        let unknown = || format!("{field}: {} has no region {name}", self.provider);
        self.map.index(name).ok_or_else(unknown)
    }

    fn regions(&self, field: &str, names: &[String]) -> Result<Vec<usize>, String> {
        names.iter().map(|name| self.region(field, name)).collect()
    }

    fn name(&self, region: usize) -> String {
        self.map.regions()[region].to_string()
    }

    fn report(&self, by: By) -> Result<PlanReport, String> {
        let file = self.file;
        let mut allowed = vec![file.within.is_empty(); self.map.regions().len()];
        for region in self.regions("within", &file.within)? {
            allowed[region] = true;
        }
        let (mut homes, mut copies) = (Vec::new(), Vec::new());
        for (index, operation) in file.operations.iter().enumerate() {
            let field = |name: &str| format!("operations[{index}].{name}");
            homes.push(self.region(&field("home"), &operation.home)?);
            copies.push(self.regions(&field("copies"), &operation.copies)?);
        }
        let mut operations = Vec::new();
        for (index, entry) in file.operations.iter().enumerate() {
            let field = format!("operations[{index}].staleness_ms");
            operations.push(DataOperation {
                write: entry.write,
                home: homes[index],
                copies: &copies[index],
                staleness: millis(&field, entry.staleness_ms)?,
                bytes: entry.bytes,
                pooled: entry.pooled,
            });
        }
        let client = self.region("client", &file.client)?;
        let mode = match file.mode {
            ModeWord::StrongGlobal => Mode::StrongGlobal,
            ModeWord::StrongRegional => Mode::StrongRegional,
            ModeWord::EventualGlobal => Mode::EventualGlobal,
        };
        let rounds = file.rounds.unwrap_or(1);
        let shape = Shape { client, mode, operations: &operations, allowed: &allowed, rounds };
        self.planned(&shape, by)
    }

    fn planned(&self, shape: &Shape<'_>, by: By) -> Result<PlanReport, String> {
        let zones = match self.file.zones_ms {
            Some(zones) => millis("zones_ms", zones)?,
            None => Shipped::zones(self.provider).median(),
        };
        let lag = millis("lag_ms", self.file.lag_ms.unwrap_or(LAG_MS))?;
        let plans = PlanMap::new(self.map, zones, lag).ok_or("a pair of the map is not known")?;
        let entry = self.file.risk.as_ref();
        let risk = entry.map_or((REGION_FAILS, 0.0, 0.0), |r| (r.region, r.zone, r.link));
        let risk = Risk::new(risk.0, risk.1, risk.2).map_err(|error| format!("risk.{error}"))?;
        let prices = Shipped::prices();
        let market = Market { map: self.map, prices: &prices, risk };
        let by = match by {
            By::Latency => Criterion::Latency,
            By::Money => Criterion::Money,
            By::Failure => Criterion::Failure,
        };
        let text = |error: PlanError| error.to_string();
        let offers = plans.offers(shape, &market, by).map_err(text)?;
        let best = &offers[0];
        let bound = ms(plans.bound(shape).map_err(text)?);
        let (p50, p99) =
            drawn_latency(self.map, self.jitter, (&plans, zones), (shape, &best.plan), DRAWN);
        let expected = ms(best.plan.latency);
        let (primary, secondaries) = self.holders(shape);
        let durability = plans.durability(shape, &best.plan);
        let remaster = self.remaster(&plans, shape, &market).map_err(text)?;
        let quorum = |quorum: &Quorum| self.quorum(quorum);
        Ok(PlanReport {
            provider: self.provider.name(),
            mode: self.file.mode,
            best: self.offer(best),
            primary,
            secondaries,
            served_by: best.plan.served_by.iter().map(|region| self.name(*region)).collect(),
            durable: durability.writes.iter().map(|write| write.as_ref().map(quorum)).collect(),
            decision: durability.decision.as_ref().map(quorum),
            delays_ms: plans.delays(shape, &best.plan).into_iter().map(ms).collect(),
            p50_ms: ms(p50),
            p99_ms: ms(p99),
            bound_ms: bound,
            gap: if bound > 0.0 { expected / bound - 1.0 } else { 0.0 },
            locality: self.locality(shape),
            offers: offers.iter().map(|offer| self.offer(offer)).collect(),
            repeats: self.file.repeats,
            remaster: remaster.map(|found| self.moved(found)),
        })
    }

    /// The move of homes that pays most for the transactions that are expected.
    fn remaster(
        &self,
        plans: &PlanMap,
        shape: &Shape<'_>,
        market: &Market<'_>,
    ) -> Result<Option<Remaster>, PlanError> {
        let Some(repeats) = self.file.repeats else { return Ok(None) };
        let entries = self.file.operations.iter();
        let data: Vec<u64> = entries.map(|entry| entry.data_bytes.unwrap_or(entry.bytes)).collect();
        let wanted = HomeMove { repeats, data: &data, map: market.map, prices: market.prices };
        plans.remaster(shape, &wanted)
    }

    fn moved(&self, found: Remaster) -> RemasterReport {
        RemasterReport {
            region: self.name(found.region),
            operations: found.moved,
            kind: kind(&found.plan),
            coordinator: self.name(found.plan.coordinator),
            expected_ms: ms(found.plan.latency),
            takes_ms: ms(found.takes),
            usd: found.usd,
            saving_ms: ms(found.saving),
            break_even: found.break_even,
        }
    }

    fn offer(&self, offer: &Offer) -> OfferReport {
        OfferReport {
            kind: kind(&offer.plan),
            coordinator: self.name(offer.plan.coordinator),
            expected_ms: ms(offer.plan.latency),
            usd_per_million: offer.usd.map(|usd| usd * 1e6),
            failure: offer.failure,
        }
    }

    fn quorum(&self, quorum: &Quorum) -> QuorumReport {
        let regions = quorum.regions.iter().map(|region| self.name(*region)).collect();
        QuorumReport { regions, needed: quorum.needed }
    }

    /// The region that decides on most, and the others that hold data.
    fn holders(&self, shape: &Shape<'_>) -> (String, Vec<String>) {
        let writes = shape.operations.iter().any(|operation| operation.write);
        let mut decided = vec![0; shape.allowed.len()];
        for operation in shape.operations.iter().filter(|operation| operation.write == writes) {
            decided[operation.home] += 1;
        }
        let most = decided.iter().max().copied().unwrap_or(0);
        let primary = decided.iter().position(|count| *count == most).unwrap_or(shape.client);
        let mut others: Vec<usize> = shape
            .operations
            .iter()
            .flat_map(|operation| operation.copies.iter().chain([&operation.home]).copied())
            .filter(|region| *region != primary && shape.allowed[*region])
            .collect();
        others.sort_unstable();
        others.dedup();
        (self.name(primary), others.into_iter().map(|region| self.name(region)).collect())
    }

    fn locality(&self, shape: &Shape<'_>) -> Locality {
        let each = 1.0 / shape.operations.len() as f64;
        let mut homes = BTreeMap::new();
        for operation in shape.operations {
            *homes.entry(self.name(operation.home)).or_insert(0.0) += each;
        }
        let reads = shape.operations.iter().filter(|operation| !operation.write).count();
        Locality { homes, reads: reads as f64 * each }
    }
}

fn kind(plan: &TransactionPlan) -> &'static str {
    match plan.kind {
        Kind::Local => "Local",
        Kind::Pool => "Pool",
        Kind::ReadReplica => "ReadReplica",
        Kind::Eventual => "Eventual",
        Kind::TwoPhase => "TwoPhase",
    }
}

fn millis(field: &str, millis: f64) -> Result<Duration, String> {
    let wrong = || format!("{field}: {millis} is no time: give milliseconds from 0");
    Duration::try_from_secs_f64(millis / 1e3).map_err(|_| wrong())
}

fn ms(value: Duration) -> f64 {
    value.as_secs_f64() * 1e3
}

fn price(usd: Option<f64>) -> String {
    usd.map_or_else(|| "unknown".to_owned(), |usd| format!("{usd:.2}"))
}

fn print(report: &PlanReport, explain: bool) -> Result<(), Failure> {
    let best = &report.best;
    output::line(format_args!(
        "{} in {:?}, coordinated from {}, served by {}",
        best.kind,
        report.mode,
        best.coordinator,
        report.served_by.join(", ")
    ))?;
    output::line(format_args!(
        "expected {:.1} ms (p50 {:.1}, p99 {:.1}; no plan below {:.1}), {} US dollars of transfer \
         for a million, fails with probability {:.1e}",
        best.expected_ms,
        report.p50_ms,
        report.p99_ms,
        report.bound_ms,
        price(best.usd_per_million),
        best.failure
    ))?;
    print_remaster(report, explain)?;
    if explain { print_reasons(report) } else { Ok(()) }
}

/// The move that pays, or when asked for why, that none does.
fn print_remaster(report: &PlanReport, explain: bool) -> Result<(), Failure> {
    let Some(repeats) = report.repeats else { return Ok(()) };
    let Some(moved) = &report.remaster else {
        return match explain {
            true => output::line(format_args!("moving homes does not pay for {repeats} of them")),
            false => Ok(()),
        };
    };
    let operations: Vec<_> = moved.operations.iter().map(usize::to_string).collect();
    output::line(format_args!(
        "moving the homes of operations {} to {} first pays for {repeats} of them: {} from {}, \
         {:.1} ms expected",
        operations.join(", "),
        moved.region,
        moved.kind,
        moved.coordinator,
        moved.expected_ms
    ))?;
    let after = moved.break_even.map_or_else(|| "none".to_owned(), |count| count.to_string());
    output::line(format_args!(
        "the move takes {:.1} ms and {} US dollars, saves {:.1} ms each time, and has paid for its \
         time after {after}",
        moved.takes_ms,
        price(moved.usd),
        moved.saving_ms
    ))
}

fn print_reasons(report: &PlanReport) -> Result<(), Failure> {
    let homes = report.locality.homes.iter();
    let homes: Vec<_> =
        homes.map(|(home, share)| format!("{:.0} % in {home}", share * 100.0)).collect();
    output::line(format_args!(
        "data: {}; {:.0} % of the operations only read; primary {}, also in {}",
        homes.join(", "),
        report.locality.reads * 100.0,
        report.primary,
        report.secondaries.join(", ")
    ))?;
    let delays = report.served_by.iter().zip(&report.delays_ms);
    let delays: Vec<_> = delays.map(|(region, delay)| format!("{region} {delay:.1} ms")).collect();
    output::line(format_args!("asked after: {}", delays.join(", ")))?;
    for (index, quorum) in report.durable.iter().enumerate() {
        if let Some(quorum) = quorum {
            output::line(format_args!("told when operation {index} is durable in {quorum}"))?;
        }
    }
    if let Some(quorum) = &report.decision {
        output::line(format_args!("and the decision in {quorum}"))?;
    }
    output::line("plans of which none is better in everything:")?;
    let mut table =
        output::table(["kind", "coordinator", "expected ms", "USD per million", "fails"]);
    for offer in &report.offers {
        let fails = format!("{:.1e}", offer.failure);
        let (usd, expected) = (price(offer.usd_per_million), format!("{:.1}", offer.expected_ms));
        table.add_row([offer.kind.to_owned(), offer.coordinator.clone(), expected, usd, fails]);
    }
    output::line(output::text_of(&table))
}
