//! The names of keys. What one script touches has one hash tag, so that it is on one node.

use std::fmt;

use dtx_core::{
    ids::{ShardId, TxId},
    store::Scope,
    transaction::Key,
};
use thiserror::Error;

/// The longest prefix, in bytes.
pub const PREFIX_BYTES_MAX: usize = 64;

/// What all keys of a store begin with. Two prefixes are two stores.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyPrefix(String);

/// A text that cannot be a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("key prefix {value:?} is not valid: give 1 to 64 bytes of a-z, A-Z, 0-9, '-', '_' and '.'")]
pub struct KeyPrefixError {
    /// The refused text, cut to 80 characters.
    pub value: String,
}

impl KeyPrefix {
    /// Checks a prefix.
    ///
    /// # Errors
    /// [`KeyPrefixError`] when it is empty, over [`PREFIX_BYTES_MAX`], or has another character:
    /// a brace would move keys to another slot of a cluster.
    pub fn new(value: impl Into<String>) -> Result<Self, KeyPrefixError> {
        let value = value.into();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if value.is_empty() || value.len() > PREFIX_BYTES_MAX || !value.bytes().all(plain) {
            return Err(KeyPrefixError { value: value.chars().take(80).collect() });
        }
        Ok(Self(value))
    }

    /// The prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for KeyPrefix {
    /// `dtx`.
    fn default() -> Self {
        Self("dtx".to_owned())
    }
}

impl fmt::Debug for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Display for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The keys with one hash tag, and so the slot of a cluster that they are in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    tag: String,
    pub(crate) slot: u16,
}

impl Place {
    fn new(inside: String) -> Self {
        let slot = crc16(inside.as_bytes()) % SLOTS;
        Self { tag: format!("{{{inside}}}"), slot }
    }

    /// In the slot of somebody else's tag, where a stem tells its keys from others.
    fn beside(tag: &HashTag, stem: &str) -> Self {
        let slot = crc16(tag.0.as_bytes()) % SLOTS;
        Self { tag: format!("{{{}}}{stem}:", tag.0), slot }
    }

    /// A key of this place.
    pub(crate) fn key(&self, name: &str) -> Vec<u8> {
        [self.tag.as_bytes(), name.as_bytes()].concat()
    }

    /// The key of a transaction's row.
    pub(crate) fn row(&self, tx: TxId) -> Vec<u8> {
        [self.tag.as_bytes(), b"t", tx.as_bytes()].concat()
    }
}

/// The longest hash tag, in bytes.
pub const HASH_TAG_BYTES_MAX: usize = 64;

/// A hash tag of the user's, without its braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HashTag(String);

impl HashTag {
    /// `None` when it is empty, over [`HASH_TAG_BYTES_MAX`], or has a brace, which would end it.
    pub(crate) fn new(tag: &str) -> Option<Self> {
        let fits = (1..=HASH_TAG_BYTES_MAX).contains(&tag.len());
        (fits && !tag.contains(['{', '}'])).then(|| Self(tag.to_owned()))
    }
}

/// The names of all keys of a store.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) prefix: KeyPrefix,
    /// Where everything of participants is, if not spread over the slots.
    pub(crate) tag: Option<HashTag>,
}

impl Keys {
    /// What the store says of itself.
    pub(crate) fn meta(&self) -> Place {
        Place::new(format!("{}:meta", self.prefix))
    }

    /// The scopes that were ever written to.
    pub(crate) fn scopes(&self) -> Place {
        self.of_participants("scopes")
    }

    /// A shard: `lease`, `due`, `ended`, `all`, `voids`, `forgotten`, and its rows.
    pub(crate) fn shard(&self, shard: ShardId) -> Place {
        Place::new(format!("{}:s{}", self.prefix, shard.0))
    }

    /// Where the record of a caller's key is, and its name.
    pub(crate) fn caller(&self, key: &Key) -> (Place, Vec<u8>) {
        // A key may hold anything, and a brace would end the tag early: only its hash is in it.
        let mut hash = 0xCBF2_9CE4_8422_2325_u64;
        for byte in key.namespace.as_str().bytes().chain([0]).chain(key.key.bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        let place = Place::new(format!("{}:k{hash:016x}", self.prefix));
        let name = place.key(&format!("{}/{}", key.namespace.as_str(), key.key));
        (place, name)
    }

    /// A scope of participants: `rows`, `order`, `meta`, `noes`.
    pub(crate) fn scope(&self, scope: &Scope) -> Place {
        self.of_participants(&format!("p:{scope}"))
    }

    /// What was done once, outside of a host.
    pub(crate) fn once(&self) -> Place {
        self.of_participants("once")
    }

    fn of_participants(&self, name: &str) -> Place {
        let stem = format!("{}:{name}", self.prefix);
        match &self.tag {
            Some(tag) => Place::beside(tag, &stem),
            None => Place::new(stem),
        }
    }
}

/// How many slots a cluster has.
pub(crate) const SLOTS: u16 = 16_384;

/// The hash of slots: CRC-16 as XMODEM has it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc: u16, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

/// The slot of any key: that of its hash tag if it has one.
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    let open = key.iter().position(|&byte| byte == b'{');
    let inside = open.and_then(|open| {
        let rest = &key[open + 1..];
        let end = rest.iter().position(|&byte| byte == b'}')?;
        (end > 0).then(|| &rest[..end])
    });
    crc16(inside.unwrap_or(key)) % SLOTS
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use dtx_core::ids::ShardCount;

    use super::*;

    #[test]
    fn a_prefix_at_the_limit_and_one_past_it() {
        assert!(KeyPrefix::new("p".repeat(PREFIX_BYTES_MAX)).is_ok());
        let bad = ["p".repeat(PREFIX_BYTES_MAX + 1), String::new(), "a{b".into(), "a:b".into()];
        for bad in bad {
            let error = KeyPrefix::new(bad.clone()).expect_err("refused");
            assert!(bad.starts_with(&error.value));
        }
    }

    #[test]
    fn slots_are_those_of_redis() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(crc16(b"foo") % SLOTS, 12_182);
        assert_eq!(slot_of(b"foo"), 12_182);
        assert_eq!(slot_of(b"a{foo}b}"), 12_182);
        for whole in [&b"{}foo"[..], b"{foo", b"foo}"] {
            assert_eq!(slot_of(whole), crc16(whole) % SLOTS);
        }
    }

    #[test]
    fn a_hash_tag_at_the_limit_and_one_past_it() {
        assert!(HashTag::new(&"t".repeat(HASH_TAG_BYTES_MAX)).is_some());
        for bad in ["t".repeat(HASH_TAG_BYTES_MAX + 1), String::new(), "a{b".into(), "a}".into()] {
            assert_eq!(HashTag::new(&bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_beside_a_tag_is_in_its_slot_and_scopes_stay_apart() {
        let keys = Keys { prefix: KeyPrefix::default(), tag: HashTag::new("payment") };
        let scope = |name: &str| keys.scope(&Scope::new(name).expect("valid"));
        for place in [scope("payment/inbox/3"), keys.scopes(), keys.once()] {
            assert_eq!(place.slot, slot_of(b"{payment}account:alice"));
            assert_eq!(place.slot, slot_of(&place.key("rows")));
        }
        assert_eq!(scope("a/b").key("rows"), b"{payment}dtx:p:a/b:rows");
        assert_ne!(scope("a").key("rows"), scope("b").key("rows"));
    }

    #[test]
    fn shards_are_spread_over_the_slots() {
        let keys = Keys { prefix: KeyPrefix::default(), tag: None };
        let slot = |shard| keys.shard(shard).slot;
        let thirds: Vec<_> =
            ShardCount::DEFAULT.shards().map(|shard| slot(shard) / (SLOTS / 3 + 1)).collect();
        for third in 0..3 {
            let there = thirds.iter().filter(|&&of| of == third).count();
            assert!((14..=30).contains(&there), "{there} of 64 in third {third}");
        }
        let slots: BTreeSet<_> = ShardCount::DEFAULT.shards().map(slot).collect();
        assert!(slots.len() > 60);
    }
}
