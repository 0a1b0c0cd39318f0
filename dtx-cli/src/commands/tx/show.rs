//! `dtx tx show`.

use clap::Args;
use dtx::{
    answer::Refusal,
    ids::OperationIndex,
    modifier::Modifiers,
    store::{Answered, Catalog, JournalEntry, JournalEvent, TxRecord},
    transaction::{Transaction, codec},
};
use dtx_shop::StoreAddress;
use serde::Serialize;
use serde_json::Value;

use super::{
    list::{Row, key_text},
    resolve::{Offer, offers, print_offers},
    source::{DURABLE_ONLY, find, open},
};
use crate::{
    commands::words,
    exit::{Exit, Failure},
    output,
};

/// The options of `dtx tx show`.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The transaction: its id, or its key as NAMESPACE/KEY (KEY alone is default/KEY)
    #[arg(value_name = "ID")]
    id: String,
    /// The store to look at: redb:PATH. Another process may run on it
    #[arg(long, value_name = "STORE")]
    store: StoreAddress,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The JSON form of a transaction.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    store: String,
    /// Only durable records are seen.
    records: &'static str,
    #[serde(flatten)]
    row: Row<'a>,
    /// What was submitted, without the payloads; `None` when it cannot be read.
    definition: Option<Value>,
    /// The moves that it takes now, and what each would do.
    moves: Vec<Offer>,
    timeline: Vec<Moment>,
}

/// One entry of a timeline.
#[derive(Debug, Default, Serialize)]
struct Moment {
    at: String,
    /// Milliseconds since the accept.
    after_ms: f64,
    epoch: u64,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    participant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<&'static str>,
    /// The record, verdict, outcome, or the reason of an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<String>,
}

/// Shows one transaction.
pub(super) async fn show(args: ShowArgs) -> Result<Exit, Failure> {
    let reader = open(&args.store)?;
    let record = find(&reader, &args.id).await?;
    let journal = reader.history(record.tx).await.map_err(Failure::failed)?;
    // A definition that cannot be read must not hide the rest.
    let transaction = codec::decode(&record.definition).ok();
    // A record that is quarantined takes no moves.
    let moves = offers(&record).unwrap_or_default();
    let timeline: Vec<_> =
        journal.iter().map(|entry| moment(entry, &record, transaction.as_ref())).collect();
    if args.json {
        output::json(&Shown {
            store: args.store.to_string(),
            records: "durable",
            row: Row::of(&record),
            definition: transaction.as_ref().map(definition).transpose()?,
            moves,
            timeline,
        })?;
    } else {
        print_summary(&record, transaction.as_ref())?;
        print_timeline(&timeline)?;
        print_offers(&moves)?;
        output::line(DURABLE_ONLY)?;
    }
    Ok(Exit::Sound)
}

/// The JSON form of the definition with the size of each payload in its place: payloads are the
/// users' own, and can be large.
fn definition(transaction: &Transaction) -> Result<Value, Failure> {
    let mut value = serde_json::to_value(transaction).map_err(Failure::failed)?;
    let operations = value["operations"].as_array_mut().into_iter().flatten();
    for (value, operation) in operations.zip(transaction.operations()) {
        if let Some(fields) = value.as_object_mut() {
            fields.retain(|name, _| !name.starts_with("payload"));
            fields.insert("payload_bytes".to_owned(), operation.payload().len().into());
        }
    }
    Ok(value)
}

fn moment(entry: &JournalEntry, record: &TxRecord, transaction: Option<&Transaction>) -> Moment {
    let mut moment = Moment {
        at: output::utc(entry.at),
        after_ms: entry.at.since(record.accepted_at).as_micros() as f64 / 1_000.0,
        epoch: entry.epoch.0,
        ..Moment::default()
    };
    let mut of = |index: OperationIndex, phase: dtx::pattern::Phase| {
        let operation = transaction.and_then(|all| all.operations().get(index.get()));
        moment.operation =
            Some(operation.map_or_else(|| index.to_string(), |of| of.name().to_string()));
        moment.participant = operation.map(|of| of.participant().to_string());
        moment.phase = Some(phase.name());
    };
    match &entry.event {
        JournalEvent::Sent { operation, phase, attempt } => {
            of(*operation, *phase);
            moment.event = "sent";
            moment.attempt = Some(*attempt);
        }
        JournalEvent::Answered { operation, phase, attempt, answer } => {
            of(*operation, *phase);
            moment.event = "answered";
            moment.attempt = Some(*attempt);
            (moment.answer, moment.what) = answered(answer);
        }
        JournalEvent::Recorded(kind) => {
            moment.event = "recorded";
            moment.what = Some(words::record(*kind).to_owned());
        }
        JournalEvent::Decided(verdict) => {
            moment.event = "decided";
            moment.what = Some(words::verdict(*verdict).to_owned());
        }
        JournalEvent::Signalled(text) => {
            moment.event = "signalled";
            moment.what = Some(text.clone());
        }
        JournalEvent::Exception(reason) => {
            moment.event = "exception";
            moment.what = Some(reason.to_string());
        }
        JournalEvent::LeftOut(count) => {
            moment.event = "left_out";
            moment.what = Some(format!("{count} entries had no room"));
        }
        JournalEvent::Told(outcome) => {
            moment.event = "told";
            moment.what = Some(outcome.to_string());
        }
    }
    moment
}

/// The word of an answer, and its reason.
fn answered(answer: &Answered) -> (Option<&'static str>, Option<String>) {
    let (word, reason) = match answer {
        Answered::Done => ("done", None),
        Answered::ReadOnly => ("read_only", None),
        Answered::Rejected(reason) => ("rejected", Some(reason.to_string())),
        Answered::Refused(Refusal::Undone) => ("refused", Some("undone".to_owned())),
        Answered::Refused(Refusal::Executed) => ("refused", Some("executed".to_owned())),
        Answered::Refused(Refusal::Expired) => ("refused", Some("expired".to_owned())),
        Answered::Unknown(reason) => ("unknown", Some(reason.to_string())),
        Answered::TimedOut => ("timed_out", None),
    };
    (Some(word), reason)
}

fn print_summary(record: &TxRecord, transaction: Option<&Transaction>) -> Result<(), Failure> {
    let summary = &record.summary;
    let mut facts = vec![
        ("transaction", record.tx.to_string()),
        ("key", key_text(record)),
        ("pattern", summary.pattern.to_string()),
        ("status", words::status(summary.status)),
        ("verdict", record.verdict.map_or("none yet", words::verdict).to_owned()),
        ("accepted", output::utc(record.accepted_at)),
        ("written", output::utc(record.written_at)),
        ("due", record.due.map(output::utc).unwrap_or_default()),
        ("dead letters", some_count(summary.dead_letters)),
        ("resumes", some_count(summary.resumes)),
    ];
    match transaction {
        None => facts.push(("definition", "cannot be read".to_owned())),
        Some(transaction) => facts.extend(definition_facts(transaction)),
    }
    facts.extend(summary.exceptions.iter().map(|reason| ("exception", reason.to_string())));
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        output::line(format_args!("{name:<13} {value}"))?;
    }
    if let Some(transaction) = transaction {
        output::line(format_args!("\n{}", operations(transaction)))?;
    }
    Ok(())
}

fn some_count(count: u16) -> String {
    if count == 0 { String::new() } else { count.to_string() }
}

fn definition_facts(transaction: &Transaction) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(deadline) = transaction.deadline() {
        facts.push(("deadline", format!("{deadline:?}")));
    }
    if let Some(undone) = transaction.undo_of() {
        facts.push(("undo of", undone.to_string()));
    }
    facts.extend(transaction.modifiers().map(|all| ("modifiers", modifiers(all))));
    let metadata = transaction.metadata();
    facts.extend(metadata.map(|(name, value)| ("metadata", format!("{name}={value}"))));
    facts
}

fn modifiers(all: &Modifiers) -> String {
    let mut words = Vec::new();
    if let Some(verification) = &all.verification {
        words.push(format!("verification {:?}", verification.when));
    }
    if let Some(approval) = &all.approval {
        words.push(format!("approval within {:?}", approval.timeout));
    }
    if let Some(delay) = all.execute_after {
        words.push(format!("execution after {delay:?}"));
    }
    if let Some(bounds) = &all.time_bounds {
        words.push(format!("time bounds {:?}", bounds.strategy));
    }
    words.join(", ").to_lowercase()
}

fn operations(transaction: &Transaction) -> String {
    let header = ["OPERATION", "PARTICIPANT", "ACTION", "CONSISTENCY", "DEPENDS ON", "PAYLOAD"];
    let mut table = output::table(header);
    for operation in transaction.operations() {
        let depends_on: Vec<_> = operation
            .depends_on()
            .iter()
            .map(|&other| transaction.operation(other).name().as_str())
            .collect();
        table.add_row([
            operation.name().to_string(),
            operation.participant().to_string(),
            format!("{} v{}", operation.action(), operation.action_version()),
            format!("{:?}", operation.consistency()).to_lowercase(),
            depends_on.join(", "),
            format!("{} bytes", operation.payload().len()),
        ]);
    }
    output::text_of(&table)
}

fn print_timeline(timeline: &[Moment]) -> Result<(), Failure> {
    let header =
        ["AFTER MS", "EVENT", "OPERATION", "PARTICIPANT", "PHASE", "ATTEMPT", "ANSWER", "WHAT"];
    let mut table = output::table(header);
    for moment in timeline {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        table.add_row([
            format!("{:.3}", moment.after_ms),
            moment.event.to_owned(),
            text(&moment.operation),
            text(&moment.participant),
            moment.phase.unwrap_or_default().to_owned(),
            moment.attempt.map_or_else(String::new, |attempt| attempt.to_string()),
            moment.answer.unwrap_or_default().to_owned(),
            text(&moment.what),
        ]);
    }
    output::line(format_args!("\n{}\n", output::text_of(&table)))
}
