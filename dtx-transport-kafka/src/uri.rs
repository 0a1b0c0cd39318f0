//! From a URI to settings.

use std::fs;

use dtx_core::{error::TransportError, pattern::Pattern};

use crate::{
    error::invalid,
    layout::{Layout, TopicPrefix},
    settings::{KafkaSettings, SaslMechanism},
};

/// The names that a URI may give.
const NAMES: &str =
    "prefix, layout, patterns, partitions, reply_partitions, replication, create_topics, ca, sasl";

fn wrong(context: impl Into<String>) -> TransportError {
    invalid("connect", context)
}

pub(crate) fn read(uri: &str) -> Result<KafkaSettings, TransportError> {
    let (tls, rest) = match uri.split_once("://") {
        None => (false, uri),
        Some(("kafka", rest)) => (false, rest),
        Some(("kafkas", rest)) => (true, rest),
        Some(_) => return Err(wrong("the URI begins neither with kafka:// nor with kafkas://")),
    };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (user, brokers) = match place.rsplit_once('@') {
        Some((user, brokers)) => (Some(user), brokers),
        None => (None, place),
    };
    let brokers = brokers.trim_end_matches('/').split(',').map(broker).collect::<Result<_, _>>()?;
    let mut settings = KafkaSettings::at(brokers).tls(tls);
    let mut mechanism = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent(value)?;
        if name == "sasl" {
            let found = SaslMechanism::ALL.into_iter().find(|one| one.name() == value);
            let names = SaslMechanism::ALL.map(SaslMechanism::name).join(", ");
            mechanism = Some(found.ok_or_else(|| wrong(format!("`sasl` is none of {names}")))?);
        } else {
            settings = set(settings, name, &value)?;
        }
    }
    match (user, mechanism) {
        (None, None) => Ok(settings),
        (None, Some(_)) => Err(wrong("the URI has `sasl` and no user")),
        (Some(user), mechanism) => {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            let mechanism = mechanism.unwrap_or(SaslMechanism::ScramSha512);
            Ok(settings.user(mechanism, percent(user)?, percent(password)?))
        }
    }
}

/// `host:port`, or `[address]:port`.
fn broker(text: &str) -> Result<String, TransportError> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let is_good = port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0));
    match is_good {
        true => Ok(text.to_owned()),
        false => Err(wrong("a broker has not the form host:port")),
    }
}

fn set(settings: KafkaSettings, name: &str, value: &str) -> Result<KafkaSettings, TransportError> {
    let number = || value.parse().map_err(|_| wrong(format!("`{name}` is no number of a u16")));
    Ok(match name {
        "prefix" => {
            let prefix = TopicPrefix::new(value);
            settings.topic_prefix(prefix.map_err(|error| wrong(error.to_string()))?)
        }
        "layout" => settings.layout(match value {
            "participant" => Layout::PerParticipant,
            "pattern" => Layout::PerPattern,
            "subject" => Layout::PerSubject,
            _ => return Err(wrong("`layout` is none of participant, pattern, subject")),
        }),
        "patterns" => {
            let patterns = value.split(',').map(str::parse).collect::<Result<Vec<Pattern>, _>>();
            let names = Pattern::ALL.map(Pattern::name).join(", ");
            let unknown = |_| wrong(format!("`patterns` has a word that is none of {names}"));
            settings.patterns(patterns.map_err(unknown)?)
        }
        "partitions" => settings.partitions(number()?),
        "reply_partitions" => settings.reply_partitions(number()?),
        "replication" => settings.replication(number()?),
        "create_topics" => settings.create_topics(match value {
            "true" => true,
            "false" => false,
            _ => return Err(wrong("`create_topics` is neither true nor false")),
        }),
        "ca" => {
            let pem = fs::read_to_string(value);
            let unread = |error| wrong("the file of `ca` cannot be read").with_source(error);
            settings.root_certificate(pem.map_err(unread)?)
        }
        _ => return Err(wrong(format!("the URI has a name that is none of {NAMES}"))),
    })
}

/// Undoes the escapes of a URI.
fn percent(text: &str) -> Result<String, TransportError> {
    let broken = || wrong("an escape (%) of the URI is broken");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(rest.next()), digit(rest.next()));
        let value = high.zip(low).map(|(high, low)| high * 16 + low);
        bytes.push(value.and_then(|value| u8::try_from(value).ok()).ok_or_else(broken)?);
    }
    String::from_utf8(bytes).map_err(|_| broken())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_may_say_everything() {
        let uri = "kafkas://app:h%40%3anter2@a:1,[::1]:9092/?prefix=shop&layout=subject&patterns=2ps,05ps&partitions=3\
                   &reply_partitions=16&replication=2&create_topics=false&sasl=PLAIN";
        let settings = read(uri).expect("good");
        assert_eq!(settings.brokers.list(), "a:1,[::1]:9092");
        assert_eq!(settings.prefix.as_str(), "shop");
        assert_eq!(settings.layout, Layout::PerSubject);
        assert_eq!(settings.patterns, [Pattern::TwoPhaseSaga, Pattern::FireAndForget]);
        assert_eq!((settings.partitions, settings.reply_partitions), (3, 16));
        assert_eq!((settings.replication, settings.create_topics), (Some(2), false));
        assert!(settings.tls);
        let user = settings.credentials.expect("a user");
        assert_eq!((user.user.as_str(), user.password.reveal()), ("app", "h@:nter2"));
        assert_eq!(user.mechanism, SaslMechanism::Plain);
    }

    #[test]
    fn a_list_of_brokers_is_enough() {
        let settings = read("h:1,i:2").expect("good");
        assert_eq!(settings.brokers.list(), "h:1,i:2");
        assert!(!settings.tls && settings.credentials.is_none());
        let user = read("kafka://u:p@h:1").expect("good").credentials.expect("a user");
        assert_eq!(user.mechanism, SaslMechanism::ScramSha512, "the safest");
    }

    #[test]
    fn what_is_wrong_is_named_and_the_password_is_not() {
        for (uri, says) in [
            ("nats://u:hunter2@h:1", "kafka://"),
            ("kafka://u:hunter2@h", "host:port"),
            ("kafka://u:hunter2@h:0", "host:port"),
            ("kafka://u:hunter2@:1", "host:port"),
            ("kafka://u:hunter2@h:1?hunter2", "a name"),
            ("kafka://u:hunter2@h:1?partitions=many", "partitions"),
            ("kafka://u:hunter2@h:1?partitions=65536", "partitions"),
            ("kafka://u:hunter2@h:1?layout=flat", "layout"),
            ("kafka://u:hunter2@h:1?patterns=2ps,hunter2", "patterns"),
            ("kafka://u:hunter2@h:1?prefix=", "prefix"),
            ("kafka://u:hunter2@h:1?create_topics=", "create_topics"),
            ("kafka://u:hunter2@h:1?sasl=NTLM", "sasl"),
            ("kafka://u:hunter2@h:1?ca=/no/such/file", "ca"),
            ("kafka://u:hunter2%2@h:1", "escape"),
            ("kafka://h:1?sasl=PLAIN", "no user"),
        ] {
            let error = read(uri).expect_err(uri);
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(says), "{uri}: {shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
