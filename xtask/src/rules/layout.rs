//! Rules about files: where code stands, how long it may be.

use crate::{
    rules::table::Finding,
    source::{SourceFile, block_end, word_positions},
    workspace::Facts,
};

/// The most lines of a file.
const FILE_LINES_MAX: usize = 600;

/// The most lines of a function, from its `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// What begins an item that is more than a declaration or a re-export.
const ITEMS: [&str; 11] = [
    "fn",
    "struct",
    "enum",
    "trait",
    "impl",
    "const",
    "static",
    "type",
    "union",
    "async",
    "macro_rules!",
];

/// Whether cargo takes the file for the root of a library or of a program.
fn is_root(path: &str) -> bool {
    let Some((_, inner)) = path.split_once("/src/") else { return false };
    match inner.strip_prefix("bin/") {
        Some(program) => !program.contains('/') || program.ends_with("/main.rs"),
        None => inner == "lib.rs" || inner == "main.rs",
    }
}

pub(super) fn no_unsafe(facts: &Facts) -> Vec<Finding> {
    let roots = facts.sources.iter().filter(|file| is_root(&file.path));
    let broken =
        roots.filter(|file| !file.code.iter().any(|line| line.trim() == "#![forbid(unsafe_code)]"));
    let text = "has no `#![forbid(unsafe_code)]`";
    broken.map(|file| Finding::new(&file.path, 0, text)).collect()
}

pub(super) fn declare_only(facts: &Facts) -> Vec<Finding> {
    let bound = facts
        .sources
        .iter()
        .filter(|file| file.path.ends_with("/lib.rs") || file.path.ends_with("/mod.rs"));
    bound.flat_map(items).collect()
}

fn items(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in file.product_lines() {
        let declaration = without_visibility(line);
        // An inline module is code as well; what stands inside an item is a part of it.
        let inline = declaration.starts_with("mod ") && line.trim_end().ends_with('{');
        let word = declaration.split([' ', '(', '<']).next().unwrap_or_default();
        if inline || ITEMS.contains(&word) {
            let text = format!("`{word}` belongs into a file of its own");
            findings.push(Finding::new(&file.path, number, text));
        }
    }
    findings
}

fn without_visibility(line: &str) -> &str {
    let Some(rest) = line.strip_prefix("pub") else { return line };
    let rest = match rest.strip_prefix('(') {
        Some(scope) => scope.split_once(')').map_or(scope, |(_, after)| after),
        None => rest,
    };
    if rest.starts_with(' ') { rest.trim_start() } else { line }
}

pub(super) fn short_files(facts: &Facts) -> Vec<Finding> {
    let long = facts.sources.iter().filter(|file| file.code.len() > FILE_LINES_MAX);
    long.map(|file| {
        let text = format!("has {} lines; {FILE_LINES_MAX} are the most", file.code.len());
        Finding::new(&file.path, 0, text)
    })
    .collect()
}

pub(super) fn short_functions(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &facts.sources {
        for (name, line, lines) in functions(&file.code.join("\n")) {
            if lines > FUNCTION_LINES_MAX {
                let text =
                    format!("fn {name} has {lines} lines; {FUNCTION_LINES_MAX} are the most");
                findings.push(Finding::new(&file.path, line, text));
            }
        }
    }
    findings
}

/// The functions with a body, as (name, first line, number of lines).
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for start in word_positions(code, "fn") {
        let rest = code[start + 2..].trim_start();
        let end = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
        let name = &rest[..end];
        // `fn(u8) -> u8` is a type and has no name.
        let Some(open) = body(code, start).filter(|_| !name.is_empty()) else { continue };
        let lines = code[start..block_end(code, open)].matches('\n').count() + 1;
        found.push((name.to_owned(), code[..start].matches('\n').count() + 1, lines));
    }
    found
}

/// Where the body of the function at `start` opens; `None` when it has none.
fn body(code: &str, start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (offset, byte) in code[start..].bytes().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b';' if depth == 0 => return None,
            b'{' if depth == 0 => return Some(start + offset),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(path: &str, text: &str) -> Facts {
        Facts { sources: vec![SourceFile::new(path, text)], ..Facts::default() }
    }

    #[test]
    fn a_crate_that_does_not_forbid_unsafe_code_is_found() {
        let forbid = "#![forbid(unsafe_code)]\nmod a;\n";
        for path in ["a/src/lib.rs", "a/src/main.rs", "a/src/bin/b.rs", "a/src/bin/b/main.rs"] {
            assert_eq!(no_unsafe(&facts(path, forbid)), [], "{path}");
            assert_eq!(no_unsafe(&facts(path, "mod a;\n")).len(), 1, "{path}");
            assert_eq!(no_unsafe(&facts(path, "// #![forbid(unsafe_code)]\n")).len(), 1, "{path}");
        }
        assert_eq!(no_unsafe(&facts("a/src/other.rs", "mod a;\n")), []);
    }

    #[test]
    fn code_in_a_file_that_should_only_declare_is_found() {
        for item in [
            "pub fn a() {}",
            "pub(crate) struct A;",
            "impl<T> A for T {}",
            "const A: u8 = 1;",
            "pub trait A {}",
            "macro_rules! a { () => {} }",
            "mod a {\n    pub fn a() {}\n}",
        ] {
            assert_eq!(declare_only(&facts("a/src/b/mod.rs", item)).len(), 1, "{item}");
            assert_eq!(declare_only(&facts("a/src/b/c.rs", item)), [], "{item}");
        }
        let good = "#![forbid(unsafe_code)]\nmod a;\npub mod b;\npub use a::{\n    A, fnord,\n};\n\
                    #[cfg(test)]\nmod tests {\n    fn t() {}\n}\n";
        assert_eq!(declare_only(&facts("a/src/lib.rs", good)), []);
    }

    #[test]
    fn a_file_of_the_longest_length_passes_and_one_line_more_does_not() {
        assert_eq!(short_files(&facts("a.rs", &"\n".repeat(FILE_LINES_MAX))), []);
        assert_eq!(short_files(&facts("a.rs", &"\n".repeat(FILE_LINES_MAX + 1))).len(), 1);
    }

    #[test]
    fn a_function_of_the_longest_length_passes_and_one_line_more_does_not() {
        let function = |lines: usize| format!("fn long() {{{}}}\n", "\n".repeat(lines - 1));
        assert_eq!(short_functions(&facts("a.rs", &function(FUNCTION_LINES_MAX))), []);
        let findings = short_functions(&facts("a.rs", &function(FUNCTION_LINES_MAX + 1)));
        assert_eq!(findings[0].text, "fn long has 71 lines; 70 are the most");
    }

    #[test]
    fn functions_are_told_from_types_and_declarations() {
        let code = "trait A { fn a(&self) -> [u8; 2]; fn b() {\n} }\nstruct B(fn(u8) -> u8);\n\
                    fn c<T>(t: T) where T: Fn() -> u8 {\n}\n";
        let found = functions(code);
        assert_eq!(found, [("b".to_owned(), 1, 2), ("c".to_owned(), 4, 2)]);
    }
}
