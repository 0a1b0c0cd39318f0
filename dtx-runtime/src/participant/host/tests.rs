//! The host over the in-memory store and transport.

mod barrier;
mod inquiries;
mod leases;
mod lifecycle;
mod limits;
mod messages;
mod resources;
mod slow;
