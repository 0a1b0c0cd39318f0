//! The copies that a write waits for.

use std::fmt;

use dtx_core::{error::StoreError, name::RegionName};
use sqlx::Row;
use thiserror::Error;

use crate::{error::invalid, store::PgStore};

const OPERATION: &str = "check the standbys";

/// Standbys of a server, of which so many must have a write before it is acknowledged. Each has the
/// name of its region for its `cluster_name` (or `application_name`).
///
/// Shown, it is the value for `synchronous_standby_names`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandbyQuorum {
    needed: usize,
    regions: Vec<RegionName>,
}

/// A quorum that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("needed: {needed} of {standbys} different standbys; give 1 to {standbys}")]
pub struct StandbyQuorumError {
    /// How many must have a write.
    pub needed: usize,
    /// Of how many.
    pub standbys: usize,
}

impl StandbyQuorum {
    /// So many of the standbys in these regions, each of which has one.
    ///
    /// # Errors
    /// [`StandbyQuorumError`] when no standby or more than there are are needed; a region that is
    /// named twice counts once.
    pub fn any(
        needed: usize,
        regions: impl IntoIterator<Item = RegionName>,
    ) -> Result<Self, StandbyQuorumError> {
        let mut different: Vec<RegionName> = Vec::new();
        for region in regions {
            if !different.contains(&region) {
                different.push(region);
            }
        }
        let standbys = different.len();
        if needed == 0 || needed > standbys {
            return Err(StandbyQuorumError { needed, standbys });
        }
        Ok(Self { needed, regions: different })
    }
}

impl fmt::Display for StandbyQuorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.regions.iter().map(|name| format!("\"{name}\"")).collect();
        write!(f, "ANY {} ({})", self.needed, names.join(", "))
    }
}

impl PgStore {
    /// Whether the server waits for these standbys, as it is set now. Ask before a plan is carried
    /// out that says so: a server that waits for fewer keeps less than was promised.
    ///
    /// # Errors
    /// `Invalid` when it does not: the message names the setting and its right value. Else the
    /// failure of the server.
    pub async fn check_standbys(&self, quorum: &StandbyQuorum) -> Result<(), StoreError> {
        let text = "SELECT current_setting('synchronous_standby_names'), \
            current_setting('synchronous_commit')";
        let rows = self.inner.read(OPERATION, sqlx::query(text)).await?;
        let said = |at| rows.first().and_then(|row| row.try_get::<String, _>(at).ok());
        let (names, commit) = (said(0).unwrap_or_default(), said(1).unwrap_or_default());
        if without_space(&names) != without_space(&quorum.to_string()) {
            let context = format!("synchronous_standby_names is '{names}': set it to '{quorum}'");
            return Err(invalid(OPERATION, context));
        }
        if !matches!(commit.as_str(), "on" | "remote_apply") {
            let context = format!("synchronous_commit is {commit}: set it to on");
            return Err(invalid(OPERATION, context));
        }
        Ok(())
    }
}

fn without_space(text: &str) -> String {
    text.chars().filter(|one| !one.is_whitespace()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regions(names: &[&str]) -> Vec<RegionName> {
        names.iter().map(|name| RegionName::new(*name).expect("a name")).collect()
    }

    #[test]
    fn it_is_shown_as_the_server_wants_it() {
        let quorum = StandbyQuorum::any(1, regions(&["eu-west-1", "ap-northeast-1", "eu-west-1"]));
        assert_eq!(quorum.expect("valid").to_string(), r#"ANY 1 ("eu-west-1", "ap-northeast-1")"#);
    }

    #[test]
    fn none_and_more_than_there_are_cannot_be_waited_for() {
        assert!(StandbyQuorum::any(2, regions(&["a", "b"])).is_ok());
        for (needed, names) in [(0, vec!["a"]), (3, vec!["a", "b"]), (2, vec!["a", "a"])] {
            let error = StandbyQuorum::any(needed, regions(&names)).expect_err("it cannot be");
            assert!(error.to_string().starts_with("needed: "), "{error}");
        }
    }
}
