//! Reads a history line by line.

use std::io::{BufRead, Read};

use super::checker::{Checker, Doubt, Judgement};

/// The longest line, in bytes without its end.
pub const LINE_BYTES_MAX: usize = 256 * 1024;

/// The most lines of a history.
pub const LINES_MAX: u64 = 50_000_000;

/// Judges a history of JSON lines. What cannot be read makes the finding unknown.
pub fn judge(reader: impl BufRead) -> Judgement {
    judge_within(reader, LINES_MAX)
}

fn judge_within(mut reader: impl BufRead, lines_max: u64) -> Judgement {
    let mut checker = Checker::new();
    let mut text = Vec::new();
    let mut line = 0;
    while !checker.is_lost() {
        text.clear();
        line += 1;
        // One byte for the end of the line, and one to see that it is too long.
        let limit = LINE_BYTES_MAX as u64 + 2;
        let why = match reader.by_ref().take(limit).read_until(b'\n', &mut text) {
            Ok(0) => break,
            Err(error) => error.to_string(),
            Ok(_) if line > lines_max => format!("there are more than {lines_max} lines"),
            Ok(_) => {
                if text.last() == Some(&b'\n') {
                    text.pop();
                }
                if text.len() > LINE_BYTES_MAX {
                    format!("it is longer than {LINE_BYTES_MAX} bytes")
                } else {
                    match serde_json::from_slice(&text) {
                        Ok(happening) => {
                            checker.see(&happening);
                            continue;
                        }
                        Err(error) => error.to_string(),
                    }
                }
            }
        };
        checker.doubt(Doubt::Line { line, why });
    }
    checker.finish()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
