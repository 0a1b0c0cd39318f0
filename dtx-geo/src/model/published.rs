//! Latencies that others have measured in a real deployment.

use std::time::Duration;

use crate::model::{LoadError, RegionId, load::lines, map::region};

/// How transactions were committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// Two-phase locking, and the commit through Paxos.
    TwoPhaseLockingPaxos,
    /// NCC without replication.
    Ncc,
    /// NCC with its log through Paxos (NCC+).
    NccPaxos,
    /// Janus: one round to all replicas where nothing conflicts.
    Janus,
    /// TAPIR: one round to all replicas where nothing conflicts.
    Tapir,
    /// Tiga: one round to all replicas, ordered by a time that is far enough ahead.
    Tiga,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::TwoPhaseLockingPaxos,
        Self::Ncc,
        Self::NccPaxos,
        Self::Janus,
        Self::Tapir,
        Self::Tiga,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TwoPhaseLockingPaxos => "2pl_paxos",
            Self::Ncc => "ncc",
            Self::NccPaxos => "ncc_paxos",
            Self::Janus => "janus",
            Self::Tapir => "tapir",
            Self::Tiga => "tiga",
        }
    }
}

/// A median that was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// How transactions were committed.
    pub protocol: Protocol,
    /// Where their coordinators were.
    pub region: RegionId,
    /// From the begin of a transaction to the answer that it is committed.
    pub median: Duration,
}

impl Published {
    /// Reads a file with the columns `protocol`, `region` and `p50_ms`.
    ///
    /// # Errors
    /// [`LoadError`], which names line and field.
    pub fn load(text: &str) -> Result<Vec<Self>, LoadError> {
        let mut found = Vec::new();
        lines(text, &["protocol", "region", "p50_ms"], |line| {
            let name = line.text(0);
            let protocol = Protocol::ALL.into_iter().find(|protocol| protocol.name() == name);
            let protocol = protocol.ok_or_else(|| line.wrong(0, "it is no known protocol"))?;
            found.push(Self { protocol, region: region(line, 1)?, median: line.millis(2)? });
            Ok(())
        })?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_that_is_not_known_is_named_with_its_line() {
        let error = Published::load("protocol,region,p50_ms\nncc,gcp/a,1\nx,gcp/a,1\n");
        let error = error.expect_err("there is no such protocol").to_string();
        assert_eq!(error, "line 3, field protocol: \"x\": it is no known protocol");
    }
}
