//! Which phase does what in which pattern.

use crate::pattern::{Pattern, Phase};

/// Per pattern the forward phases in their order, then the backward ones. `Deliver` (an eventual
/// operation) and `Status` belong to every pattern and are not listed. A one-phase 2PC begins
/// with `Commit`.
const TABLE: [(Pattern, &[Phase], &[Phase]); 6] = [
    (Pattern::FireAndForget, &[], &[]),
    (Pattern::Saga, &[Phase::Execute], &[Phase::Compensate]),
    (Pattern::CriticalEventual, &[Phase::Execute], &[Phase::Compensate]),
    (Pattern::TwoPhaseSaga, &[Phase::Prepare, Phase::Execute], &[Phase::Cancel, Phase::Compensate]),
    (
        Pattern::ThreePhaseSaga,
        &[Phase::Reserve, Phase::Validate, Phase::Execute],
        &[Phase::Release, Phase::Compensate],
    ),
    (Pattern::TwoPhaseCommit, &[Phase::Prepare, Phase::Commit], &[Phase::Abort]),
];

/// What a phase is in a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It goes forward.
    Forward {
        /// The phase that must be `Done` before it; `None` for a first phase.
        after: Option<Phase>,
    },
    /// It goes back by dropping what was prepared: nothing was executed yet.
    Drop,
    /// It reverses what was executed, and drops what was prepared.
    Compensate,
    /// It asks and changes nothing.
    Ask,
}

fn row(pattern: Pattern) -> (&'static [Phase], &'static [Phase]) {
    TABLE
        .iter()
        .find(|(of, _, _)| *of == pattern)
        .map(|(_, forward, backward)| (*forward, *backward))
        .expect("the table has every pattern")
}

/// The forward phases of a pattern, in their order, without `Deliver`.
pub fn forward_phases(pattern: Pattern) -> &'static [Phase] {
    row(pattern).0
}

/// The backward phases of a pattern.
pub fn backward_phases(pattern: Pattern) -> &'static [Phase] {
    row(pattern).1
}

/// What `phase` is in `pattern`; `None` when the pattern has no such phase.
pub fn role(pattern: Pattern, phase: Phase, one_phase: bool) -> Option<Role> {
    match phase {
        Phase::Status => return Some(Role::Ask),
        Phase::Deliver => return Some(Role::Forward { after: None }),
        _ => {}
    }
    let (forward, backward) = row(pattern);
    if let Some(index) = forward.iter().position(|of| *of == phase) {
        let first = index == 0 || (one_phase && phase == Phase::Commit);
        return Some(Role::Forward { after: (!first).then(|| forward[index - 1]) });
    }
    backward.contains(&phase).then_some(match phase {
        Phase::Compensate => Role::Compensate,
        _ => Role::Drop,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_has_its_phases_and_no_other() {
        let mut lines = Vec::new();
        for pattern in Pattern::ALL {
            for phase in Phase::ALL {
                if let Some(role) = role(pattern, phase, false) {
                    lines.push(format!("{pattern} {phase} {role:?}"));
                }
            }
        }
        let own = lines.iter().filter(|l| !l.contains(" deliver ") && !l.contains(" status "));
        assert_eq!(own.count(), 2 + 2 + 4 + 5 + 3, "{lines:#?}");
        assert_eq!(lines.iter().filter(|l| l.contains(" status Ask")).count(), 6);
        for pattern in Pattern::ALL {
            for phase in backward_phases(pattern) {
                assert!(phase.is_backward(), "{phase}");
            }
        }
    }

    #[test]
    fn a_one_phase_commit_comes_first_and_any_other_after_the_prepare() {
        let commit = |one| role(Pattern::TwoPhaseCommit, Phase::Commit, one);
        assert_eq!(commit(true), Some(Role::Forward { after: None }));
        assert_eq!(commit(false), Some(Role::Forward { after: Some(Phase::Prepare) }));
        assert_eq!(role(Pattern::Saga, Phase::Abort, false), None);
    }
}
