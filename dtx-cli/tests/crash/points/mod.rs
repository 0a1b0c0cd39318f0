//! Every crash point kills a real process in every piece of work that comes by; the same work is
//! then started again and must end soundly. How much is said by `DTX_TIER`: nothing is a taste,
//! `ci` is a slice (`DTX_CRASH_SECONDS` of it, beginning at job `DTX_CRASH_FIRST`), `prove` is
//! everything. `DTX_CRASH_DONE` names a file to which each kill is appended; what stands in it is
//! not done again.

mod campaign;
mod jobs;
mod scenario;
mod upkeep;
