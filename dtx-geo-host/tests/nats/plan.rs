//! What the process of a region is told at its start, what it is asked, and what it answers.

use std::time::Duration;

use dtx_geo::{
    model::{Provider, RttMap, Shipped},
    pool::{Grants, PoolSettings},
};
use dtx_geo_host::PoolSpec;
use serde::{Deserialize, Serialize};

use crate::{hanging::Hang, stores::Place};

pub(crate) const NAMES: [&str; 3] = ["us-east-1", "eu-west-1", "ap-northeast-1"];

/// The region that drives the checkouts, and the one in which they are paid.
pub(crate) const BUYS: usize = 0;
pub(crate) const PAYS: usize = 1;

/// What a checkout is paid from, and the price of a unit.
pub(crate) const ACCOUNT: &str = "crowd";
pub(crate) const PRICE: u64 = 20;

/// How long a hold lives that is not pinned.
pub(crate) const TTL: Duration = Duration::from_secs(5);

/// How long one of a checkout lives at most: it ends by then when what takes it back is lost.
const LIFE: Duration = Duration::from_secs(25);

pub(crate) fn map() -> RttMap {
    Shipped::rtt(Provider::Aws).symmetric().select(&NAMES).expect("they are in the map")
}

pub(crate) fn rtt(from: usize, to: usize) -> Duration {
    map().rtt(from, to).expect("every pair is known").value
}

/// How grants are leased.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Leases {
    pub(crate) window: u64,
    pub(crate) lease: Duration,
}

/// Without leases grants are permanent.
pub(crate) fn settings(leases: Option<Leases>) -> PoolSettings {
    let leased = |Leases { window, lease }| Grants::Leased { window, lease };
    let grants = leases.map_or(Grants::Permanent, leased);
    PoolSettings { grants, hold_total_max: LIFE, ..PoolSettings::default() }
}

pub(crate) fn spec(region: usize, leases: Option<Leases>) -> PoolSpec {
    PoolSpec::new("cds", &map(), NAMES[region], settings(leases)).expect("it can be")
}

/// What a process is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) region: usize,
    pub(crate) rows: Place,
    /// The broker of each region, as this one reaches it.
    pub(crate) brokers: Vec<String>,
    /// Where the test listens.
    pub(crate) control: u16,
    /// Whether there are checkouts, and not the pool alone.
    pub(crate) has_checkouts: bool,
    pub(crate) leases: Option<Leases>,
}

impl Plan {
    pub(crate) fn spec(&self) -> PoolSpec {
        spec(self.region, self.leases)
    }
}

/// What a process is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Whether it has reached the brokers of all others.
    HasReached,
    Reserve {
        id: u64,
        units: u64,
    },
    Pin {
        id: u64,
    },
    Confirm {
        id: u64,
    },
    Cancel {
        id: u64,
    },
    State,
    /// So many units in all are brought in.
    Restock {
        total: u64,
    },
    /// The next such write hangs. Answered when it does.
    Hang(Hang),
    /// A transaction that takes units, if any, and pays. Answered when it has ended.
    Checkout {
        key: String,
        units: u64,
        cents: u64,
        deadline: Duration,
    },
    /// End in order.
    Stop,
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Told {
    Reached(bool),
    Reserved {
        at: usize,
        crossed: bool,
    },
    SoldOut {
        left: u64,
    },
    /// None here, and these regions do not answer.
    Unavailable {
        unreachable: Vec<String>,
    },
    Busy,
    Pinned,
    Confirmed,
    Cancelled,
    Expired,
    NotHere,
    State {
        free: u64,
        held: u64,
        sold: u64,
    },
    Restocked,
    Hangs,
    /// The outcome of a transaction.
    Ended(String),
    /// Whether nothing was open.
    Stopped {
        drained: bool,
    },
    Failed(String),
}

/// A question or an answer, with the number of the question.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Numbered<T> {
    pub(crate) number: u64,
    pub(crate) body: T,
}
