//! Stores that break one guarantee each, to prove that the suite notices.

use std::{cell::Cell, sync::Arc, time::Duration};

use async_trait::async_trait;
use dtx_core::store::{Catalog, ParticipantStore, StateStore};

use super::{MemoryHarness, StoreHarness, mutant_store::MutantStore};

/// What a mutant does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A repeat is evaluated as if it were a new write.
    ForgetsWriteIds,
    /// The fence of a write is replaced by the newest lease.
    IgnoresFences,
    /// The verdict of a row is overwritten.
    OverwritesVerdicts,
    /// The version of a write is replaced by that of the row.
    IgnoresVersions,
    /// Writes after the first conflict of a batch are refused.
    StopsAtConflicts,
    /// Keys are not stored.
    DropsKeys,
    /// Only the newest entries of the journal are kept.
    ForgetsHistory,
    /// Open transactions come in the order of their ids.
    IgnoresDueOrder,
    /// Pages end, but say that they go on nowhere.
    CutsPages,
    /// A renewal of a lost lease is answered.
    RenewsLostLeases,
    /// Everything finished is forgotten at once.
    IgnoresAges,
    /// Every grant has the same epoch.
    RepeatsEpochs,
    /// The rows that should be unchanged are not looked at.
    IgnoresUnchanged,
    /// `not_after` is not looked at.
    IgnoresNotAfter,
    /// The changes of a set are written one by one.
    TearsSets,
    /// Versions of rows begin at 1 again after a deletion.
    RepeatsRowVersions,
    /// What it says of itself depends on when it is asked.
    ChangesItsInfo,
    /// Its clock goes back.
    ClockGoesBack,
    /// The results of a batch come in the wrong order.
    ReversesResults,
    /// A refused accept claims its key.
    ClaimsKeysOfRefused,
    /// A second item of a batch for one transaction or scope does not see the first.
    IsBlindToEarlierItems,
    /// Nothing is there after reopening.
    LosesAllOnReopen,
    /// A signal is acknowledged and not written.
    AnswersWithoutWriting,
    /// A record is answered as it was when it was first read.
    LoadsWhatWas,
    /// What is due earliest in one shard is answered for another.
    MixesUpShards,
    /// Records come in the wrong order.
    ReversesLoads,
    /// Nothing is answered for what is not there.
    HidesTheAbsent,
    /// What is not due is open too.
    OpensTheUndue,
    /// What is open in the next shard is open here too.
    OpensOtherShards,
    /// Of many free shards only one is granted.
    GrantsOnlyTheFirst,
    /// Leases last a thousand times as long.
    NeverEndsLeases,
    /// A holder that has a shard gets it under a new epoch.
    RaisesEpochsAnew,
    /// What was wanted is answered, granted or not.
    AnswersAllWanted,
    /// A renewal is answered and changes nothing.
    RenewsNothing,
    /// A lease that is given back stays.
    ReleasesNothing,
    /// A late release ends the lease of the next holder.
    ReleasesWhoeverHasIt,
    /// The oldest transactions are listed first.
    ListsTheOldestFirst,
    /// Lists hold everything.
    IgnoresFilters,
    /// Keys lead nowhere.
    ForgetsWhoHasKeys,
    /// Keys go with their transactions.
    DropsKeysAtOnce,
    /// It says that one more was forgotten.
    MiscountsPurges,
    /// A step forgets everything.
    PurgesWithoutLimit,
    /// The rows of a scope are read one by one.
    TearsReads,
    /// The answers to reads come in the wrong order.
    ReversesReads,
    /// A durable read finds the first row of each scope alone.
    ForgetsOnDurableReads,
    /// A row is written whatever version was expected.
    IgnoresRowVersions,
    /// Keys are not looked at when rows are scanned.
    ScansWithoutPrefix,
    /// Rows and scopes come in the wrong order.
    ScansBackwards,
    /// Rows without what fits are scopes too.
    ListsEveryScope,
    /// A set whose caller went away is written in parts.
    TearsSetsWhenDropped,
}

impl Bug {
    /// All bugs.
    pub const ALL: &[Self] = &[
        Self::ForgetsWriteIds,
        Self::IgnoresFences,
        Self::OverwritesVerdicts,
        Self::IgnoresVersions,
        Self::StopsAtConflicts,
        Self::DropsKeys,
        Self::ForgetsHistory,
        Self::IgnoresDueOrder,
        Self::CutsPages,
        Self::RenewsLostLeases,
        Self::IgnoresAges,
        Self::RepeatsEpochs,
        Self::IgnoresUnchanged,
        Self::IgnoresNotAfter,
        Self::TearsSets,
        Self::RepeatsRowVersions,
        Self::ChangesItsInfo,
        Self::ClockGoesBack,
        Self::ReversesResults,
        Self::ClaimsKeysOfRefused,
        Self::IsBlindToEarlierItems,
        Self::LosesAllOnReopen,
        Self::AnswersWithoutWriting,
        Self::LoadsWhatWas,
        Self::MixesUpShards,
        Self::ReversesLoads,
        Self::HidesTheAbsent,
        Self::OpensTheUndue,
        Self::OpensOtherShards,
        Self::GrantsOnlyTheFirst,
        Self::NeverEndsLeases,
        Self::RaisesEpochsAnew,
        Self::AnswersAllWanted,
        Self::RenewsNothing,
        Self::ReleasesNothing,
        Self::ReleasesWhoeverHasIt,
        Self::ListsTheOldestFirst,
        Self::IgnoresFilters,
        Self::ForgetsWhoHasKeys,
        Self::DropsKeysAtOnce,
        Self::MiscountsPurges,
        Self::PurgesWithoutLimit,
        Self::TearsReads,
        Self::ReversesReads,
        Self::ForgetsOnDurableReads,
        Self::IgnoresRowVersions,
        Self::ScansWithoutPrefix,
        Self::ScansBackwards,
        Self::ListsEveryScope,
        Self::TearsSetsWhenDropped,
    ];
}

thread_local! {
    /// Not a type parameter: the cases would be compiled once per bug.
    static BUG: Cell<Bug> = const { Cell::new(Bug::ForgetsWriteIds) };
}

/// Sets the bug of the mutants that this thread opens from now on.
pub fn plant(bug: Bug) {
    BUG.set(bug);
}

/// A store in memory with the bug that was planted last.
#[derive(Debug)]
pub struct Mutant {
    sound: MemoryHarness,
    store: Arc<MutantStore>,
}

#[async_trait]
impl StoreHarness for Mutant {
    async fn open() -> Self {
        let sound = MemoryHarness::open().await;
        let store = Arc::new(MutantStore::new(BUG.get(), &sound));
        Self { sound, store }
    }

    fn state(&self) -> Arc<dyn StateStore> {
        self.store.clone()
    }

    fn catalog(&self) -> Arc<dyn Catalog> {
        self.store.clone()
    }

    fn participants(&self) -> Arc<dyn ParticipantStore> {
        self.store.clone()
    }

    async fn reopen(&mut self) {
        if self.store.has(Bug::LosesAllOnReopen) {
            *self = Self::open().await;
        }
    }

    async fn pass(&self, by: Duration) {
        self.sound.pass(by).await;
    }

    async fn jump(&self, by: Duration) -> bool {
        self.sound.jump(by).await
    }
}
