//! Every pattern under random schedules of answers, repeats, losses, signals, inquiries and
//! crashes. The rules are those of `simulated`; here they are shown to hold, and to be able to
//! fail.

use dtx_core::{
    pattern::{
        Phase,
        table::{Act, On, Row, State, Table, When},
        tables,
    },
    store::{Outcome, Verdict},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestError, TestRunner},
};

use crate::{
    simulated::{End, run, run_with_crashes},
    transactions::{Case, case},
};

const CASES: u32 = 600;
/// A planted bug is looked for until it is found: 600 cases miss the rarest now and then.
const CASES_PLANTED: u32 = 20_000;

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

fn holds(table: &'static str) {
    let result = runner(CASES).run(&case(table), |case| {
        let first = run(&case, case.table()).map_err(|(rule, trace)| {
            TestCaseError::fail(format!("{rule}\n{}", trace.join("\n")))
        })?;
        prop_assert_eq!(Ok(first), run(&case, case.table()), "the same schedule ran differently");
        Ok(())
    });
    if let Err(error) = result {
        panic!("{table}: {error}");
    }
}

#[test]
fn fire_and_forget_holds() {
    holds("0.5ps");
}

#[test]
fn saga_holds() {
    holds("saga");
}

#[test]
fn critical_eventual_holds() {
    holds("1.5ps");
}

#[test]
fn two_phase_saga_holds() {
    holds("2ps");
}

#[test]
fn three_phase_saga_holds() {
    holds("3ps");
}

#[test]
fn independent_three_phase_saga_holds() {
    holds("3ps-independent");
}

#[test]
fn two_phase_commit_holds() {
    holds("2pc");
}

/// Participants repeat what they answered, so crashes at any point, and nothing else, change
/// nothing.
#[test]
fn a_crash_does_not_change_the_outcome() {
    for table in tables::ALL {
        let result = runner(CASES).run(&case(table.name), |case| {
            let calm = Case { choices: Vec::new(), ..case.clone() };
            let (calm, crashed) = (run(&calm, table), run_with_crashes(&case, table));
            let outcome = |end: Result<End, _>| end.map(|end| end.outcome);
            let (calm, crashed) = (outcome(calm), outcome(crashed));
            // Whether a thing that is reversed had happened depends on the order of the answers.
            let kind = |outcome: &Outcome| match outcome {
                Outcome::Compensated => Outcome::Aborted,
                other => *other,
            };
            prop_assert_eq!(calm.as_ref().map(kind), crashed.as_ref().map(kind));
            Ok(())
        });
        if let Err(error) = result {
            panic!("{}: {error}", table.name);
        }
    }
}

/// A bug: where it is planted, and what becomes of the row.
struct Planted {
    table: &'static str,
    from: State,
    on: On,
    when: When,
    to: Option<State>,
    acts: &'static [Act],
}

const PLANTED: &[Planted] = &[
    Planted {
        table: "saga",
        from: State::Executing,
        on: On::No,
        when: When::Undecided,
        to: Some(State::Compensating),
        acts: &[Act::Undo],
    },
    Planted {
        table: "saga",
        from: State::Executing,
        on: On::Done,
        when: When::PivotNext,
        to: None,
        acts: &[Act::Ask(Phase::Execute)],
    },
    Planted {
        table: "saga",
        from: State::Executing,
        on: On::Lost,
        when: When::Always,
        to: Some(State::Compensating),
        acts: &[Act::Decide(Verdict::Turned)],
    },
    Planted {
        table: "saga",
        from: State::Failed,
        on: On::Recorded(dtx_core::store::RecordKind::Finished),
        when: When::Always,
        to: None,
        acts: &[Act::Tell(Outcome::Aborted), Act::Close],
    },
    Planted {
        table: "1.5ps",
        from: State::Executing,
        on: On::Done,
        when: When::All(Phase::Execute),
        to: Some(State::Executed),
        acts: &[Act::Decide(Verdict::Completed), Act::Tell(Outcome::Committed)],
    },
    Planted {
        table: "1.5ps",
        from: State::Executing,
        on: On::Done,
        when: When::All(Phase::Execute),
        to: Some(State::Executed),
        acts: &[Act::Decide(Verdict::Completed), Act::Ask(Phase::Deliver)],
    },
    Planted {
        table: "2ps",
        from: State::Preparing,
        on: On::Done,
        when: When::Always,
        to: None,
        acts: &[Act::Ask(Phase::Execute)],
    },
    Planted {
        table: "2ps",
        from: State::Compensating,
        on: On::Undone,
        when: When::AllUndone,
        to: Some(State::Failed),
        acts: &[Act::FinishLazily, Act::TellReversed, Act::Close],
    },
    Planted {
        table: "3ps",
        from: State::Validating,
        on: On::Done,
        when: When::Always,
        to: None,
        acts: &[Act::Ask(Phase::Execute)],
    },
    Planted {
        table: "3ps",
        from: State::Validating,
        on: On::No,
        when: When::Always,
        to: None,
        acts: &[],
    },
    Planted {
        table: "3ps",
        from: State::Validated,
        on: On::Entered,
        when: When::Always,
        to: Some(State::Executing),
        acts: &[Act::Tell(Outcome::Committed), Act::Ask(Phase::Execute)],
    },
    Planted {
        table: "3ps",
        from: State::Executing,
        on: On::No,
        when: When::Always,
        to: Some(State::Aborting),
        acts: &[Act::Decide(Verdict::Abort)],
    },
    Planted {
        table: "3ps-independent",
        from: State::Compensating,
        on: On::WasExecuted,
        when: When::Always,
        to: None,
        acts: &[],
    },
    Planted {
        table: "2pc",
        from: State::Initial,
        on: On::Start,
        when: When::Alone,
        to: Some(State::Delegating),
        acts: &[Act::Ask(Phase::Commit)],
    },
    Planted {
        table: "2pc",
        from: State::Prepared,
        on: On::Entered,
        when: When::Always,
        to: Some(State::Committing),
        acts: &[Act::Ask(Phase::Commit), Act::Decide(Verdict::Commit)],
    },
    Planted {
        table: "2pc",
        from: State::Preparing,
        on: On::No,
        when: When::Always,
        to: Some(State::Releasing),
        acts: &[Act::Undo, Act::Decide(Verdict::Abort)],
    },
    Planted {
        table: "0.5ps",
        from: State::Delivering,
        on: On::Lost,
        when: When::All(Phase::Deliver),
        to: Some(State::Completed),
        acts: &[Act::FinishLazily, Act::Close],
    },
];

#[test]
fn planted_bugs_are_found() {
    for planted in PLANTED {
        let table = tables::ALL.into_iter().find(|t| t.name == planted.table).unwrap();
        let mut rows: Vec<Row> = table.rows.to_vec();
        let covers = |row: &Row| row.cells().any(|cell| cell == (planted.from, planted.on));
        let place = rows.iter().position(|row| covers(row) && row.when == planted.when).unwrap();
        (rows[place].to, rows[place].acts) = (planted.to, planted.acts);
        let table = Table { rows: &rows, ..*table };
        let result = runner(CASES_PLANTED).run(&case(planted.table), |case| {
            run(&case, &table).map(drop).map_err(|(rule, _)| TestCaseError::fail(rule))
        });
        let found = matches!(result, Err(TestError::Fail(..)));
        assert!(found, "{}: nobody finds {:?}", planted.table, rows[place]);
    }
}
