//! What a crash leaves behind on the embedded store, with real processes: kills at every crash
//! point (`points::`) and losses of power (`power::`).
//!
//! Not in a usual build of the tests: the crash points are compiled in by the feature
//! `crash-points`. `cargo xtask ci` runs slices, `cargo xtask prove crash` and `prove power` all.

mod orders;
mod points;
mod power;
mod process;
mod told;
