//! Checked names: participants, operations, actions, regions, namespaces.
//!
//! A name becomes a part of subjects, topics, keys and scopes, so it holds nothing that any of
//! them treats as special. There is one rule for all of them: 1 to 64 bytes of `a`-`z`, `0`-`9`,
//! `-` and `_`, beginning with a letter or a digit.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

/// The longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// A name that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{kind} name {value:?} is not valid: {reason}")]
pub struct NameError {
    /// What the name was meant for, such as `participant`.
    pub kind: &'static str,
    /// The refused text, cut to 80 characters.
    pub value: String,
    /// What is wrong and what would be right.
    pub reason: &'static str,
}

fn check(kind: &'static str, value: &str) -> Result<(), NameError> {
    let reason = if value.is_empty() {
        "it is empty; give 1 to 64 bytes"
    } else if value.len() > NAME_BYTES_MAX {
        "it is too long; 64 bytes are the most"
    } else if !value.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_')) {
        "use only a-z, 0-9, '-' and '_'"
    } else if !value.as_bytes()[0].is_ascii_alphanumeric() {
        "begin with a letter or a digit"
    } else {
        return Ok(());
    };
    Err(NameError { kind, value: value.chars().take(80).collect(), reason })
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks a name.
            ///
            /// # Errors
            /// [`NameError`] when it is empty, over 64 bytes, or has a character outside
            /// `a-z 0-9 - _`.
            pub fn new(value: impl AsRef<str>) -> Result<Self, NameError> {
                let value = value.as_ref();
                check($kind, value)?;
                Ok(Self(Arc::from(value)))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(value: String) -> Result<Self, NameError> {
                Self::new(value)
            }
        }

        impl TryFrom<&str> for $type {
            type Error = NameError;
            fn try_from(value: &str) -> Result<Self, NameError> {
                Self::new(value)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name!(
    /// A service that carries operations out.
    ParticipantName,
    "participant"
);
name!(
    /// One operation inside its transaction.
    OperationName,
    "operation"
);
name!(
    /// One thing that a participant offers.
    ActionName,
    "action"
);
name!(
    /// A region of a deployment.
    RegionName,
    "region"
);
name!(
    /// The space in which callers' keys are unique.
    Namespace,
    "namespace"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_longest_length_is_accepted_and_one_past_it_is_not() {
        assert!(ParticipantName::new("a".repeat(NAME_BYTES_MAX)).is_ok());
        assert!(ParticipantName::new("a".repeat(NAME_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn whatever_a_broker_or_a_store_treats_as_special_is_refused() {
        for bad in ["", "a.b", "a*", "a>", "{a}", "a b", "A", "-a", "_a", "é", "a/b", "a\n"] {
            let error = ParticipantName::new(bad).expect_err(bad);
            assert_eq!(error.kind, "participant");
        }
        assert!(ParticipantName::new("payment-service_2").is_ok());
    }
}
