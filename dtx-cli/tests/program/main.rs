//! The program as its users run it.

mod command_line;
mod operate;
mod sim;
mod submit;
mod support;
mod tx;
