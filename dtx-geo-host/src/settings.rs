//! The bounds and times of a node.

use std::time::Duration;

use thiserror::Error;

/// The bounds and times of a node. All have defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolNodeSettings {
    /// How often the region is told that time has passed.
    pub tick: Duration,
    /// The most questions that wait for the region. Past it whoever asks waits.
    pub asks_max: usize,
    /// The most messages of other regions that wait. Past it further ones are lost.
    pub received_max: usize,
    /// The most messages that wait for the way to one other region. Past it further ones are lost.
    pub unsent_max: usize,
    /// The most inputs whose writes land together.
    pub batch_inputs_max: usize,
    /// What the transport has not taken by then is lost.
    pub publish_timeout: Duration,
    /// When a question that another region has to answer is asked again; the pause doubles, up to
    /// sixteen times as much.
    pub ask_again: Duration,
    /// A write that failed is made again after this; the pause doubles, up to sixteen times as
    /// much.
    pub write_retry: Duration,
}

impl Default for PoolNodeSettings {
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(100),
            asks_max: 4_096,
            received_max: 4_096,
            unsent_max: 1_024,
            batch_inputs_max: 256,
            publish_timeout: Duration::from_secs(1),
            ask_again: Duration::from_millis(300),
            write_retry: Duration::from_millis(50),
        }
    }
}

/// A setting that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("pool node setting {0} must not be zero")]
pub struct PoolNodeSettingsError(pub &'static str);

impl PoolNodeSettings {
    /// Checks that they can work.
    ///
    /// # Errors
    /// [`PoolNodeSettingsError`], which names the setting.
    pub fn check(&self) -> Result<(), PoolNodeSettingsError> {
        let settings = [
            ("tick", self.tick.is_zero()),
            ("asks_max", self.asks_max == 0),
            ("received_max", self.received_max == 0),
            ("unsent_max", self.unsent_max == 0),
            ("batch_inputs_max", self.batch_inputs_max == 0),
            ("publish_timeout", self.publish_timeout.is_zero()),
            ("ask_again", self.ask_again.is_zero()),
            ("write_retry", self.write_retry.is_zero()),
        ];
        match settings.into_iter().find(|(_, is_zero)| *is_zero) {
            Some((name, _)) => Err(PoolNodeSettingsError(name)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_refused_by_name() {
        let good = PoolNodeSettings::default();
        assert_eq!(good.check(), Ok(()));
        let least = PoolNodeSettings { batch_inputs_max: 1, ..good.clone() };
        assert_eq!(least.check(), Ok(()));
        let bad = PoolNodeSettings { batch_inputs_max: 0, ..good.clone() };
        assert_eq!(bad.check(), Err(PoolNodeSettingsError("batch_inputs_max")));
        let bad = PoolNodeSettings { tick: Duration::ZERO, ..good };
        assert_eq!(bad.check(), Err(PoolNodeSettingsError("tick")));
    }
}
