//! The JSON form of a transaction: the same thing as the builder makes, as text.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::value::RawValue;

use crate::{
    ids::TxId,
    modifier::{Modifiers, whole_millis},
    pattern::Pattern,
    transaction::{
        Consistency, DefinitionError, Gate, Limits, Operation, OperationDraft, Payload, Problem,
        RetryPolicy, StepKind, Transaction, TransactionBuilder, builder::NAMESPACE_DEFAULT, checks,
    },
};

/// A transaction as it is written in JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    #[serde(deserialize_with = "pattern")]
    pattern: Pattern,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    gate: Gate,
    #[serde(default, skip_serializing_if = "is_default")]
    in_sequence: bool,
    operations: Vec<DraftOperation>,
    #[serde(default, skip_serializing_if = "is_default")]
    modifiers: Modifiers,
    #[serde(default, skip_serializing_if = "is_default")]
    metadata: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    undo_of: Option<TxId>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DraftOperation {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    participant: String,
    action: String,
    #[serde(default = "first_version")]
    action_version: u32,
    /// Any JSON value; the payload is its text without the white space between its parts.
    #[serde(default, deserialize_with = "raw", skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    /// The payload as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_text: Option<String>,
    /// The payload as base64, with padding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    depends_on: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    consistency: Option<Consistency>,
    #[serde(default, skip_serializing_if = "is_default")]
    step: StepKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry: Option<RetryPolicy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    region: Option<String>,
}

fn first_version() -> u32 {
    1
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Takes every way to write a pattern that people have.
fn pattern<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pattern, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

/// `null` is a payload like any other, so it must not be taken for an absent one.
fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// JSON without the white space between its parts. `json` is valid JSON.
fn compact(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for character in json.chars() {
        if in_string {
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else if matches!(character, ' ' | '\t' | '\n' | '\r') {
            continue;
        } else {
            in_string = character == '"';
        }
        text.push(character);
    }
    text
}

impl Draft {
    fn builder(self) -> Result<TransactionBuilder, DefinitionError> {
        let mut builder = Transaction::builder(self.pattern);
        builder.key = match (self.namespace, self.key) {
            (Some(_), None) => {
                return Err(DefinitionError::new("namespace", Problem::NamespaceWithoutKey));
            }
            (namespace, key) => {
                let namespace = namespace.unwrap_or_else(|| NAMESPACE_DEFAULT.to_owned());
                key.map(|key| (namespace, key))
            }
        };
        builder.deadline = self.deadline_ms.map(Duration::from_millis);
        builder.gate = self.gate;
        builder.in_sequence = self.in_sequence;
        builder.modifiers = self.modifiers;
        builder.metadata = self.metadata;
        builder.undo_of = self.undo_of;
        for (index, operation) in self.operations.into_iter().enumerate() {
            builder.operations.push(operation.draft(index)?);
        }
        Ok(builder)
    }
}

impl DraftOperation {
    fn draft(self, index: usize) -> Result<OperationDraft, DefinitionError> {
        let wrong = |name: &str, problem| {
            DefinitionError::new(format!("operations[{index}].{name}"), problem)
        };
        let payload = match (self.payload, self.payload_text, self.payload_base64) {
            (None, None, None) => Payload::new(),
            (Some(json), None, None) => compact(json.get()).into(),
            (None, Some(text), None) => text.into(),
            (None, None, Some(text)) => match STANDARD.decode(text) {
                Ok(bytes) => bytes.into(),
                Err(error) => {
                    let problem = Problem::Form(format!("{error}; give base64 with padding"));
                    return Err(wrong("payload_base64", problem));
                }
            },
            _ => return Err(wrong("payload", Problem::SeveralPayloads)),
        };
        Ok(OperationDraft {
            name: self.name,
            participant: self.participant,
            action: self.action,
            action_version: self.action_version,
            payload: Ok(payload),
            depends_on: self.depends_on,
            consistency: self.consistency,
            step: self.step,
            retry: self.retry,
            region: self.region,
        })
    }

    fn of(transaction: &Transaction, operation: &Operation) -> Self {
        let names = operation.depends_on().iter();
        let mut draft = Self {
            name: Some(operation.name().to_string()),
            participant: operation.participant().to_string(),
            action: operation.action().to_string(),
            action_version: operation.action_version(),
            payload: None,
            payload_text: None,
            payload_base64: None,
            depends_on: names
                .map(|&other| transaction.operation(other).name().to_string())
                .collect(),
            consistency: Some(operation.consistency()),
            step: operation.step(),
            retry: operation.retry().cloned(),
            region: operation.region().map(ToString::to_string),
        };
        draft.set_payload(operation.payload());
        draft
    }

    /// Chooses the most readable form that gives the same bytes back.
    fn set_payload(&mut self, payload: &[u8]) {
        if payload.is_empty() {
            return;
        }
        let Ok(text) = std::str::from_utf8(payload) else {
            self.payload_base64 = Some(STANDARD.encode(payload));
            return;
        };
        match serde_json::from_str::<Box<RawValue>>(text) {
            Ok(json) if compact(json.get()) == text => self.payload = Some(json),
            // Escaped, control characters would take six times their size.
            _ if text.chars().any(char::is_control) => {
                self.payload_base64 = Some(STANDARD.encode(payload));
            }
            _ => self.payload_text = Some(text.to_owned()),
        }
    }
}

impl Transaction {
    /// Parses a transaction from JSON, under [`Limits::DEFAULT`]. Times are whole milliseconds,
    /// dependencies are names of operations, and the payload is any JSON value, or
    /// `payload_text`, or `payload_base64`.
    ///
    /// ```
    /// use dtx_core::transaction::Transaction;
    ///
    /// let text = r#"{
    ///     "pattern": "3ps", "key": "order-1001", "deadline_ms": 60000,
    ///     "operations": [
    ///         {"participant": "payment", "action": "debit", "payload": {"cents": 2933}},
    ///         {"participant": "inventory", "action": "take", "payload": {"units": 2}}
    ///     ],
    ///     "modifiers": {"verification": {"when": {"amount_over": 100000}, "amount": 2933}}
    /// }"#;
    /// assert_eq!(Transaction::from_json(text.as_bytes())?.operations().len(), 2);
    /// # Ok::<(), dtx_core::transaction::DefinitionError>(())
    /// ```
    ///
    /// # Errors
    /// The first thing that is wrong, with its field and what would be right. Text that is too
    /// long is not looked at.
    pub fn from_json(json: &[u8]) -> Result<Self, DefinitionError> {
        Self::from_json_within(json, &Limits::DEFAULT)
    }

    /// As [`from_json`](Self::from_json), under limits of one's own.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json).
    pub fn from_json_within(json: &[u8], limits: &Limits) -> Result<Self, DefinitionError> {
        checks::bytes(|| "transaction", json.len(), limits.within_ceiling().json_bytes_max)?;
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let draft: Draft =
            serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
                let path = error.path().to_string();
                let field = if path == "." { "transaction".to_owned() } else { path };
                DefinitionError::new(field, Problem::Form(error.into_inner().to_string()))
            })?;
        deserializer.end().map_err(|error| {
            DefinitionError::new("transaction", Problem::Form(error.to_string()))
        })?;
        draft.builder()?.build_within(limits)
    }
}

impl Serialize for Transaction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let operations = self.operations.iter().map(|o| DraftOperation::of(self, o));
        Draft {
            pattern: self.pattern,
            namespace: self.key().map(|key| key.namespace.to_string()),
            key: self.key().map(|key| key.key.clone()),
            deadline_ms: self.deadline().map(whole_millis),
            gate: self.gate,
            in_sequence: false,
            operations: operations.collect(),
            modifiers: self.modifiers().cloned().unwrap_or_default(),
            metadata: self.all_metadata().clone(),
            undo_of: self.undo_of(),
        }
        .serialize(serializer)
    }
}

/// From JSON only: the payload is kept as its text.
impl<'de> Deserialize<'de> for Transaction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let draft = Draft::deserialize(deserializer)?;
        draft.builder().and_then(TransactionBuilder::build).map_err(D::Error::custom)
    }
}

#[cfg(test)]
#[path = "form_tests.rs"]
mod tests;
