//! What the tests of the coordinator share: a world with a clock that only the tests' runtime
//! moves, a store and a transport that can be watched and made to fail, and scripted participants.

mod script;
mod spy;
mod wire;
mod world;

pub(crate) use script::{Ask, Say, Script, Step};
pub(crate) use spy::{Fault, Held, Spy};
pub(crate) use wire::{Fate, Seen, Wire};
pub(crate) use world::{
    LONG, Node, World, accept, chain, eventually, is_sound, is_written_ahead, out_of, pass, quick,
    settle, steps, within, written,
};
