//! Small cases, searched to the end. How many states there are is pinned: another number means
//! that the engine, the barrier or the search do something else than before, and is looked at.

use std::sync::atomic::{AtomicU64, Ordering};

use dtx_sim::{Bug, Case, Checked, check_case};

/// More states than any small case has.
const LIMIT: u64 = 1_000_000;

/// Participants, leases, case and states.
const SMALL: [(usize, u64, &str, u64); 23] = [
    (2, 2, "0.5ps", 719),
    (2, 2, "saga", 76_800),
    (2, 2, "saga-pivot", 6_248),
    (2, 2, "saga-graph", 18_529),
    (2, 2, "1.5ps", 5_424),
    (2, 2, "2pc-one-phase", 828),
    (1, 2, "2ps", 20_973),
    (1, 2, "3ps", 105_765),
    (1, 2, "2pc-one-phase+cancel", 11_593),
    (1, 2, "2pc-one-phase+store", 1_004),
    (2, 1, "2ps", 5_871),
    (2, 1, "2ps-sequence", 2_314),
    (2, 1, "3ps", 28_955),
    (2, 1, "2pc", 4_200),
    (2, 1, "2pc-read-only", 6_394),
    (2, 1, "saga+cancel", 4_894),
    (2, 1, "2pc+cancel", 20_851),
    (2, 1, "saga", 785),
    (2, 1, "saga+plain", 1_214),
    (2, 1, "2pc+plain", 7_131),
    (3, 1, "saga", 5_635),
    (3, 1, "2pc", 46_123),
    (3, 1, "2ps", 98_388),
];

/// Rules that are taken out, and a case of two participants and two leases that shows it.
const BUGS: [(Bug, &str); 20] = [
    (Bug::BackwardBeforeVerdict, "saga"),
    (Bug::ForwardBeforeVerdict, "2pc"),
    (Bug::PointBeforeRecord, "saga-pivot"),
    (Bug::PointBeforeRecord, "2pc-one-phase"),
    (Bug::ResumeUnwritten, "saga"),
    (Bug::VerdictOverwritten, "2pc"),
    (Bug::NotCompared, "2pc+cancel"),
    (Bug::OldEpochRun, "2ps"),
    (Bug::UnansweredNotTakenBack, "saga"),
    (Bug::NotFenced, "saga"),
    (Bug::NotFenced, "2pc"),
    (Bug::NoTombstone, "saga"),
    (Bug::NotDeduplicated, "saga"),
    (Bug::StoredDoneAfterUndone, "saga"),
    (Bug::EmptyCompensationRuns, "saga"),
    (Bug::PinnedExpires, "3ps"),
    (Bug::PinnedExpires, "2pc"),
    (Bug::PresumedWithoutRecord, "2pc"),
    (Bug::TimeoutIsNo, "saga"),
    (Bug::NoIsYes, "3ps"),
];

fn case(operations: usize, epochs: u64, name: &str) -> Case {
    let mut words = name.split('+');
    let first = words.next();
    let all = Case::all(operations, epochs);
    let found = all.into_iter().find(|case| Some(case.name()) == first).expect("a known case");
    words.fold(found, |case, word| match word {
        "cancel" => case.with_cancel(),
        "store" => case.with_store_faults(),
        _ => case.without_symmetry(),
    })
}

fn search(case: &Case) -> Checked {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    check_case(case, LIMIT, threads, |_| ())
}

#[test]
fn small_cases_are_sound_and_have_as_many_states_as_before() {
    let mut found = Vec::new();
    for (operations, epochs, name, _) in SMALL {
        let checked = search(&case(operations, epochs, name));
        assert!(checked.is_sound() && checked.complete, "{checked:#?}");
        found.push((operations, epochs, name, checked.states));
    }
    assert_eq!(found, SMALL);
}

#[test]
fn every_rule_that_is_taken_out_is_missed() {
    for (bug, name) in BUGS {
        let checked = search(&case(2, 2, name).with_bug(bug));
        assert!(!checked.violations.is_empty(), "{bug:?} was not found in {name}: {checked:?}");
        let shown = checked.violations.values().next().expect("there is one");
        assert!(shown.len() > 1, "a violation comes with the actions that lead to it");
    }
}

#[test]
fn every_rule_is_among_those_taken_out() {
    let is_shown = |bug: &Bug| BUGS.iter().any(|(shown, _)| shown == bug);
    assert!(Bug::ALL.iter().all(is_shown));
}

#[test]
fn a_search_that_stops_at_its_limit_says_so() {
    let checked = check_case(&case(2, 2, "saga"), 1_000, 1, |_| ());
    assert!(!checked.complete && checked.violations.is_empty(), "{checked:?}");
    assert_eq!(checked.states, 1_000);
}

#[test]
fn a_long_search_tells_how_far_it_is() {
    static TOLD: AtomicU64 = AtomicU64::new(0);
    let checked = check_case(&case(2, 2, "saga"), LIMIT, 1, |states| {
        TOLD.fetch_max(states, Ordering::Relaxed);
    });
    assert_eq!((TOLD.load(Ordering::Relaxed), checked.complete), (50_000, true));
}

#[test]
fn swapping_what_is_alike_changes_no_verdict() {
    let (alike, plain) = (search(&case(2, 1, "2pc")), search(&case(2, 1, "2pc+plain")));
    assert!(alike.is_sound() && plain.is_sound());
    assert!(alike.states < plain.states && plain.states < 2 * alike.states);
}
