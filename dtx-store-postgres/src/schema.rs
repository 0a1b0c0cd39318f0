//! The name of the schema: the only thing that is ever written into the text of a statement.

use std::{fmt, sync::Arc};

use thiserror::Error;

/// The longest name of a schema, in bytes: names of tables in it are cut by nothing.
pub const SCHEMA_BYTES_MAX: usize = 48;

/// The name of a schema: 1 to 48 bytes of `a`-`z`, `0`-`9` and `_`, beginning with a letter.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SchemaName(Arc<str>);

/// A text that cannot be the name of a schema.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "schema {value:?} is not valid: give 1 to 48 bytes of a-z, 0-9 and _, beginning with a \
     letter, and not with pg_"
)]
pub struct SchemaError {
    /// The refused text, cut to 80 characters.
    pub value: String,
}

impl SchemaName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`SchemaError`] when it has other characters, is empty or too long, or is one of the
    /// server's own.
    pub fn new(value: impl AsRef<str>) -> Result<Self, SchemaError> {
        let value = value.as_ref();
        let character = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_');
        let good = value.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
            && value.len() <= SCHEMA_BYTES_MAX
            && value.bytes().all(character)
            && !value.starts_with("pg_");
        if good {
            return Ok(Self(Arc::from(value)));
        }
        Err(SchemaError { value: value.chars().take(80).collect() })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A text with `{schema}` replaced by the quoted name, and `{channel}` by the channel of the
    /// store's hints. The name has no quotes in it.
    pub(crate) fn fill(&self, template: &str) -> String {
        let named = template.replace("{schema}", &format!("\"{}\"", self.0));
        named.replace("{channel}", &self.channel())
    }

    /// The channel of the store's hints, which all databases of one server keep apart.
    pub(crate) fn channel(&self) -> String {
        format!("dtx_{}", self.0)
    }
}

impl Default for SchemaName {
    fn default() -> Self {
        Self(Arc::from("dtx"))
    }
}

impl TryFrom<&str> for SchemaName {
    type Error = SchemaError;
    fn try_from(value: &str) -> Result<Self, SchemaError> {
        Self::new(value)
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_at_the_limit_pass_and_one_past_it_do_not() {
        assert!(SchemaName::new("a".repeat(SCHEMA_BYTES_MAX)).is_ok());
        assert!(SchemaName::new("a".repeat(SCHEMA_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn nothing_that_could_end_an_identifier_gets_in() {
        for bad in ["", "1a", "_a", "A", "a-b", "a\"b", "a.b", "a b", "a;", "é", "pg_a", "a'"] {
            assert!(SchemaName::new(bad).is_err(), "{bad}");
        }
        assert_eq!(SchemaName::default().fill("{schema}.open"), "\"dtx\".open");
        assert_eq!(SchemaName::default().fill("'{channel}'"), "'dtx_dtx'");
        assert!(SchemaName::new("a2_b").is_ok());
    }
}
