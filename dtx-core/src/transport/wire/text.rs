//! Text and numbers in headers.

use std::{
    fmt::{self, Display, Write},
    time::Duration,
};

use serde::Serialize;

use crate::ids::{AcceptSequence, Epoch};

/// JSON in printable ASCII, which every broker carries.
pub(super) fn ascii_json(value: &impl Serialize) -> String {
    // Only maps with keys that are no text, and failing writers, make this fail.
    let json = serde_json::to_string(value).unwrap_or_default();
    if json.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return json;
    }
    let mut ascii = String::with_capacity(json.len() * 2);
    for character in json.chars() {
        if matches!(character, ' '..='~') {
            ascii.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    ascii
}

/// Whether a text can be the value of a header as it is.
pub(super) fn is_plain(text: &str) -> bool {
    let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    printable && !text.is_empty() && text.trim() == text
}

pub(super) fn duration(nanoseconds: &str) -> Option<Duration> {
    const PER_SECOND: u128 = 1_000_000_000;
    let nanoseconds: u128 = number(nanoseconds)?;
    let seconds = u64::try_from(nanoseconds / PER_SECOND).ok()?;
    let rest = u32::try_from(nanoseconds % PER_SECOND).ok()?;
    Some(Duration::new(seconds, rest))
}

/// A sequence as it is written.
pub(super) struct Sequence(pub(super) AcceptSequence);

impl Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.epoch, self.0.number)
    }
}

pub(super) fn accept_sequence(text: &str) -> Option<AcceptSequence> {
    let (epoch, of_epoch) = text.split_once('.')?;
    Some(AcceptSequence { epoch: Epoch(number(epoch)?), number: number(of_epoch)? })
}

/// A number in digits alone: there is one way to write it.
pub(super) fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    (digits && !leading_zero).then(|| text.parse().ok()).flatten()
}
