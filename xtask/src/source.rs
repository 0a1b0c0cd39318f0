//! A Rust file as the rules see it: comments and texts blanked out, lines of tests marked.
//!
//! This is no parser. It knows just enough of the language that a word in a comment or in a
//! string is never taken for code, and it relies on rustfmt, which is checked beside it.

/// A Rust file.
#[derive(Clone, Debug, Default)]
pub(crate) struct SourceFile {
    /// The path from the root of the repository, with `/`.
    pub(crate) path: String,
    /// The lines of code; comments and the insides of texts are spaces.
    pub(crate) code: Vec<String>,
    /// For each line, whether it is compiled for tests only.
    in_test: Vec<bool>,
    /// Modules that are declared here for tests only and stand in files of their own.
    test_modules: Vec<String>,
}

impl SourceFile {
    /// Reads a file's text.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let blanked = blank(text);
        let whole = is_test_path(path) || blanked.contains("#![cfg(test)]");
        let mut file = Self {
            path: path.to_owned(),
            code: blanked.lines().map(str::to_owned).collect(),
            in_test: vec![whole; blanked.lines().count()],
            test_modules: Vec::new(),
        };
        file.mark_test_items(&blanked);
        file
    }

    /// The lines outside tests, as (number from 1, code).
    pub(crate) fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().filter(|(number, _)| !self.in_test[number - 1])
    }

    /// The lines of tests, as (number from 1, code).
    pub(crate) fn test_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().filter(|(number, _)| self.in_test[number - 1])
    }

    /// All lines, as (number from 1, code).
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.iter().enumerate().map(|(index, line)| (index + 1, line.as_str()))
    }

    /// The code of the product alone, with empty lines in place of tests.
    pub(crate) fn product_code(&self) -> String {
        let lines = self.code.iter().zip(&self.in_test);
        let kept = lines.map(|(line, test)| if *test { "" } else { line.as_str() });
        kept.collect::<Vec<_>>().join("\n")
    }

    fn mark_test_items(&mut self, code: &str) {
        for attribute in ["#[cfg(test)]", "#[cfg(all(test", "#[test]"] {
            for (start, _) in code.match_indices(attribute) {
                let end = item_end(code, start);
                let item = &code[start..end];
                if let Some(name) = declared_module(item) {
                    self.test_modules.push(name);
                }
                let first = code[..start].matches('\n').count();
                let last = first + item.matches('\n').count();
                self.in_test[first..=last.min(self.code.len() - 1)].fill(true);
            }
        }
    }

    /// The folder in which the modules declared here have their files.
    fn module_folder(&self) -> String {
        let (folder, name) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        match name {
            "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
            other => format!("{folder}/{}", other.trim_end_matches(".rs")),
        }
    }
}

/// Marks the files of modules that are declared under `#[cfg(test)]` in another file.
pub(crate) fn mark_test_modules(files: &mut [SourceFile]) {
    let roots: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let folder = file.module_folder();
            file.test_modules.iter().map(move |name| format!("{folder}/{name}"))
        })
        .collect();
    for file in files {
        let within = |root: &String| {
            file.path == format!("{root}.rs") || file.path.starts_with(&format!("{root}/"))
        };
        if roots.iter().any(within) {
            file.in_test.fill(true);
        }
    }
}

fn is_test_path(path: &str) -> bool {
    path.split('/').any(|part| matches!(part, "tests" | "benches"))
}

/// `name` when the item is `mod name;` behind its attributes.
fn declared_module(item: &str) -> Option<String> {
    let item = item.trim_end().strip_suffix(';')?;
    let (before, name) = item.rsplit_once("mod ")?;
    let plain = name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    (plain && !before.contains('{')).then(|| name.to_owned())
}

/// The end of the item whose attribute begins at `start`.
fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in code[start..].bytes().enumerate() {
        match byte {
            b'[' | b'(' => depth += 1,
            b']' | b')' => depth = depth.saturating_sub(1),
            b';' if depth == 0 => return start + offset + 1,
            b'{' if depth == 0 => return block_end(code, start + offset),
            _ => {}
        }
    }
    code.len()
}

/// The position after the brace that closes the one at `open`.
pub(crate) fn block_end(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in code[open..].bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + offset + 1;
        }
    }
    code.len()
}

/// Whether `code` has `word` with no identifier character beside it.
pub(crate) fn has_word(code: &str, word: &str) -> bool {
    word_positions(code, word).next().is_some()
}

/// Where `word` stands in `code` with no identifier character beside it.
pub(crate) fn word_positions<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> {
    let part = |byte: &u8| *byte == b'_' || byte.is_ascii_alphanumeric();
    code.match_indices(word).map(|(start, _)| start).filter(move |start| {
        let bytes = code.as_bytes();
        let before = start.checked_sub(1).and_then(|index| bytes.get(index));
        !before.is_some_and(part) && !bytes.get(start + word.len()).is_some_and(part)
    })
}

/// Replaces comments and the insides of texts by spaces, and keeps every line where it is.
pub(crate) fn blank(text: &str) -> String {
    let input: Vec<char> = text.chars().collect();
    let mut output = String::with_capacity(text.len());
    let mut at = 0;
    while at < input.len() {
        let end = match kind_at(&input, at) {
            Kind::Code => {
                output.push(input[at]);
                at += 1;
                continue;
            }
            Kind::LineComment => find(&input, at, |i| input[i] == '\n'),
            Kind::BlockComment => block_comment_end(&input, at),
            Kind::Text { open } => text_end(&input, open),
            Kind::RawText { open, hashes } => raw_text_end(&input, open, hashes),
            Kind::Character => character_end(&input, at),
        };
        output.extend(input[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    output
}

enum Kind {
    Code,
    LineComment,
    BlockComment,
    Text { open: usize },
    RawText { open: usize, hashes: usize },
    Character,
}

fn kind_at(input: &[char], at: usize) -> Kind {
    let next = input.get(at + 1).copied();
    match input[at] {
        '/' if next == Some('/') => Kind::LineComment,
        '/' if next == Some('*') => Kind::BlockComment,
        '"' => Kind::Text { open: at },
        '\'' if next == Some('\\') || input.get(at + 2) == Some(&'\'') => Kind::Character,
        'r' | 'b' | 'c' if !follows_identifier(input, at) => prefixed(input, at),
        _ => Kind::Code,
    }
}

/// `r"`, `r#"`, `br#"`, `b"`, `c"`, or code.
fn prefixed(input: &[char], at: usize) -> Kind {
    let mut raw = at;
    if matches!(input[at], 'b' | 'c') {
        match input.get(at + 1) {
            Some('"') => return Kind::Text { open: at + 1 },
            Some('r') => raw = at + 1,
            _ => return Kind::Code,
        }
    }
    let open = find(input, raw + 1, |i| input[i] != '#');
    if input.get(open) == Some(&'"') {
        return Kind::RawText { open, hashes: open - raw - 1 };
    }
    Kind::Code
}

fn follows_identifier(input: &[char], at: usize) -> bool {
    at > 0 && (input[at - 1] == '_' || input[at - 1].is_alphanumeric())
}

fn find(input: &[char], from: usize, stop: impl Fn(usize) -> bool) -> usize {
    (from..input.len()).find(|index| stop(*index)).unwrap_or(input.len())
}

fn block_comment_end(input: &[char], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at + 1 < input.len() {
        match (input[at], input[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    input.len()
}

fn text_end(input: &[char], open: usize) -> usize {
    let mut at = open + 1;
    while at < input.len() {
        match input[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    input.len()
}

fn raw_text_end(input: &[char], open: usize, hashes: usize) -> usize {
    let closes = |index: usize| {
        input[index] == '"'
            && input.len() > index + hashes
            && input[index + 1..=index + hashes].iter().all(|c| *c == '#')
    };
    (find(input, open + 1, closes) + 1 + hashes).min(input.len())
}

fn character_end(input: &[char], start: usize) -> usize {
    let first = if input[start + 1] == '\\' { start + 3 } else { start + 2 };
    (find(input, first, |index| input[index] == '\'') + 1).min(input.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_texts_are_blanked_and_code_is_kept() {
        for (text, code) in [
            ("a // async\nb", "a         \nb"),
            ("a /* x /* y */ z */ b", "a                   b"),
            (r#"f("a\"{b", c)"#, "f(       , c)"),
            (r##"f(r#"a"b"#, c)"##, "f(        , c)"),
            (r#"f(b"x", br"y")"#, "f(    ,      )"),
            ("f::<'a>('{', '\\'', '\\u{7d}')", "f::<'a>(   ,     ,         )"),
            ("let r#type = expr\"x\";", "let r#type = expr   ;"),
            ("\"never closed", "             "),
        ] {
            assert_eq!(blank(text), code, "{text}");
        }
    }

    #[test]
    fn lines_of_tests_are_told_from_lines_of_the_product() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
        let file = SourceFile::new("x/src/a.rs", text);
        let product: Vec<_> = file.product_lines().map(|(number, _)| number).collect();
        assert_eq!(product, [1, 6]);
        assert_eq!(file.test_lines().count(), 4);
        assert_eq!(SourceFile::new("x/tests/it.rs", text).product_lines().count(), 0);
    }

    #[test]
    fn a_test_module_in_a_file_of_its_own_is_a_test() {
        let mut files = vec![
            SourceFile::new("x/src/a.rs", "#[cfg(test)]\nmod proof;\nmod other;\n"),
            SourceFile::new("x/src/a/proof.rs", "fn f() {}\n"),
            SourceFile::new("x/src/a/proof/deep.rs", "fn f() {}\n"),
            SourceFile::new("x/src/a/other.rs", "fn f() {}\n"),
        ];
        mark_test_modules(&mut files);
        let product: Vec<_> = files.iter().map(|file| file.product_lines().count()).collect();
        assert_eq!(product, [1, 0, 0, 1]);
    }

    #[test]
    fn a_word_is_not_found_inside_another() {
        assert!(has_word("rand::random()", "rand"));
        assert!(!has_word("operand + random + my_rand", "rand"));
    }
}
