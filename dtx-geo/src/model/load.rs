//! Reading the files of this module, with errors that name line and field.

use std::{str::FromStr, time::Duration};

use csv::{ReaderBuilder, StringRecord};
use thiserror::Error;

/// A file that cannot be used. Lines count from 1, the header included.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LoadError {
    /// The header is not the one that is expected.
    #[error("line 1: the header is {found:?}; expected {expected:?}")]
    Header {
        /// What stands there.
        found: String,
        /// What should.
        expected: String,
    },
    /// The text is no CSV, or has lines of different lengths.
    #[error("line {line}: {reason}")]
    Form {
        /// Which line.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A field cannot be read.
    #[error("line {line}, field {field}: {value:?}: {reason}")]
    Field {
        /// Which line.
        line: u64,
        /// Its name in the header.
        field: &'static str,
        /// What stands there, cut to 80 characters.
        value: String,
        /// What is wrong.
        reason: String,
    },
    /// The same pair stands there twice.
    #[error("line {line}: {pair} was given before")]
    Twice {
        /// Which line.
        line: u64,
        /// The pair.
        pair: String,
    },
    /// More regions than a map holds.
    #[error("there are more than {limit} regions")]
    TooMany {
        /// The most.
        limit: usize,
    },
}

/// One line with the names of its fields.
pub(super) struct Line<'a> {
    header: &'a [&'static str],
    record: StringRecord,
    pub(super) number: u64,
}

impl Line<'_> {
    pub(super) fn text(&self, field: usize) -> &str {
        self.record.get(field).unwrap_or_default()
    }

    pub(super) fn wrong(&self, field: usize, reason: impl ToString) -> LoadError {
        LoadError::Field {
            line: self.number,
            field: self.header[field],
            value: self.text(field).chars().take(80).collect(),
            reason: reason.to_string(),
        }
    }

    pub(super) fn parse<T: FromStr<Err: ToString>>(&self, field: usize) -> Result<T, LoadError> {
        self.text(field).parse().map_err(|error: T::Err| self.wrong(field, error.to_string()))
    }

    /// A number that is finite and not negative.
    pub(super) fn number(&self, field: usize) -> Result<f64, LoadError> {
        let value: f64 = self.parse(field)?;
        if value.is_finite() && value >= 0.0 {
            return Ok(value);
        }
        Err(self.wrong(field, "it must be a number from 0"))
    }

    /// Milliseconds, at most an hour.
    pub(super) fn millis(&self, field: usize) -> Result<Duration, LoadError> {
        const HOUR_MS: f64 = 3_600_000.0;
        let value = self.number(field)?;
        if value > HOUR_MS {
            return Err(self.wrong(field, "it is longer than an hour"));
        }
        Ok(Duration::from_nanos((value * 1e6).round() as u64))
    }
}

/// Calls `each` for every line of a text that has this header.
pub(super) fn lines(
    text: &str,
    header: &[&'static str],
    mut each: impl FnMut(&Line<'_>) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    let form = |error: &csv::Error| {
        let line = error.position().map_or(0, csv::Position::line);
        LoadError::Form { line, reason: error.to_string() }
    };
    let mut reader = ReaderBuilder::new().has_headers(true).from_reader(text.as_bytes());
    let found = reader.headers().map_err(|error| form(&error))?;
    if found.iter().ne(header.iter().copied()) {
        let found = found.iter().collect::<Vec<_>>().join(",");
        return Err(LoadError::Header { found, expected: header.join(",") });
    }
    for record in reader.into_records() {
        let record = record.map_err(|error| form(&error))?;
        let number = record.position().map_or(0, csv::Position::line);
        each(&Line { header, record, number })?;
    }
    Ok(())
}
