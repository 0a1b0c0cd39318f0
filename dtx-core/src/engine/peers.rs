//! What a coordinator has learnt of the participants: how fast they answer, and whether they do.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    engine::EngineSettings, ids::mix, name::ParticipantName, store::Outcome, time::Timestamp,
};

/// Everything known of all participants.
#[derive(Debug, Default)]
pub struct Peers {
    peers: BTreeMap<ParticipantName, Peer>,
    /// The last hundred outcomes, one bit each: set for what did not commit.
    recent: u128,
    /// Participants to which nothing is sent until an operator releases them.
    held: BTreeSet<ParticipantName>,
}

#[derive(Debug, Default)]
struct Peer {
    latency: Option<Latency>,
    /// The longest wait in vain since the last answer that was measured.
    in_vain: Duration,
    breaker: Breaker,
}

/// Smoothed latency and its deviation, in microseconds (RFC 6298).
#[derive(Debug)]
struct Latency {
    smoothed: u64,
    deviation: u64,
}

impl Latency {
    fn learn(&mut self, sample: u64) {
        self.deviation = (3 * self.deviation + self.smoothed.abs_diff(sample)) / 4;
        self.smoothed = (7 * self.smoothed + sample) / 8;
    }
}

/// Holds commands back from a participant that has stopped answering, and lets one through from
/// time to time to see whether it is back.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Breaker {
    failures: u32,
    open_until: Option<Timestamp>,
}

impl Breaker {
    /// `None`: send. `Some`: hold the command back until then. When the pause is over one command
    /// gets through and the next pause begins, until an answer comes.
    pub fn hold(&mut self, now: Timestamp, pause: Duration) -> Option<Timestamp> {
        let until = self.open_until?;
        if now < until {
            return Some(until);
        }
        self.open_until = Some(now + pause);
        None
    }

    /// An answer came, whatever it says.
    pub fn answered(&mut self) {
        *self = Self::default();
    }

    /// No answer came in time.
    pub fn failed(&mut self, now: Timestamp, failures_max: u32, pause: Duration) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= failures_max && self.open_until.is_none() {
            self.open_until = Some(now + pause);
        }
    }

    /// Whether commands are held back.
    pub fn is_open(&self) -> bool {
        self.open_until.is_some()
    }
}

impl Peers {
    /// From now on nothing is sent to these, and to all others again.
    pub fn hold_back(&mut self, held: BTreeSet<ParticipantName>) {
        self.held = held;
    }

    /// The breaker of a participant, if anything is known of it.
    pub fn breaker(&self, participant: &ParticipantName) -> Option<&Breaker> {
        self.peers.get(participant).map(|peer| &peer.breaker)
    }

    /// How many of the last hundred transactions did not commit.
    pub fn recent_failures_percent(&self) -> u8 {
        (self.recent & ((1 << 100) - 1)).count_ones() as u8
    }

    pub(super) fn ended(&mut self, outcome: Outcome) {
        let failed = !matches!(outcome, Outcome::Committed | Outcome::Dispatched);
        self.recent = (self.recent << 1) | u128::from(failed);
    }

    pub(super) fn hold(
        &mut self,
        participant: &ParticipantName,
        now: Timestamp,
        settings: &EngineSettings,
    ) -> Option<Timestamp> {
        if self.held.contains(participant) {
            return Some(now + settings.breaker_pause);
        }
        self.peers.get_mut(participant)?.breaker.hold(now, settings.breaker_pause)
    }

    pub(super) fn answered(&mut self, participant: &ParticipantName, after: Option<Duration>) {
        let peer = self.peer(participant);
        peer.breaker.answered();
        if let Some(after) = after {
            peer.in_vain = Duration::ZERO;
            let sample = u64::try_from(after.as_micros()).unwrap_or(u64::MAX / 8);
            match &mut peer.latency {
                Some(latency) => latency.learn(sample),
                None => {
                    peer.latency = Some(Latency { smoothed: sample, deviation: sample / 2 });
                }
            }
        }
    }

    /// No answer came within `waited`.
    pub(super) fn failed(
        &mut self,
        participant: &ParticipantName,
        now: Timestamp,
        waited: Option<Duration>,
        settings: &EngineSettings,
    ) {
        let (failures, pause) = (settings.breaker_failures, settings.breaker_pause);
        let peer = self.peer(participant);
        peer.breaker.failed(now, failures, pause);
        peer.in_vain = waited.map_or(peer.in_vain, |waited| waited.max(peer.in_vain));
    }

    /// How long to wait for an answer to the attempt with this number: what is known of its place,
    /// else four deviations over the smoothed latency; doubled with each attempt, and never less
    /// than twice of what was waited in vain since an answer was measured; within the two bounds
    /// of the settings.
    ///
    /// What was in vain is remembered over transactions (RFC 6298, 5.5 to 5.7). Else who is
    /// farther away than the first wait, and asked once per transaction, would never be heard:
    /// what comes after the only attempt is given up is not measured (Karn's rule).
    pub(super) fn attempt_timeout(
        &self,
        participant: &ParticipantName,
        attempt: u32,
        placed: Option<Duration>,
        settings: &EngineSettings,
    ) -> Duration {
        let peer = self.peers.get(participant);
        let learnt = || {
            let latency = peer.and_then(|peer| peer.latency.as_ref());
            let micros = latency.map_or(0, |latency| latency.smoothed + 4 * latency.deviation);
            Duration::from_micros(micros)
        };
        let base = placed.unwrap_or_else(learnt).max(settings.attempt_timeout_min);
        let doubled = base.saturating_mul(1 << attempt.saturating_sub(1).min(16));
        let in_vain = peer.map_or(Duration::ZERO, |peer| peer.in_vain);
        let longer = doubled.max(in_vain.saturating_mul(2));
        longer.min(settings.attempt_timeout_max).max(settings.attempt_timeout_min)
    }

    fn peer(&mut self, participant: &ParticipantName) -> &mut Peer {
        if !self.peers.contains_key(participant) {
            self.peers.insert(participant.clone(), Peer::default());
        }
        self.peers.get_mut(participant).expect("it was inserted above if it was missing")
    }
}

/// Capped exponential backoff with jitter over its upper half. The jitter comes from the salt,
/// so that the same run gives the same pauses.
pub(super) fn backoff(base_ms: u64, max_ms: u64, attempt: u32, salt: u64) -> Duration {
    let doubled = base_ms.saturating_mul(1 << attempt.saturating_sub(1).min(32));
    let capped = doubled.min(max_ms).max(1);
    let jitter = mix(salt ^ u64::from(attempt)) % (capped / 2 + 1);
    Duration::from_millis(capped - capped / 2 + jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breaker_opens_at_its_limit_and_not_before() {
        let (pause, at) = (Duration::from_secs(1), Timestamp::from_millis);
        let mut breaker = Breaker::default();
        breaker.failed(at(0), 2, pause);
        assert_eq!(breaker.hold(at(0), pause), None);
        breaker.failed(at(0), 2, pause);
        assert_eq!(breaker.hold(at(999), pause), Some(at(1000)));
        assert_eq!(breaker.hold(at(1000), pause), None, "one gets through");
        assert_eq!(breaker.hold(at(1001), pause), Some(at(2000)), "and only one");
        breaker.answered();
        assert!(!breaker.is_open());
    }

    #[test]
    fn a_backoff_grows_to_its_cap_and_never_over_it() {
        for attempt in 1..60 {
            let pause = backoff(50, 1_000, attempt, u64::from(attempt));
            assert!(pause >= Duration::from_millis(25) && pause <= Duration::from_secs(1));
        }
        assert!(backoff(50, 1_000, 10, 7) >= Duration::from_millis(500));
    }

    #[test]
    fn what_was_waited_in_vain_is_doubled_until_an_answer_is_measured() {
        let (mut peers, settings) = (Peers::default(), EngineSettings::default());
        let name = ParticipantName::new("p").expect("a name");
        let timeout = |peers: &Peers, attempt, placed| {
            let timeout = peers.attempt_timeout(&name, attempt, placed, &settings);
            u64::try_from(timeout.as_millis()).expect("it is short")
        };
        let millis = |millis| Some(Duration::from_millis(millis));
        let least = timeout(&peers, 1, None);
        // As many as were on their way together, and as short as one of them was.
        for waited in [millis(least), millis(least), millis(1), None] {
            peers.failed(&name, Timestamp::ZERO, waited, &settings);
        }
        assert_eq!(timeout(&peers, 1, None), 2 * least, "of the next transaction");
        assert_eq!(timeout(&peers, 2, None), 2 * least, "not doubled twice");
        assert_eq!(timeout(&peers, 3, None), 4 * least);
        assert_eq!(timeout(&peers, 1, millis(least + 1)), 2 * least, "a place that is wrong");
        peers.answered(&name, None);
        assert_eq!(timeout(&peers, 1, None), 2 * least, "nobody knows to which attempt");
        peers.failed(&name, Timestamp::ZERO, Some(Duration::MAX), &settings);
        assert_eq!(peers.attempt_timeout(&name, 1, None, &settings), settings.attempt_timeout_max);
        peers.answered(&name, millis(1));
        assert_eq!(timeout(&peers, 1, None), least);
    }

    #[test]
    fn an_attempt_is_never_given_less_than_the_least_time() {
        let (mut peers, settings) = (Peers::default(), EngineSettings::default());
        let name = ParticipantName::new("p").expect("a name");
        peers.answered(&name, Some(Duration::from_micros(10)));
        assert_eq!(peers.attempt_timeout(&name, 1, None, &settings), settings.attempt_timeout_min);
        for _ in 0..50 {
            peers.answered(&name, Some(Duration::from_secs(1)));
        }
        assert!(peers.attempt_timeout(&name, 1, None, &settings) >= Duration::from_secs(1));
        assert_eq!(peers.attempt_timeout(&name, 30, None, &settings), settings.attempt_timeout_max);
    }
}
