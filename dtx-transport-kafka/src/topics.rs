//! Topics are there with the partitions and copies that the settings say, or there is an error
//! that says what differs.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use dtx_core::error::{Effect, ErrorKind, Retry, TransportError};
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    config::FromClientConfig,
    error::RDKafkaErrorCode as Code,
    metadata::MetadataTopic,
    types::RDKafkaRespErr,
};

use crate::{
    client,
    error::{error, invalid, is_unknown_topic, of_call, of_code},
    layout::Kind,
    settings::KafkaSettings,
};

/// How long to wait before asking again for a topic that was just made.
const LOOK: Duration = Duration::from_millis(20);

/// What a topic must be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// Makes and checks topics, each once.
pub(crate) struct Catalog {
    client: Option<Arc<AdminClient<DefaultClientContext>>>,
    known: Mutex<HashSet<String>>,
    partitions: u16,
    reply_partitions: u16,
    replication: Option<u16>,
    create: bool,
    message_bytes_max: usize,
    timeout: Duration,
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog").finish_non_exhaustive()
    }
}

impl Catalog {
    /// Makes the client; nothing is sent. Blocks shortly.
    pub(crate) fn new(settings: &KafkaSettings) -> Result<Self, TransportError> {
        let client = AdminClient::from_config(&settings.admin());
        let client = client.map_err(|error| of_call(&error, "connect"))?;
        Ok(Self {
            client: Some(Arc::new(client)),
            known: Mutex::new(HashSet::new()),
            partitions: settings.partitions,
            reply_partitions: settings.reply_partitions,
            replication: settings.replication,
            create: settings.create_topics,
            message_bytes_max: settings.message_bytes_max,
            timeout: settings.connect_timeout,
        })
    }

    fn known(&self) -> MutexGuard<'_, HashSet<String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn knows(&self, topic: &str) -> bool {
        self.known().contains(topic)
    }

    /// The topic is looked for anew: it may be gone.
    pub(crate) fn forget(&self, topic: &str) {
        self.known().remove(topic);
    }

    fn partitions(&self, kind: Kind) -> u16 {
        match kind {
            Kind::Shared => self.partitions,
            Kind::Replies => self.reply_partitions,
        }
    }

    /// Sees to it that these topics are there.
    pub(crate) async fn ensure(
        &self,
        mut wanted: Vec<Wanted>,
        operation: &'static str,
    ) -> Result<(), TransportError> {
        {
            let known = self.known();
            wanted.retain(|topic| !known.contains(&topic.name));
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let made = match self.create {
            true => self.make(&wanted, operation).await?,
            false => HashSet::new(),
        };
        self.check(wanted, made, operation).await
    }

    /// Makes those that are not there, and says which.
    async fn make(
        &self,
        wanted: &[Wanted],
        operation: &'static str,
    ) -> Result<HashSet<String>, TransportError> {
        let mut new = HashSet::new();
        let Some(client) = &self.client else { return Ok(new) };
        let bytes = self.message_bytes_max.to_string();
        let copies = self.replication.map_or(-1, i32::from);
        let topics: Vec<_> = wanted
            .iter()
            .map(|topic| {
                let partitions = i32::from(self.partitions(topic.kind));
                NewTopic::new(&topic.name, partitions, TopicReplication::Fixed(copies))
                    .set("max.message.bytes", &bytes)
            })
            .collect();
        let options = AdminOptions::new()
            .operation_timeout(Some(self.timeout))
            .request_timeout(Some(self.timeout));
        let made = client.create_topics(&topics, &options).await;
        for result in made.map_err(|error| of_call(&error, operation))? {
            match result {
                Ok(name) => drop(new.insert(name)),
                Err((_, Code::TopicAlreadyExists)) => {}
                Err((name, code)) => {
                    return Err(of_code(code, operation, &format!("the topic {name}")));
                }
            }
        }
        Ok(new)
    }

    /// Looks at the topics; those that were just made may take a moment to be seen.
    async fn check(
        &self,
        wanted: Vec<Wanted>,
        made: HashSet<String>,
        operation: &'static str,
    ) -> Result<(), TransportError> {
        let Some(client) = self.client.clone() else { return Ok(()) };
        let (create, timeout) = (self.create, self.timeout);
        let names: Vec<_> = wanted.iter().map(|topic| topic.name.clone()).collect();
        let look = move || {
            let seen = look(&client, &names, create, timeout, operation)?;
            for (name, seen) in names.iter().zip(&seen).filter(|(name, _)| made.contains(*name)) {
                wait_until_served(&client, name, seen.partitions, timeout, operation)?;
            }
            Ok(seen)
        };
        let seen = tokio::task::spawn_blocking(look).await;
        let seen = seen.map_err(|_| error(ErrorKind::Internal, operation))??;
        for (topic, seen) in wanted.iter().zip(seen) {
            self.compare(topic, &seen, operation)?;
        }
        self.known().extend(wanted.into_iter().map(|topic| topic.name));
        Ok(())
    }

    fn compare(
        &self,
        topic: &Wanted,
        seen: &Seen,
        operation: &'static str,
    ) -> Result<(), TransportError> {
        let name = &topic.name;
        let (partitions, setting) = match topic.kind {
            Kind::Shared => (self.partitions, "partitions"),
            Kind::Replies => (self.reply_partitions, "reply_partitions"),
        };
        if seen.partitions != usize::from(partitions) {
            let there = seen.partitions;
            return Err(invalid(
                operation,
                format!(
                    "the topic {name} has {there} partitions and the setting {setting} says {partitions}"
                ),
            ));
        }
        if let Some(copies) = self.replication
            && seen.copies != usize::from(copies)
        {
            let there = seen.copies;
            return Err(invalid(
                operation,
                format!(
                    "the topic {name} is on {there} brokers and the setting replication says {copies}"
                ),
            ));
        }
        Ok(())
    }
}

impl Drop for Catalog {
    fn drop(&mut self) {
        let client = self.client.take();
        client::drop_apart("dtx-kafka-admin-end", client);
    }
}

/// What a topic is like.
struct Seen {
    partitions: usize,
    copies: usize,
}

/// Asks for each topic. Blocks.
fn look(
    client: &AdminClient<DefaultClientContext>,
    names: &[String],
    just_made: bool,
    timeout: Duration,
    operation: &'static str,
) -> Result<Vec<Seen>, TransportError> {
    let end = Instant::now() + timeout;
    let mut seen = Vec::with_capacity(names.len());
    for name in names {
        loop {
            // A question for one topic may make it, one for all does not.
            let topic = just_made.then_some(name.as_str());
            let metadata = client.inner().fetch_metadata(topic, timeout);
            let metadata = metadata.map_err(|error| of_call(&error, operation))?;
            let found = metadata.topics().iter().find(|topic| topic.name() == name);
            let code = match found.map(|topic| (topic, topic.error())) {
                Some((topic, None)) if is_whole(topic) => {
                    let copies = topic.partitions().iter().map(|p| p.replicas().len()).min();
                    let (partitions, copies) = (topic.partitions().len(), copies.unwrap_or(0));
                    seen.push(Seen { partitions, copies });
                    break;
                }
                Some((_, Some(code))) => Code::from(code),
                Some((_, None)) => Code::LeaderNotAvailable,
                None => Code::UnknownTopicOrPartition,
            };
            let passes = matches!(code, Code::UnknownTopicOrPartition | Code::LeaderNotAvailable);
            let may_come = just_made || code == Code::LeaderNotAvailable;
            if !(passes && may_come) {
                return Err(of_code(code, operation, &format!("the topic {name}")));
            }
            if Instant::now() >= end {
                return Err(not_yet(&format!("the topic {name}"), code, operation));
            }
            std::thread::sleep(LOOK);
        }
    }
    Ok(seen)
}

/// The brokers say that a new topic is there before they serve it, and a consumer that comes too
/// early waits for half a second. Blocks.
fn wait_until_served(
    client: &AdminClient<DefaultClientContext>,
    name: &str,
    partitions: usize,
    timeout: Duration,
    operation: &'static str,
) -> Result<(), TransportError> {
    let end = Instant::now() + timeout;
    for partition in (0..).take(partitions) {
        while let Err(met) = client.inner().fetch_watermarks(name, partition, timeout) {
            let error = of_call(&met, operation);
            let passes = error.retry() != Retry::Never || is_unknown_topic(&met);
            // Whoever may write need not have the right to read.
            if !passes {
                return Ok(());
            }
            if Instant::now() >= end {
                let comes = |code: &Code| {
                    let leads = [Code::NotLeaderForPartition, Code::LeaderNotAvailable];
                    is_unknown_topic(&met) || leads.contains(code)
                };
                let code = met.rdkafka_error_code().filter(comes);
                let about = format!("the topic {name}");
                return Err(code.map_or(error, |code| not_yet(&about, code, operation)));
            }
            std::thread::sleep(LOOK);
        }
    }
    Ok(())
}

/// A topic that dtx makes, and that no broker serves. It may come at any moment, so a later try
/// may succeed, unlike one for a topic that nobody makes.
pub(crate) fn not_yet(about: &str, code: Code, operation: &'static str) -> TransportError {
    error(ErrorKind::Unavailable, operation).with_effect(Effect::None).with_context(format!(
        "no broker serves {about}, which is made where it is missing; see the setting \
         connect_timeout ({code:?})"
    ))
}

/// Whether every partition has a leader.
fn is_whole(topic: &MetadataTopic) -> bool {
    let has_leader = |code: Option<RDKafkaRespErr>| {
        code.is_none_or(|code| Code::from(code) == Code::ReplicaNotAvailable)
    };
    let partitions = topic.partitions();
    !partitions.is_empty() && partitions.iter().all(|p| has_leader(p.error()) && p.leader() >= 0)
}

#[cfg(test)]
mod tests {
    use rdkafka::{
        ClientContext,
        mocking::MockCluster,
        types::{
            RDKafkaApiKey, RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART as UNKNOWN,
        },
    };

    use super::*;

    const TOPIC: &str = "shop.saga.payment";
    /// How long a topic is waited for that never comes.
    const SHORT: Duration = Duration::from_millis(100);

    fn client<C: ClientContext>(mock: &MockCluster<'_, C>) -> AdminClient<DefaultClientContext> {
        let settings = KafkaSettings::new(&mock.bootstrap_servers()).expect("brokers");
        AdminClient::from_config(&settings.admin()).expect("a client")
    }

    #[test]
    fn a_topic_that_was_made_and_is_not_seen_may_come_and_one_that_nobody_makes_does_not() {
        let mock = MockCluster::new(1).expect("a mock");
        mock.topic_error(TOPIC, UNKNOWN).expect("it is unknown");
        let client = client(&mock);
        let look = |made| look(&client, &[TOPIC.to_owned()], made, SHORT, "subscribe").err();
        let missing = look(false).expect("it is not there");
        assert_eq!((missing.kind(), missing.retry()), (ErrorKind::Invalid, Retry::Never));
        let late = look(true).expect("it is not there yet");
        assert_eq!((late.kind(), late.effect()), (ErrorKind::Unavailable, Effect::None), "{late}");
        assert_ne!(late.retry(), Retry::Never, "a later start may find it");
        assert!(late.to_string().contains(TOPIC) && late.to_string().contains("connect_timeout"));
    }

    #[test]
    fn a_topic_that_is_seen_and_not_served_in_time_may_be_served_later() {
        let mock = MockCluster::new(1).expect("a mock");
        mock.create_topic(TOPIC, 1, 1).expect("a topic");
        let client = client(&mock);
        let served = || wait_until_served(&client, TOPIC, 1, SHORT, "subscribe");
        mock.request_errors(RDKafkaApiKey::ListOffsets, &[UNKNOWN; 1_000]);
        let late = served().expect_err("it is not served yet");
        assert_eq!((late.kind(), late.effect()), (ErrorKind::Unavailable, Effect::None), "{late}");
        mock.clear_request_errors(RDKafkaApiKey::ListOffsets);
        served().expect("it is served");
    }
}
