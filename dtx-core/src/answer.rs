//! What a participant says: done, or one of three ways of not done (design rule 5).

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The answer of a handler.
pub type Answer<T> = Result<T, NotDone>;

/// Why something was not done. The three ways are never confused: only the first is a no.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotDone {
    /// The handler's own business no. Nothing happened.
    Rejected(Reason),
    /// The barrier's no: what is asked cannot be done any more.
    Refused(Refusal),
    /// It may or may not have happened: a time-out, a lost answer, any plain error.
    Unknown(Reason),
}

/// Why the barrier refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Refusal {
    /// The operation was already taken back; a late forward phase is refused for ever.
    Undone,
    /// The operation was already executed, so that there is nothing left to cancel.
    Executed,
    /// The claim that this phase builds on has expired.
    Expired,
}

/// A short reason for people. Cut to 256 bytes; never contains a payload.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reason(Box<str>);

/// The longest reason, in bytes.
pub const REASON_BYTES_MAX: usize = 256;

impl Reason {
    /// A reason, cut at a character boundary if it is too long.
    pub fn new(text: impl Into<String>) -> Self {
        let mut text = text.into();
        if text.len() > REASON_BYTES_MAX {
            let end = (0..=REASON_BYTES_MAX).rev().find(|&i| text.is_char_boundary(i));
            text.truncate(end.unwrap_or(0));
        }
        Self(text.into_boxed_str())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// A handler's business no: nothing happened and nothing will.
///
/// # Errors
/// Always: it is the short way to return [`NotDone::Rejected`].
pub fn rejected<T>(reason: impl Into<String>) -> Answer<T> {
    Err(NotDone::Rejected(Reason::new(reason)))
}

impl NotDone {
    /// It may or may not have happened.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self::Unknown(Reason::new(reason))
    }
}

/// Any plain error means that the effect is unknown; it never becomes a no.
impl<E: std::error::Error> From<E> for NotDone {
    fn from(error: E) -> Self {
        Self::unknown(error.to_string())
    }
}

/// What a phase that was carried out gives back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The output of the action, encoded by the participant.
    pub output: Bytes,
    /// A 2PC vote of "I changed nothing": the operation is left out of phase two.
    pub read_only: bool,
    /// A compensation found an executed effect and reversed it. Set by the barrier, never by a
    /// handler: `Compensated` is told only if at least one is set.
    pub reversed: bool,
}

impl Done {
    /// Done with an output.
    pub fn with(output: impl Into<Bytes>) -> Self {
        Self { output: output.into(), ..Self::default() }
    }
}

/// An answer as it travels and as it is stored.
pub type PhaseAnswer = Result<Done, NotDone>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_error_is_unknown_and_never_a_no() {
        let failed: Answer<u32> = (|| Ok("x".parse::<u32>()?))();
        assert!(matches!(failed, Err(NotDone::Unknown(_))));
    }

    #[test]
    fn a_reason_is_cut_at_a_character() {
        assert_eq!(Reason::new("é".repeat(128)).as_str().len(), 256);
        assert_eq!(Reason::new(format!("a{}", "é".repeat(128))).as_str().len(), 255);
    }
}
