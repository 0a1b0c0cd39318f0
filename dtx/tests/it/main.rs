//! The whole of dtx in one process, on the volatile store.
#![allow(clippy::unwrap_used)]

mod bounds;
mod cancellation;
mod faults;
mod inquiries;
mod kit;
mod leases;
mod operators;
mod patterns;
mod signals;
mod submit;
mod writes;
