//! The names of streams, subjects and consumers.

use std::sync::Arc;

use dtx_core::{
    ids::HolderId,
    name::ParticipantName,
    pattern::Pattern,
    transport::{Body, Envelope, Interest},
};

/// The first words of subjects, which no prefix may be.
const RESERVED: [&str; 3] = ["response", "inquiry", "dead"];

/// One of the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// The commands of a pattern.
    Commands(Pattern),
    Replies,
    /// Inquiries and their answers.
    Inquiries,
    /// What cannot be delivered.
    Dead,
}

/// Where messages of one interest wait for one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Queue {
    pub(crate) stream: Stream,
    pub(crate) consumer: String,
    pub(crate) filter: String,
    /// Nobody comes back to it: it goes when nobody has asked for a while.
    pub(crate) is_passing: bool,
}

/// What all names begin with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    prefix: Option<Arc<str>>,
}

impl Names {
    /// With a prefix: 1 to 64 bytes of `a-z`, `0-9`, `-`, `_` that begin with a letter or a
    /// digit. `None` for another text, and for one that begins subjects already.
    pub(crate) fn within(prefix: &str) -> Option<Self> {
        let is_word = (1..=64).contains(&prefix.len())
            && prefix.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
            && prefix.as_bytes()[0].is_ascii_alphanumeric();
        let is_taken =
            RESERVED.contains(&prefix) || Pattern::ALL.iter().any(|p| p.word() == prefix);
        (is_word && !is_taken).then(|| Self { prefix: Some(Arc::from(prefix)) })
    }

    pub(crate) fn prefix(&self) -> Option<&str> {
        self.prefix.as_deref()
    }

    fn subject(&self, rest: std::fmt::Arguments<'_>) -> String {
        match &self.prefix {
            Some(prefix) => format!("{prefix}.{rest}"),
            None => rest.to_string(),
        }
    }

    /// The name of a stream.
    pub(crate) fn stream(&self, stream: Stream) -> String {
        let word = match stream {
            Stream::Commands(pattern) => pattern.word().to_ascii_uppercase(),
            Stream::Replies => "REPLIES".to_owned(),
            Stream::Inquiries => "INQUIRIES".to_owned(),
            Stream::Dead => "DEAD".to_owned(),
        };
        match &self.prefix {
            Some(prefix) => format!("DTX_{prefix}_{word}"),
            None => format!("DTX_{word}"),
        }
    }

    /// The subjects that a stream takes.
    pub(crate) fn subjects(&self, stream: Stream) -> Vec<String> {
        match stream {
            Stream::Commands(pattern) => vec![self.subject(format_args!("{}.*.*", pattern.word()))],
            Stream::Replies => vec![self.subject(format_args!("response.*"))],
            Stream::Inquiries => vec![
                self.subject(format_args!("inquiry")),
                self.subject(format_args!("inquiry.answer.*")),
            ],
            Stream::Dead => vec![self.subject(format_args!("dead.*"))],
        }
    }

    /// The subject of a message.
    pub(crate) fn of(&self, envelope: &Envelope) -> String {
        match &envelope.body {
            Body::Command(command) => self.subject(format_args!("{}", command.subject())),
            Body::Reply(reply) => self.subject(format_args!("response.{}", reply.shard)),
            Body::Inquiry(_) => self.subject(format_args!("inquiry")),
            Body::InquiryAnswer(answer) => self.answers(answer.host),
        }
    }

    fn answers(&self, host: HolderId) -> String {
        self.subject(format_args!("inquiry.answer.{host:?}"))
    }

    /// The subject of what a stream could not deliver; `stream` is the name of the stream.
    pub(crate) fn dead(&self, stream: &str) -> String {
        self.subject(format_args!("dead.{}", stream.to_ascii_lowercase()))
    }

    /// What a participant is sent in a pattern, whatever the phase.
    pub(crate) fn commands(&self, pattern: Pattern, participant: &ParticipantName) -> String {
        self.subject(format_args!("{}.{participant}.*", pattern.word()))
    }

    /// The queues of an interest. `patterns`: those whose commands are in streams.
    pub(crate) fn queues(
        &self,
        interest: &Interest,
        group: &str,
        patterns: &[Pattern],
    ) -> Vec<Queue> {
        let queue = |stream, what: &str, filter, is_passing| {
            let consumer = consumer(group, what);
            Queue { stream, consumer, filter, is_passing }
        };
        match interest {
            Interest::Participant(name) => patterns
                .iter()
                .map(|&pattern| {
                    let filter = self.commands(pattern, name);
                    queue(Stream::Commands(pattern), name.as_str(), filter, false)
                })
                .collect(),
            Interest::Replies(shards) => {
                let mut shards = shards.clone();
                shards.sort_unstable();
                shards.dedup();
                let of_shard = |shard: &dtx_core::ids::ShardId| {
                    let filter = self.subject(format_args!("response.{shard}"));
                    queue(Stream::Replies, &format!("response-{shard}"), filter, false)
                };
                shards.iter().map(of_shard).collect()
            }
            Interest::Inquiries => {
                let filter = self.subject(format_args!("inquiry"));
                vec![queue(Stream::Inquiries, "inquiry", filter, false)]
            }
            Interest::InquiryAnswers(host) => {
                let what = format!("answer-{host:?}");
                vec![queue(Stream::Inquiries, &what, self.answers(*host), true)]
            }
        }
    }
}

/// The name of a group's consumer. Neither part has an `@`.
pub(crate) fn consumer(group: &str, what: &str) -> String {
    format!("{group}@{what}")
}

/// Whether a group's name can be part of a consumer's.
pub(crate) fn is_group(group: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=64).contains(&group.len()) && group.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use dtx_core::ids::ShardId;

    use super::*;

    #[test]
    fn streams_and_subjects_are_those_of_the_patterns() {
        let names = Names::default();
        let streams: Vec<_> =
            Pattern::ALL.iter().map(|p| names.stream(Stream::Commands(*p))).collect();
        for stream in ["DTX_05PS", "DTX_SAGA", "DTX_15PS", "DTX_2PS", "DTX_3PS", "DTX_2PC"] {
            assert!(streams.iter().any(|name| name == stream), "{stream} in {streams:?}");
        }
        assert_eq!(names.subjects(Stream::Commands(Pattern::TwoPhaseCommit)), ["2pc.*.*"]);
        assert_eq!(names.subjects(Stream::Replies), ["response.*"]);
        let shop = Names::within("shop").expect("a prefix");
        assert_eq!(shop.stream(Stream::Replies), "DTX_shop_REPLIES");
        assert_eq!(shop.subjects(Stream::Dead), ["shop.dead.*"]);
        assert_eq!(shop.dead("DTX_shop_3PS"), "shop.dead.dtx_shop_3ps");
    }

    #[test]
    fn a_prefix_is_a_word_that_begins_no_subject() {
        for good in ["a", "shop-1", "0", &"x".repeat(64)] {
            assert!(Names::within(good).is_some(), "{good}");
        }
        for bad in ["", "Shop", "a.b", "a*", "-a", "3ps", "response", "dead", &"x".repeat(65)] {
            assert!(Names::within(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn each_shard_and_each_pattern_has_a_queue() {
        let names = Names::default();
        let shards = Interest::Replies([3, 0, 3].map(ShardId).into());
        let queues = names.queues(&shards, "g", &Pattern::ALL);
        let of: Vec<_> = queues.iter().map(|q| (&*q.consumer, &*q.filter)).collect();
        assert_eq!(of, [("g@response-0", "response.0"), ("g@response-3", "response.3")]);
        let payment = Interest::Participant(ParticipantName::new("payment").expect("a name"));
        let queues = names.queues(&payment, "g", &[Pattern::ThreePhaseSaga]);
        assert_eq!(queues[0].filter, "3ps.payment.*");
        assert!(!queues[0].is_passing);
        assert!(names.queues(&Interest::InquiryAnswers(HolderId(1)), "g", &[])[0].is_passing);
    }

    #[test]
    fn groups_make_names_of_consumers() {
        for (group, is_good) in [
            ("payment-Workers_1", true),
            ("", false),
            ("a.b", false),
            ("a@b", false),
            (&"g".repeat(64), true),
            (&"g".repeat(65), false),
        ] {
            assert_eq!(is_group(group), is_good, "{group:?}");
        }
    }
}
