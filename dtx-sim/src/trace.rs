//! What happened in a run, as a number that two runs can be compared by, and as text.

use std::fmt::Write;

use dtx_core::ids::mix;

/// The most lines of a diagram.
const LINES_MAX: usize = 20_000;

/// What happened.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    hash: u64,
    lines: Option<Vec<Line>>,
}

/// One message, or one note when both ends are the same.
#[derive(Clone, Debug)]
struct Line {
    at: u64,
    from: String,
    to: String,
    text: String,
}

impl Trace {
    pub(crate) fn new(is_kept: bool) -> Self {
        Self { hash: 0, lines: is_kept.then(Vec::new) }
    }

    /// Mixes an event into the number.
    pub(crate) fn mark(&mut self, code: u64, first: u64, second: u64) {
        self.hash = mix(self.hash ^ code ^ mix(first ^ second.rotate_left(32)));
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// Adds a line, if lines are kept; else nothing is formatted.
    pub(crate) fn line(
        &mut self,
        at: u64,
        from: impl ToString,
        to: impl ToString,
        text: impl FnOnce() -> String,
    ) {
        if let Some(lines) = &mut self.lines
            && lines.len() < LINES_MAX
        {
            lines.push(Line { at, from: from.to_string(), to: to.to_string(), text: text() });
        }
    }

    /// The lines as a Mermaid sequence diagram; empty when none were kept.
    pub(crate) fn mermaid(&self) -> String {
        let Some(lines) = &self.lines else { return String::new() };
        let mut text = String::from("sequenceDiagram\n");
        for line in lines {
            // A colon or a semicolon would end the text of a Mermaid message.
            let what = line.text.replace([':', ';', '#'], " ");
            let millis = line.at / 1_000;
            let written = if line.from == line.to {
                writeln!(text, "    Note over {}: {millis} ms {what}", line.from)
            } else {
                writeln!(text, "    {}->>{}: {millis} ms {what}", line.from, line.to)
            };
            written.expect("writing to a string never fails");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_order_is_another_number() {
        let of = |marks: [(u64, u64); 2]| {
            let mut trace = Trace::new(false);
            marks.iter().for_each(|(first, second)| trace.mark(1, *first, *second));
            trace.hash()
        };
        assert_eq!(of([(1, 2), (3, 4)]), of([(1, 2), (3, 4)]));
        assert_ne!(of([(1, 2), (3, 4)]), of([(3, 4), (1, 2)]));
    }

    #[test]
    fn a_diagram_has_a_line_for_each_message_and_no_text_breaks_it() {
        let mut trace = Trace::new(true);
        trace.line(1_500, "c0", "bank", || "execute: a;b".to_owned());
        trace.line(2_000, "store", "store", || "landed".to_owned());
        let expected = "sequenceDiagram\n    c0->>bank: 1 ms execute  a b\n    \
                        Note over store: 2 ms landed\n";
        assert_eq!(trace.mermaid(), expected);
        assert_eq!(Trace::new(false).mermaid(), "");
    }
}
