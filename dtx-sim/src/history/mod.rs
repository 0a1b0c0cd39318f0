//! Judges a recorded run: the same code for simulated runs and for real ones, which are written
//! down as JSON lines of [`Happening`]. `docs/history.md` describes the format and the rules.

mod checker;
mod finding;
mod line;
mod past;
mod pools;
mod read;
mod record;
mod rows;
mod rules;
mod write;

pub use checker::{CheckSettings, Checker};
pub use finding::{Breach, Coverage, Doubt, Finding, Judgement};
pub use line::{
    Change, Claim, Facts, HISTORY_VERSION, Happening, Kind, Plan, Planned, Pool, Said, What,
};
pub use past::Past;
pub use pools::{POOL_RULES, PoolRule};
pub use read::judge;
pub use record::{Recorded, RecordedTransport};
pub use rules::{Moment, RULES, Rule};
pub use write::{HistoryWriter, digest};

pub(crate) use record::final_effect;
pub(crate) use rows::{pool, written};
