//! Transactions over regions.
//!
//! [`model`] knows how far regions are from each other and what that costs. [`pool`] shares the
//! stock of one resource out among regions, so that each sells its own part without asking
//! anybody, and nothing is sold twice under any partition. [`phase`] asks the
//! participants of a transaction so that locks are held for as short as possible. [`sim`] is a
//! seeded world of regions in which all of it is judged.
//!
//! Nothing here reads a clock, waits or talks to a network: what decides are functions of their
//! arguments, and what they want done is handed back.
#![forbid(unsafe_code)]

pub mod model;
pub mod phase;
pub mod plan;
pub mod pool;
pub mod sim;
