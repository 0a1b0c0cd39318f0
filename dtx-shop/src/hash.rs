//! A hash that is the same on every machine and in every release.

use dtx::ids::mix;

/// FNV-1a of the bytes, spread over all 64 bits.
pub(crate) fn stable(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    mix(fnv)
}

/// One hash of several numbers, in their order.
pub(crate) fn fold(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |hash, part| mix(hash ^ part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_never_changes_and_the_order_of_parts_counts() {
        assert_eq!(stable(b"order-1"), stable(b"order-1"));
        assert_ne!(stable(b"order-1"), stable(b"order-2"));
        assert_ne!(fold(&[1, 2]), fold(&[2, 1]));
        assert_ne!(fold(&[0]), fold(&[0, 0]));
    }
}
