//! The program as its users run it.

mod program;
mod sim;
mod submit;
mod support;
mod tx;
