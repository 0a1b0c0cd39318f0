//! The whole of dtx in one process: on the volatile store, and where it matters on a file.
#![allow(clippy::unwrap_used)]

mod bounds;
mod cancellation;
mod claims;
mod faults;
mod inquiries;
mod kit;
mod leases;
mod limits;
mod money;
mod operators;
mod patterns;
mod signals;
mod submit;
mod writes;
