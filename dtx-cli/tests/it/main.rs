//! The program as its users run it.
#![allow(clippy::unwrap_used)]

mod demo;
mod input;
mod kill;
mod patterns;
mod resume;
mod stock;
mod support;
