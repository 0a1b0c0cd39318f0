//! The named settings of the life of subscriptions.

use std::time::Duration;

use dtx_core::engine::SettingsError;

/// How long a subscription lives that nobody reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionSettings {
    /// How long a subscription lives after it was used last. A receive that waits uses it all the
    /// time.
    pub ttl: Duration,
    /// How often it is looked for subscriptions that nobody has used for that long.
    pub interval: Duration,
}

impl Default for SubscriptionSettings {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(600), interval: Duration::from_secs(30) }
    }
}

impl SubscriptionSettings {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`SettingsError`] naming the first setting that cannot be.
    pub fn check(&self) -> Result<(), SettingsError> {
        for (field, value) in
            [("subscriptions.ttl", self.ttl), ("subscriptions.interval", self.interval)]
        {
            if value.is_zero() {
                return Err(SettingsError { field, reason: "it is zero; give a positive time" });
            }
        }
        Ok(())
    }
}
