//! What the benchmarks of dtx on server stores share: how figures are taken and judged.
//!
//! `cargo xtask bench postgres redis` runs them.
#![forbid(unsafe_code)]

mod figures;

pub use figures::{Goal, Line, median, percentile};
