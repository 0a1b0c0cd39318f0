//! Concurrent histories of one store, recorded by several processes and checked for
//! linearizability: each call takes effect at one moment between its beginning and its end.
//!
//! [`Recorder`] gives every beginning and every end a place in one order, [`client`](work) makes
//! random compare-and-set calls, [`Processes`] runs clients in processes of their own, and
//! [`check`] judges what came of it.

mod checker;
mod clients;
mod processes;
mod recorder;

pub use checker::{Judgement, STATES_MAX, check, check_key};
pub use clients::{Target, Work, work};
pub use processes::{CHILD, Processes, child};
pub use recorder::{Call, Log, Operation, Outcome, Recorder};
