//! When each participant of a phase is asked, so that locks are held for as short as possible and
//! the transaction takes no longer.
//!
//! A coordinator that asks all at once keeps the locks of a near participant for as long as the
//! farthest one takes. [`Schedule`] computes from what is known of latencies how long to wait with
//! each; [`PhaseRun`] carries that out, one phase of one transaction at a time. [`group`] makes one
//! message per region out of operations, [`place`] says from which region to coordinate.
//! [`GeoPlacement`] is what a coordinator of `dtx-runtime` uses all that by.
//!
//! What is decided never rests on these times: a wrong one costs time, not safety. Only the
//! coordinator's own monotonic clock is used.

mod group;
mod latency;
mod place;
mod placement;
mod run;
mod schedule;

pub use group::{Group, GroupError, Operation, group};
pub use latency::{Latency, TIMEOUT_FLOOR};
pub use place::{Place, place};
pub use placement::{ANSWERS_MIN, GeoPlacement, PlacementStats, UnknownRegion};
pub use run::{Effect, Input, PhaseRun, REPEAT_MAX};
pub use schedule::{Aim, PARTS_MAX, Part, Schedule, ScheduleError, SendTime};
