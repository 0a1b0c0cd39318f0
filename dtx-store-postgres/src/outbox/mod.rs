//! The outbox: messages in the caller's own transaction, and the relay that sends them.

mod append;
mod relay;
mod round;
mod settings;

pub use append::{DeadMessage, PgOutbox};
pub use relay::{Relay, RelayHandle, RelayStats};
pub use settings::{RelaySettings, RelaySettingsError};
