//! What a run was begun with. It is stored with the run, so that the same command goes on where
//! it was, and another command under the same name is found out.

use bytes::Bytes;
use dtx::{
    name::{NAME_BYTES_MAX, Namespace},
    pattern::Pattern,
    store::{
        ParticipantStore, RowChange, RowExpect, RowKey, RowSet, RowWriteResult, Scope, ScopeRead,
    },
};
use serde::{Deserialize, Serialize};

use crate::{error::ShopError, faults::FaultRates};

/// What the name of a run may be.
pub const RUN_NAME_RULE: &str =
    "1 to 64 of a-z, 0-9, '-' and '_', beginning with a letter or digit";

/// How often the options are read again when another one wrote in between.
const STORE_ATTEMPTS_MAX: usize = 8;

/// What a run was begun with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunOptions {
    /// The digest of the orders.
    pub orders: u64,
    /// The pattern.
    pub pattern: Pattern,
    /// The transport.
    pub transport: String,
    /// How many orders are on their way at once.
    pub concurrency: usize,
    /// The faults.
    pub faults: FaultRates,
    /// From what the faults are drawn.
    pub seed: u64,
    /// How many units are there.
    pub stock: u64,
}

/// The name of a run that was given none: the stem of its file and its pattern, with everything
/// that a name cannot hold replaced.
pub fn default_run_name(stem: &str, pattern: Pattern) -> String {
    let word = pattern.word();
    let plain = |c: char| if matches!(c, 'a'..='z' | '0'..='9' | '-' | '_') { c } else { '-' };
    let name: String = stem.to_lowercase().chars().map(plain).collect();
    let name = name.trim_start_matches(['-', '_']);
    let room = NAME_BYTES_MAX - word.len() - 1;
    // All of it is ASCII by now.
    let name = &name[..name.len().min(room)];
    if name.is_empty() { format!("run-{word}") } else { format!("{name}-{word}") }
}

impl RunOptions {
    /// Stores the options of a new run, or compares them with those that it was begun with.
    ///
    /// # Errors
    /// [`ShopError::OptionChanged`] naming the first option that differs, and failures of the
    /// store.
    pub async fn settle(
        &self,
        store: &dyn ParticipantStore,
        run: &Namespace,
    ) -> Result<(), ShopError> {
        let scope = Scope::new(format!("runs/{run}")).expect("a name makes a scope");
        let key = RowKey(Bytes::from_static(b"options"));
        let read = [ScopeRead { scope: scope.clone(), keys: vec![key.clone()] }];
        for _ in 0..STORE_ATTEMPTS_MAX {
            let rows = store.read(&read).await?.pop().map(|scope| scope.rows);
            if let Some(found) = rows.and_then(|mut rows| rows.pop()).flatten() {
                let before: Self = serde_json::from_slice(&found.value).map_err(|error| {
                    ShopError::OptionsUnreadable { run: run.to_string(), reason: error.to_string() }
                })?;
                return self.compare(&before, run);
            }
            let value = serde_json::to_vec(self).expect("plain fields are always valid JSON");
            let change = RowChange {
                key: key.clone(),
                expect: RowExpect::Absent,
                value: Some(value.into()),
            };
            let set = RowSet {
                scope: scope.clone(),
                changes: vec![change],
                unchanged: Vec::new(),
                not_after: None,
            };
            match store.write(&[set]).await.pop() {
                Some(RowWriteResult::Written) => return Ok(()),
                Some(RowWriteResult::Failed(error)) => return Err(error.into()),
                // Another one began the run just now: compare with it.
                _ => {}
            }
        }
        let reason = "others write to it all the time".to_owned();
        Err(ShopError::OptionsUnreadable { run: run.to_string(), reason })
    }

    fn compare(&self, before: &Self, run: &Namespace) -> Result<(), ShopError> {
        let digest = |digest: u64| format!("with content {digest:016x}");
        let pairs = [
            ("--pattern", before.pattern.to_string(), self.pattern.to_string()),
            ("--orders", digest(before.orders), digest(self.orders)),
            ("--transport", before.transport.clone(), self.transport.clone()),
            ("--concurrency", before.concurrency.to_string(), self.concurrency.to_string()),
            ("--refuse", before.faults.refuse.to_string(), self.faults.refuse.to_string()),
            ("--lose", before.faults.lose.to_string(), self.faults.lose.to_string()),
            ("--seed", before.seed.to_string(), self.seed.to_string()),
            ("--stock", before.stock.to_string(), self.stock.to_string()),
        ];
        for (option, before, now) in pairs {
            if before != now {
                return Err(ShopError::OptionChanged { run: run.to_string(), option, before, now });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use dtx::store::MemoryStore;

    use super::*;
    use crate::faults::Rate;

    fn options() -> RunOptions {
        RunOptions {
            orders: 1,
            pattern: Pattern::Saga,
            transport: "inmem".into(),
            concurrency: 256,
            faults: FaultRates::default(),
            seed: 7,
            stock: 100,
        }
    }

    #[tokio::test]
    async fn a_changed_option_is_named() {
        let store = MemoryStore::new();
        let run = Namespace::new("r").expect("a name");
        options().settle(&store, &run).await.expect("a new run");
        options().settle(&store, &run).await.expect("the same again");
        let rate = Rate::new(0.1).expect("a rate");
        for (option, other) in [
            ("--orders", RunOptions { orders: 2, ..options() }),
            ("--pattern", RunOptions { pattern: Pattern::TwoPhaseSaga, ..options() }),
            ("--transport", RunOptions { transport: "other".into(), ..options() }),
            ("--concurrency", RunOptions { concurrency: 1, ..options() }),
            (
                "--refuse",
                RunOptions {
                    faults: FaultRates { refuse: rate, ..FaultRates::default() },
                    ..options()
                },
            ),
            (
                "--lose",
                RunOptions {
                    faults: FaultRates { lose: rate, ..FaultRates::default() },
                    ..options()
                },
            ),
            ("--seed", RunOptions { seed: 8, ..options() }),
            ("--stock", RunOptions { stock: 99, ..options() }),
        ] {
            let error = other.settle(&store, &run).await.expect_err(option);
            assert!(
                matches!(&error, ShopError::OptionChanged { option: named, .. } if *named == option),
                "{option}: {error}"
            );
        }
        let other = Namespace::new("r2").expect("a name");
        RunOptions { seed: 8, ..options() }.settle(&store, &other).await.expect("another run");
    }

    #[test]
    fn a_default_name_is_always_a_name() {
        let long = "x".repeat(200);
        for (stem, expected) in [
            ("cdnow_orders", "cdnow_orders-05ps".to_owned()),
            ("My Orders.v2", "my-orders-v2-05ps".to_owned()),
            ("_é", "run-05ps".to_owned()),
            ("", "run-05ps".to_owned()),
            (&long, format!("{}-05ps", "x".repeat(59))),
        ] {
            let name = default_run_name(stem, Pattern::FireAndForget);
            assert_eq!(name, expected);
            assert!(Namespace::new(&name).is_ok(), "{name}");
        }
    }
}
