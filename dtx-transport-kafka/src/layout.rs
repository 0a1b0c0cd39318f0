//! Which topics and groups there are, and what goes where.

use std::fmt;

use dtx_core::{
    ids::HolderId,
    name::ParticipantName,
    pattern::{Pattern, Phase, tables},
    transport::{Body, Envelope},
};
use thiserror::Error;

use crate::settings::KafkaSettings;

/// The longest prefix, in bytes: the longest name of a topic, with names of participant and group
/// of 64 bytes each, stays within Kafka's 249.
pub const PREFIX_BYTES_MAX: usize = 64;

/// The longest name of a group, in bytes.
const GROUP_BYTES_MAX: usize = 64;

/// What the names of all topics and groups of a deployment begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPrefix(String);

/// A prefix that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the topic prefix is not 1 to 64 bytes of a-z, A-Z, 0-9 and '-'")]
pub struct TopicPrefixError;

impl TopicPrefix {
    /// Checks a prefix.
    ///
    /// # Errors
    /// [`TopicPrefixError`] when it is empty, over 64 bytes, or has another character: a dot and
    /// an underscore are one to Kafka's metrics.
    pub fn new(text: impl Into<String>) -> Result<Self, TopicPrefixError> {
        let text = text.into();
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        match (1..=PREFIX_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_good) {
            true => Ok(Self(text)),
            false => Err(TopicPrefixError),
        }
    }

    /// The prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TopicPrefix {
    fn default() -> Self {
        Self("dtx".to_owned())
    }
}

impl fmt::Display for TopicPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which topics there are for commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// `{prefix}.{pattern}.{participant}`. The phases of one transaction stay in their order.
    #[default]
    PerParticipant,
    /// `{prefix}.{pattern}`, for many small participants: each reads what is for all of them and
    /// leaves out what is not for it. The phases of one transaction stay in their order.
    PerPattern,
    /// `{prefix}.{pattern}.{participant}.{phase}`, so that phases have rights, retention and
    /// partitions of their own. There is no order between phases.
    PerSubject,
}

/// What a topic is for, which says how many partitions it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Commands, inquiries, answers to them, retries, dead letters.
    Shared,
    /// Replies: a partition per shard.
    Replies,
}

/// How a partition is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// By the transaction.
    ByTransaction,
    /// This one.
    Partition(u16),
}

/// The names of the topics of a deployment.
#[derive(Clone, Debug)]
pub(crate) struct Topics {
    prefix: TopicPrefix,
    layout: Layout,
    patterns: Vec<Pattern>,
    partitions: u16,
}

/// Whether this is the name of a group that topics and groups of Kafka can carry.
pub(crate) fn is_group(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=GROUP_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_good)
}

/// The phases that a participant may be asked for in a pattern.
fn phases(pattern: Pattern) -> impl Iterator<Item = Phase> {
    // A pattern with two gates has two tables, whose names begin alike.
    let tables = tables::ALL.iter().filter(move |table| table.name.starts_with(pattern.name()));
    let eventual = (pattern == Pattern::CriticalEventual).then_some(Phase::Deliver);
    tables
        .flat_map(|table| table.phases.iter().copied().chain(table.drop).chain(table.reverse))
        .chain(eventual)
        .chain([Phase::Status])
}

impl Topics {
    pub(crate) fn new(settings: &KafkaSettings) -> Self {
        Self {
            prefix: settings.prefix.clone(),
            layout: settings.layout,
            patterns: settings.patterns.clone(),
            partitions: settings.partitions,
        }
    }

    fn named(&self, rest: impl fmt::Display) -> String {
        format!("{}.{rest}", self.prefix)
    }

    pub(crate) fn replies(&self) -> String {
        self.named("replies")
    }

    pub(crate) fn inquiries(&self) -> String {
        self.named("inquiries")
    }

    pub(crate) fn inquiry_answers(&self) -> String {
        self.named("inquiry-answers")
    }

    pub(crate) fn dead_letters(&self) -> String {
        self.named("dead-letters")
    }

    pub(crate) fn retries(&self, group: &str, participant: &ParticipantName) -> String {
        self.named(format_args!("retries.{group}.{participant}"))
    }

    fn command(&self, pattern: Pattern, participant: &ParticipantName, phase: Phase) -> String {
        let pattern = pattern.word();
        match self.layout {
            Layout::PerParticipant => self.named(format_args!("{pattern}.{participant}")),
            Layout::PerPattern => self.named(pattern),
            Layout::PerSubject => {
                self.named(format_args!("{pattern}.{participant}.{}", phase.name()))
            }
        }
    }

    /// All topics on which commands for a participant come, each once.
    pub(crate) fn commands(&self, participant: &ParticipantName) -> Vec<String> {
        let mut all = Vec::new();
        for &pattern in &self.patterns {
            all.extend(phases(pattern).map(|phase| self.command(pattern, participant, phase)));
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Where a message goes.
    ///
    /// # Errors
    /// The pattern of a command that no topic is for.
    pub(crate) fn route(&self, envelope: &Envelope) -> Result<(String, Kind, Place), Pattern> {
        Ok(match &envelope.body {
            Body::Command(command) if !self.patterns.contains(&command.pattern) => {
                return Err(command.pattern);
            }
            Body::Command(command) => {
                let topic = self.command(command.pattern, &command.participant, command.phase);
                (topic, Kind::Shared, Place::ByTransaction)
            }
            Body::Reply(reply) => (self.replies(), Kind::Replies, Place::Partition(reply.shard.0)),
            Body::Inquiry(_) => (self.inquiries(), Kind::Shared, Place::ByTransaction),
            Body::InquiryAnswer(answer) => {
                let partition = self.partition_of(answer.host);
                (self.inquiry_answers(), Kind::Shared, Place::Partition(partition))
            }
        })
    }

    /// The partition of the answers for a host.
    pub(crate) fn partition_of(&self, host: HolderId) -> u16 {
        // The remainder is below a u16.
        (host.0 % u128::from(self.partitions.max(1))) as u16
    }

    /// A group of Kafka: those of dtx with the same name that receive different things are apart,
    /// so that one does not disturb the other.
    pub(crate) fn group(&self, group: &str, what: impl fmt::Display) -> String {
        self.named(format_args!("{group}.{what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> KafkaSettings {
        KafkaSettings::at(vec!["h:1".to_owned()])
    }

    fn topics(layout: Layout) -> Vec<String> {
        let participant = ParticipantName::new("pay").expect("a name");
        Topics::new(&settings().layout(layout)).commands(&participant)
    }

    #[test]
    fn only_the_patterns_of_the_setting_have_topics() {
        let participant = ParticipantName::new("pay").expect("a name");
        let some = settings().patterns([Pattern::TwoPhaseSaga, Pattern::Saga]);
        assert_eq!(Topics::new(&some).commands(&participant), ["dtx.2ps.pay", "dtx.saga.pay"]);
    }

    #[test]
    fn the_layouts() {
        let all = topics(Layout::PerParticipant);
        assert_eq!(all.len(), 6);
        assert!(
            all.contains(&"dtx.3ps.pay".to_owned()) && all.contains(&"dtx.05ps.pay".to_owned())
        );
        assert_eq!(topics(Layout::PerPattern).len(), 6);
        assert!(topics(Layout::PerPattern).contains(&"dtx.15ps".to_owned()));
        let all = topics(Layout::PerSubject);
        for there in ["2pc.pay.prepare", "3ps.pay.compensate", "15ps.pay.deliver", "2ps.pay.status"]
        {
            assert!(all.contains(&format!("dtx.{there}")), "{there} in {all:?}");
        }
        assert!(!all.contains(&"dtx.05ps.pay.prepare".to_owned()));
        assert_eq!(all.len(), 24);
    }

    #[test]
    fn a_prefix_has_1_to_64_plain_bytes() {
        assert!(TopicPrefix::new("a".repeat(PREFIX_BYTES_MAX)).is_ok());
        for wrong in ["", "a.b", "a_b", "a b", "\u{e9}", &"a".repeat(PREFIX_BYTES_MAX + 1)] {
            assert_eq!(TopicPrefix::new(wrong), Err(TopicPrefixError), "{wrong}");
        }
    }

    #[test]
    fn a_group_has_1_to_64_plain_bytes() {
        assert!(is_group("dtx-coordinators") && is_group(&"g".repeat(GROUP_BYTES_MAX)));
        for wrong in ["", "a.b", "a/b", &"g".repeat(GROUP_BYTES_MAX + 1)] {
            assert!(!is_group(wrong), "{wrong}");
        }
    }

    #[test]
    fn the_longest_name_of_a_topic_is_one() {
        let long = "a".repeat(64);
        let participant = ParticipantName::new(&long).expect("a name");
        let prefix = TopicPrefix::new(&*long).expect("one");
        let topics = Topics::new(&settings().topic_prefix(prefix).layout(Layout::PerSubject));
        assert!(topics.retries(&long, &participant).len() <= 249);
        assert!(topics.commands(&participant).iter().all(|topic| topic.len() <= 249));
    }
}
