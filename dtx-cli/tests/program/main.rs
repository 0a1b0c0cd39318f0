//! The program as its users run it.

mod command_line;
#[cfg(feature = "geo")]
mod geo;
mod operate;
mod sim;
mod submit;
mod support;
mod tx;
