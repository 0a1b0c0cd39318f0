//! The program as its users run it.
#![allow(clippy::unwrap_used)]

mod demo;
mod input;
mod kill;
mod patterns;
mod program;
mod ran;
mod resume;
mod sim;
mod stock;
mod submit;
mod support;
mod tx;
