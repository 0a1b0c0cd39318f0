//! What the benchmarks of dtx share: how figures are taken and judged, and participants that cost
//! nothing.
//!
//! `cargo xtask bench postgres redis` runs those on server stores, which are here.
#![forbid(unsafe_code)]

mod figures;
pub mod nothing;

pub use figures::{Goal, Line, median, percentile};
