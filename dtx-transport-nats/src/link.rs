//! The connection, and questions on it whose answers come back by an inbox of ours.
//!
//! The client has requests of its own, but forgets none that went unanswered, and does not say
//! when the connection under them broke.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{
    Client, ConnectOptions, Event, HeaderMap, Message, PublishErrorKind, ServerAddr, Subject,
    Subscriber,
};
use bytes::Bytes;
use dtx_core::error::TransportError;
use futures_util::StreamExt;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, timeout_at},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    error::{error, of_connect},
    settings::NatsSettings,
    tls,
};

/// The longest pause between two attempts to connect again.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How many messages of one subscription may wait for us. Far more than are asked for.
const INBOX_MESSAGES_MAX: usize = 1 << 20;

/// The state of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Connection {
    /// How many times it was lost.
    pub(crate) losses: u64,
    pub(crate) is_up: bool,
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Nothing was sent.
    Unsent,
    /// It cannot be sent, whenever it is tried: the server takes no message of this size.
    TooLarge,
    /// No answer came in time.
    Late,
    /// The connection broke meanwhile.
    Broken,
    /// Nobody listens to the subject.
    NoResponders,
}

type Waiting = Mutex<HashMap<u64, oneshot::Sender<Message>>>;

/// The connection.
#[derive(Debug)]
pub(crate) struct Link {
    client: Client,
    inbox: String,
    waiting: Arc<Waiting>,
    asked: AtomicU64,
    connection: watch::Receiver<Connection>,
    complaints: watch::Receiver<Option<String>>,
    _ends: DropGuard,
}

fn lock(waiting: &Waiting) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Message>>> {
    // Nothing panics in the middle of a change.
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A question that was sent.
#[derive(Debug)]
pub(crate) struct Asked {
    number: u64,
    waiting: Arc<Waiting>,
    answer: oneshot::Receiver<Message>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        lock(&self.waiting).remove(&self.number);
    }
}

impl Asked {
    /// The answer.
    pub(crate) async fn answer(mut self, until: Instant) -> Result<Message, Lost> {
        let message = match timeout_at(until, &mut self.answer).await {
            Ok(Ok(message)) => message,
            Ok(Err(_)) => return Err(Lost::Broken),
            Err(_) => return Err(Lost::Late),
        };
        match message.status.map(|status| status.as_u16()) {
            Some(503) => Err(Lost::NoResponders),
            _ => Ok(message),
        }
    }
}

impl Link {
    /// Connects.
    pub(crate) async fn connect(settings: &NatsSettings) -> Result<Arc<Self>, TransportError> {
        let (changes, connection) = watch::channel(Connection { losses: 0, is_up: true });
        let (complain, complaints) = watch::channel(None);
        let mut options = ConnectOptions::new()
            .name("dtx")
            .connection_timeout(settings.connect_timeout)
            .subscription_capacity(INBOX_MESSAGES_MAX)
            .max_reconnects(None)
            .reconnect_delay_callback(|attempts| {
                let attempts = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
                Duration::from_millis(20).saturating_mul(attempts).min(PAUSE_MAX)
            })
            .event_callback(move |event| {
                observe(&event, &changes, &complain);
                std::future::ready(())
            });
        if let Some((user, password)) = &settings.user {
            options = options.user_and_password(user.clone(), password.clone());
        }
        if let Some(token) = &settings.token {
            options = options.token(token.clone());
        }
        if settings.is_tls() {
            options = options.require_tls(true).tls_client_config(tls::configuration(settings)?);
        }
        let servers: Vec<ServerAddr> = settings.servers.iter().map(|a| a.server.clone()).collect();
        let client = options.connect(servers).await.map_err(of_connect)?;
        let inbox = client.new_inbox();
        let answers = client.subscribe(format!("{inbox}.*")).await;
        let answers = answers.map_err(|source| {
            error(dtx_core::error::ErrorKind::Unavailable, "connect").with_source(source)
        })?;
        let (waiting, ends) = (Arc::new(Waiting::default()), CancellationToken::new());
        tokio::spawn(deliver(answers, Arc::clone(&waiting), connection.clone(), ends.clone()));
        Ok(Arc::new(Self {
            client,
            inbox,
            waiting,
            asked: AtomicU64::new(0),
            connection,
            complaints,
            _ends: ends.drop_guard(),
        }))
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The state of the connection, and its changes.
    pub(crate) fn connection(&self) -> watch::Receiver<Connection> {
        self.connection.clone()
    }

    /// What the server said last that was no answer, and what it will say.
    pub(crate) fn complaints(&self) -> watch::Receiver<Option<String>> {
        self.complaints.clone()
    }

    /// Waits until there is a connection. Says whether there is one.
    pub(crate) async fn is_up(&self, until: Instant) -> bool {
        let mut connection = self.connection.clone();
        matches!(timeout_at(until, connection.wait_for(|c| c.is_up)).await, Ok(Ok(_)))
    }

    /// Sends a question. Its answer is awaited apart, so that many can be under way.
    pub(crate) async fn ask(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        body: Bytes,
        until: Instant,
    ) -> Result<Asked, Lost> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        let asked = Asked { number, waiting: Arc::clone(&self.waiting), answer };
        lock(&self.waiting).insert(number, sender);
        let reply = format!("{}.{number}", self.inbox);
        let sent = async {
            match headers {
                Some(headers) => {
                    let client = &self.client;
                    client.publish_with_reply_and_headers(subject, reply, headers, body).await
                }
                None => self.client.publish_with_reply(subject, reply, body).await,
            }
        };
        match timeout_at(until, sent).await {
            Ok(Ok(())) => Ok(asked),
            Ok(Err(error)) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                Err(Lost::TooLarge)
            }
            Ok(Err(_)) | Err(_) => Err(Lost::Unsent),
        }
    }

    /// Says something that is not answered. What is said on a connection that breaks is lost.
    pub(crate) async fn tell(
        &self,
        subject: Subject,
        body: Bytes,
        until: Instant,
    ) -> Result<(), Lost> {
        if !self.connection.borrow().is_up {
            return Err(Lost::Unsent);
        }
        match timeout_at(until, self.client.publish(subject, body)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Lost::Unsent),
        }
    }

    /// Asks and waits for the answer.
    pub(crate) async fn request(
        &self,
        subject: String,
        body: Bytes,
        until: Instant,
    ) -> Result<Message, Lost> {
        self.ask(subject, None, body, until).await?.answer(until).await
    }
}

fn observe(
    event: &Event,
    changes: &watch::Sender<Connection>,
    complain: &watch::Sender<Option<String>>,
) {
    let change = |is_up: bool| {
        changes.send_modify(|connection| {
            let losses = connection.losses + u64::from(!is_up);
            *connection = Connection { losses, is_up };
        });
    };
    match event {
        Event::Connected => change(true),
        Event::Disconnected => {
            tracing::warn!("the connection to NATS is lost; it is made again");
            change(false);
        }
        Event::Closed => change(false),
        Event::ServerError(said) => {
            tracing::warn!(%said, "the NATS server complains");
            complain.send_replace(Some(said.to_string()));
        }
        Event::SlowConsumer(_) => tracing::warn!("answers of the NATS server were dropped"),
        Event::ClientError(said) => tracing::warn!(%said, "the NATS client complains"),
        Event::LameDuckMode | Event::Draining => {}
    }
}

/// Hands answers to those that wait. When the connection is lost none comes any more for what was
/// asked on it.
async fn deliver(
    mut answers: Subscriber,
    waiting: Arc<Waiting>,
    mut connection: watch::Receiver<Connection>,
    ends: CancellationToken,
) {
    let mut losses = connection.borrow_and_update().losses;
    loop {
        tokio::select! {
            biased;
            () = ends.cancelled() => return,
            changed = connection.changed() => {
                let now = connection.borrow_and_update().losses;
                if changed.is_err() || now != losses {
                    lock(&waiting).clear();
                    losses = now;
                }
                if changed.is_err() {
                    return;
                }
            }
            message = answers.next() => {
                let Some(message) = message else { return };
                let number = message.subject.rsplit_once('.').and_then(|(_, n)| n.parse().ok());
                let sender = number.and_then(|number: u64| lock(&waiting).remove(&number));
                if let Some(sender) = sender {
                    // Who asked may be gone.
                    let _ = sender.send(message);
                }
            }
        }
    }
}
