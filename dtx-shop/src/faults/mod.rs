//! Services that say no and a network that loses messages, drawn from a seed.

mod book;
mod draw;
mod rate;
mod refusing;
mod transport;

pub use rate::{FaultRates, LOSE_MAX, Rate, RateError};

pub(crate) use book::OrderBook;
pub(crate) use draw::{Draw, Faults};
pub(crate) use refusing::{Refusal, Refusing};
pub(crate) use transport::LossyTransport;
