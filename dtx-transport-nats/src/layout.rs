//! Streams and consumers: made when they are not there, checked when they are.

use std::time::Duration;

use dtx_core::{
    error::{ErrorKind, TransportError},
    pattern::Pattern,
};

use crate::{
    api::{
        self, ConsumerConfig, ConsumerInfo, CreateConsumer, Failure, Nothing, StreamConfig,
        StreamInfo, code, nanoseconds,
    },
    error::{error, invalid},
    link::Link,
    names::{Queue, Stream},
    settings::NatsSettings,
};

/// For how long the server knows the id of a message.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// How long what cannot be delivered is kept.
const DEAD_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How many messages that cannot be delivered are kept; beyond it the oldest go.
const DEAD_MESSAGES_MAX: i64 = 1_000_000;

/// How long a queue to which nobody comes back outlives the last who asked.
const PASSING: Duration = Duration::from_secs(300);

/// The oldest version of the server whose answers are known.
const VERSION_LEAST: (u32, u32) = (2, 9);

/// The first version that can be told to sync before it acknowledges.
const VERSION_SYNCS: (u32, u32) = (2, 10);

/// The patterns whose commands are in streams.
pub(crate) fn patterns(settings: &NatsSettings) -> Vec<Pattern> {
    let in_stream = |p: &Pattern| !(settings.best_effort_dispatch && *p == Pattern::FireAndForget);
    Pattern::ALL.iter().copied().filter(in_stream).collect()
}

/// Makes or checks the streams. Says what they do not promise.
pub(crate) async fn streams(link: &Link, settings: &NatsSettings) -> Result<Found, TransportError> {
    let mut found = Found::of_server(link, settings)?;
    let commands = patterns(settings).into_iter().map(Stream::Commands);
    for stream in commands.chain([Stream::Replies, Stream::Inquiries, Stream::Dead]) {
        found.see(&ensure_stream(link, settings, stream).await?);
    }
    Ok(found)
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Whether every stream is on disk.
    pub(crate) is_durable: bool,
    /// What an acknowledged message does not survive, in words.
    pub(crate) reasons: Vec<String>,
}

impl Found {
    fn of_server(link: &Link, settings: &NatsSettings) -> Result<Self, TransportError> {
        let info = link.client().server_info();
        let version = version(&info.version).filter(|version| *version >= VERSION_LEAST);
        let Some(version) = version else {
            let context = format!("the server has version {}, not 2.9 or newer", info.version);
            return Err(error(ErrorKind::Unsupported, "connect").with_context(context));
        };
        let needed = settings.body_bytes_max.saturating_mul(4) / 3 + (64 << 10);
        if info.max_payload < needed {
            let context = format!(
                "the server's `max_payload` of {} bytes is too small for `body_bytes_max`, which \
                 needs {needed}",
                info.max_payload
            );
            return Err(invalid("connect", context));
        }
        let mut found = Self { is_durable: true, reasons: Vec::new() };
        found.reasons.push(match version < VERSION_SYNCS {
            true => format!(
                "server {} syncs its files every two minutes and cannot be told otherwise: what it \
                 acknowledged survives a crash of its process, not the loss of power",
                info.version
            ),
            false => "whether the server syncs before it acknowledges cannot be seen from here: \
                      without `sync_interval: always` what it acknowledged survives a crash of its \
                      process, not the loss of power"
                .to_owned(),
        });
        if settings.best_effort_dispatch {
            found.is_durable = false;
            let reason = "`best_effort_dispatch`: commands of 0.5PS are kept nowhere";
            found.reasons.push(reason.to_owned());
        }
        Ok(found)
    }

    fn see(&mut self, stream: &StreamConfig) {
        let name = &stream.name;
        if stream.storage != "file" {
            self.is_durable = false;
            self.reasons.push(format!("stream {name} is in memory"));
        }
        let drops = stream.max_bytes > 0 || stream.max_msgs > 0 || stream.max_msgs_per_subject > 0;
        if drops && stream.discard == "old" && !name.ends_with("DEAD") {
            self.reasons.push(format!("stream {name} drops its oldest messages when it is full"));
        }
    }
}

fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn wanted(settings: &NatsSettings, stream: Stream) -> StreamConfig {
    let (age, messages, discard) = match stream {
        Stream::Commands(Pattern::FireAndForget) => (settings.dispatch_age_max, -1, "new"),
        Stream::Commands(_) | Stream::Replies | Stream::Inquiries => {
            (settings.message_age_max, -1, "new")
        }
        Stream::Dead => (DEAD_AGE, DEAD_MESSAGES_MAX, "old"),
    };
    let bytes = settings.stream_bytes_max.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    StreamConfig {
        name: settings.names.stream(stream),
        subjects: settings.names.subjects(stream),
        retention: "limits".to_owned(),
        storage: "file".to_owned(),
        discard: discard.to_owned(),
        max_age: nanoseconds(age),
        max_bytes: bytes.unwrap_or(-1),
        max_msgs: messages,
        max_msgs_per_subject: -1,
        num_replicas: settings.replicas,
        duplicate_window: nanoseconds(DUPLICATE_WINDOW.min(age)),
        no_ack: false,
    }
}

async fn ensure_stream(
    link: &Link,
    settings: &NatsSettings,
    stream: Stream,
) -> Result<StreamConfig, TransportError> {
    let wanted = wanted(settings, stream);
    let name = &wanted.name;
    let timeout = settings.request_timeout;
    let info =
        || api::call::<StreamInfo>(link, format!("STREAM.INFO.{name}"), &Nothing {}, timeout);
    let failed = |failure: Failure| failure.of("connect", &format!("stream {name}"));
    let there = match info().await {
        Ok(there) => there,
        Err(failure) if failure.is(code::STREAM_NOT_FOUND) => {
            match api::call(link, format!("STREAM.CREATE.{name}"), &wanted, timeout).await {
                Ok(made) => made,
                // Somebody else was quicker, with other settings.
                Err(failure) if failure.is(code::STREAM_NAME_EXIST) => {
                    info().await.map_err(failed)?
                }
                Err(failure) => return Err(failed(failure)),
            }
        }
        Err(failure) => return Err(failed(failure)),
    };
    check_stream(&wanted, there.config)
}

/// What an operator gave a stream is kept as long as every group gets every message.
fn check_stream(
    wanted: &StreamConfig,
    there: StreamConfig,
) -> Result<StreamConfig, TransportError> {
    let name = &wanted.name;
    let wrong = |what: String| Err(invalid("connect", format!("stream {name} {what}")));
    if let Some(subject) = wanted.subjects.iter().find(|s| !there.subjects.contains(s)) {
        return wrong(format!("is there and does not take `{subject}`; add the subject to it"));
    }
    if !matches!(there.retention.as_str(), "limits" | "workqueue") {
        return wrong(format!(
            "has the retention `{}`, which loses what comes before the first subscription; \
             make it anew with `limits`",
            there.retention
        ));
    }
    if there.no_ack {
        return wrong("acknowledges nothing (`no_ack`); make it anew without that".to_owned());
    }
    Ok(there)
}

fn wanted_consumer(settings: &NatsSettings, queue: &Queue) -> ConsumerConfig {
    ConsumerConfig {
        durable_name: Some(queue.consumer.clone()),
        deliver_subject: None,
        deliver_policy: "all".to_owned(),
        ack_policy: "explicit".to_owned(),
        replay_policy: "instant".to_owned(),
        ack_wait: nanoseconds(settings.ack_wait),
        max_deliver: -1,
        filter_subject: queue.filter.clone(),
        max_ack_pending: i64::from(settings.unacknowledged_max),
        inactive_threshold: if queue.is_passing { nanoseconds(PASSING) } else { 0 },
    }
}

/// Makes or checks the consumer of a group.
pub(crate) async fn ensure_consumer(
    link: &Link,
    settings: &NatsSettings,
    queue: &Queue,
) -> Result<(), TransportError> {
    let wanted = wanted_consumer(settings, queue);
    let (stream, name) = (settings.names.stream(queue.stream), &queue.consumer);
    let timeout = settings.request_timeout;
    let failed =
        |failure: Failure| failure.of("subscribe", &format!("consumer {name} of {stream}"));
    let info = api::call::<ConsumerInfo>(
        link,
        format!("CONSUMER.INFO.{stream}.{name}"),
        &Nothing {},
        timeout,
    );
    match info.await {
        Ok(there) => check_consumer(&stream, &wanted, &there.config),
        Err(failure) if failure.is(code::CONSUMER_NOT_FOUND) => {
            let create = CreateConsumer { stream_name: &stream, config: &wanted };
            let subject = format!("CONSUMER.DURABLE.CREATE.{stream}.{name}");
            let made: ConsumerInfo =
                api::call(link, subject, &create, timeout).await.map_err(failed)?;
            check_consumer(&stream, &wanted, &made.config)
        }
        Err(failure) => Err(failed(failure)),
    }
}

fn check_consumer(
    stream: &str,
    wanted: &ConsumerConfig,
    there: &ConsumerConfig,
) -> Result<(), TransportError> {
    let name = wanted.durable_name.as_deref().unwrap_or_default();
    let values = |config: &ConsumerConfig| {
        let is_push = config.deliver_subject.as_ref().is_some_and(|subject| !subject.is_empty());
        [
            ("`ack_wait`", format!("{} ms", config.ack_wait / 1_000_000)),
            ("`unacknowledged_max`", config.max_ack_pending.to_string()),
            ("its subject", config.filter_subject.clone()),
            ("what is acknowledged", config.ack_policy.clone()),
            ("where it begins", config.deliver_policy.clone()),
            ("how often it delivers", config.max_deliver.to_string()),
            ("its kind", if is_push { "push" } else { "pull" }.to_owned()),
        ]
    };
    let (there, wanted) = (values(there), values(wanted));
    let Some(((what, there), (_, wanted))) = there.iter().zip(&wanted).find(|(a, b)| a.1 != b.1)
    else {
        return Ok(());
    };
    let context = format!(
        "consumer {name} of {stream} is there and differs in {what}: {there}, not {wanted}; give \
         all members of the group the same, or remove the consumer"
    );
    Err(invalid("subscribe", context))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Names;

    fn settings() -> NatsSettings {
        NatsSettings::new("nats://h").expect("good")
    }

    fn stream() -> StreamConfig {
        wanted(&settings(), Stream::Commands(Pattern::Saga))
    }

    #[test]
    fn a_stream_that_loses_messages_is_refused_and_said() {
        let refused = |there| check_stream(&stream(), there).expect_err("refused").to_string();
        assert!(check_stream(&stream(), stream()).is_ok());
        let more = vec!["x".to_owned(), "saga.*.*".to_owned()];
        assert!(check_stream(&stream(), StreamConfig { subjects: more, ..stream() }).is_ok());
        assert!(refused(StreamConfig { subjects: Vec::new(), ..stream() }).contains("saga.*.*"));
        let interest = StreamConfig { retention: "interest".to_owned(), ..stream() };
        assert!(refused(interest).contains("interest"));
        assert!(refused(StreamConfig { no_ack: true, ..stream() }).contains("no_ack"));
        let mut found = Found { is_durable: true, reasons: Vec::new() };
        found.see(&stream());
        assert!(found.is_durable && found.reasons.is_empty());
        found.see(&StreamConfig { discard: "old".to_owned(), max_bytes: 1, ..stream() });
        assert!(found.is_durable && found.reasons[0].contains("oldest"));
        found.see(&StreamConfig { storage: "memory".to_owned(), ..stream() });
        assert!(!found.is_durable);
    }

    #[test]
    fn ages_and_bounds_are_those_of_the_settings() {
        let settings = settings().stream_bytes_max(7).replicas(3);
        let of = |pattern| wanted(&settings, Stream::Commands(pattern));
        assert_eq!(of(Pattern::Saga).max_age, nanoseconds(settings.message_age_max));
        assert_eq!(of(Pattern::FireAndForget).max_age, nanoseconds(settings.dispatch_age_max));
        assert_eq!((of(Pattern::Saga).max_bytes, of(Pattern::Saga).num_replicas), (7, 3));
        let short = settings.message_age_max(Duration::from_secs(1));
        let window = wanted(&short, Stream::Replies).duplicate_window;
        assert_eq!(window, 1_000_000_000, "a server refuses a longer one than the age");
        assert_eq!(patterns(&short).len(), 6);
        let best_effort = patterns(&short.best_effort_dispatch(true));
        assert!(best_effort.len() == 5 && !best_effort.contains(&Pattern::FireAndForget));
    }

    #[test]
    fn a_consumer_that_differs_is_refused_by_what_differs() {
        let interest = dtx_core::transport::Interest::Inquiries;
        let queue = &Names::default().queues(&interest, "g", &[])[0];
        let wanted = wanted_consumer(&settings(), queue);
        assert!(check_consumer("S", &wanted, &wanted).is_ok());
        let other = |change: fn(&mut ConsumerConfig)| {
            let mut there = wanted.clone();
            change(&mut there);
            check_consumer("S", &wanted, &there).expect_err("it differs").to_string()
        };
        assert!(other(|c| c.ack_wait = 1_000_000).contains("`ack_wait`: 1 ms, not 30000 ms"));
        assert!(other(|c| c.max_ack_pending = 1).contains("`unacknowledged_max`"));
        assert!(other(|c| c.filter_subject = "x".into()).contains("its subject: x"));
        assert!(other(|c| c.max_deliver = 5).contains("how often"));
        assert!(other(|c| c.deliver_subject = Some("x".into())).contains("push"));
        assert!(other(|c| c.ack_policy = "none".into()).contains("none"));
        assert!(other(|c| c.deliver_policy = "new".into()).contains("g@inquiry"));
    }

    #[test]
    fn versions_are_read() {
        assert_eq!(version("2.9.10"), Some((2, 9)));
        assert_eq!(version("2.12.0-RC.1"), Some((2, 12)));
        assert_eq!(version("x"), None);
    }
}
