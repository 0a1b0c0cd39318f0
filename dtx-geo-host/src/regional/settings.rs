//! The bounds and times of a transport over regions.

use std::time::Duration;

use thiserror::Error;

/// The bounds and times of a transport over regions, the same in every region. All have defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionalSettings {
    /// The most messages that go to another region as one. A parcel with more is not read.
    pub parcel_messages_max: usize,
    /// The most bytes of them together, headers included. A larger message goes alone, as it is.
    pub parcel_bytes_max: usize,
    /// The most parcels that a region has taken from its broker and not opened yet.
    pub parcels_max: usize,
    /// What another region's broker has not taken by then counts as lost.
    pub way_timeout: Duration,
    /// The pause between two attempts to reach another region's broker for the first time.
    pub connect_retry: Duration,
    /// When a parcel is opened again whose messages the own broker has not all taken.
    pub parcel_retry: Duration,
}

impl Default for RegionalSettings {
    fn default() -> Self {
        Self {
            parcel_messages_max: 256,
            parcel_bytes_max: 512 << 10,
            parcels_max: 64,
            way_timeout: Duration::from_secs(5),
            connect_retry: Duration::from_millis(200),
            parcel_retry: Duration::from_millis(500),
        }
    }
}

/// A setting that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("setting {0} of a transport over regions must not be zero")]
pub struct RegionalSettingsError(pub &'static str);

impl RegionalSettings {
    /// Checks that they can work.
    ///
    /// # Errors
    /// [`RegionalSettingsError`], which names the setting.
    pub fn check(&self) -> Result<(), RegionalSettingsError> {
        let settings = [
            ("parcel_messages_max", self.parcel_messages_max == 0),
            ("parcel_bytes_max", self.parcel_bytes_max == 0),
            ("parcels_max", self.parcels_max == 0),
            ("way_timeout", self.way_timeout.is_zero()),
            ("connect_retry", self.connect_retry.is_zero()),
            ("parcel_retry", self.parcel_retry.is_zero()),
        ];
        match settings.into_iter().find(|(_, is_zero)| *is_zero) {
            Some((name, _)) => Err(RegionalSettingsError(name)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_refused_by_name() {
        let good = RegionalSettings::default();
        assert_eq!(good.check(), Ok(()));
        assert_eq!(RegionalSettings { parcel_messages_max: 1, ..good.clone() }.check(), Ok(()));
        let bad = RegionalSettings { parcel_messages_max: 0, ..good.clone() };
        assert_eq!(bad.check(), Err(RegionalSettingsError("parcel_messages_max")));
        let bad = RegionalSettings { way_timeout: Duration::ZERO, ..good };
        assert_eq!(bad.check(), Err(RegionalSettingsError("way_timeout")));
    }
}
