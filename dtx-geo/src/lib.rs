//! Transactions over regions.
//!
//! [`model`] knows how far regions are from each other and what that costs. [`pool`] shares the
//! stock of one resource out among regions, so that each sells its own part without asking
//! anybody, and nothing is sold twice under any partition. [`sim`] is a seeded world of regions in
//! which both are judged.
//!
//! Nothing here reads a clock, waits or talks to a network: what decides are functions of their
//! arguments, and what they want done is handed back.
#![forbid(unsafe_code)]

pub mod model;
pub mod pool;
pub mod sim;
