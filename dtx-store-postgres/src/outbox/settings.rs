//! The bounds and times of a relay.

use std::time::Duration;

use thiserror::Error;

/// The bounds and times of a relay. All have defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelaySettings {
    /// The most messages in one round. At least 1.
    pub batch_messages_max: usize,
    /// How often a message is tried before it is laid aside as dead and the next of its key goes
    /// on. At least 1.
    pub attempts_max: u32,
    /// The first pause before a message that was not sent is tried again; it doubles with each
    /// attempt. The later ones of its key wait for it.
    pub backoff: Duration,
    /// The longest such pause.
    pub backoff_max: Duration,
    /// How long the sink may take for one call. What it has not answered by then counts as not
    /// sent. At least 1 ms.
    pub send_timeout: Duration,
    /// The pause before the next look when there was nothing to send; it doubles while that stays
    /// so. At least 1 ms.
    pub poll: Duration,
    /// The longest such pause.
    pub poll_max: Duration,
}

impl Default for RelaySettings {
    fn default() -> Self {
        Self {
            batch_messages_max: 256,
            attempts_max: 10,
            backoff: Duration::from_millis(100),
            backoff_max: Duration::from_secs(60),
            send_timeout: Duration::from_secs(30),
            poll: Duration::from_millis(50),
            poll_max: Duration::from_secs(1),
        }
    }
}

/// A setting that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("relay setting {field} is not valid: {reason}")]
pub struct RelaySettingsError {
    /// Which field.
    pub field: &'static str,
    /// What would be right.
    pub reason: &'static str,
}

impl RelaySettings {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`RelaySettingsError`] when a bound or a time is too small.
    pub fn check(&self) -> Result<(), RelaySettingsError> {
        let error = |field, reason| Err(RelaySettingsError { field, reason });
        let millisecond = Duration::from_millis(1);
        if self.batch_messages_max == 0 {
            return error("batch_messages_max", "give at least 1");
        }
        if self.attempts_max == 0 {
            return error("attempts_max", "give at least 1");
        }
        if self.send_timeout < millisecond {
            return error("send_timeout", "give at least 1 ms");
        }
        if self.poll < millisecond {
            return error("poll", "give at least 1 ms");
        }
        Ok(())
    }

    /// The pause after this many attempts.
    pub(crate) fn pause(&self, attempts: u32) -> Duration {
        let doubled = self.backoff.saturating_mul(1 << attempts.saturating_sub(1).min(20));
        doubled.min(self.backoff_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_passes_and_less_is_named() {
        let good = RelaySettings::default();
        assert_eq!(good.check(), Ok(()));
        let one = Duration::from_millis(1);
        let least = RelaySettings {
            batch_messages_max: 1,
            attempts_max: 1,
            send_timeout: one,
            poll: one,
            ..good
        };
        assert_eq!(least.check(), Ok(()));
        let field = |settings: RelaySettings| settings.check().expect_err("too small").field;
        let zero = Duration::ZERO;
        assert_eq!(
            field(RelaySettings { batch_messages_max: 0, ..least.clone() }),
            "batch_messages_max"
        );
        assert_eq!(field(RelaySettings { attempts_max: 0, ..least.clone() }), "attempts_max");
        assert_eq!(field(RelaySettings { send_timeout: zero, ..least.clone() }), "send_timeout");
        assert_eq!(field(RelaySettings { poll: zero, ..least }), "poll");
    }

    #[test]
    fn the_pause_doubles_up_to_its_limit() {
        let second = Duration::from_secs(1);
        let settings =
            RelaySettings { backoff: second, backoff_max: second * 5, ..RelaySettings::default() };
        let pauses: Vec<_> = (1..=5).map(|n| settings.pause(n).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 5, 5]);
        assert_eq!(settings.pause(u32::MAX), second * 5);
    }
}
