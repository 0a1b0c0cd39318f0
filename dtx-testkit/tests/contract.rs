//! Every sentence of a contract has a case and a mutant that fails it, and `docs/conformance.md`
//! shows them. `DTX_WRITE_DOCS=1` writes the page.
#![allow(missing_docs)]

use std::{
    collections::BTreeSet,
    fmt::{Debug, Write as _},
    path::Path,
};

use dtx_testkit::{
    contract::{Sentence, sentences},
    participant, store, transport,
};

/// Where the sentences stand, and what is said of them.
const SOURCES: &[(&str, &[&str])] = &[
    (
        "Stores",
        &[
            "dtx-core/src/store/state.rs",
            "dtx-core/src/store/evaluate.rs",
            "dtx-core/src/store/participant.rs",
        ],
    ),
    ("Transports", &["dtx-core/src/transport/contract.rs"]),
    ("Participants", &["dtx-runtime/src/participant/phases.rs"]),
];

const BEGIN: &str = "<!-- sentences: begin -->\n";
const END: &str = "<!-- sentences: end -->";

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    std::fs::read_to_string(root.join(path)).expect(path)
}

fn said(title: &str) -> Vec<(String, String)> {
    let (_, files) = SOURCES.iter().find(|(of, _)| *of == title).expect(title);
    let mut all: Vec<_> = files.iter().flat_map(|file| sentences(&read(file))).collect();
    // In the order of the numbers, letter by letter as they are first used.
    let letters: Vec<char> = all.iter().filter_map(|(number, _)| number.chars().next()).collect();
    let place = |number: &str| {
        let letter = number.chars().next().and_then(|c| letters.iter().position(|l| *l == c));
        (letter, number[1..].parse::<u32>().ok())
    };
    all.sort_by_key(|(number, _)| place(number));
    all
}

fn table<M: Debug>(title: &str, contract: &[Sentence<M>]) -> String {
    let said = said(title);
    let numbers: Vec<_> = said.iter().map(|(number, _)| number.as_str()).collect();
    let unique: BTreeSet<_> = numbers.iter().collect();
    assert_eq!(unique.len(), numbers.len(), "a number stands twice: {numbers:?}");
    let named: BTreeSet<_> = contract.iter().map(|sentence| sentence.number).collect();
    assert_eq!(named, numbers.iter().copied().collect(), "{title}: documentation and table");
    let mut text = format!("### {title}\n\n| | sentence | case | mutant |\n|---|---|---|---|\n");
    for (number, said) in &said {
        let sentence = contract.iter().find(|it| it.number == number).expect(number);
        let (case, mutant) = (sentence.case, &sentence.mutant);
        let said = said.replace("[`Self::ack`]", "`ack`");
        writeln!(text, "| {number} | {said} | `{case}` | `{mutant:?}` |").expect("a string");
    }
    text
}

#[test]
fn the_page_shows_every_sentence_with_its_case_and_its_mutant() {
    let tables = [
        table("Stores", store::CONTRACT),
        table("Transports", transport::CONTRACT),
        table("Participants", participant::CONTRACT),
    ]
    .join("\n");
    let page = read("docs/conformance.md");
    let (head, rest) = page.split_once(BEGIN).expect("the page has a beginning");
    let (_, tail) = rest.split_once(END).expect("the page has an end");
    let right = format!("{head}{BEGIN}\n{tables}\n{END}{tail}");
    if std::env::var_os("DTX_WRITE_DOCS").is_some() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        std::fs::write(root.join("docs/conformance.md"), &right).expect("it is written");
    } else {
        assert_eq!(page, right, "run it with DTX_WRITE_DOCS=1");
    }
}
