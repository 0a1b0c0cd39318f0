//! What the program prints on stdout.

use std::io::Write;

use serde::Serialize;

use crate::exit::Failure;

/// Prints one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(Failure::failed)?;
    line(&text)
}

/// Prints text for people.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{text}").map_err(Failure::failed)
}
