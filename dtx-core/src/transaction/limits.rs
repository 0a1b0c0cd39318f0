//! How large a transaction may be.

use std::time::Duration;

use crate::transaction::KEY_BYTES_MAX;

const MIB: usize = 1024 * 1024;

/// How large a transaction may be. A setting of whoever builds or parses transactions; never more
/// than [`Limits::CEILING`], which is what the stored form can be trusted to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most operations.
    pub operations_max: usize,
    /// The most operations that one may depend on.
    pub dependencies_max: usize,
    /// The largest payload of an operation, in bytes.
    pub payload_bytes_max: usize,
    /// The largest sum of all payloads, in bytes.
    pub payload_bytes_total_max: usize,
    /// The longest caller's key, in bytes.
    pub key_bytes_max: usize,
    /// The most entries of metadata.
    pub metadata_entries_max: usize,
    /// The longest name of an entry of metadata, in bytes.
    pub metadata_name_bytes_max: usize,
    /// The longest value of an entry of metadata, in bytes.
    pub metadata_value_bytes_max: usize,
    /// The longest deadline, time-out, delay, base time or pause.
    pub duration_max: Duration,
    /// The most attempts of a retry policy.
    pub attempts_max: u32,
    /// The most extensions of a phase.
    pub extensions_max: u8,
    /// The longest JSON text that is parsed, in bytes. Room for everything above, with the
    /// payloads as base64 or escaped text.
    pub json_bytes_max: usize,
}

impl Limits {
    /// What holds where nothing else is set.
    pub const DEFAULT: Self = Self {
        operations_max: 256,
        dependencies_max: 64,
        payload_bytes_max: MIB,
        payload_bytes_total_max: 2 * MIB,
        key_bytes_max: KEY_BYTES_MAX,
        metadata_entries_max: 32,
        metadata_name_bytes_max: 64,
        metadata_value_bytes_max: 1024,
        duration_max: Duration::from_secs(366 * 24 * 3600),
        attempts_max: 10_000,
        extensions_max: 32,
        json_bytes_max: 8 * MIB,
    };

    /// What no setting exceeds: what is stored under one setting is readable under every other.
    pub const CEILING: Self = Self {
        operations_max: 4096,
        dependencies_max: 4096,
        payload_bytes_max: 64 * MIB,
        payload_bytes_total_max: 64 * MIB,
        key_bytes_max: KEY_BYTES_MAX,
        metadata_entries_max: 1024,
        metadata_name_bytes_max: 256,
        metadata_value_bytes_max: 64 * 1024,
        duration_max: Duration::from_secs(100 * 366 * 24 * 3600),
        attempts_max: u32::MAX,
        extensions_max: u8::MAX,
        json_bytes_max: 256 * MIB,
    };

    /// These limits, none over [`Limits::CEILING`].
    pub(super) fn within_ceiling(&self) -> Self {
        let top = Self::CEILING;
        Self {
            operations_max: self.operations_max.min(top.operations_max),
            dependencies_max: self.dependencies_max.min(top.dependencies_max),
            payload_bytes_max: self.payload_bytes_max.min(top.payload_bytes_max),
            payload_bytes_total_max: self.payload_bytes_total_max.min(top.payload_bytes_total_max),
            key_bytes_max: self.key_bytes_max.min(top.key_bytes_max),
            metadata_entries_max: self.metadata_entries_max.min(top.metadata_entries_max),
            metadata_name_bytes_max: self.metadata_name_bytes_max.min(top.metadata_name_bytes_max),
            metadata_value_bytes_max: self
                .metadata_value_bytes_max
                .min(top.metadata_value_bytes_max),
            duration_max: self.duration_max.min(top.duration_max),
            attempts_max: self.attempts_max.min(top.attempts_max),
            extensions_max: self.extensions_max.min(top.extensions_max),
            json_bytes_max: self.json_bytes_max.min(top.json_bytes_max),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
