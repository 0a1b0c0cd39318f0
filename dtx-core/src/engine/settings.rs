//! The named bounds of an engine.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use thiserror::Error;

use crate::{
    engine::Placement,
    modifier::{BoundsSettings, Conditions, Strategies},
    name::ParticipantName,
    transaction::RetryPolicy,
};

/// What a coordinator can be told. Every bound of the engine is here.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// The shortest time after which a command without an answer is sent again.
    pub attempt_timeout_min: Duration,
    /// The longest time after which a command without an answer is sent again.
    pub attempt_timeout_max: Duration,
    /// GA: where participants are, and so when each is asked; `None`: all at once.
    pub placement: Option<Arc<dyn Placement>>,
    /// GA: the longest time that a command waits before it is sent, whatever the placement says.
    pub send_delay_max: Duration,
    /// How an operation without a policy of its own is retried.
    pub retry: RetryPolicy,
    /// How long a transaction without a deadline of its own may stay undecided.
    pub deadline: Duration,
    /// A backoff longer than this makes the attempt count durable.
    pub backoff_durable: Duration,
    /// How often a transaction may be taken up again before it waits for an operator.
    pub resumes_max: u16,
    /// A gate that stays shut longer than this parks the transaction.
    pub park_after: Duration,
    /// The largest output that is kept for the operations that depend on it, in bytes.
    pub output_bytes_max: usize,
    /// The most signals of one transaction.
    pub signals_max: usize,
    /// The most bytes of all inputs together that operators edit in one transaction.
    pub edited_bytes_max: usize,
    /// The most journal entries of one transaction that wait for its next write; further ones
    /// are counted and left out.
    pub journal_entries_max: usize,
    /// How many answers in a row must stay out before a participant's breaker opens.
    pub breaker_failures: u32,
    /// How long an open breaker holds commands back.
    pub breaker_pause: Duration,
    /// After how long a failed write is sent again.
    pub write_retry: Duration,
    /// Participants that have no inbox (rule 13).
    pub without_inbox: BTreeSet<ParticipantName>,
    /// How long phases may take (TBS).
    pub bounds: BoundsSettings,
    /// Expiry strategies of the user.
    pub strategies: Strategies,
    /// Verification conditions of the user.
    pub conditions: Conditions,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            attempt_timeout_min: Duration::from_millis(200),
            attempt_timeout_max: Duration::from_secs(10),
            placement: None,
            send_delay_max: Duration::from_secs(1),
            retry: RetryPolicy::default(),
            deadline: Duration::from_secs(60),
            backoff_durable: Duration::from_secs(1),
            resumes_max: 16,
            park_after: Duration::from_secs(5),
            output_bytes_max: 64 * 1024,
            signals_max: 64,
            edited_bytes_max: 256 * 1024,
            journal_entries_max: 4_096,
            breaker_failures: 32,
            breaker_pause: Duration::from_millis(500),
            write_retry: Duration::from_millis(50),
            without_inbox: BTreeSet::new(),
            bounds: BoundsSettings::default(),
            strategies: Strategies::default(),
            conditions: Conditions::default(),
        }
    }
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("setting {field} is not valid: {reason}")]
pub struct SettingsError {
    /// Which.
    pub field: &'static str,
    /// Why, and what would be right.
    pub reason: &'static str,
}

impl EngineSettings {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`SettingsError`] naming the first setting that cannot be.
    pub fn check(&self) -> Result<(), SettingsError> {
        let positive = [
            ("attempt_timeout_min", self.attempt_timeout_min),
            ("deadline", self.deadline),
            ("write_retry", self.write_retry),
            ("breaker_pause", self.breaker_pause),
        ];
        for (field, value) in positive {
            if value.is_zero() {
                return Err(SettingsError { field, reason: "it is zero; give a positive time" });
            }
        }
        if self.attempt_timeout_max < self.attempt_timeout_min {
            let reason = "it is below attempt_timeout_min";
            return Err(SettingsError { field: "attempt_timeout_max", reason });
        }
        if self.signals_max > usize::from(u16::MAX) {
            let reason = "it is over 65,535; no transaction needs more";
            return Err(SettingsError { field: "signals_max", reason });
        }
        for (field, value) in [
            ("retry.attempts_max", u64::from(self.retry.attempts_max)),
            ("resumes_max", u64::from(self.resumes_max)),
            ("breaker_failures", u64::from(self.breaker_failures)),
        ] {
            if value == 0 {
                return Err(SettingsError { field, reason: "it is zero; give at least 1" });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_at_its_limit_passes_and_one_past_it_is_named() {
        assert_eq!(EngineSettings::default().check(), Ok(()));
        let mut settings = EngineSettings { resumes_max: 1, ..EngineSettings::default() };
        assert_eq!(settings.check(), Ok(()));
        settings.resumes_max = 0;
        assert_eq!(settings.check().expect_err("zero").field, "resumes_max");
        settings = EngineSettings { signals_max: 65_535, ..EngineSettings::default() };
        assert_eq!(settings.check(), Ok(()));
        settings.signals_max += 1;
        assert_eq!(settings.check().expect_err("too many").field, "signals_max");
        let short = EngineSettings {
            attempt_timeout_max: Duration::from_millis(199),
            ..EngineSettings::default()
        };
        assert_eq!(short.check().expect_err("short").field, "attempt_timeout_max");
    }
}
