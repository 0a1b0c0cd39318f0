//! The thread that has a consumer: it feeds the hub, commits, and carries out what the group
//! decides. Nothing of the client blocks the runtime, and the consumer ends where it lived.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use dtx_core::error::{ErrorKind, TransportError};
use rdkafka::{
    consumer::{BaseConsumer, CommitMode, Consumer as _, base_consumer::PartitionQueue},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{BorrowedMessage, Message},
    topic_partition_list::{Offset, TopicPartitionList},
};
use tokio::sync::oneshot;

use crate::{
    client::apart,
    context::{Context, Rebalance, take, unassign},
    error::{error, is_unknown_topic, of_call},
    feed::Feed,
    hub::Commit,
    plan::{Begin, Source},
    progress::Progress,
    shared::Shared,
    topics::not_yet,
};

/// How long the thread sleeps when nothing wakes it.
const NAP: Duration = Duration::from_millis(50);

/// How long the answer to the last commit is waited for where no broker is there.
const LAST_COMMIT: Duration = Duration::from_secs(3);

/// How many messages of one partition are taken before it is the turn of the next.
const TURN: usize = 64;

/// A partition that is read.
struct Lane {
    generation: u64,
    queue: PartitionQueue<Context>,
    /// There may be messages in the queue.
    flag: Arc<AtomicBool>,
}

pub(crate) struct Consumer {
    client: Arc<BaseConsumer<Context>>,
    feed: Feed,
    shared: Arc<Shared>,
    lanes: HashMap<(String, i32), Lane>,
    /// Everything is to be given up: until when what is being handled is waited for.
    leaving: Option<Instant>,
    /// Told once the subscription receives, or that it never will.
    started: Option<oneshot::Sender<Result<(), TransportError>>>,
    next_commit: Instant,
    /// The client has said that no broker is there, and nothing has come since.
    is_alone: bool,
}

impl Consumer {
    pub(crate) fn new(
        client: BaseConsumer<Context>,
        feed: Feed,
        shared: Arc<Shared>,
        started: oneshot::Sender<Result<(), TransportError>>,
    ) -> Self {
        Self {
            client: Arc::new(client),
            feed,
            shared,
            lanes: HashMap::new(),
            leaving: None,
            started: Some(started),
            next_commit: Instant::now(),
            is_alone: false,
        }
    }

    /// Reads until the subscription is closed.
    pub(crate) fn run(mut self) {
        match self.begin() {
            Ok(()) => self.turn_until_closed(),
            Err(error) => self.tell(Err(error)),
        }
        self.end();
    }

    fn tell(&mut self, started: Result<(), TransportError>) {
        if let Some(waiting) = self.started.take() {
            // Whoever subscribed may have stopped waiting; then it is closed soon.
            let _ = waiting.send(started);
        }
    }

    fn begin(&mut self) -> Result<(), TransportError> {
        match self.feed.plan.source.clone() {
            Source::Shared(topics) => {
                let topics: Vec<_> = topics.iter().map(String::as_str).collect();
                let subscribed = self.client.subscribe(&topics);
                subscribed.map_err(|error| of_call(&error, "subscribe"))
            }
            Source::Own { topic, partitions, begin } => {
                let mut list = TopicPartitionList::new();
                for partition in partitions {
                    list.add_partition(&topic, i32::from(partition));
                }
                let begins = match begin {
                    Begin::Oldest => Offset::Beginning,
                    Begin::Newest(count) => Offset::OffsetTail(count),
                };
                let list = self.committed(list).map_err(|error| of_call(&error, "subscribe"))?;
                let list = self.add(&list, begins);
                self.client.assign(&list).map_err(|error| of_call(&error, "subscribe"))?;
                self.open_lanes(&list);
                self.tell(Ok(()));
                Ok(())
            }
        }
    }

    /// What the group has committed for these partitions. Blocks.
    fn committed(&self, list: TopicPartitionList) -> Result<TopicPartitionList, KafkaError> {
        let committed = self.client.committed_offsets(list, self.feed.settings.connect_timeout)?;
        for one in committed.elements() {
            one.error()?;
        }
        Ok(committed)
    }

    /// Adds partitions to the hub, as they were committed. Says where to begin in each.
    fn add(&self, committed: &TopicPartitionList, begins: Offset) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for one in committed.elements() {
            let (progress, from) = match one.offset() {
                Offset::Offset(offset) => {
                    let (progress, read) = Progress::restore(offset, one.metadata());
                    if read.is_err() {
                        tracing::warn!(
                            topic = one.topic(),
                            partition = one.partition(),
                            "the text of a commit is not of dtx; what it skips may come again"
                        );
                    }
                    let from = progress.watermark().map_or(offset, |from| from);
                    (progress, Offset::Offset(from))
                }
                _ => (Progress::unknown(), begins),
            };
            self.shared.assign(one.topic(), one.partition(), progress);
            if list.add_partition_offset(one.topic(), one.partition(), from).is_err() {
                list.add_partition(one.topic(), one.partition());
            }
        }
        list
    }

    /// Gives each partition a queue of its own, so that one can pause without the others.
    fn open_lanes(&mut self, list: &TopicPartitionList) {
        for one in list.elements() {
            let (topic, partition) = (one.topic().to_owned(), one.partition());
            let Some(generation) = self.shared.generation(&topic, partition) else { continue };
            let Some(mut queue) = self.client.split_partition_queue(&topic, partition) else {
                continue;
            };
            let flag = Arc::new(AtomicBool::new(true));
            let (raised, shared) = (Arc::clone(&flag), Arc::clone(&self.shared));
            queue.set_nonempty_callback(move || {
                raised.store(true, Ordering::SeqCst);
                shared.wake.wake();
            });
            self.lanes.insert((topic, partition), Lane { generation, queue, flag });
        }
    }

    fn turn_until_closed(&mut self) {
        while !self.shared.is_closed() {
            let more_events = self.poll_events();
            let more_messages = self.poll_lanes();
            self.shared.tell_offered();
            self.go_on_leaving();
            self.commit_in_time();
            if !more_events && !more_messages {
                self.shared.wake.wait(NAP);
            }
        }
    }

    /// Serves what the client has to say, and messages that came before their partition had a
    /// queue of its own. Says whether there may be more.
    fn poll_events(&mut self) -> bool {
        let client = Arc::clone(&self.client);
        let more = drain(&client, |polled| match polled {
            Ok(message) => self.take_in(&message),
            Err(error) => self.meet(&error),
        });
        for rebalance in take(&client.context().rebalances) {
            match rebalance {
                Rebalance::Assigned(list) => self.assigned(list),
                Rebalance::Revoked => self.revoked(),
            }
        }
        more
    }

    fn take_in(&self, message: &BorrowedMessage<'_>) {
        let generation = self.shared.generation(message.topic(), message.partition());
        if let Some(generation) = generation {
            self.feed.take_in(generation, message);
        }
    }

    /// Takes messages of every partition that has some and may go on. Says whether there may be
    /// more.
    fn poll_lanes(&mut self) -> bool {
        let (mut more, mut is_alone) = (false, self.is_alone);
        for lane in self.lanes.values() {
            if !lane.flag.swap(false, Ordering::SeqCst) {
                continue;
            }
            for turn in 0.. {
                // A partition that pauses is looked at again when something is acknowledged.
                if turn == TURN || !self.has_room(lane.generation) {
                    lane.flag.store(true, Ordering::SeqCst);
                    more |= turn == TURN;
                    break;
                }
                match lane.queue.poll(Duration::ZERO) {
                    Some(Ok(message)) => {
                        is_alone = false;
                        self.feed.take_in(lane.generation, &message);
                    }
                    Some(Err(error)) => tracing::debug!(%error, "a partition met an error"),
                    None => break,
                }
            }
        }
        self.is_alone = is_alone;
        more
    }

    /// Whether a message of this partition may be taken. If not, the thread is woken when one may.
    fn has_room(&self, generation: u64) -> bool {
        let span_max = self.feed.settings.unacked_span_max;
        let has_room = || {
            let (has_room, span) = self.shared.room(generation);
            has_room && span < span_max
        };
        has_room() || {
            self.shared.wait_for_room();
            // Some may have been made just before that was said.
            has_room()
        }
    }

    /// The client met an error on its own.
    fn meet(&mut self, met: &KafkaError) {
        let fatal = matches!(met, KafkaError::MessageConsumptionFatal(_));
        let missing = met.rdkafka_error_code().filter(|_| is_unknown_topic(met));
        let failure = |operation| match missing {
            Some(code) if self.feed.settings.create_topics => {
                not_yet("one of its topics", code, operation)
            }
            _ => of_call(met, operation),
        };
        let (failure, refusal) = (failure("receive"), failure("subscribe"));
        tracing::debug!(error = %met, "the consumer met an error");
        if fatal {
            let failure = error(ErrorKind::Internal, "receive").with_source(met.clone());
            self.shared.fail(failure);
        }
        self.is_alone |= met.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown);
        let stays = failure.kind() == ErrorKind::Invalid || missing.is_some();
        if stays && self.started.is_some() {
            self.tell(Err(refusal));
        } else if stays || met.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.shared.fail(failure);
        }
    }

    fn assigned(&mut self, list: TopicPartitionList) {
        self.is_alone = false;
        let list = match self.committed(list.clone()) {
            Ok(committed) => self.add(&committed, Offset::Beginning),
            Err(error) => {
                // The client looks for itself where to begin; what was beyond is repeated.
                tracing::warn!(%error, "what the group has committed could not be read");
                for one in list.elements() {
                    self.shared.assign(one.topic(), one.partition(), Progress::unknown());
                }
                list
            }
        };
        if let Err(error) = self.client.assign(&list) {
            tracing::warn!(%error, "partitions could not be taken");
        }
        self.open_lanes(&list);
        self.tell(Ok(()));
    }

    /// The group changes: all goes back to it, and is given out anew.
    fn revoked(&mut self) {
        self.lanes.clear();
        let generations = self.shared.generations();
        self.shared.hub().leave(&generations);
        // What is lost others may have already.
        let is_lost = self.client.assignment_lost();
        let wait = if is_lost { Duration::ZERO } else { self.feed.settings.revoke_wait };
        self.leaving = Some(Instant::now() + wait);
    }

    /// Gives up what is to be given up, once nothing of it is being handled, or it was waited for
    /// long enough.
    fn go_on_leaving(&mut self) {
        let Some(until) = self.leaving else { return };
        self.shared.wait_for_room();
        let generations = self.shared.generations();
        if !self.shared.hub().is_idle(&generations) && Instant::now() < until {
            return;
        }
        self.leaving = None;
        self.give_up();
        unassign(&self.client);
    }

    /// Commits for the last time and forgets all partitions. Says whether a broker answered.
    fn give_up(&self) -> bool {
        let generations = self.shared.generations();
        let mut is_answered = true;
        if !self.client.assignment_lost() {
            let commits = self.shared.hub().commits(Some(&generations));
            if let Err(error) = self.commit_and_wait(&commits) {
                is_answered =
                    error.rdkafka_error_code() != Some(RDKafkaErrorCode::OperationTimedOut);
                tracing::warn!(%error, "the last commit failed; what was handled may come again");
            }
        }
        self.shared.forget(&generations);
        is_answered
    }

    fn commit_in_time(&mut self) {
        if Instant::now() < self.next_commit {
            return;
        }
        self.next_commit = Instant::now() + self.feed.settings.commit_interval;
        let commits = self.shared.hub().commits(None);
        let list = list(&commits).transpose();
        let sent = list.map(|list| self.client.commit(&list?, CommitMode::Async)).transpose();
        if let Err(error) = sent {
            tracing::debug!(%error, "a commit could not be sent; it is made again");
            let mut hub = self.shared.hub();
            commits.iter().for_each(|commit| hub.commit_failed(&commit.topic, commit.partition));
        }
    }

    /// Commits and waits for the answer, on a thread of its own: the client waits for as long as
    /// there is no broker.
    fn commit_and_wait(&self, commits: &[Commit]) -> KafkaResult<()> {
        let Some(list) = list(commits)? else { return Ok(()) };
        let (sender, answer) = mpsc::channel();
        let client = Arc::clone(&self.client);
        apart("dtx-kafka-last-commit", move || {
            // Nobody may be waiting any more.
            let _ = sender.send(client.commit(&list, CommitMode::Sync));
        });
        let wait = if self.is_alone { LAST_COMMIT } else { self.feed.settings.connect_timeout };
        let late = |_| Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::OperationTimedOut));
        answer.recv_timeout(wait).unwrap_or_else(late)
    }

    /// Commits, gives everything back, leaves the group, and ends the client.
    fn end(mut self) {
        self.lanes.clear();
        let generations = self.shared.generations();
        self.shared.hub().leave(&generations);
        if !self.give_up() {
            // No group can be left now, and the client tries that for as long as a session.
            self.shared.ended();
        }
        self.client.context().closing.store(true, Ordering::SeqCst);
        // The group waits for what was not carried out yet.
        if self.leaving.take().is_some() {
            unassign(&self.client);
        }
        // Those that were assigned at the last moment have their queues in the client still.
        self.lanes.clear();
        drop(self.client);
        self.shared.forget(&self.shared.generations());
        self.shared.ended();
    }
}

/// Commits as the client takes them; nothing if there are none.
fn list(commits: &[Commit]) -> KafkaResult<Option<TopicPartitionList>> {
    let mut list = TopicPartitionList::with_capacity(commits.len());
    for commit in commits {
        let mut one = list.add_partition(&commit.topic, commit.partition);
        one.set_offset(Offset::Offset(commit.watermark))?;
        one.set_metadata(&commit.text);
    }
    Ok((!commits.is_empty()).then_some(list))
}

/// Polls a client until it brings nothing. Says whether it may have more: a poll also ends with an
/// event that only the context is told, such as a rebalance, which is carried out before the next.
fn drain(
    client: &BaseConsumer<Context>,
    mut serve: impl FnMut(KafkaResult<BorrowedMessage<'_>>),
) -> bool {
    let told = client.context().told();
    while let Some(polled) = client.poll(Duration::ZERO) {
        serve(polled);
    }
    client.context().told() != told
}

#[cfg(test)]
mod tests {
    use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

    use super::*;

    #[test]
    fn events_that_only_the_context_is_told_do_not_hold_up_those_behind_them() {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", "127.0.0.1:1").set("group.id", "g").set("debug", "all");
        config.set_log_level(RDKafkaLogLevel::Debug);
        let client = config.create_with_context(Context::default());
        let client: BaseConsumer<Context> = client.expect("a client");
        let end = Instant::now() + Duration::from_secs(30);
        let told_by_one = || {
            let told = client.context().told();
            while drain(&client, |_| {}) {}
            client.context().told() - told
        };
        while told_by_one() < 8 {
            assert!(Instant::now() < end, "they come one by one");
        }
    }
}
