//! The layer itself: where the faults are drawn.

use std::{
    error::Error,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use dtx_core::{ids::mix, resource::Resource, transport::Transport};
use tokio::time::Instant;

use super::{ChaosCounts, ChaosError, ChaosResource, ChaosSettings, ChaosStore, ChaosTransport};

/// How much longer than the network's delay a call takes that ends in a time-out.
const TIMEOUT_DELAYS: u32 = 10;

/// A layer of faults. Clones draw from the same seed and count together.
#[derive(Clone, Debug)]
pub struct Chaos(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: ChaosSettings,
    begun: Instant,
    draws: AtomicU64,
    is_calm: AtomicBool,
    calls: AtomicU64,
    failures: AtomicU64,
    timeouts: AtomicU64,
    cut: AtomicU64,
    delay_ms: AtomicU64,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strike {
    /// Nothing.
    None,
    /// It fails, and has no effect.
    Fail,
    /// It ends in a time-out.
    TimeOut {
        /// Whether it takes effect all the same.
        lands: bool,
    },
    /// It does not get through.
    Cut,
}

/// A fault that was put into a handler. Whatever it was about, its effect is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injected {
    what: &'static str,
}

impl fmt::Display for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chaos: {}", self.what)
    }
}

impl Error for Injected {}

impl Chaos {
    /// A layer with these knobs. Faults begin at once.
    ///
    /// # Errors
    /// [`ChaosError`] naming the knob that is out of range.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(settings: ChaosSettings) -> Result<Self, ChaosError> {
        settings.check()?;
        Ok(Self(Arc::new(Inner {
            settings,
            begun: Instant::now(),
            draws: AtomicU64::new(0),
            is_calm: AtomicBool::new(false),
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            delay_ms: AtomicU64::new(0),
        })))
    }

    /// From now on nothing goes wrong, or again what the knobs say.
    pub fn calm(&self, is_calm: bool) {
        self.0.is_calm.store(is_calm, Relaxed);
    }

    /// What went wrong so far.
    pub fn counts(&self) -> ChaosCounts {
        let inner = &self.0;
        ChaosCounts {
            calls: inner.calls.load(Relaxed),
            failures: inner.failures.load(Relaxed),
            timeouts: inner.timeouts.load(Relaxed),
            cut: inner.cut.load(Relaxed),
            delay_ms: inner.delay_ms.load(Relaxed),
        }
    }

    /// Faults around a store.
    pub fn store<S>(&self, store: S) -> ChaosStore<S> {
        ChaosStore { inner: store, chaos: self.clone() }
    }

    /// Faults around a transport.
    pub fn transport(&self, transport: Arc<dyn Transport>) -> ChaosTransport {
        ChaosTransport { inner: transport, chaos: self.clone() }
    }

    /// Faults around a built-in participant.
    pub fn resource<R: Resource>(&self, resource: R) -> ChaosResource<R> {
        ChaosResource { inner: resource, chaos: self.clone() }
    }

    /// Faults in a handler of one's own: call it at the beginning, before or after an effect,
    /// and hand the error on with `?`. `link` names what may be cut, such as the participant.
    ///
    /// # Errors
    /// [`Injected`], as often as the knobs say.
    pub async fn inject(&self, link: &str) -> Result<(), Injected> {
        match self.strike(link).await {
            Strike::None => Ok(()),
            Strike::Fail => Err(Injected { what: "injected failure" }),
            Strike::TimeOut { .. } => Err(Injected { what: "time-out" }),
            Strike::Cut => Err(Injected { what: "cut off" }),
        }
    }

    /// Lets the network's time pass, and says what becomes of a call over this link.
    pub(super) async fn strike(&self, link: &str) -> Strike {
        self.delay().await;
        let strike = self.draw(link);
        if matches!(strike, Strike::TimeOut { .. }) {
            self.wait(self.timeout()).await;
        }
        strike
    }

    /// The time of the network for one call.
    pub(super) async fn delay(&self) {
        let longest = self.0.settings.network_delay;
        if !longest.is_zero() && !self.is_calm() {
            self.wait(longest.mul_f64(self.next_fraction())).await;
        }
    }

    /// How long a call takes that ends in a time-out.
    pub(super) fn timeout(&self) -> Duration {
        self.0.settings.network_delay * TIMEOUT_DELAYS
    }

    /// What becomes of a call over this link, without its time.
    pub(super) fn draw(&self, link: &str) -> Strike {
        let drawn = [self.next_fraction(), self.next_fraction(), self.next_fraction()];
        self.decide(link, drawn)
    }

    /// As [`Self::draw`], the same each time for the same `what`.
    pub(super) fn draw_for(&self, link: &str, what: u64) -> Strike {
        let of = |salt| fraction(mix(self.0.settings.seed ^ mix(what ^ salt)));
        self.decide(link, [of(1), of(2), of(3)])
    }

    fn decide(&self, link: &str, [fails, is_late, lands]: [f64; 3]) -> Strike {
        let Inner { settings, calls, failures, timeouts, cut, .. } = &*self.0;
        calls.fetch_add(1, Relaxed);
        if self.is_calm() {
            return Strike::None;
        }
        if self.is_cut(link) {
            cut.fetch_add(1, Relaxed);
            Strike::Cut
        } else if fails < settings.failure_rate {
            failures.fetch_add(1, Relaxed);
            Strike::Fail
        } else if is_late < settings.timeout_rate {
            timeouts.fetch_add(1, Relaxed);
            Strike::TimeOut { lands: lands < 0.5 }
        } else {
            Strike::None
        }
    }

    /// Time is cut into pieces of `partition_length`; in some of them the link is cut.
    fn is_cut(&self, link: &str) -> bool {
        let Inner { settings, begun, .. } = &*self.0;
        if settings.partition_rate <= 0.0 {
            return false;
        }
        let length = settings.partition_length.as_micros().max(1);
        let piece = begun.elapsed().as_micros() / length;
        let link = link.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
        fraction(mix(settings.seed ^ mix(link ^ piece as u64))) < settings.partition_rate
    }

    fn is_calm(&self) -> bool {
        self.0.is_calm.load(Relaxed)
    }

    async fn wait(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.0.delay_ms.fetch_add(millis, Relaxed);
        tokio::time::sleep(time).await;
    }

    fn next_fraction(&self) -> f64 {
        let number = self.0.draws.fetch_add(1, Relaxed);
        fraction(mix(self.0.settings.seed ^ mix(number)))
    }
}

/// A number from 0 to less than 1.
fn fraction(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}
