//! What can go wrong at the start.

use dtx_core::{
    error::TransportError,
    name::{NameError, RegionName},
};
use thiserror::Error;

use super::settings::RegionalSettingsError;

/// Why a transport over regions could not be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RegionalError {
    /// The directory names a region that there is no way to.
    #[error("the directory names region {0}, and there is no way to it")]
    NoWay(RegionName),
    /// There is a way to the own region.
    #[error("there is a way to {0}, which is the own region")]
    OwnWay(RegionName),
    /// The name of a region is too long for its gateway.
    #[error("the gateway of a region has no name")]
    Name(#[from] NameError),
    /// A setting cannot work.
    #[error(transparent)]
    Settings(#[from] RegionalSettingsError),
    /// The own broker does not let parcels be received.
    #[error("the region cannot subscribe to what others send it")]
    Transport(#[from] TransportError),
}
