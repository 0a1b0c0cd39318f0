//! The message, what bounds it, and what can be wrong with it.

use std::{
    fmt::{Display, Write},
    iter,
};

use bytes::Bytes;
use thiserror::Error;

use crate::transport::Envelope;

/// A message as a broker carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireMessage {
    /// Names and values, each name once. The values are printable ASCII, without line ends.
    pub headers: WireHeaders,
    /// The user's bytes: the payload of a command, the output of a reply.
    pub body: Bytes,
}

/// The headers of a message. All values share one text, since a message has two dozen of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WireHeaders {
    /// Each name with the end of its value in the text.
    ends: Vec<(&'static str, usize)>,
    text: String,
}

impl WireHeaders {
    pub(super) fn with_capacity(headers: usize, bytes: usize) -> Self {
        Self { ends: Vec::with_capacity(headers), text: String::with_capacity(bytes) }
    }

    /// Adds a header behind the others.
    pub fn add(&mut self, name: &'static str, value: impl Display) {
        // Writing to a text does not fail.
        let _ = write!(self.text, "{value}");
        self.ends.push((name, self.text.len()));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Names and values, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let begins = iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        self.ends.iter().zip(begins).map(|((name, end), begin)| (*name, &self.text[begin..*end]))
    }

    /// The values one behind the other, and each name with the end of its value in them.
    pub fn into_parts(self) -> (Vec<(&'static str, usize)>, String) {
        (self.ends, self.text)
    }
}

/// What is read at all. Both are checked before anything is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireLimits {
    /// The most bytes in the names and values of all headers.
    pub headers_bytes_max: usize,
    /// The largest body, in bytes.
    pub body_bytes_max: usize,
}

impl Default for WireLimits {
    /// 2 MiB of headers, which carry the outputs that a command builds on, and 1 MiB of body.
    fn default() -> Self {
        Self { headers_bytes_max: 2 << 20, body_bytes_max: 1 << 20 }
    }
}

/// A message that cannot be read. Delivered again it stays so: a transport parks it.
///
/// Never shows a value: headers carry what users wrote.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WireError {
    /// More bytes than may be read.
    #[error("{bytes} bytes of {part} are too many for a message; {max} are the most")]
    TooLarge {
        /// `headers` or `body`.
        part: &'static str,
        /// How many there are, as far as they were counted.
        bytes: usize,
        /// How many may be.
        max: usize,
    },
    /// The message was written by another version of dtx, or by something else.
    #[error("the message is not of version 1 of dtx's form (header dtx-version)")]
    Version,
    /// A header is not there.
    #[error("the message has no header {header}")]
    Missing {
        /// Which.
        header: &'static str,
    },
    /// A header is there twice.
    #[error("the message has the header {header} twice")]
    Twice {
        /// Which.
        header: &'static str,
    },
    /// A header has a value that cannot be read.
    #[error("the header {header} cannot be read: {expected} is expected")]
    Value {
        /// Which.
        header: &'static str,
        /// What should be there.
        expected: &'static str,
    },
}

impl WireMessage {
    /// The message as it travels.
    pub fn encode(envelope: &Envelope) -> Self {
        super::encode::encode(envelope)
    }

    /// Reads a message. Headers with unknown names are ignored.
    ///
    /// # Errors
    /// [`WireError`] when it is past a limit, of another version, or not whole.
    pub fn decode<'a>(
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        body: Bytes,
        limits: &WireLimits,
    ) -> Result<Envelope, WireError> {
        super::decode::decode(headers, body, limits)
    }
}
