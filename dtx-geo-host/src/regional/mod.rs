//! A transport over regions, each of which has a broker of its own.

mod directory;
mod error;
mod gateway;
mod parcel;
mod settings;
mod transport;

pub use directory::Directory;
pub use error::RegionalError;
pub use settings::{RegionalSettings, RegionalSettingsError};
pub use transport::{RegionalBuilder, RegionalStats, RegionalTransport};
