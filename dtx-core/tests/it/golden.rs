//! The golden scripts in `tests/testdata/<table>`. `UPDATE_EXPECT=1` writes what they show.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::script::{RULE, Script};

/// All scripts of a table, by path: the part before the rule, and the part after it.
pub(crate) fn scripts(table: &str) -> Vec<(PathBuf, String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata").join(table);
    let entries = fs::read_dir(&folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let (given, expected) = text.split_once(RULE).unwrap_or((&text, ""));
        (path, given.to_owned(), expected.to_owned())
    };
    paths.into_iter().map(read).collect()
}

fn check(table: &str) {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut different = Vec::new();
    for (path, given, expected) in scripts(table) {
        let script = Script::parse(&given);
        assert_eq!(script.table().name, table, "{} is of another table", path.display());
        let text = script.run(script.table()).text;
        if update {
            fs::write(&path, format!("{given}{RULE}{text}")).unwrap();
        } else if text != expected {
            different.push(format!("{}: expected\n{expected}\nfound\n{text}", path.display()));
        }
    }
    assert!(different.is_empty(), "{}\nUPDATE_EXPECT=1 takes it over", different.join("\n"));
}

#[test]
fn fire_and_forget() {
    check("0.5ps");
}

#[test]
fn saga() {
    check("saga");
}

#[test]
fn critical_eventual() {
    check("1.5ps");
}

#[test]
fn two_phase_saga() {
    check("2ps");
}

#[test]
fn three_phase_saga() {
    check("3ps");
}

#[test]
fn three_phase_saga_with_independent_participants() {
    check("3ps-independent");
}

#[test]
fn two_phase_commit() {
    check("2pc");
}
