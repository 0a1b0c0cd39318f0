//! The rule that what decides is pure: a function of its arguments, the same on every machine.

use crate::{
    rules::table::Finding,
    source::{SourceFile, has_word, word_positions},
    workspace::Facts,
};

/// The folders that the rule binds.
const PURE_FOLDERS: [&str; 6] = [
    "dtx-core/src/pattern/",
    "dtx-core/src/engine/",
    "dtx-core/src/resource/",
    "dtx-geo/src/phase/",
    "dtx-geo/src/plan/",
    "dtx-geo/src/pool/",
];

/// Words that must not stand in the code, and what each would bring in.
const FORBIDDEN_WORDS: [(&str, &str); 13] = [
    ("async", "async"),
    ("await", "async"),
    ("Instant", "a clock"),
    ("SystemTime", "a clock"),
    ("rand", "randomness"),
    ("fastrand", "randomness"),
    ("getrandom", "randomness"),
    ("new_v4", "randomness"),
    ("now_v7", "a clock and randomness"),
    ("RandomState", "iteration in a random order"),
    ("tokio", "async"),
    ("println!", "I/O"),
    ("eprintln!", "I/O"),
];

/// Modules of the standard library that must not be used.
const FORBIDDEN_MODULES: [(&str, &str); 6] = [
    ("std::fs", "I/O"),
    ("std::net", "I/O"),
    ("std::thread", "threads"),
    ("std::process", "I/O"),
    ("std::env", "the environment"),
    ("std::os", "I/O"),
];

/// Types whose iteration order is random, with the number of type arguments that name a hasher.
const HASHED: [(&str, usize); 2] = [("HashMap", 3), ("HashSet", 2)];

pub(super) fn pure_machines(facts: &Facts) -> Vec<Finding> {
    let bound = |file: &&SourceFile| PURE_FOLDERS.iter().any(|start| file.path.starts_with(start));
    facts.sources.iter().filter(bound).flat_map(examine).collect()
}

fn examine(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in file.product_lines() {
        for (word, brings) in FORBIDDEN_WORDS {
            if has_word(line, word) {
                let text = format!("`{word}` brings in {brings}");
                findings.push(Finding::new(&file.path, number, text));
            }
        }
    }
    let code = file.product_code();
    let line_of = |position: usize| code[..position].matches('\n').count() + 1;
    for (position, path) in paths(&code) {
        for (module, brings) in FORBIDDEN_MODULES {
            if path == module || path.starts_with(&format!("{module}::")) {
                let text = format!("`{module}` brings in {brings}");
                findings.push(Finding::new(&file.path, line_of(position), text));
            }
        }
    }
    for position in default_hashers(&code) {
        let text = "a map or set with the default hasher is iterated in a random order";
        findings.push(Finding::new(&file.path, line_of(position), text));
    }
    findings
}

/// Every path that begins with `std`, with the groups of `use` taken apart.
fn paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for start in word_positions(code, "std") {
        expand(code, start, "", &mut found);
    }
    found
}

/// Adds the paths of the use tree at `at`, each behind `prefix`; gives the position after it.
fn expand(code: &str, at: usize, prefix: &str, found: &mut Vec<(usize, String)>) -> usize {
    let is_path = |c: char| c == ':' || c == '_' || c.is_alphanumeric();
    let end = at + code[at..].find(|c| !is_path(c)).unwrap_or(code.len() - at);
    let path = format!("{prefix}{}", &code[at..end]);
    if !path.ends_with("::") || !code[end..].starts_with('{') {
        found.push((at, path.trim_end_matches(':').to_owned()));
        return end;
    }
    let mut next = end + 1;
    while let Some(offset) = code[next..].find(|c: char| is_path(c) || c == '}') {
        next += offset;
        if code[next..].starts_with('}') {
            return next + 1;
        }
        next = expand(code, next, &path, found).max(next + 1);
    }
    code.len()
}

/// Where a map or set is named without a hasher.
fn default_hashers(code: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for (name, with_hasher) in HASHED {
        for start in word_positions(code, name) {
            let rest = code[start + name.len()..].trim_start_matches("::");
            let made =
                ["new(", "with_capacity(", "from("].iter().any(|call| rest.starts_with(call));
            let short = rest.starts_with('<') && type_arguments(rest) < with_hasher;
            if made || short {
                found.push(start);
            }
        }
    }
    found.sort_unstable();
    found
}

/// How many type arguments stand in the angle brackets with which `text` begins.
fn type_arguments(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut count = 1;
    let mut previous = ' ';
    for c in text.chars() {
        match c {
            '<' | '(' | '[' => depth += 1,
            // The arrow of a function type closes nothing.
            '>' if previous == '-' => {}
            '>' | ')' | ']' => depth = depth.saturating_sub(1),
            ',' if depth == 1 => count += 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        previous = c;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, code: &str) -> usize {
        let sources = vec![SourceFile::new(path, code)];
        pure_machines(&Facts { sources, ..Facts::default() }).len()
    }

    #[test]
    fn everything_impure_is_found_in_a_machine() {
        for code in [
            "async fn f() {}",
            "let now = Instant::now();",
            "use std::time::SystemTime;",
            "let n: u8 = rand::random();",
            "use std::fs;",
            "use std::{\n    collections::BTreeMap,\n    fs::File,\n};",
            "use std::{a::{b, c}, thread};",
            "std::net::TcpStream::connect(a)",
            "let map = HashMap::new();",
            "struct A {\n    a: HashMap<u8, Vec<(u8, u8)>>,\n}",
            "let set: HashSet<u8> = a.collect();",
            "let id = Uuid::new_v4();",
        ] {
            assert_eq!(broken("dtx-core/src/pattern/saga.rs", code), 1, "{code}");
            assert_eq!(broken("dtx-runtime/src/a.rs", code), 0, "{code}");
        }
    }

    #[test]
    fn what_is_pure_passes() {
        for code in [
            "// async Instant::now HashMap<u8, u8>",
            "let text = \"await std::fs\";",
            "let operand = brand;",
            "struct A { a: HashMap<u8, u8, BuildHasherDefault<H>>, b: BTreeMap<u8, u8> }",
            "type F = HashMap<u8, fn(u8) -> u8, H>;",
            "use std::{collections::HashMap, fmt};",
            "#[cfg(test)]\nmod tests {\n    use std::fs;\n}",
        ] {
            assert_eq!(broken("dtx-core/src/engine/shard.rs", code), 0, "{code}");
        }
    }
}
