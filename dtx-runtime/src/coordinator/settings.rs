//! The named settings of a coordinator.

use std::time::Duration;

use dtx_core::{
    engine::{EngineSettings, HealSettings, SettingsError},
    resource::reversals,
    transaction::Reversals,
};

use crate::subscription::SubscriptionSettings;

/// What a coordinator can be told. Every bound has a name here or in [`EngineSettings`].
#[derive(Clone, Debug)]
pub struct CoordinatorSettings {
    /// How transactions are driven.
    pub engine: EngineSettings,
    /// How many transactions may be in memory at once. At the limit `submit` waits and
    /// `try_submit` answers `Overloaded`. What is found open in the store counts, and is taken up
    /// also past the limit: it was accepted, and nobody else drives it.
    pub in_flight_max: usize,
    /// The most writes in one commit; the store's own limit is kept in any case.
    pub batch_writes_max: usize,
    /// The most commands in one publish; the transport's own limit is kept in any case.
    pub batch_commands_max: usize,
    /// The most inquiries of participants that are answered with one read and one commit, and that
    /// are held at a time.
    pub batch_inquiries_max: usize,
    /// How many commands of one lane may wait for the transport before repeats are left out, as if
    /// they had got lost. First attempts always wait: there is one for each operation in flight.
    pub commands_max: usize,
    /// How long one publish may take. What a full queue did not take by then counts as lost, so
    /// that a participant that has stopped reading does not hold up the others.
    pub publish_timeout: Duration,
    /// The most inputs that wait for a lane before whoever brings them waits too.
    pub lane_inputs_max: usize,
    /// How long a write that nobody waits for may stay behind when no other write takes it along.
    pub lazy_flush: Duration,
    /// How long a lease lasts unless it is renewed, on the store's clock. Renewed three times as
    /// often.
    pub lease_ttl: Duration,
    /// How often the store is asked for what became due there: parked transactions, and those that
    /// others accepted. Wakes make it sooner.
    pub scan_interval: Duration,
    /// The pause between two scans doubles up to this while nothing at all is open. Not below
    /// `scan_interval`, whatever is set here.
    pub scan_interval_max: Duration,
    /// How often it is looked for shards that are free, and whether others want some of one's own.
    /// A third of `lease_ttl` where that is shorter.
    pub balance_interval: Duration,
    /// Whether the coordinators of the store share its shards out evenly. Else each keeps all that
    /// it got, and the others stand by. `None`: where several processes may use the store at once.
    pub spread_shards: Option<bool>,
    /// How long subscriptions live that nobody reads.
    pub subscriptions: SubscriptionSettings,
    /// How the healer works.
    pub healing: HealSettings,
    /// Which action reverses which, for an undo.
    pub reversals: Reversals,
    /// How many records are read at a time when a shard is taken over or scanned.
    pub scan_records_max: usize,
    /// How many answers of a transaction wait for a slow reader of its events; further ones are
    /// left out and counted.
    pub events_max: usize,
    /// Accept transactions that may be lost although the store does not survive the loss of
    /// power. Without it only 0.5PS is accepted on such a store.
    pub allow_volatile: bool,
}

impl Default for CoordinatorSettings {
    fn default() -> Self {
        Self {
            engine: EngineSettings::default(),
            in_flight_max: 100_000,
            batch_writes_max: 1_024,
            batch_commands_max: 1_024,
            batch_inquiries_max: 64,
            commands_max: 65_536,
            publish_timeout: Duration::from_secs(1),
            lane_inputs_max: 4_096,
            lazy_flush: Duration::from_millis(100),
            lease_ttl: Duration::from_secs(10),
            scan_interval: Duration::from_secs(1),
            scan_interval_max: Duration::from_secs(8),
            balance_interval: Duration::from_millis(1500),
            spread_shards: None,
            subscriptions: SubscriptionSettings::default(),
            healing: HealSettings::default(),
            reversals: reversals(),
            scan_records_max: 256,
            events_max: 256,
            allow_volatile: false,
        }
    }
}

impl CoordinatorSettings {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`SettingsError`] naming the first setting that cannot be.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.engine.check()?;
        self.healing.check()?;
        self.subscriptions.check()?;
        for (field, value) in [
            ("in_flight_max", self.in_flight_max),
            ("batch_writes_max", self.batch_writes_max),
            ("batch_commands_max", self.batch_commands_max),
            ("batch_inquiries_max", self.batch_inquiries_max),
            ("commands_max", self.commands_max),
            ("lane_inputs_max", self.lane_inputs_max),
            ("scan_records_max", self.scan_records_max),
            ("events_max", self.events_max),
        ] {
            if value == 0 {
                return Err(SettingsError { field, reason: "it is zero; give at least 1" });
            }
        }
        if self.in_flight_max > tokio::sync::Semaphore::MAX_PERMITS {
            let reason = "it is over what a semaphore can count";
            return Err(SettingsError { field: "in_flight_max", reason });
        }
        for (field, value) in [
            ("publish_timeout", self.publish_timeout),
            ("lazy_flush", self.lazy_flush),
            ("lease_ttl", self.lease_ttl),
            ("scan_interval", self.scan_interval),
            ("balance_interval", self.balance_interval),
        ] {
            if value.is_zero() {
                return Err(SettingsError { field, reason: "it is zero; give a positive time" });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_of_one_passes_and_zero_is_named() {
        assert_eq!(CoordinatorSettings::default().check(), Ok(()));
        let mut settings = CoordinatorSettings { in_flight_max: 1, ..Default::default() };
        assert_eq!(settings.check(), Ok(()));
        settings.in_flight_max = 0;
        assert_eq!(settings.check().expect_err("zero").field, "in_flight_max");
        settings.in_flight_max = tokio::sync::Semaphore::MAX_PERMITS + 1;
        assert_eq!(settings.check().expect_err("too many").field, "in_flight_max");
    }
}
