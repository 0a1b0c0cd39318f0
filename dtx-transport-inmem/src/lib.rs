//! The transport inside one process.
//!
//! Messages move between tasks as they are, without being encoded. Everything is bounded: a full
//! queue makes `publish` wait. Queue groups, batches, redelivery and fencing work as on a broker,
//! so that what runs here runs there; nothing survives the process
//! (`TransportCapabilities::durable` is false).
//!
//! ```
//! use std::time::Duration;
//! use dtx_transport_inmem::InMemoryTransport;
//!
//! let transport = InMemoryTransport::builder()
//!     .queue_messages_max(1_000)
//!     .ack_wait(Duration::from_secs(5))
//!     .build()?;
//! # Ok::<(), dtx_core::error::TransportError>(())
//! ```
//!
//! # What waits where
//! Each address has one queue per group; the subscriptions of the group take from it. While an
//! address has no subscription, its messages wait in a bounded pending queue, so that it does not
//! matter what starts first; beyond the bound the oldest is dropped. The first group that
//! subscribes gets them. When the last subscription of an address leaves, what its queue holds
//! is pending again; a group that leaves while another one stays takes its messages with it.
//!
//! # Redelivery
//! A delivery that is neither acknowledged nor extended comes again after [`Builder::ack_wait`], after the delay
//! of a `nack`, or as soon as its subscription is closed or dropped. There is no background task:
//! whoever receives next brings back what is due, and one that waits wakes for it.
#![forbid(unsafe_code)]

mod hub;
mod queue;
mod settings;
mod subscription;
mod transport;
mod unacked;

pub use settings::Builder;
pub use transport::InMemoryTransport;
