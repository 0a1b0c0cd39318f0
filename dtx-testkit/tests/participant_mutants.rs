//! The suite of participants passes what is right and sees what is wrong.
#![allow(missing_docs)]

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
};

use dtx_testkit::participant::{
    CONTRACT, cases,
    mutant::{Fault, Mutant, plant},
    run,
};

macro_rules! runs {
    ($harness:ty; $($case:ident,)*) => {
        &[$((stringify!($case), || run::<$harness>(cases::$case))),*]
    };
}

type Case = (&'static str, fn());

fn all() -> &'static [Case] {
    dtx_testkit::for_each_participant_case! { runs, Mutant }
}

fn fails(case: &str, fault: Option<Fault>) -> bool {
    let (_, run) = all().iter().find(|(name, _)| *name == case).expect(case);
    plant(fault);
    catch_unwind(AssertUnwindSafe(run)).is_err()
}

#[test]
fn what_is_right_passes_every_case() {
    for (name, _) in all() {
        assert!(!fails(name, None), "{name} fails without a fault");
    }
}

#[test]
fn every_sentence_has_a_mutant_that_fails_its_case() {
    for sentence in CONTRACT {
        let (number, case, fault) = (sentence.number, sentence.case, sentence.mutant);
        assert!(fails(case, Some(fault)), "{number}: {case} does not see {fault:?}");
    }
    let used: BTreeSet<_> = CONTRACT.iter().map(|it| format!("{:?}", it.mutant)).collect();
    assert_eq!(used.len(), Fault::ALL.len(), "each mutant breaks a sentence");
}
