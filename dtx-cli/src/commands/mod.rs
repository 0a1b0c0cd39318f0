//! The commands of the program, one file each.

pub(crate) mod demo;
mod dispatch;
pub(crate) mod run;

pub(crate) use dispatch::dispatch;
