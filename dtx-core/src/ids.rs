//! Identifiers and the numbers that order things. Nothing here is random: whoever makes an id
//! hands the random part in.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

/// The id of a transaction: a UUIDv7, so that ids made later sort later.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TxId(Uuid);

/// A text that is not the id of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a transaction id; it looks like 0191f6a0-7c1e-7000-8000-000000000001")]
pub struct TxIdError(String);

impl TxId {
    /// An id from the milliseconds since the Unix epoch and random bytes.
    pub fn from_parts(unix_millis: u64, random: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(unix_millis, &random).into_uuid())
    }

    /// An id from its 16 bytes, as a store keeps them.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The 16 bytes, in the order in which ids sort.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The shard of this transaction in a store of `count` shards. The same for ever.
    pub fn shard(self, count: ShardCount) -> ShardId {
        let (high, low) = self.0.as_u64_pair();
        ShardId((mix(high ^ low.rotate_left(32)) % u64::from(count.0)) as u16)
    }

    /// A number that differs from transaction to transaction, for jitter.
    pub fn salt(self) -> u64 {
        mix(self.0.as_u64_pair().1)
    }
}

impl FromStr for TxId {
    type Err = TxIdError;
    fn from_str(text: &str) -> Result<Self, TxIdError> {
        Uuid::try_parse(text).map(Self).map_err(|_| TxIdError(text.chars().take(80).collect()))
    }
}

impl fmt::Display for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A finaliser that spreads every input bit over the output (the one of SplitMix64).
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// How many shards a store has. Fixed when the store is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct ShardCount(u16);

impl ShardCount {
    /// The default number of shards.
    pub const DEFAULT: Self = Self(64);
    /// The largest number of shards.
    pub const MAX: u16 = 4096;

    /// A number of shards from 1 to 4,096.
    pub fn new(count: u16) -> Option<Self> {
        (1..=Self::MAX).contains(&count).then_some(Self(count))
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }

    /// All shards.
    pub fn shards(self) -> impl Iterator<Item = ShardId> {
        (0..self.0).map(ShardId)
    }
}

impl TryFrom<u16> for ShardCount {
    type Error = &'static str;
    fn try_from(count: u16) -> Result<Self, Self::Error> {
        Self::new(count).ok_or("the number of shards is not from 1 to 4096")
    }
}

impl From<ShardCount> for u16 {
    fn from(count: ShardCount) -> u16 {
        count.0
    }
}

/// One of a store's shards: `hash(TxId) mod N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShardId(pub u16);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a lease: strictly increasing per shard. Zero is before every lease.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One run of a coordinator or of a participant host: random, and new at every start.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HolderId(pub u128);

impl fmt::Debug for HolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The version of a stored row: 1 when it is made, one more with each write.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct Version(pub u64);

impl Version {
    /// The version after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The id of one write of one transaction. A repeat of the write carries the same id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WriteId {
    /// Who writes.
    pub writer: HolderId,
    /// The writer's own counter, never used twice.
    pub number: u64,
}

impl fmt::Debug for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}", self.writer, self.number)
    }
}

/// The place of a transaction in the order in which the owners of its shard first saw the
/// shard's transactions: later epochs after earlier ones.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct AcceptSequence {
    /// The epoch of the owner that gave the number.
    pub epoch: Epoch,
    /// The number within the epoch, from 1.
    pub number: u64,
}

/// The index of an operation in its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OperationIndex(pub u16);

impl OperationIndex {
    /// The index for slices.
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for OperationIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
