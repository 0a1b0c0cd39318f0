//! Errors of stores and transports, and the two questions that every one of them answers:
//! may it be tried again, and may it have happened?

use std::{error::Error as StdError, fmt, time::Duration};

/// What kind of failure it was. Says what the caller can do, not which product failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The backend cannot be reached or is overloaded.
    Unavailable,
    /// No answer in time. The effect is unknown.
    Timeout,
    /// Another owner holds what the call was about.
    Fenced,
    /// The request breaks a limit or a rule of the backend; sent again it fails again.
    Invalid,
    /// The backend does not offer this.
    Unsupported,
    /// Stored data cannot be read.
    Corrupt,
    /// The handle was closed.
    Closed,
    /// Another process owns the backend.
    Busy,
    /// A fault of the backend or of dtx that fits nowhere else.
    Internal,
}

/// Whether a failed call may be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Never: it will fail again.
    Never,
    /// The same call with the same ids.
    Same,
    /// After reading the current state again.
    Reload,
    /// The same call, after this long.
    After(Duration),
}

/// Whether a failed call may have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It changed nothing.
    None,
    /// It may have happened, or may still happen.
    Unknown,
}

type Source = Box<dyn StdError + Send + Sync + 'static>;

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    effect: Effect,
    backend: &'static str,
    operation: &'static str,
    context: String,
    source: Option<Source>,
}

macro_rules! backend_error {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        pub struct $type(Box<Inner>);

        impl $type {
            /// A failure of `operation` in `backend`. Its effect is unknown for `Timeout` and
            /// `Internal`, none for the other kinds; [`Self::with_effect`] overrides that.
            pub fn new(kind: ErrorKind, backend: &'static str, operation: &'static str) -> Self {
                let effect = match kind {
                    ErrorKind::Timeout | ErrorKind::Internal => Effect::Unknown,
                    _ => Effect::None,
                };
                Self(Box::new(Inner {
                    kind, effect, backend, operation, context: String::new(), source: None,
                }))
            }

            /// Says what the call was about. Never put payloads or secrets here.
            #[must_use]
            pub fn with_context(mut self, context: impl Into<String>) -> Self {
                self.0.context = context.into();
                self
            }

            /// Says whether the call may have taken effect.
            #[must_use]
            pub fn with_effect(mut self, effect: Effect) -> Self {
                self.0.effect = effect;
                self
            }

            /// Adds the error below this one.
            #[must_use]
            pub fn with_source(mut self, source: impl Into<Source>) -> Self {
                self.0.source = Some(source.into());
                self
            }

            /// What kind of failure it was.
            pub fn kind(&self) -> ErrorKind {
                self.0.kind
            }

            /// Which backend failed.
            pub fn backend(&self) -> &'static str {
                self.0.backend
            }

            /// Whether the call may be made again.
            pub fn retry(&self) -> Retry {
                match self.0.kind {
                    ErrorKind::Timeout => Retry::Same,
                    ErrorKind::Unavailable | ErrorKind::Internal => {
                        Retry::After(Duration::from_millis(50))
                    }
                    ErrorKind::Fenced => Retry::Reload,
                    ErrorKind::Invalid
                    | ErrorKind::Unsupported
                    | ErrorKind::Corrupt
                    | ErrorKind::Closed
                    | ErrorKind::Busy => Retry::Never,
                }
            }

            /// Whether the call may have taken effect.
            pub fn effect(&self) -> Effect {
                self.0.effect
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let inner = &self.0;
                write!(f, "{} failed in {} ({:?})", inner.operation, inner.backend, inner.kind)?;
                if !inner.context.is_empty() {
                    write!(f, ": {}", inner.context)?;
                }
                Ok(())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type))
                    .field("kind", &self.0.kind)
                    .field("effect", &self.0.effect)
                    .field("backend", &self.0.backend)
                    .field("operation", &self.0.operation)
                    .field("context", &self.0.context)
                    .field("source", &self.0.source)
                    .finish()
            }
        }

        impl StdError for $type {
            fn source(&self) -> Option<&(dyn StdError + 'static)> {
                self.0.source.as_deref().map(|source| source as _)
            }
        }
    };
}

backend_error!(
    /// A failed call of a [`StateStore`](crate::store::StateStore),
    /// [`Catalog`](crate::store::Catalog) or [`ParticipantStore`](crate::store::ParticipantStore).
    StoreError
);
backend_error!(
    /// A failed call of a [`Transport`](crate::transport::Transport).
    TransportError
);
