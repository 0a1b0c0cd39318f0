//! The rules of a participant's row sets, as pure functions that every store in this workspace
//! uses inside its own atomic step.

use std::collections::BTreeSet;

use crate::{
    ids::Version,
    mutant,
    store::{InvalidWrite, RowExpect, RowKey, RowSet, StoreLimits},
    time::Timestamp,
};

/// The longest key of a row, in bytes.
pub const ROW_KEY_BYTES_MAX: usize = 256;
/// The most changes and the most unchanged rows in one set.
pub const SET_ROWS_MAX: usize = 4096;

/// What a store does with a row set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowDecision {
    /// All its changes apply.
    Apply,
    /// A row is not what was expected.
    Conflict,
    /// `not_after` has passed.
    TooLate,
}

/// Checks the key of a row.
///
/// # Errors
/// [`InvalidWrite`] when it is empty or over [`ROW_KEY_BYTES_MAX`].
pub fn check_row_key(key: &RowKey) -> Result<(), InvalidWrite> {
    match key.0.len() {
        0 => Err(InvalidWrite::Field { field: "row key", reason: "it is empty" }),
        bytes if bytes > ROW_KEY_BYTES_MAX => {
            Err(InvalidWrite::TooLarge { field: "row key", bytes, limit: ROW_KEY_BYTES_MAX })
        }
        _ => Ok(()),
    }
}

/// Checks a row set alone: sizes, and that no key is changed twice.
///
/// # Errors
/// [`InvalidWrite`], which names the field.
pub fn check_set(set: &RowSet, limits: &StoreLimits) -> Result<(), InvalidWrite> {
    for (field, items) in [("changes", set.changes.len()), ("unchanged", set.unchanged.len())] {
        if items > SET_ROWS_MAX {
            return Err(InvalidWrite::TooMany { field, items, limit: SET_ROWS_MAX });
        }
    }
    for change in &set.changes {
        check_row_key(&change.key)?;
        let bytes = change.value.as_ref().map_or(0, bytes::Bytes::len);
        if bytes > limits.value_bytes_max {
            let limit = limits.value_bytes_max;
            return Err(InvalidWrite::TooLarge { field: "value", bytes, limit });
        }
    }
    for (key, _) in &set.unchanged {
        check_row_key(key)?;
    }
    if has_key_twice(set) {
        return Err(InvalidWrite::Field { field: "changes", reason: "a key is there twice" });
    }
    Ok(())
}

fn has_key_twice(set: &RowSet) -> bool {
    // Almost every set is this small, and comparing is cheaper than building a tree.
    if set.changes.len() <= 8 {
        let mut rest = set.changes.as_slice();
        while let [first, others @ ..] = rest {
            if others.iter().any(|other| other.key == first.key) {
                return true;
            }
            rest = others;
        }
        return false;
    }
    let mut seen = BTreeSet::new();
    set.changes.iter().any(|change| !seen.insert(&change.key))
}

/// Decides what becomes of a row set that [`check_set`] has passed. `version_of` reads the
/// version of a row of the set's scope in the same atomic step.
///
/// # Errors
/// Those of `version_of`.
pub fn evaluate_set<E>(
    set: &RowSet,
    now: Timestamp,
    mut version_of: impl FnMut(&RowKey) -> Result<Option<Version>, E>,
) -> Result<RowDecision, E> {
    if set.not_after.is_some_and(|limit| now > limit) && !mutant!(NotAfterIgnored) {
        return Ok(RowDecision::TooLate);
    }
    let changed = set.changes.iter().map(|change| (&change.key, change.expect));
    let unchanged = set.unchanged.iter().map(|(key, expect)| (key, *expect));
    for (key, expect) in changed.chain(unchanged) {
        let expected = match expect {
            RowExpect::Absent => None,
            RowExpect::Version(version) => Some(version),
        };
        if version_of(key)? != expected && !mutant!(RowVersionIgnored) {
            return Ok(RowDecision::Conflict);
        }
    }
    Ok(RowDecision::Apply)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::store::{RowChange, Scope};

    const LIMITS: StoreLimits = StoreLimits { batch_writes_max: 2, value_bytes_max: 4 };

    fn change(key: &[u8], value: usize) -> RowChange {
        RowChange {
            key: RowKey(Bytes::copy_from_slice(key)),
            expect: RowExpect::Absent,
            value: Some(Bytes::from(vec![0; value])),
        }
    }

    fn set(changes: Vec<RowChange>) -> RowSet {
        let scope = Scope::new("s").expect("valid");
        RowSet { scope, changes, unchanged: Vec::new(), not_after: None }
    }

    #[test]
    fn keys_and_values_at_the_limit_pass_and_one_past_it_do_not() {
        assert!(check_set(&set(vec![change(&[1; ROW_KEY_BYTES_MAX], 4)]), &LIMITS).is_ok());
        for bad in [change(&[1; ROW_KEY_BYTES_MAX + 1], 4), change(b"", 4), change(b"k", 5)] {
            assert!(check_set(&set(vec![bad]), &LIMITS).is_err());
        }
        let many = |n: usize| set((0..n).map(|i| change(&i.to_be_bytes(), 0)).collect());
        assert!(check_set(&many(SET_ROWS_MAX), &LIMITS).is_ok());
        let error = check_set(&many(SET_ROWS_MAX + 1), &LIMITS).expect_err("one past the limit");
        assert!(error.to_string().contains("changes"));
    }

    #[test]
    fn a_key_twice_is_found_in_small_and_in_large_sets() {
        assert!(check_set(&set(vec![change(b"a", 1), change(b"a", 1)]), &LIMITS).is_err());
        let mut large: Vec<_> = (0..20_u8).map(|i| change(&[i], 1)).collect();
        assert!(check_set(&set(large.clone()), &LIMITS).is_ok());
        large.push(change(&[3], 1));
        assert!(check_set(&set(large), &LIMITS).is_err());
    }

    #[test]
    fn the_limit_of_time_itself_is_not_too_late() {
        let mut set = set(vec![change(b"a", 1)]);
        set.not_after = Some(Timestamp::from_micros(10));
        let at = |now| {
            evaluate_set(&set, Timestamp::from_micros(now), |_| Ok::<_, ()>(None)).expect("pure")
        };
        assert_eq!(at(10), RowDecision::Apply);
        assert_eq!(at(11), RowDecision::TooLate);
    }
}
