//! How the program ends, and what it says then.

use std::{
    error::Error,
    process::{ExitCode, Termination},
};

use dtx::error::{ErrorKind, StoreError};

/// What the help says about the exit codes.
pub(crate) const EXIT_HELP: &str = "Exit codes:
  0  done, and everything is sound
  1  it failed, or what was found is not sound
  2  the command line or its input is not valid; nothing was done
  3  there is no such transaction, or a history cannot be judged
  4  another process owns the store; nothing was done

Environment:
  NO_COLOR  no colours, when it is set and not empty
  RUST_LOG  what is logged on stderr, in place of -v";

/// What can be done when another process owns a store.
const FIX_BUSY: &str = "stop the process that owns it, or only look: `dtx tx` works beside it";

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, and everything is sound: 0.
    Sound,
    /// It failed, or what was found is not sound: 1.
    Failed,
    /// The command line or its input is not valid; nothing was done: 2.
    Usage,
    /// There is no such transaction, or a history cannot be judged: 3.
    Unknown,
    /// Another process owns the store; nothing was done: 4.
    Busy,
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Sound => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unknown => 3,
            Self::Busy => 4,
        })
    }
}

/// An error that ends the program.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: Box<dyn Error + Send + Sync>,
    fix: Option<String>,
}

impl Failure {
    /// The command line or its input is not valid.
    pub(crate) fn usage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { exit: Exit::Usage, error: error.into(), fix: None }
    }

    /// There is no such transaction.
    pub(crate) fn unknown(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { exit: Exit::Unknown, error: error.into(), fix: None }
    }

    /// Another process owns the store.
    pub(crate) fn busy(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { exit: Exit::Busy, error: error.into(), fix: Some(FIX_BUSY.to_owned()) }
    }

    /// What was asked for could not be done. A store that another process owns is told apart.
    pub(crate) fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let error = error.into();
        if is_busy(error.as_ref()) {
            return Self::busy(error);
        }
        Self { exit: Exit::Failed, error, fix: None }
    }

    /// Says what to do about it.
    pub(crate) fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }

    /// How the program ends by it.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// One line: the error, everything that caused it, and what to do.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("error: {}", self.error);
        let mut source = self.error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            // Some errors say their cause themselves.
            if !text.ends_with(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        if let Some(fix) = &self.fix {
            text.push_str("; fix: ");
            text.push_str(fix);
        }
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

fn is_busy(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<StoreError>().is_some_and(|of| of.kind() == ErrorKind::Busy) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer\nline")]
    struct Outer<E: Error + 'static>(#[source] E);

    #[test]
    fn an_error_is_one_line_with_its_causes_and_the_fix() {
        let cause = std::fmt::Error;
        let failure = Failure::usage(Outer(cause)).fix("do this");
        assert_eq!(failure.text(), format!("error: outer line: {cause}; fix: do this"));
        assert_eq!(failure.exit(), Exit::Usage);
        assert_eq!(Failure::failed("x").exit(), Exit::Failed);
        assert_eq!(Failure::unknown("x").exit(), Exit::Unknown);
    }

    #[test]
    fn a_store_that_another_process_owns_is_told_apart_however_deep_it_is() {
        let busy = || StoreError::new(ErrorKind::Busy, "redb", "open");
        let failure = Failure::failed(Outer(Outer(busy())));
        assert_eq!(failure.exit(), Exit::Busy);
        assert!(failure.text().ends_with(FIX_BUSY), "{}", failure.text());
        let other = StoreError::new(ErrorKind::Corrupt, "redb", "open");
        assert_eq!(Failure::failed(Outer(other)).exit(), Exit::Failed);
    }
}
