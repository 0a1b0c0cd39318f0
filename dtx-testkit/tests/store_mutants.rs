//! Each mutant fails the cases of the sentences that it breaks: the suite can fail.
#![allow(missing_docs)]

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
};

use dtx_testkit::store::{
    CONTRACT, cases, compare,
    mutant::{Bug, Mutant, plant},
    run,
};

macro_rules! runs {
    ($harness:ty; $($module:ident $case:ident,)*) => {
        &[$((stringify!($case), || run::<$harness>(cases::$module::$case))),*]
    };
}

type Case = (&'static str, fn());

fn all() -> &'static [Case] {
    dtx_testkit::for_each_store_case! { runs, Mutant }
}

fn fails(case: &str, bug: Bug) -> bool {
    let (_, run) = all().iter().find(|(name, _)| *name == case).expect(case);
    plant(bug);
    catch_unwind(AssertUnwindSafe(run)).is_err()
}

#[test]
fn every_sentence_has_a_mutant_that_fails_its_case() {
    for sentence in CONTRACT {
        let (number, case, bug) = (sentence.number, sentence.case, sentence.mutant);
        assert!(fails(case, bug), "{number}: {case} does not see {bug:?}");
    }
    let used: BTreeSet<_> = CONTRACT.iter().map(|it| format!("{:?}", it.mutant)).collect();
    assert_eq!(used.len(), Bug::ALL.len(), "each mutant breaks a sentence");
}

/// What fails everything proves nothing.
#[test]
fn most_cases_pass_on_each_mutant() {
    for bug in Bug::ALL {
        let failed: Vec<_> =
            all().iter().map(|(name, _)| *name).filter(|name| fails(name, *bug)).collect();
        assert!(!failed.is_empty() && 3 * failed.len() < all().len(), "{bug:?} failed {failed:?}");
    }
}

/// The comparison with the sound store sees what it can see: all but what needs a reopening, a
/// drop, a clock or others beside it.
#[test]
fn the_comparison_sees_mutants_too() {
    for bug in [
        Bug::ForgetsWriteIds,
        Bug::IgnoresVersions,
        Bug::StopsAtConflicts,
        Bug::DropsKeys,
        Bug::ForgetsHistory,
        Bug::IgnoresDueOrder,
        Bug::CutsPages,
        Bug::IgnoresAges,
        Bug::IgnoresUnchanged,
        Bug::IgnoresNotAfter,
        Bug::TearsSets,
        Bug::ReversesResults,
        Bug::ReversesLoads,
        Bug::OpensTheUndue,
        Bug::GrantsOnlyTheFirst,
        Bug::NeverEndsLeases,
        Bug::ReleasesNothing,
        Bug::IgnoresFilters,
        Bug::ForgetsWhoHasKeys,
        Bug::IgnoresRowVersions,
        Bug::ScansWithoutPrefix,
        Bug::ScansBackwards,
        Bug::ListsEveryScope,
    ] {
        plant(bug);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("starts");
        let compared = AssertUnwindSafe(|| runtime.block_on(compare::<Mutant>(1, 2_000)));
        assert!(catch_unwind(compared).is_err(), "the comparison does not see {bug:?}");
    }
}
