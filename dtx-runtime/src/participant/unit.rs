//! The unit of work: the database transaction in which a handler's effect and the participant's
//! memory of it become durable together.

use std::fmt::Debug;

/// Where the effects of a handler live.
///
/// A store that can hold the inbox next to the user's own tables has a unit of its own, whose
/// `Tx` is that store's database transaction. A phase that is written for one unit cannot be
/// given to a participant of another one: that does not compile.
pub trait Unit: Debug + Send + Sync + 'static {
    /// The handle to the open transaction; `'a` is the call of the handler.
    type Tx<'a>: Send;
}

/// The effect lies outside the inbox: a remote service, a file, another database.
///
/// The promise is then **at least once**: when the host ends between the effect and the stored
/// answer, the handler runs again with the same idempotency key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detached;

impl Unit for Detached {
    type Tx<'a> = ();
}
