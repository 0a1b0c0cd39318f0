//! `dtx tx list`.

use clap::Args;
use dtx::{
    name::Namespace,
    pattern::Pattern,
    store::{Filter, PAGE_ITEMS_MAX, Status, TxRecord},
};
use dtx_shop::StoreAddress;
use serde::Serialize;

use super::source::DURABLE_ONLY;
use crate::{
    commands::store::look_at,
    commands::words::{self, StatusWord},
    exit::{Exit, Failure},
    output,
};

/// The options of `dtx tx list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// The store to look at: redb:PATH, postgres://.. or redis://.. Another process may run on it
    #[arg(long, value_name = "STORE")]
    store: StoreAddress,
    /// Only those that stand so
    #[arg(long, value_enum)]
    status: Option<StatusWord>,
    /// Only those of this pattern: 0.5ps, saga, 1.5ps, 2ps, 3ps or 2pc
    #[arg(long)]
    pattern: Option<Pattern>,
    /// Only those whose key is in this namespace
    #[arg(long, value_parser = |text: &str| Namespace::new(text))]
    namespace: Option<Namespace>,
    /// Only those with exceptions that no operator has cleared
    #[arg(long)]
    exceptions: bool,
    /// How many at the most
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The JSON form of a listing.
#[derive(Debug, Serialize)]
struct Listing<'a> {
    store: String,
    /// Only durable records are seen.
    records: &'static str,
    transactions: Vec<Row<'a>>,
    /// Whether there are more than were asked for.
    more: bool,
}

/// One transaction in a listing.
#[derive(Debug, Serialize)]
pub(super) struct Row<'a> {
    tx: String,
    namespace: Option<&'a str>,
    key: Option<&'a str>,
    pattern: Pattern,
    status: &'static str,
    outcome: Option<String>,
    verdict: Option<&'static str>,
    operations: u16,
    dead_letters: u16,
    resumes: u16,
    exceptions: Vec<&'a str>,
    accepted_at: String,
    written_at: String,
    due: Option<String>,
}

impl<'a> Row<'a> {
    pub(super) fn of(record: &'a TxRecord) -> Self {
        let summary = &record.summary;
        let (status, outcome) = match summary.status {
            Status::Open => ("open", None),
            Status::Parked => ("parked", None),
            Status::NeedsAttention => ("needs_attention", None),
            Status::Finished(outcome) => ("finished", Some(outcome.to_string())),
        };
        Self {
            tx: record.tx.to_string(),
            namespace: record.key.as_ref().map(|key| key.namespace.as_str()),
            key: record.key.as_ref().map(|key| key.key.as_str()),
            pattern: summary.pattern,
            status,
            outcome,
            verdict: record.verdict.map(words::verdict),
            operations: summary.operations,
            dead_letters: summary.dead_letters,
            resumes: summary.resumes,
            exceptions: summary.exceptions.iter().map(|reason| reason.as_str()).collect(),
            accepted_at: output::utc(record.accepted_at),
            written_at: output::utc(record.written_at),
            due: record.due.map(output::utc),
        }
    }
}

/// The key of a transaction as `dtx tx show` takes it.
pub(super) fn key_text(record: &TxRecord) -> String {
    record.key.as_ref().map_or_else(String::new, |key| format!("{}/{}", key.namespace, key.key))
}

/// Lists transactions.
pub(super) async fn list(args: ListArgs) -> Result<Exit, Failure> {
    let reader = look_at(&args.store).await?;
    let mut filter = Filter {
        pattern: args.pattern,
        status: args.status.map(Status::from),
        namespace: args.namespace,
        with_exceptions: args.exceptions,
        ..Filter::default()
    };
    let mut records = Vec::new();
    let mut more = false;
    while records.len() < args.limit {
        // One more than is wanted says whether there are more.
        filter.limit = (args.limit - records.len()).saturating_add(1).min(PAGE_ITEMS_MAX);
        let page = reader.catalog().list(&filter).await.map_err(Failure::failed)?;
        records.extend(page.items);
        filter.cursor = page.next;
        more = filter.cursor.is_some();
        if !more {
            break;
        }
    }
    more |= records.len() > args.limit;
    records.truncate(args.limit);
    if args.json {
        let store = args.store.to_string();
        let transactions = records.iter().map(Row::of).collect();
        output::json(&Listing { store, records: "durable", transactions, more })?;
        return Ok(Exit::Sound);
    }
    print_table(&records, more)?;
    Ok(Exit::Sound)
}

fn print_table(records: &[TxRecord], more: bool) -> Result<(), Failure> {
    if records.is_empty() {
        output::line("No transaction matches.")?;
    } else {
        let mut table =
            output::table(["TRANSACTION", "PATTERN", "STATUS", "OPS", "ACCEPTED", "KEY", "NOTES"]);
        for record in records {
            table.add_row([
                record.tx.to_string(),
                record.summary.pattern.to_string(),
                words::status(record.summary.status),
                record.summary.operations.to_string(),
                output::utc(record.accepted_at),
                key_text(record),
                notes(record),
            ]);
        }
        output::line(output::text_of(&table))?;
    }
    if more {
        output::line("There are more; ask for them with --limit.")?;
    }
    output::line(DURABLE_ONLY)
}

fn notes(record: &TxRecord) -> String {
    let summary = &record.summary;
    let counts = [
        (summary.exceptions.len(), "exceptions"),
        (usize::from(summary.dead_letters), "dead letters"),
        (usize::from(summary.resumes), "resumes"),
    ];
    let notes = counts.iter().filter(|(count, _)| *count > 0);
    notes.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}
