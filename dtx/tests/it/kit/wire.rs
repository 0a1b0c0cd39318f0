//! A transport that is watched, and that loses what it is told to.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use dtx::{
    InMemoryTransport,
    error::{ErrorKind, TransportError},
    ids::{AcceptSequence, TxId},
    pattern::Phase,
    transport::{
        Body, Command, Envelope, PublishResult, Subscribe, Subscription, Transport, TransportInfo,
    },
};
use tokio::sync::watch;

use super::spy::Note;

/// What was seen, in order, over the store and the transport of a node.
pub(crate) type Log = Arc<Mutex<Vec<Seen>>>;

/// One thing that was seen.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// A record became durable.
    Durable(Note),
    /// A command left.
    Sent(Sent),
}

/// A command that left.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) tx: TxId,
    pub(crate) phase: Phase,
    pub(crate) sequence: AcceptSequence,
    pub(crate) watermark: AcceptSequence,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrives,
    /// It is taken and never arrives.
    IsLost,
    /// It is refused with an error.
    Fails,
}

type Rule = Box<dyn FnMut(&Envelope) -> Fate + Send>;

/// A transport that is watched. Clones are the same transport with the same switches.
#[derive(Clone)]
pub(crate) struct Wire {
    inner: InMemoryTransport,
    switches: Arc<Switches>,
}

struct Switches {
    log: Log,
    rule: Mutex<Rule>,
    frozen: watch::Sender<bool>,
    /// Commands and replies that were published.
    counts: Mutex<(usize, usize)>,
    /// The most commands in one publish.
    largest: Mutex<usize>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}

impl Wire {
    pub(crate) fn on(inner: &InMemoryTransport, log: Log) -> Self {
        let switches = Switches {
            log,
            rule: Mutex::new(Box::new(|_| Fate::Arrives)),
            frozen: watch::Sender::new(false),
            counts: Mutex::default(),
            largest: Mutex::default(),
        };
        Self { inner: inner.clone(), switches: Arc::new(switches) }
    }

    /// From now on this decides what becomes of each message.
    pub(crate) fn rule(&self, rule: impl FnMut(&Envelope) -> Fate + Send + 'static) {
        *self.switches.rule.lock().unwrap() = Box::new(rule);
    }

    /// From now on nothing is published until this is taken back.
    pub(crate) fn freeze(&self, frozen: bool) {
        self.switches.frozen.send_replace(frozen);
    }

    /// How many commands and replies were published.
    pub(crate) fn counts(&self) -> (usize, usize) {
        *self.switches.counts.lock().unwrap()
    }

    /// The most commands that were in one publish.
    pub(crate) fn largest_batch(&self) -> usize {
        *self.switches.largest.lock().unwrap()
    }

    /// The commands of a transaction so far.
    pub(crate) fn sent(&self, tx: TxId) -> Vec<Sent> {
        let log = self.switches.log.lock().unwrap();
        let sent = log.iter().filter_map(|seen| match seen {
            Seen::Sent(sent) if sent.tx == tx => Some(sent.clone()),
            _ => None,
        });
        sent.collect()
    }

    fn note(&self, message: &Envelope) {
        let mut counts = self.switches.counts.lock().unwrap();
        match &message.body {
            Body::Command(command) => {
                counts.0 += 1;
                let Command { tx, phase, sequence, watermark, .. } = **command;
                let sent = Sent { tx, phase, sequence, watermark };
                self.switches.log.lock().unwrap().push(Seen::Sent(sent));
            }
            Body::Reply(_) => counts.1 += 1,
            Body::Inquiry(_) | Body::InquiryAnswer(_) => {}
        }
    }
}

#[async_trait]
impl Transport for Wire {
    fn info(&self) -> &TransportInfo {
        self.inner.info()
    }

    async fn publish(&self, messages: &[Envelope]) -> Vec<PublishResult> {
        let mut frozen = self.switches.frozen.subscribe();
        frozen.wait_for(|frozen| !frozen).await.expect("the switch outlives its readers");
        let commands = messages.iter().filter(|m| matches!(m.body, Body::Command(_))).count();
        {
            let mut largest = self.switches.largest.lock().unwrap();
            *largest = commands.max(*largest);
        }
        let mut results = Vec::new();
        let mut arriving = Vec::new();
        for message in messages {
            self.note(message);
            let fate = (self.switches.rule.lock().unwrap())(message);
            results.push(match fate {
                Fate::Fails => Err(TransportError::new(ErrorKind::Unavailable, "wire", "publish")),
                Fate::Arrives | Fate::IsLost => Ok(()),
            });
            if fate == Fate::Arrives {
                arriving.push(message.clone());
            }
        }
        for result in self.inner.publish(&arriving).await {
            result.expect("the transport within takes what it is given");
        }
        results
    }

    async fn subscribe(
        &self,
        subscribe: &Subscribe,
    ) -> Result<Box<dyn Subscription>, TransportError> {
        self.inner.subscribe(subscribe).await
    }

    async fn close(&self) -> Result<(), TransportError> {
        self.inner.close().await
    }
}
