//! `dtx heal`.

use std::time::{Duration, Instant};

use clap::Args;
use dtx::{
    RedbReader,
    coordinator::HealReport,
    engine::{HealSettings, readable},
    store::{Catalog, Filter, PAGE_ITEMS_MAX, Status, TxRecord},
    time::Timestamp,
};
use dtx_shop::{ServiceSettings, StoreAddress, TransportAddress, start_services};
use serde::Serialize;

use super::{
    access::{Owner, owner_of, path_of},
    run::open_redb,
    submit::{conditions, strategies},
    tx::{DURABLE_ONLY, open},
};
use crate::{
    exit::{EXIT_HELP, Exit, Failure},
    output,
};

const EXAMPLES: &str = "Examples:
  dtx heal --store redb:shop.redb --json
  dtx heal --store redb:shop.redb --look

Where no process runs on the store, what is open in it is taken up by the services of the shop and
brought to its end. Where one runs, its own healer does that, and this only looks. Exit code 1
says that something is left which only an operator, or more time, can bring to its end.";

/// How long between two looks at what is still open.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a stop waits for what is left.
const GRACE: Duration = Duration::from_secs(5);

/// As [`GRACE`], where it is known that something stays open.
const GRACE_STUCK: Duration = Duration::from_millis(200);

/// The options of `dtx heal`.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_HELP}"))]
pub(crate) struct HealArgs {
    /// The store: redb:PATH. Another process may run on it
    #[arg(long, value_name = "STORE")]
    store: StoreAddress,
    /// Only look, and change nothing
    #[arg(long)]
    look: bool,
    /// From how many seconds without a record on an open transaction is an orphan, while a
    /// process runs on the store; without one every open transaction is
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    orphan_age: u64,
    /// How many seconds to wait for what is taken up
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `dtx heal --json` prints.
#[derive(Debug, Serialize)]
struct Healed {
    store: String,
    /// The process that runs on the store.
    owner: Option<Owner>,
    /// Whether nothing was changed.
    looked_only: bool,
    /// How it was found.
    found: HealReport,
    /// How many transactions were taken up and have ended.
    healed: u64,
    /// How many are still on their way, those that wait for their time or for a person left out.
    left_open: u64,
    /// How many wait in the store for their time, or for a signal.
    parked: u64,
    /// How many wait for an operator.
    needs_operator: u64,
    /// How many records cannot be read.
    quarantined: u64,
    seconds: f64,
}

/// What is open in a store.
#[derive(Debug, Default)]
struct Open {
    report: HealReport,
    open: u64,
    parked: u64,
    needs_attention: u64,
}

/// Says what needs healing, and heals it.
pub(crate) async fn heal(args: HealArgs) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let path = path_of(&args.store)?;
    let owner = owner_of(&args.store)?;
    let age = if owner.is_some() { args.orphan_age } else { 0 };
    let settings = HealSettings { orphan_age: Duration::from_secs(age), ..HealSettings::default() };
    let before = look(&open(&args.store)?, &settings).await?;
    let looked_only = args.look || owner.is_some();
    let mut after = Open::default();
    if looked_only {
        (after.open, after.parked) = (before.open, before.parked);
        after.needs_attention = before.needs_attention;
    } else if before.open + before.parked + before.needs_attention > 0 {
        let store = open_redb(path).await?;
        let mut services = ServiceSettings::new(&args.store, TransportAddress::InMemory);
        services.strategies = strategies();
        services.conditions = conditions();
        let dtx = start_services(&store, &services).await.map_err(Failure::failed)?;
        let end = begun + Duration::from_secs(args.wait);
        after = loop {
            let now = look(&store, &settings).await?;
            if now.open == 0 || Instant::now() >= end {
                break now;
            }
            tokio::time::sleep(PAUSE).await;
        };
        dtx.shutdown(if after.open == 0 { GRACE } else { GRACE_STUCK }).await;
        store.close().await.map_err(Failure::failed)?;
    }
    let total = |open: &Open| open.open + open.parked + open.needs_attention;
    let healed = Healed {
        store: args.store.to_string(),
        owner,
        looked_only,
        healed: total(&before).saturating_sub(total(&after)),
        left_open: after.open,
        parked: after.parked,
        needs_operator: after.needs_attention,
        quarantined: before.report.quarantined_count,
        found: before.report,
        seconds: begun.elapsed().as_secs_f64(),
    };
    let is_sound = healed.left_open == 0 && healed.needs_operator == 0 && healed.quarantined == 0;
    if args.json {
        output::json(&healed)?;
    } else {
        print(&healed)?;
    }
    Ok(if is_sound { Exit::Sound } else { Exit::Failed })
}

/// Examines every open transaction.
async fn look(store: &impl Look, settings: &HealSettings) -> Result<Open, Failure> {
    let now = now();
    let mut found = Open::default();
    for status in [Status::Open, Status::Parked, Status::NeedsAttention] {
        let mut filter =
            Filter { status: Some(status), limit: PAGE_ITEMS_MAX, ..Filter::default() };
        loop {
            let page = store.list(&filter).await.map_err(Failure::failed)?;
            for record in page.items {
                note(&mut found, &record, status, now, settings);
            }
            filter.cursor = page.next;
            if filter.cursor.is_none() {
                break;
            }
        }
    }
    for tx in store.unreadable(settings.listed_max)? {
        found.report.quarantine(tx, "the row cannot be read".to_owned(), settings.listed_max);
    }
    found.report.complete = true;
    Ok(found)
}

fn note(
    found: &mut Open,
    record: &TxRecord,
    status: Status,
    now: Timestamp,
    settings: &HealSettings,
) {
    found.report.note(record, now, settings);
    // One that cannot be read is counted as that alone: nobody can go on with it.
    if readable(record).is_err() {
        return;
    }
    match status {
        Status::Parked => found.parked += 1,
        Status::NeedsAttention => found.needs_attention += 1,
        Status::Open | Status::Finished(_) => found.open += 1,
    }
}

/// A store that can be looked at.
trait Look: Catalog {
    /// The transactions whose rows cannot be read.
    fn unreadable(&self, limit: usize) -> Result<Vec<dtx::ids::TxId>, Failure>;
}

impl Look for RedbReader {
    fn unreadable(&self, limit: usize) -> Result<Vec<dtx::ids::TxId>, Failure> {
        Self::unreadable(self, limit).map_err(Failure::failed)
    }
}

impl Look for dtx::RedbStore {
    /// Looked for once, before the store was opened.
    fn unreadable(&self, _: usize) -> Result<Vec<dtx::ids::TxId>, Failure> {
        Ok(Vec::new())
    }
}

/// The clock of this machine, which is that of the store too.
fn now() -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp::ZERO + now.unwrap_or_default()
}

fn print(healed: &Healed) -> Result<(), Failure> {
    let found = &healed.found;
    let mut facts = vec![
        ("orphans", found.orphans.count.to_string()),
        ("overdue", found.overdue.to_string()),
        ("healed", healed.healed.to_string()),
        ("still open", healed.left_open.to_string()),
        ("parked", healed.parked.to_string()),
        ("need an operator", healed.needs_operator.to_string()),
        ("quarantined", healed.quarantined.to_string()),
    ];
    if let Some(owner) = &healed.owner {
        let text = format!("process {} ({}), whose healer does the rest", owner.pid, owner.program);
        facts.insert(0, ("owner", text));
    }
    for (name, value) in facts {
        output::line(format_args!("{name:<17} {value}"))?;
    }
    for quarantined in &found.quarantined {
        output::line(format_args!("quarantined {}: {}", quarantined.tx, quarantined.reason))?;
    }
    if healed.needs_operator > 0 {
        output::line("`dtx tx list --status needs-attention` shows what waits for an operator.")?;
    }
    if healed.owner.is_some() { output::line(DURABLE_ONLY) } else { Ok(()) }
}
