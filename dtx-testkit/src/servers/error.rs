//! Why a service could not be had.

use std::{io, path::PathBuf};

use thiserror::Error;

/// A service that could not be found, started or stopped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// No variable names it and its programs are not on this machine.
    #[error(
        "{name} is not here: set {variable}, or install the package `{package}` (as root \
         `cargo xtask services up {name} --install` does it)"
    )]
    Missing {
        /// The service.
        name: &'static str,
        /// The variable that would name a server.
        variable: &'static str,
        /// The package of Debian that has its programs.
        package: &'static str,
    },
    /// A program of it failed.
    #[error("`{program}` failed: {says}")]
    Failed {
        /// Which program.
        program: String,
        /// What it printed.
        says: String,
    },
    /// A file or a program could not be used.
    #[error("{what} {path:?}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file or program.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It did not do in time what was asked.
    #[error("{name} did not {what} within {seconds} s")]
    Late {
        /// The service.
        name: &'static str,
        /// What was asked.
        what: &'static str,
        /// How long was waited.
        seconds: u64,
    },
}

impl ServiceError {
    pub(super) fn io(what: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { what, path: path.into(), source }
    }
}
