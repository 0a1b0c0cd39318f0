//! Reads a history line by line.

use std::io::{BufRead, Read};

use super::{
    checker::{CheckSettings, Checker},
    finding::{Doubt, Judgement},
    line::{Happening, What},
};

/// Judges a history of JSON lines. What cannot be read makes the finding unknown, except for the
/// last line of an incarnation that was killed while it wrote: the next one begins right after it.
pub fn judge(mut reader: impl BufRead, settings: CheckSettings) -> Judgement {
    let (line_bytes_max, lines_max) = (settings.line_bytes_max, settings.lines_max);
    let mut checker = Checker::new(settings);
    let mut text = Vec::new();
    let mut line = 0;
    let mut torn: Option<Doubt> = None;
    while !checker.is_lost() {
        text.clear();
        // One byte for the end of the line, and one to see that it is too long.
        let limit = line_bytes_max as u64 + 2;
        let why = match reader.by_ref().take(limit).read_until(b'\n', &mut text) {
            Ok(0) => break,
            Ok(_) if line == lines_max => format!("there are more than {lines_max} lines"),
            Err(error) => error.to_string(),
            Ok(_) => {
                text.pop_if(|last| *last == b'\n');
                if text.len() > line_bytes_max {
                    format!("it is longer than {line_bytes_max} bytes")
                } else {
                    match serde_json::from_slice::<Happening>(&text) {
                        Ok(happening) => {
                            line += 1;
                            match torn.take() {
                                Some(_) if matches!(happening.what, What::Began { .. }) => {
                                    checker.skip();
                                }
                                Some(doubt) => checker.doubt(doubt),
                                None => {}
                            }
                            checker.see(&happening);
                            continue;
                        }
                        Err(error) if torn.is_none() => {
                            line += 1;
                            torn = Some(Doubt::Line { line, why: error.to_string() });
                            continue;
                        }
                        Err(error) => error.to_string(),
                    }
                }
            }
        };
        checker.doubt(torn.take().unwrap_or(Doubt::Line { line: line + 1, why }));
    }
    if let Some(doubt) = torn {
        checker.doubt(doubt);
    }
    checker.finish()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
