//! One message per region.

use std::collections::BTreeMap;

use thiserror::Error;

/// One operation of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation<'a> {
    /// The index of the region of its participant.
    pub region: usize,
    /// The operations whose answers it needs, by index. They stand before it.
    pub after: &'a [usize],
}

/// Operations that go to one region in one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The index of the region.
    pub region: usize,
    /// The operations, by index, in their order.
    pub operations: Vec<usize>,
    /// The groups whose answers it needs, by index. They stand before it.
    pub after: Vec<usize>,
}

/// An operation that needs one which does not stand before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("operation {operation} needs operation {on}, which does not stand before it")]
pub struct GroupError {
    /// Which operation.
    pub operation: usize,
    /// What it needs.
    pub on: usize,
}

/// Groups the operations of a phase by region.
///
/// Operations of a region go together when they are equally deep in the order of what needs what.
/// So groups need each other in no circle, though two regions may need each other, and operations
/// without dependencies make one message per region.
///
/// # Errors
/// [`GroupError`].
pub fn group(operations: &[Operation<'_>]) -> Result<Vec<Group>, GroupError> {
    let mut depths: Vec<usize> = Vec::with_capacity(operations.len());
    let mut members: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    for (index, operation) in operations.iter().enumerate() {
        if let Some(on) = operation.after.iter().find(|on| **on >= index) {
            return Err(GroupError { operation: index, on: *on });
        }
        let depth = operation.after.iter().map(|on| depths[*on] + 1).max().unwrap_or(0);
        depths.push(depth);
        members.entry((depth, operation.region)).or_default().push(index);
    }
    let mut group_of = vec![0; operations.len()];
    let mut groups = Vec::with_capacity(members.len());
    for ((_, region), inside) in members {
        let mut after: Vec<_> = inside
            .iter()
            .flat_map(|operation| operations[*operation].after)
            .map(|on| group_of[*on])
            .collect();
        after.sort_unstable();
        after.dedup();
        for operation in &inside {
            group_of[*operation] = groups.len();
        }
        groups.push(Group { region, operations: inside, after });
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(region: usize, after: &[usize]) -> Operation<'_> {
        Operation { region, after }
    }

    #[test]
    fn without_dependencies_each_region_is_asked_once() {
        let found = group(&[4, 1, 4, 4, 1].map(|region| operation(region, &[])));
        let expected = [
            Group { region: 1, operations: vec![1, 4], after: vec![] },
            Group { region: 4, operations: vec![0, 2, 3], after: vec![] },
        ];
        assert_eq!(found, Ok(expected.to_vec()));
    }

    #[test]
    fn regions_that_need_each_other_are_asked_in_turns() {
        let operations =
            [operation(0, &[]), operation(1, &[0]), operation(0, &[1]), operation(1, &[])];
        let found = group(&operations).expect("each stands after what it needs");
        let expected = [
            Group { region: 0, operations: vec![0], after: vec![] },
            Group { region: 1, operations: vec![3], after: vec![] },
            Group { region: 1, operations: vec![1], after: vec![0] },
            Group { region: 0, operations: vec![2], after: vec![2] },
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_needs_a_later_one_is_refused() {
        let refused = group(&[operation(0, &[]), operation(0, &[1])]);
        assert_eq!(refused, Err(GroupError { operation: 1, on: 1 }));
    }
}
