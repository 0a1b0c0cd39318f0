//! Copies of a server in other regions: reads with a bound on their age, and the copies that a
//! write waits for.

mod looks;
mod read;
mod standbys;

pub use read::{CopyRead, PgCopy};
pub use standbys::{StandbyQuorum, StandbyQuorumError};
