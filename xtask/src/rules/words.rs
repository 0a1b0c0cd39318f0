//! Rules about words that must not appear anywhere. The lists are written in pieces, so that
//! this file does not break its own rules.

use crate::{rules::table::Finding, workspace::Facts};

/// Folders of one machine, and hosts of package registries and their mirrors.
const MACHINE_WORDS: [&str; 12] = [
    concat!("/wo", "rk/"),
    concat!("/t", "mp/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("arti", "factory"),
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("registry.npmjs", ".org"),
    concat!("pypi", ".org"),
    concat!("proxy.golang", ".org"),
    concat!("repo1.maven", ".org"),
];

/// What people write where something is missing.
const UNFINISHED: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
];

pub(super) fn no_machine_words(facts: &Facts) -> Vec<Finding> {
    find(facts, &MACHINE_WORDS, "names a machine or a host")
}

pub(super) fn no_unfinished_work(facts: &Facts) -> Vec<Finding> {
    find(facts, &UNFINISHED, "marks unfinished work")
}

fn find(facts: &Facts, words: &[&str], says: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in &facts.texts {
        for (index, line) in text.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| stands_alone(line, word)) {
                findings.push(Finding::new(path, index + 1, format!("`{word}` {says}")));
            }
        }
    }
    findings
}

/// Whether the word is there and is not the end of a longer one.
fn stands_alone(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        let part = |c: Option<char>| c.is_some_and(|c| c == '_' || c == '.' || c.is_alphanumeric());
        let open_ended = !word.ends_with(char::is_alphanumeric);
        !part(before) && (open_ended || !after.is_some_and(|c| c == '_' || c.is_alphanumeric()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(text: &str) -> Facts {
        Facts { texts: vec![("a.md".into(), text.to_owned())], ..Facts::default() }
    }

    #[test]
    fn every_word_of_the_lists_is_found() {
        for word in MACHINE_WORDS {
            assert_eq!(no_machine_words(&facts(&format!("see {word} x"))).len(), 1, "{word}");
        }
        for word in UNFINISHED {
            assert_eq!(no_unfinished_work(&facts(&format!("// {word} x"))).len(), 1, "{word}");
        }
    }

    #[test]
    fn a_part_of_another_path_or_word_is_not_meant() {
        let folder = concat!("/wo", "rk/");
        assert_eq!(no_machine_words(&facts(&format!("docs{folder}a"))), []);
        assert_eq!(no_unfinished_work(&facts(concat!("MY_", "TO", "DO", "_X"))), []);
    }
}
