//! Subjects: what users see, route and filter by.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::{
    ids::TxId,
    name::{NameError, ParticipantName},
    pattern::{Pattern, Phase},
};

/// The subject of a command: `{pattern}.{participant}.{phase}`, such as
/// `3ps.payment-service.reserve` (source text 4.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The pattern.
    pub pattern: Pattern,
    /// To whom.
    pub participant: ParticipantName,
    /// The phase.
    pub phase: Phase,
}

/// The subject of an answer: `response.{tx}.{participant}.{phase}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResponseSubject {
    /// The transaction.
    pub tx: TxId,
    /// From whom.
    pub participant: ParticipantName,
    /// The phase that was asked for.
    pub phase: Phase,
}

/// A text that is not a subject.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubjectError {
    /// It has not three parts.
    #[error("subject {0:?} has not the form pattern.participant.phase")]
    Form(String),
    /// Its pattern is unknown.
    #[error("subject {0:?} names no pattern; the words are 05ps saga 15ps 2ps 3ps 2pc")]
    Pattern(String),
    /// Its phase is unknown.
    #[error("subject {0:?} names no phase")]
    Phase(String),
    /// Its participant is no name.
    #[error(transparent)]
    Participant(#[from] NameError),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.pattern.word(), self.participant, self.phase.name())
    }
}

impl fmt::Display for ResponseSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "response.{}.{}.{}", self.tx, self.participant, self.phase.name())
    }
}

impl FromStr for Subject {
    type Err = SubjectError;
    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let shown = || text.chars().take(80).collect::<String>();
        // `0.5ps` and `1.5ps` bring a dot of their own, so the text is read from the end.
        let (rest, phase) = text.rsplit_once('.').ok_or_else(|| SubjectError::Form(shown()))?;
        let (pattern, participant) =
            rest.rsplit_once('.').ok_or_else(|| SubjectError::Form(shown()))?;
        Ok(Self {
            pattern: pattern.parse().map_err(|_| SubjectError::Pattern(shown()))?,
            participant: ParticipantName::new(participant)?,
            phase: phase.parse().map_err(|_| SubjectError::Phase(shown()))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_source_text() {
        for text in [
            "3ps.payment-service.reserve",
            "3ps.payment-service.validate",
            "3ps.payment-service.execute",
            "2ps.inventory-service.prepare",
        ] {
            assert_eq!(text.parse::<Subject>().expect(text).to_string(), text);
        }
        let response = ResponseSubject {
            tx: TxId::from_bytes([1; 16]),
            participant: ParticipantName::new("payment-service").expect("a name"),
            phase: Phase::Reserve,
        };
        assert_eq!(
            response.to_string(),
            "response.01010101-0101-0101-0101-010101010101.payment-service.reserve"
        );
    }

    #[test]
    fn people_may_write_a_dot_in_the_pattern() {
        assert_eq!(
            "0.5ps.mail.deliver".parse::<Subject>().expect("a subject").to_string(),
            "05ps.mail.deliver"
        );
    }

    #[test]
    fn a_wildcard_never_gets_into_a_subject() {
        for bad in ["3ps.*.reserve", "3ps.>.reserve", "3ps.pay", "9ps.pay.reserve", "3ps.pay.x"] {
            assert!(bad.parse::<Subject>().is_err(), "{bad}");
        }
    }
}
