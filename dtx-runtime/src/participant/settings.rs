//! The bounds and times of a host.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The bounds and times of a host. All have defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostSettings {
    /// The queue group; hosts of one group share the commands. The participant's name if `None`.
    pub group: Option<String>,
    /// How many commands may be held and not yet acknowledged.
    pub prefetch: usize,
    /// How many commands of user handlers may be between their claim and their stored answer.
    pub concurrency: usize,
    /// The most commands in one batch.
    pub batch_commands_max: usize,
    /// How many batches may be in flight side by side.
    pub batches_in_flight_max: usize,
    /// How many times a batch is read and run again after it met a change of somebody else.
    pub conflict_retries_max: u32,
    /// The longest run of a user handler, also where the command has no deadline.
    pub handler_ms_max: u64,
    /// How long the handlers of one batch run before the answers so far are stored and told, in
    /// microseconds.
    pub inline_us_max: u64,
    /// How many times a command is delivered before the host gives it up: a fault is then
    /// answered `Unknown`, and a message that nobody waits for becomes a dead letter.
    pub deliveries_max: u32,
    /// The first pause before a command that met a fault is delivered again; it doubles with
    /// each delivery.
    pub backoff_ms: u64,
    /// The longest such pause.
    pub backoff_ms_max: u64,
    /// How many dead letters are kept; the oldest make room.
    pub dead_letters_max: usize,
    /// How many operations a volatile inbox remembers; at the limit, new ones are `Unknown`.
    pub volatile_rows_max: usize,
    /// How often old inbox rows are looked for.
    pub collect_interval_ms: u64,
    /// The most rows that are looked at in one scope each time.
    pub collect_rows_max: usize,
    /// The most scopes that are looked at each time.
    pub collect_scopes_max: usize,
    /// How long an inbox row stays after its last change, at the least: the broker's retention
    /// and the longest retry together.
    pub retention_ms: u64,
    /// How many pinned reservations and prepared branches are watched at a time.
    pub watched_max: usize,
    /// How often the watched ones are looked at, and how long an inquiry waits for its answer.
    pub inquiry_interval_ms: u64,
    /// On a store that several processes share: how long others leave the claims of this host
    /// alone after it has been heard of last. Renewed three times as often; without a renewal its
    /// handlers are dropped by then.
    pub lease_ms: u64,
}

impl Default for HostSettings {
    fn default() -> Self {
        Self {
            group: None,
            prefetch: 4_096,
            concurrency: 1_024,
            batch_commands_max: 1_024,
            batches_in_flight_max: 4,
            conflict_retries_max: 16,
            handler_ms_max: 60_000,
            inline_us_max: 200,
            deliveries_max: 10,
            backoff_ms: 50,
            backoff_ms_max: 30_000,
            dead_letters_max: 1_000,
            volatile_rows_max: 65_536,
            collect_interval_ms: 1_000,
            collect_rows_max: 256,
            collect_scopes_max: 16,
            retention_ms: 3_600_000,
            watched_max: 65_536,
            inquiry_interval_ms: 1_000,
            lease_ms: 8_000,
        }
    }
}

/// A setting that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("host setting {field} is not valid: {reason}")]
pub struct SettingsError {
    /// Which field.
    pub field: &'static str,
    /// What would be right.
    pub reason: &'static str,
}

impl HostSettings {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`SettingsError`] when a bound is zero, or the group is empty.
    pub fn check(&self) -> Result<(), SettingsError> {
        let bounds = [
            ("prefetch", self.prefetch),
            ("concurrency", self.concurrency),
            ("batch_commands_max", self.batch_commands_max),
            ("batches_in_flight_max", self.batches_in_flight_max),
            ("deliveries_max", self.deliveries_max as usize),
            ("dead_letters_max", self.dead_letters_max),
            ("volatile_rows_max", self.volatile_rows_max),
            ("collect_rows_max", self.collect_rows_max),
            ("collect_scopes_max", self.collect_scopes_max),
            ("watched_max", self.watched_max),
        ];
        let times = [
            ("handler_ms_max", self.handler_ms_max),
            ("collect_interval_ms", self.collect_interval_ms),
            ("inquiry_interval_ms", self.inquiry_interval_ms),
            ("lease_ms", self.lease_ms),
        ];
        let bounds = bounds.into_iter().filter(|(_, value)| *value == 0).map(|(field, _)| field);
        let times = times.into_iter().filter(|(_, value)| *value == 0).map(|(field, _)| field);
        if let Some(field) = bounds.chain(times).next() {
            return Err(SettingsError { field, reason: "give at least 1" });
        }
        if self.group.as_deref() == Some("") {
            return Err(SettingsError { field: "group", reason: "give a name, or leave it out" });
        }
        Ok(())
    }

    /// The pause before the delivery after this one.
    pub(crate) fn backoff(&self, delivery: u32) -> Duration {
        let doubled = self.backoff_ms.saturating_mul(1 << delivery.saturating_sub(1).min(20));
        Duration::from_millis(doubled.min(self.backoff_ms_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_a_zero_bound_is_named() {
        assert_eq!(HostSettings::default().check(), Ok(()));
        let none = HostSettings { concurrency: 0, ..HostSettings::default() };
        assert_eq!(none.check().expect_err("zero").field, "concurrency");
        assert!(HostSettings { concurrency: 1, ..HostSettings::default() }.check().is_ok());
        let nameless = HostSettings { group: Some(String::new()), ..HostSettings::default() };
        assert_eq!(nameless.check().expect_err("empty").field, "group");
    }

    #[test]
    fn the_pause_doubles_up_to_its_limit() {
        let settings =
            HostSettings { backoff_ms: 50, backoff_ms_max: 300, ..HostSettings::default() };
        let pauses: Vec<_> = (1..=5).map(|n| settings.backoff(n).as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 300, 300]);
        assert_eq!(settings.backoff(u32::MAX).as_millis(), 300);
    }
}
