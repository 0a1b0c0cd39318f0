//! The commands of the program, one file or folder each.

mod access;
pub(crate) mod check_history;
pub(crate) mod completions;
pub(crate) mod demo;
mod dispatch;
pub(crate) mod doctor;
#[cfg(feature = "geo")]
pub(crate) mod geo;
#[cfg(feature = "geo")]
mod geo_curves;
#[cfg(feature = "geo")]
mod geo_draw;
#[cfg(feature = "geo")]
mod geo_phases;
#[cfg(feature = "geo")]
mod geo_place;
#[cfg(feature = "geo")]
mod geo_plan;
#[cfg(feature = "geo")]
mod geo_plan_map;
#[cfg(feature = "geo")]
mod geo_zones;
pub(crate) mod heal;
pub(crate) mod migrate;
pub(crate) mod participant;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod sim;
#[cfg(feature = "geo")]
mod sim_regions;
mod store;
pub(crate) mod submit;
pub(crate) mod tx;
mod words;

pub(crate) use dispatch::dispatch;
