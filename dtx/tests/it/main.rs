//! The whole of dtx in one process, on the volatile store.
#![allow(clippy::unwrap_used)]

mod kit;
mod patterns;
mod submit;
mod writes;
