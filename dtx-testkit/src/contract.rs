//! The sentences of the contracts: each has a number in the documentation of its trait, a case
//! that checks it, and a mutant that breaks it and fails that case.

/// One sentence.
#[derive(Clone, Copy, Debug)]
pub struct Sentence<M> {
    /// Its number in the documentation, such as `S3`.
    pub number: &'static str,
    /// The case that checks it.
    pub case: &'static str,
    /// The mutant that fails the case.
    pub mutant: M,
}

/// The numbered sentences of a source text, `**S3** like this`, in order: each to the next number
/// or to the end of its paragraph.
pub fn sentences(source: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut is_open = false;
    for line in source.lines().map(str::trim) {
        let text = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
            is_open = false;
            continue;
        };
        for (i, part) in text.split("**").enumerate() {
            if i % 2 == 1 && is_number(part) {
                found.push((part.to_owned(), String::new()));
                is_open = true;
            } else if let (true, Some((_, said))) = (is_open, found.last_mut()) {
                said.push(' ');
                said.push_str(part.trim());
            }
        }
    }
    for (_, said) in &mut found {
        *said = said.trim().to_owned();
    }
    found
}

fn is_number(text: &str) -> bool {
    let mut characters = text.chars();
    let is_letter = characters.next().is_some_and(|c| c.is_ascii_uppercase());
    is_letter && text.len() > 1 && characters.all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_sentences_are_found() {
        let source = "/// **S1** One, in\n/// two lines. **S2** Two.\n///\n/// Not one.\nfn f();\n";
        let expected = [("S1", "One, in two lines."), ("S2", "Two.")];
        let expected = expected.map(|(number, said)| (number.to_owned(), said.to_owned()));
        assert_eq!(sentences(source), expected);
        assert!(sentences("// **S1** no documentation\n/// **bold** word").is_empty());
    }
}
