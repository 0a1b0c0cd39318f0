//! How the program ends, and what it says then.

use std::{
    error::Error,
    process::{ExitCode, Termination},
};

/// What the help says about the exit codes.
pub(crate) const EXIT_HELP: &str = "Exit codes:
  0  done, and everything is sound
  1  it failed, or what was found is not sound
  2  the command line or its input is not valid; nothing was done";

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, and everything is sound: 0.
    Sound,
    /// It failed, or what was found is not sound: 1.
    Failed,
    /// The command line or its input is not valid; nothing was done: 2.
    Usage,
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Sound => 0,
            Self::Failed => 1,
            Self::Usage => 2,
        })
    }
}

/// An error that ends the program.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// The command line or its input is not valid.
    pub(crate) fn usage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { exit: Exit::Usage, error: error.into() }
    }

    /// What was asked for could not be done.
    pub(crate) fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { exit: Exit::Failed, error: error.into() }
    }

    /// How the program ends by it.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// The error with everything that caused it.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("error: {}", self.error);
        let mut source = self.error.source();
        while let Some(cause) = source {
            text.push_str(&format!("\n  because: {cause}"));
            source = cause.source();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_shown_with_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::fmt::Error);
        let failure = Failure::usage(Outer(std::fmt::Error));
        let cause = std::fmt::Error;
        assert_eq!(failure.text(), format!("error: outer\n  because: {cause}"));
        assert_eq!(failure.exit(), Exit::Usage);
        assert_eq!(Failure::failed("x").exit(), Exit::Failed);
    }
}
