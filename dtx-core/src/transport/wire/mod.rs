//! A message as it leaves the process: text headers, and a body that is the user's bytes untouched
//! (design section 7).

mod decode;
mod encode;
mod header;
mod message;
#[cfg(test)]
mod tests;
mod text;

pub use message::{WireError, WireHeaders, WireLimits, WireMessage};
