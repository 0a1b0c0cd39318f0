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
    /// It was asked for in a container, and no engine answers.
    #[error(
        "{name} cannot run in a container, no Docker engine answers ({says}): start one, name it in \
         DOCKER_HOST, or leave out `--via containers`"
    )]
    NoEngine {
        /// The service.
        name: &'static str,
        /// What was tried, and what came of it.
        says: String,
    },
    /// It was asked for in a container, and is only started natively.
    #[error("{name} has no image, it is only started natively: leave out `--via containers`")]
    NoContainer {
        /// The service.
        name: &'static str,
    },
    /// The engine does not have its image, and does not get it.
    #[error(
        "the engine has no image {image} for {name} and cannot fetch it ({says}): \
         `scripts/local-images {name}` makes one, {variable} names another"
    )]
    NoImage {
        /// The service.
        name: &'static str,
        /// The image.
        image: String,
        /// The variable that names another.
        variable: &'static str,
        /// What the engine said.
        says: String,
    },
    /// The engine did not do what was asked.
    #[error("the engine did not {what} {name}: {says}")]
    Engine {
        /// What was asked.
        what: &'static str,
        /// For which service.
        name: &'static str,
        /// What it said, or the last that the server printed.
        says: String,
    },
    /// It runs, but not in the way that was asked for.
    #[error("{name} runs here already via {way}: `cargo xtask services down {name}` stops it")]
    OtherWay {
        /// The service.
        name: &'static str,
        /// The way in which it runs.
        way: &'static str,
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
