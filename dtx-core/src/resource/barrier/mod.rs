//! The barrier: a participant's durable memory of the commands that it has met, and the rules
//! by which a command is run, answered from memory or refused (design rules 2, 3, 5, 12 to 14).

mod claim;
mod collect;
mod row;
mod table;
#[cfg(test)]
mod tests;

pub use claim::{Claim, ClaimContext, claim, finish, stamp};
pub use collect::{Collect, MARK_PREFIX, collect, forgotten_below, mark_key};
pub use row::{
    ASK_AFTER_DEFAULT, Entry, INBOX_PREFIX, InboxRow, Recall, inbox_key, parse_inbox_key,
};
pub use table::{Role, backward_phases, forward_phases, role};
