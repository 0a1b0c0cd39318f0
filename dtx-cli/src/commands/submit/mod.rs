//! `dtx submit`: runs transactions in their JSON form against the services of the shop.

mod args;
mod books;
mod custom;
mod drive;
mod file;

pub(crate) use args::{SubmitArgs, submit};
pub(crate) use custom::{conditions, strategies};
