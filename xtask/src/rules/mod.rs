//! The project's rules. Each has a name, a check that can fail, and a test of that check.

mod dependencies;
mod documents;
mod exceptions;
mod features;
mod layout;
mod purity;
mod settings;
mod table;
mod testing;
mod words;

pub(crate) use table::{RULES, examine};
