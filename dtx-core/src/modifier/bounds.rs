//! TBS: how long a phase may take and what happens then. Pure functions of the definition, the
//! settings and the facts that are handed in.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc, time::Duration};

use thiserror::Error;

use crate::{
    modifier::{ExpiryStrategy, Modifiers, OnExpiry},
    name::ActionName,
    pattern::{Pattern, Phase},
    transaction::{Gate, Transaction},
};

/// The shortest time that a phase gets, whatever a strategy says.
pub const TIME_TO_LIVE_MIN: Duration = Duration::from_millis(1);

/// What a wait for a person multiplies the time of a claim by, before the window is added.
const APPROVAL_FACTOR: u32 = 2;

/// Progressive: how much each extension adds, in percent of the base.
const PROGRESSIVE_STEP_PERCENT: u32 = 50;

/// Adaptive: up to this load a phase has its whole time.
const ADAPTIVE_LOAD_FREE: u32 = 50;

/// Adaptive: what is left of the time at full load, in percent.
const ADAPTIVE_PERCENT_MIN: u32 = 25;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The base times. Those of 2PC, 2PS and 3PS up to `execute` are those of the source text 7.6;
/// the others follow them: what executes has two minutes, what drops a claim has one, what is
/// delivered has as long as the longest hold, and `abort` has what `commit` has.
const BASE: [(Pattern, Phase, Duration); 18] = [
    (Pattern::FireAndForget, Phase::Deliver, seconds(600)),
    (Pattern::Saga, Phase::Execute, seconds(120)),
    (Pattern::Saga, Phase::Compensate, seconds(120)),
    (Pattern::CriticalEventual, Phase::Execute, seconds(120)),
    (Pattern::CriticalEventual, Phase::Deliver, seconds(600)),
    (Pattern::CriticalEventual, Phase::Compensate, seconds(120)),
    (Pattern::TwoPhaseSaga, Phase::Prepare, seconds(300)),
    (Pattern::TwoPhaseSaga, Phase::Execute, seconds(120)),
    (Pattern::TwoPhaseSaga, Phase::Cancel, seconds(60)),
    (Pattern::TwoPhaseSaga, Phase::Compensate, seconds(120)),
    (Pattern::ThreePhaseSaga, Phase::Reserve, seconds(600)),
    (Pattern::ThreePhaseSaga, Phase::Validate, seconds(60)),
    (Pattern::ThreePhaseSaga, Phase::Execute, seconds(120)),
    (Pattern::ThreePhaseSaga, Phase::Release, seconds(60)),
    (Pattern::ThreePhaseSaga, Phase::Compensate, seconds(120)),
    (Pattern::TwoPhaseCommit, Phase::Prepare, seconds(30)),
    (Pattern::TwoPhaseCommit, Phase::Commit, seconds(5)),
    (Pattern::TwoPhaseCommit, Phase::Abort, seconds(5)),
];

/// Whether a transaction of this pattern may go through this phase. `status` changes nothing and
/// has no time of its own.
pub(crate) fn has_phase(pattern: Pattern, gate: Gate, phase: Phase) -> bool {
    // Only the independent gate lets a 3PS execute before it is decided.
    let gated_3ps = pattern == Pattern::ThreePhaseSaga && gate == Gate::AllValidated;
    BASE.iter().any(|row| (row.0, row.1) == (pattern, phase))
        && !(gated_3ps && phase == Phase::Compensate)
}

/// Whether `on_expiry` can be done before the verdict of this pattern; after it every phase is
/// retried.
pub(crate) fn can_do(pattern: Pattern, on_expiry: OnExpiry) -> bool {
    match on_expiry {
        OnExpiry::Retry => true,
        OnExpiry::Cancel => pattern == Pattern::TwoPhaseSaga,
        OnExpiry::Release => pattern == Pattern::ThreePhaseSaga,
        // The accept of a 0.5PS is its verdict.
        OnExpiry::Abort | OnExpiry::Ask | OnExpiry::Attention => pattern != Pattern::FireAndForget,
    }
}

/// The base time of each phase of each pattern: a setting of the coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseTimes(BTreeMap<(Pattern, Phase), Duration>);

/// A pattern that has no such phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{pattern} has no phase {phase} with a time of its own")]
pub struct NoSuchPhase {
    /// The pattern.
    pub pattern: Pattern,
    /// The phase that it has not.
    pub phase: Phase,
}

impl Default for BaseTimes {
    fn default() -> Self {
        Self(BASE.into_iter().map(|(pattern, phase, time)| ((pattern, phase), time)).collect())
    }
}

impl BaseTimes {
    /// The base time of a phase; `None` when the pattern has no such phase.
    pub fn get(&self, pattern: Pattern, phase: Phase) -> Option<Duration> {
        self.0.get(&(pattern, phase)).copied()
    }

    /// Sets the base time of a phase.
    ///
    /// # Errors
    /// [`NoSuchPhase`].
    pub fn set(
        &mut self,
        pattern: Pattern,
        phase: Phase,
        time: Duration,
    ) -> Result<(), NoSuchPhase> {
        let slot = self.0.get_mut(&(pattern, phase)).ok_or(NoSuchPhase { pattern, phase })?;
        *slot = time;
        Ok(())
    }
}

/// The settings of time bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundsSettings {
    /// The base times.
    pub base: BaseTimes,
    /// How often a phase is extended, unless the transaction says it.
    pub extensions_max: u8,
    /// How long a phase lives with all its extensions, the wait at the gate not counted. A base
    /// time over it stands.
    pub life_max: Duration,
}

impl Default for BoundsSettings {
    fn default() -> Self {
        Self { base: BaseTimes::default(), extensions_max: 3, life_max: seconds(24 * 3600) }
    }
}

/// What a strategy looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhaseFacts {
    /// The pattern.
    pub pattern: Pattern,
    /// The phase.
    pub phase: Phase,
    /// Whether the transaction has its verdict.
    pub decided: bool,
    /// The base time of the phase.
    pub base: Duration,
    /// How often the phase was extended.
    pub extensions: u8,
    /// How much of the coordinator's capacity is in flight, from 0 to 100.
    pub load_percent: u8,
    /// How long the transaction may wait for a person at its last gate; `None` if for nobody.
    pub approval: Option<Duration>,
    /// How long the execution is delayed.
    pub delay: Duration,
}

impl PhaseFacts {
    /// `time`, made longer where the claim of this phase is held while the transaction waits at
    /// its last gate: a wait for a person doubles it and adds the window, a delay is added.
    pub fn with_gate_wait(&self, time: Duration) -> Duration {
        if self.decided || !matches!(self.phase, Phase::Prepare | Phase::Reserve | Phase::Validate)
        {
            return time;
        }
        let time = match self.approval {
            Some(window) => time.saturating_mul(APPROVAL_FACTOR).saturating_add(window),
            None => time,
        };
        time.saturating_add(self.delay)
    }

    /// What happens on expiry where nobody says anything else (design section 3, the column of
    /// time-outs).
    pub fn default_on_expiry(&self) -> OnExpiry {
        if self.decided || self.phase.is_backward() {
            return OnExpiry::Retry;
        }
        match (self.pattern, self.phase) {
            (Pattern::TwoPhaseSaga, Phase::Prepare) => OnExpiry::Cancel,
            (Pattern::ThreePhaseSaga, Phase::Reserve) => OnExpiry::Release,
            (_, Phase::Prepare | Phase::Validate | Phase::Reserve) => OnExpiry::Abort,
            (_, Phase::Execute) => OnExpiry::Ask,
            _ => OnExpiry::Retry,
        }
    }
}

/// A strategy: turns the base time into the time that a phase gets. One of one's own is used as
/// [`ExpiryStrategy::Custom`] under the name that it was registered with. It must not block, and
/// the same facts must give the same answers.
pub trait Expiration: Debug + Send + Sync + 'static {
    /// The time that the phase gets, or that its next extension adds. Usually ends in
    /// [`PhaseFacts::with_gate_wait`], else what was claimed may be gone when a person agrees.
    fn time_to_live(&self, facts: &PhaseFacts) -> Duration;

    /// What happens then, usually [`PhaseFacts::default_on_expiry`]. What the pattern cannot do
    /// becomes that default, and after a verdict everything is retried.
    fn on_expiry(&self, facts: &PhaseFacts) -> OnExpiry;
}

/// The registered strategies by name.
pub type Strategies = BTreeMap<ActionName, Arc<dyn Expiration>>;

/// The base time, always.
#[derive(Clone, Copy, Debug)]
pub struct Fixed;

/// Half of the base time more with every extension.
#[derive(Clone, Copy, Debug)]
pub struct Progressive;

/// The whole base time up to a load of 50 %, then evenly less, down to a quarter at full load.
#[derive(Clone, Copy, Debug)]
pub struct Adaptive;

impl Expiration for Fixed {
    fn time_to_live(&self, facts: &PhaseFacts) -> Duration {
        facts.with_gate_wait(facts.base)
    }
    fn on_expiry(&self, facts: &PhaseFacts) -> OnExpiry {
        facts.default_on_expiry()
    }
}

impl Expiration for Progressive {
    fn time_to_live(&self, facts: &PhaseFacts) -> Duration {
        let percent = 100 + PROGRESSIVE_STEP_PERCENT * u32::from(facts.extensions);
        facts.with_gate_wait(share(facts.base, percent))
    }
    fn on_expiry(&self, facts: &PhaseFacts) -> OnExpiry {
        facts.default_on_expiry()
    }
}

impl Expiration for Adaptive {
    fn time_to_live(&self, facts: &PhaseFacts) -> Duration {
        let over = u32::from(facts.load_percent.min(100)).saturating_sub(ADAPTIVE_LOAD_FREE);
        let less = over * (100 - ADAPTIVE_PERCENT_MIN) / (100 - ADAPTIVE_LOAD_FREE);
        facts.with_gate_wait(share(facts.base, 100 - less))
    }
    fn on_expiry(&self, facts: &PhaseFacts) -> OnExpiry {
        facts.default_on_expiry()
    }
}

/// `percent` of a time. Divides first, so that nothing overflows; a millisecond is lost at most.
fn share(time: Duration, percent: u32) -> Duration {
    (time / 100).saturating_mul(percent)
}

/// How far a phase of a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhaseProgress {
    /// The phase.
    pub phase: Phase,
    /// Whether the transaction has its verdict, a sent pivot and a delegated commit included.
    pub decided: bool,
    /// How often the phase was extended.
    pub extensions: u8,
    /// How much of the coordinator's capacity is in flight, from 0 to 100.
    pub load_percent: u8,
}

/// How long a phase may take and what happens then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// How long, from its start or from its last extension.
    pub time_to_live: Duration,
    /// What happens then.
    pub on_expiry: OnExpiry,
}

/// The time bound of a phase; `None` when the pattern has no such phase. A strategy that is not
/// registered counts as `Fixed`.
pub fn expiry(
    transaction: &Transaction,
    settings: &BoundsSettings,
    strategies: &Strategies,
    progress: PhaseProgress,
) -> Option<Expiry> {
    let facts = facts(transaction, settings, progress)?;
    let bounds = transaction.modifiers().and_then(|modifiers| modifiers.time_bounds.as_ref());
    let strategy: &dyn Expiration = match bounds.map(|bounds| &bounds.strategy) {
        Some(ExpiryStrategy::Progressive) => &Progressive,
        Some(ExpiryStrategy::Adaptive) => &Adaptive,
        Some(ExpiryStrategy::Custom(name)) => match strategies.get(name) {
            Some(strategy) => strategy.as_ref(),
            None => &Fixed,
        },
        Some(ExpiryStrategy::Fixed) | None => &Fixed,
    };
    let wanted =
        bounds.and_then(|bounds| bounds.on_expiry).unwrap_or_else(|| strategy.on_expiry(&facts));
    let default = facts.default_on_expiry();
    // Nothing but sending again is left after a verdict and on the way back.
    let free = !progress.decided && !progress.phase.is_backward();
    let on_expiry = if free && can_do(facts.pattern, wanted) { wanted } else { default };
    let longest = life_max(&facts, settings).max(TIME_TO_LIVE_MIN);
    let time_to_live = strategy.time_to_live(&facts).clamp(TIME_TO_LIVE_MIN, longest);
    Some(Expiry { time_to_live, on_expiry })
}

/// How much longer a phase may live that has lived for `lived`; `None` when it was extended as
/// often, or has lived as long, as is allowed. `progress.extensions` counts the earlier ones.
pub fn extension(
    transaction: &Transaction,
    settings: &BoundsSettings,
    strategies: &Strategies,
    progress: PhaseProgress,
    lived: Duration,
) -> Option<Duration> {
    let own = transaction.modifiers().and_then(|modifiers| modifiers.time_bounds.as_ref());
    let most = own.and_then(|bounds| bounds.extensions_max).unwrap_or(settings.extensions_max);
    if progress.extensions >= most {
        return None;
    }
    let facts = facts(transaction, settings, progress)?;
    let left = life_max(&facts, settings).saturating_sub(lived);
    // The extension to come is the one that a progressive strategy makes longer.
    let next = PhaseProgress { extensions: progress.extensions + 1, ..progress };
    let time = expiry(transaction, settings, strategies, next)?.time_to_live.min(left);
    (!time.is_zero()).then_some(time)
}

fn facts(
    transaction: &Transaction,
    settings: &BoundsSettings,
    progress: PhaseProgress,
) -> Option<PhaseFacts> {
    let pattern = transaction.pattern();
    if !has_phase(pattern, transaction.gate(), progress.phase) {
        return None;
    }
    let modifiers = transaction.modifiers();
    let own = modifiers
        .and_then(|modifiers| modifiers.time_bounds.as_ref())
        .and_then(|bounds| bounds.base.get(&progress.phase).copied());
    Some(PhaseFacts {
        pattern,
        phase: progress.phase,
        decided: progress.decided,
        base: own.or_else(|| settings.base.get(pattern, progress.phase))?,
        extensions: progress.extensions,
        load_percent: progress.load_percent,
        approval: modifiers
            .and_then(|modifiers| modifiers.approval.as_ref())
            .map(|approval| approval.timeout),
        delay: modifiers
            .and_then(|modifiers: &Modifiers| modifiers.execute_after)
            .unwrap_or(Duration::ZERO),
    })
}

/// How long the phase may live with all its extensions.
fn life_max(facts: &PhaseFacts, settings: &BoundsSettings) -> Duration {
    facts.with_gate_wait(settings.life_max.max(facts.base))
}

#[cfg(test)]
#[path = "bounds_tests.rs"]
mod tests;
