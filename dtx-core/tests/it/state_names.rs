//! The states of the tables and those of the source text 6.4. A difference carries its reason.

use std::collections::BTreeSet;

use dtx_core::pattern::tables;

/// The two machines that the source text draws.
const SOURCE: &[(&str, &[&str])] = &[
    (
        "2ps",
        &["Initial", "Preparing", "Prepared", "Executing", "Completed", "Compensating", "Failed"],
    ),
    (
        "3ps",
        &[
            "Initial",
            "Reserving",
            "Reserved",
            "Validating",
            "Validated",
            "Executing",
            "Completed",
            "Aborting",
            "Releasing",
            "Invalid",
            "Failed",
        ],
    ),
];

/// Where a table of another pattern has a state that the text does not draw, or lacks one, and
/// why. Tables without a drawing of their own are compared with the names of both drawings.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    ("0.5ps", "Delivering", "a message is delivered, not executed: nothing compensates it"),
    ("1.5ps", "Executed", "the critical part is done, and its verdict is awaited"),
    ("1.5ps", "Delivering", "the eventual part is delivered after the outcome was told"),
    ("2pc", "Delegating", "one operation alone is committed in one phase (rule 4)"),
    ("2pc", "Committing", "the second phase of 2PC is a commit"),
];

fn states(table: &str) -> BTreeSet<String> {
    let table = tables::ALL.into_iter().find(|known| known.name == table).unwrap();
    table.states().iter().map(ToString::to_string).collect()
}

#[test]
fn the_drawn_machines_have_the_states_of_the_text() {
    for (table, names) in SOURCE {
        let names: BTreeSet<String> = names.iter().map(ToString::to_string).collect();
        assert_eq!(states(table), names, "{table}");
    }
}

#[test]
fn the_other_machines_use_the_same_names_or_say_why_not() {
    let known: BTreeSet<&str> = SOURCE.iter().flat_map(|(_, names)| *names).copied().collect();
    let mut found = BTreeSet::new();
    for table in tables::ALL {
        for state in states(table.name) {
            if !known.contains(state.as_str()) {
                found.insert((table.name, state));
            }
        }
    }
    let listed = DIFFERENCES.iter().map(|(table, state, reason)| {
        assert!(!reason.is_empty(), "{table}: {state} has no reason");
        (*table, (*state).to_owned())
    });
    assert_eq!(found, listed.collect::<BTreeSet<_>>(), "what is found, and what is listed");
}

/// What a Mermaid state diagram takes: ids are words, and a label has no colon or semicolon.
#[test]
fn the_diagrams_are_valid() {
    let is_id = |text: &str| text == "[*]" || text.chars().all(char::is_alphabetic);
    for table in tables::ALL {
        let diagram = table.to_mermaid();
        let (first, arrows) = diagram.split_once('\n').unwrap();
        assert_eq!(first, "stateDiagram-v2");
        let mut reached = BTreeSet::new();
        for arrow in arrows.lines() {
            let (from, rest) = arrow.trim().split_once(" --> ").unwrap();
            let (to, label) = rest.split_once(": ").unwrap_or((rest, "none"));
            assert!(is_id(from) && is_id(to), "{arrow}");
            assert!(!label.is_empty() && !label.contains([':', ';', '#', '{', '}']), "{arrow}");
            assert!(reached.insert((from, to)), "{}: a second arrow: {arrow}", table.name);
        }
        let drawn: BTreeSet<String> =
            reached.iter().flat_map(|(from, to)| [*from, *to]).map(ToOwned::to_owned).collect();
        assert!(drawn.is_superset(&states(table.name)), "{}: a state is missing", table.name);
        assert_eq!(
            table.to_markdown().lines().count(),
            table.rows.len() + 2,
            "a line for each row"
        );
    }
}
