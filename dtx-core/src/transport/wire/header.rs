//! The names of the headers.
//!
//! | header | of | value |
//! |---|---|---|
//! | `dtx-version` | all | `1` |
//! | `dtx-kind` | all | `command`, `reply`, `inquiry`, `inquiry-answer` |
//! | `dtx-tx` `dtx-operation` `dtx-participant` | all | the transaction, the index, the name |
//! | `dtx-pattern` | command, inquiry | the pattern's word in subjects |
//! | `dtx-phase` `dtx-attempt` `dtx-shard` `dtx-epoch` | command, reply | |
//! | `dtx-action` `dtx-action-version` | command | |
//! | `dtx-sequence` `dtx-watermark` | command | `epoch.number` |
//! | `dtx-deadline-ns` `dtx-ttl-ns` | command, where there is one | nanoseconds |
//! | `dtx-one-phase` `dtx-no-reply` | command, where it is so | `true` |
//! | `dtx-inputs` | command with dependencies | `operation:base64`, with commas between |
//! | `dtx-answer` | reply | `done`, `rejected`, `refused`, `unknown` |
//! | `dtx-reason` | reply: rejected, unknown | JSON text, all of it ASCII |
//! | `dtx-refusal` | reply: refused | `undone`, `executed`, `expired` |
//! | `dtx-read-only` `dtx-reversed` | reply: done, where it is so | `true` |
//! | `dtx-host` | inquiry and its answer | 32 hexadecimal digits |
//! | `dtx-verdict` | answer, once decided | `completed`, `turned`, `commit`, `abort` |
//! | `dtx-retry-after-ns` | answer | nanoseconds |
//! | `dtx-metadata` | where there is some | JSON, `[[name, value], ..]`, all of it ASCII |
//! | `traceparent` `tracestate` | where there is one | W3C trace context |

pub(super) const VERSION: &str = "dtx-version";
pub(super) const KIND: &str = "dtx-kind";
pub(super) const TX: &str = "dtx-tx";
pub(super) const OPERATION: &str = "dtx-operation";
pub(super) const PARTICIPANT: &str = "dtx-participant";
pub(super) const PATTERN: &str = "dtx-pattern";
pub(super) const PHASE: &str = "dtx-phase";
pub(super) const ATTEMPT: &str = "dtx-attempt";
pub(super) const SHARD: &str = "dtx-shard";
pub(super) const EPOCH: &str = "dtx-epoch";
pub(super) const ACTION: &str = "dtx-action";
pub(super) const ACTION_VERSION: &str = "dtx-action-version";
pub(super) const SEQUENCE: &str = "dtx-sequence";
pub(super) const WATERMARK: &str = "dtx-watermark";
pub(super) const DEADLINE: &str = "dtx-deadline-ns";
pub(super) const TTL: &str = "dtx-ttl-ns";
pub(super) const ONE_PHASE: &str = "dtx-one-phase";
pub(super) const NO_REPLY: &str = "dtx-no-reply";
pub(super) const INPUTS: &str = "dtx-inputs";
pub(super) const ANSWER: &str = "dtx-answer";
pub(super) const REASON: &str = "dtx-reason";
pub(super) const REFUSAL: &str = "dtx-refusal";
pub(super) const READ_ONLY: &str = "dtx-read-only";
pub(super) const REVERSED: &str = "dtx-reversed";
pub(super) const HOST: &str = "dtx-host";
pub(super) const VERDICT: &str = "dtx-verdict";
pub(super) const RETRY_AFTER: &str = "dtx-retry-after-ns";
pub(super) const METADATA: &str = "dtx-metadata";
pub(super) const TRACE_PARENT: &str = "traceparent";
pub(super) const TRACE_STATE: &str = "tracestate";

/// The version of this form.
pub(super) const CURRENT: &str = "1";
/// The value of a header that says that something is so.
pub(super) const TRUE: &str = "true";

pub(super) const COMMAND: &str = "command";
pub(super) const REPLY: &str = "reply";
pub(super) const INQUIRY: &str = "inquiry";
pub(super) const INQUIRY_ANSWER: &str = "inquiry-answer";

pub(super) const DONE: &str = "done";
pub(super) const REJECTED: &str = "rejected";
pub(super) const REFUSED: &str = "refused";
pub(super) const UNKNOWN: &str = "unknown";
