//! What a crash leaves behind, with real processes: kills at every crash point (`points::`) and
//! losses of power (`power::`) on the embedded store, and crashes of coordinators and of servers
//! on stores that several share (`servers::`). `DTX_CRASH_STORE` says on which store.
//!
//! Not in a usual build of the tests: the crash points are compiled in by the feature `campaigns`.
//! `cargo xtask ci` runs slices, `cargo xtask prove` with `crash`, `power` and `servers` all.

mod home;
mod orders;
mod points;
mod power;
mod process;
mod servers;
mod told;
