//! The same random operations on a backend and on the store in memory: every answer is compared.

use std::{collections::BTreeMap, fmt::Debug};

use dtx_core::{
    error::StoreError,
    ids::mix,
    store::{CommitResult, Lease, MemorySettings, RowWriteResult, TxRecord},
    time::Timestamp,
};

use super::{
    MemoryHarness, StoreHarness,
    operations::{Operation, Operations},
};

/// How many steps [`differential`] makes when `DTX_KIT_STEPS` does not say.
pub const STEPS_DEFAULT: u64 = 2_000;

/// The steps of one run: then it begins anew on empty stores, so that a long one does not end in
/// a state from which nothing new comes.
const STEPS_OF_A_RUN: u64 = 250;

/// A source of numbers from a seed.
#[derive(Clone, Debug)]
pub(super) struct Dice {
    seed: u64,
    thrown: u64,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, thrown: 0 }
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.thrown += 1;
        mix(self.seed ^ mix(self.thrown)) % end
    }

    pub(super) fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize].clone()
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// An answer without what may differ between two stores: times, cursors, and the words of errors.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Failed(String),
    Said(String),
}

impl Answer {
    pub(super) fn of<T: Debug>(result: Result<T, StoreError>) -> Self {
        match result {
            Ok(value) => Self::Said(format!("{value:?}")),
            Err(error) => Self::error(&error),
        }
    }

    fn error(error: &StoreError) -> Self {
        Self::Failed(format!("{:?} {:?}", error.kind(), error.effect()))
    }

    pub(super) fn committed(result: &CommitResult) -> Self {
        match result {
            CommitResult::Failed(error) => Self::error(error),
            other => Self::Said(format!("{other:?}")),
        }
    }

    pub(super) fn written(result: &RowWriteResult) -> Self {
        match result {
            RowWriteResult::Failed(error) => Self::error(error),
            other => Self::Said(format!("{other:?}")),
        }
    }

    /// The first word, for counting what came up.
    fn word(&self) -> &str {
        match self {
            Self::Failed(text) | Self::Said(text) => {
                text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default()
            }
        }
    }
}

/// A record without its times.
pub(super) fn timeless(record: TxRecord) -> TxRecord {
    TxRecord { accepted_at: Timestamp::ZERO, written_at: Timestamp::ZERO, ..record }
}

/// A lease without its epoch: two stores may begin elsewhere, and each is asked with its own.
pub(super) fn nameless(leases: &[Lease]) -> Vec<(u16, u128)> {
    leases.iter().map(|lease| (lease.shard.0, lease.holder.0)).collect()
}

/// What a run has come by: how often each kind of operation had each kind of answer.
pub type Coverage = BTreeMap<String, u64>;

/// Makes `steps` random operations from `seed` on both stores and compares every answer.
///
/// # Panics
/// At the first answer that differs, with the seed, the step and both answers.
pub async fn compare<B: StoreHarness>(seed: u64, steps: u64) -> Coverage {
    let mut coverage = Coverage::new();
    for run in 0..steps.div_ceil(STEPS_OF_A_RUN) {
        let seed = mix(seed ^ mix(run));
        let backend = B::open().await;
        let info = backend.state().info().clone();
        let model = MemoryHarness::with_settings(MemorySettings {
            limits: info.limits.clone(),
            shards: info.shards,
            ..MemorySettings::default()
        });
        let mut dice = Dice::new(seed);
        let mut operations = Operations::new(info.shards, info.limits.clone());
        for step in 0..STEPS_OF_A_RUN.min(steps - run * STEPS_OF_A_RUN) {
            let operation = operations.draw(&mut dice);
            let ours = operations.apply(&backend, 0, &operation).await;
            let theirs = operations.apply(&model, 1, &operation).await;
            assert_eq!(ours, theirs, "seed {seed}, step {step}: {operation:?}");
            operations.learn(&operation, &backend, &model).await;
            for answer in &ours {
                let name = format!("{} {}", operation.name(), answer.word());
                *coverage.entry(name).or_default() += 1;
            }
        }
        backend.close().await;
    }
    coverage
}

/// What [`differential`] must have come by, so that it is not a comparison of nothing.
const SEEN: &[&str] = &[
    "commit Committed",
    "commit Conflict",
    "commit Fenced",
    "commit DuplicateKey",
    "commit Invalid",
    "write Written",
    "write Conflict",
    "write TooLate",
    "write Invalid",
];

/// The steps that `DTX_KIT_STEPS` asks for, or [`STEPS_DEFAULT`].
pub fn steps() -> u64 {
    let asked = std::env::var("DTX_KIT_STEPS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(STEPS_DEFAULT)
}

/// Compares a backend with the store in memory, as many steps as [`steps`] says, and checks that
/// every kind of answer came up.
///
/// # Panics
/// When an answer differs, or one that must come up did not.
pub async fn differential<B: StoreHarness>(seed: u64) {
    let coverage = compare::<B>(seed, steps()).await;
    let missing: Vec<_> = SEEN.iter().filter(|name| !coverage.contains_key(**name)).collect();
    assert!(missing.is_empty(), "never seen: {missing:?}; seen: {coverage:?}");
    for kind in Operation::NAMES {
        let seen = coverage.keys().any(|name| name.split(' ').next() == Some(kind));
        assert!(seen, "{kind} never came up: {coverage:?}");
    }
}
