//! The patterns: what they are called, which phases they have, and one pure machine for each.

mod kind;

pub use kind::{Pattern, Phase, UnknownPattern};
