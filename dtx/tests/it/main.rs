//! The whole of dtx in one process: on the volatile store, and where it matters on a file.
#![allow(clippy::unwrap_used)]

mod bounds;
mod cancellation;
mod chaos;
mod claims;
mod coordinators;
mod faults;
mod healing;
mod holds;
mod idle;
mod inquiries;
mod kit;
mod leases;
mod limits;
mod money;
mod moves;
mod operators;
mod patterns;
#[cfg(feature = "geo")]
mod regions;
mod signals;
mod submit;
mod trace;
mod writes;
