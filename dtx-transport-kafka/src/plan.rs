//! What a subscription reads, and which of it is for it.

use dtx_core::{
    error::TransportError,
    ids::{HolderId, ShardId},
    name::ParticipantName,
    transport::{Body, Envelope, Interest, Subscribe},
};

use crate::{
    error::invalid,
    layout::{Kind, Layout, Topics, is_group},
    record::Notes,
    settings::{KafkaSettings, PREFETCH_MAX},
    topics::Wanted,
};

/// How many of the newest answers a host that was never here before looks at, per partition: the
/// answers for those that are gone lie there too.
pub(crate) const ANSWERS_BACK: i64 = 1_000;

/// Where the messages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The members of the group share the partitions of these topics.
    Shared(Vec<String>),
    /// These partitions of one topic are read by whoever owns what is in them.
    Own { topic: String, partitions: Vec<u16>, begin: Begin },
}

/// Where a group begins that has committed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// With the oldest message.
    Oldest,
    /// With this many of the newest.
    Newest(i64),
}

/// What is done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is for this subscription.
    Deliver,
    /// It is for another one that reads the same topic.
    LeaveOut,
    /// It should not be in this topic.
    Park,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) source: Source,
    pub(crate) group: String,
    /// Where its retries go; `None`: they are waited for in the process.
    pub(crate) retries: Option<String>,
    /// After how many deliveries a message is parked; `None`: never.
    pub(crate) attempts_max: Option<u32>,
    pub(crate) wanted: Vec<Wanted>,
    what: What,
    /// Topics are shared by participants.
    mixed: bool,
}

#[derive(Clone, Debug)]
enum What {
    Commands(ParticipantName),
    Replies(Vec<ShardId>),
    Inquiries,
    Answers(HolderId),
}

fn shared(name: String) -> Wanted {
    Wanted { name, kind: Kind::Shared }
}

impl Plan {
    pub(crate) fn new(
        settings: &KafkaSettings,
        topics: &Topics,
        subscribe: &Subscribe,
    ) -> Result<Self, TransportError> {
        let group = subscribe.group.as_str();
        let wrong = |context: String| Err(invalid("subscribe", context));
        if !is_group(group) {
            return wrong(
                "the group is not 1 to 64 bytes of a-z, A-Z, 0-9, '-' and '_'".to_owned(),
            );
        }
        if !(1..=PREFETCH_MAX).contains(&subscribe.prefetch) {
            return wrong(format!("prefetch is not from 1 to {PREFETCH_MAX}"));
        }
        let plan = |source: Source, what: What, named: String| Self {
            wanted: vec![shared(topics.dead_letters())],
            source,
            group: topics.group(group, named),
            retries: None,
            attempts_max: None,
            what,
            mixed: settings.layout == Layout::PerPattern,
        };
        Ok(match &subscribe.interest {
            Interest::Participant(participant) => {
                let (mut read, retries) =
                    (topics.commands(participant), topics.retries(group, participant));
                read.push(retries.clone());
                let what = What::Commands(participant.clone());
                let named = format!("commands.{participant}");
                let mut plan = plan(Source::Shared(read.clone()), what, named);
                plan.wanted.extend(read.into_iter().map(shared));
                (plan.retries, plan.attempts_max) = (Some(retries), Some(settings.attempts_max));
                plan
            }
            Interest::Replies(shards) => {
                let (shards, partitions) = of_shards(settings, shards)?;
                let topic = topics.replies();
                let wanted = Wanted { name: topic.clone(), kind: Kind::Replies };
                let source = Source::Own { topic, partitions, begin: Begin::Oldest };
                let mut plan = plan(source, What::Replies(shards), "replies".to_owned());
                plan.wanted.push(wanted);
                plan
            }
            Interest::Inquiries => {
                let topic = topics.inquiries();
                let source = Source::Shared(vec![topic.clone()]);
                let mut plan = plan(source, What::Inquiries, "inquiries".to_owned());
                plan.wanted.push(shared(topic));
                plan
            }
            Interest::InquiryAnswers(host) => {
                let topic = topics.inquiry_answers();
                let source = Source::Own {
                    topic: topic.clone(),
                    partitions: vec![topics.partition_of(*host)],
                    begin: Begin::Newest(ANSWERS_BACK),
                };
                let named = format!("answers.{:032x}", host.0);
                let mut plan = plan(source, What::Answers(*host), named);
                plan.wanted.push(shared(topic));
                plan
            }
        })
    }

    /// What is done with a message by what stands in its headers alone: that of another
    /// participant need not be read, and is not ours to park.
    pub(crate) fn leaves_out(&self, notes: &Notes) -> bool {
        let (What::Commands(participant), true) = (&self.what, self.mixed) else { return false };
        notes.participant.as_deref().is_some_and(|other| other != participant.as_str())
    }

    /// What is done with a message that was read.
    pub(crate) fn fate(&self, envelope: &Envelope) -> Fate {
        let (is_ours, is_mixed) = match (&self.what, &envelope.body) {
            (What::Commands(participant), Body::Command(command)) => {
                (command.participant == *participant, self.mixed)
            }
            (What::Replies(shards), Body::Reply(reply)) => (shards.contains(&reply.shard), false),
            (What::Inquiries, Body::Inquiry(_)) => (true, false),
            (What::Answers(host), Body::InquiryAnswer(answer)) => (answer.host == *host, true),
            _ => (false, false),
        };
        match (is_ours, is_mixed) {
            (true, _) => Fate::Deliver,
            (false, true) => Fate::LeaveOut,
            (false, false) => Fate::Park,
        }
    }
}

/// The shards, each once, and their partitions.
fn of_shards(
    settings: &KafkaSettings,
    shards: &[ShardId],
) -> Result<(Vec<ShardId>, Vec<u16>), TransportError> {
    let mut shards = shards.to_vec();
    shards.sort_unstable();
    shards.dedup();
    let partitions: Vec<_> = shards.iter().map(|shard| shard.0).collect();
    let last = partitions.last();
    let last = last.ok_or_else(|| invalid("subscribe", "no shard is named; give at least 1"))?;
    check_shard(settings, *last, "subscribe")?;
    Ok((shards, partitions))
}

/// Refuses a shard that has no partition.
pub(crate) fn check_shard(
    settings: &KafkaSettings,
    shard: u16,
    operation: &'static str,
) -> Result<(), TransportError> {
    let partitions = settings.reply_partitions;
    if shard < partitions {
        return Ok(());
    }
    Err(invalid(
        operation,
        format!(
            "shard {shard} has no partition for its replies: the setting reply_partitions says {partitions}"
        ),
    ))
}
