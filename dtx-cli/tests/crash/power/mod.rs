//! Loss of power under `dtx run`: what was acknowledged on a pipe must be on the disk.
//! `DTX_POWER_CYCLES` says how many cycles, `DTX_POWER_FIRST` which is the first. Each prints one
//! line that begins with `POWER {`. Without the rights or the tools for loop devices the only
//! line is `POWER SKIPPED` with the reason.

mod campaign;
mod cycle;
mod disk;
mod log;

pub(crate) use disk::{Disk, Snapshot};
