//! The rows of the mutants.

use async_trait::async_trait;
use dtx_core::{
    error::StoreError,
    ids::Version,
    store::{
        Cursor, Page, ParticipantStore, RowChange, RowExpect, RowKey, RowSet, RowWriteResult,
        Scope, ScopeRead, ScopeRows, StoreInfo, StoredRow,
    },
};

use super::{mutant::Bug, mutant_store::MutantStore};

#[async_trait]
impl ParticipantStore for MutantStore {
    fn info(&self) -> &StoreInfo {
        self.rows.info()
    }

    async fn read(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        let mut answers = match self.bug {
            Bug::TearsReads => self.read_torn(reads).await?,
            _ => self.rows.read(reads).await?,
        };
        if self.has(Bug::ReversesReads) {
            answers.reverse();
        }
        if self.has(Bug::RepeatsRowVersions) {
            for row in answers.iter_mut().flat_map(|scope| scope.rows.iter_mut().flatten()) {
                row.version = Version(1);
            }
        }
        Ok(answers)
    }

    async fn read_durable(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        let mut answers = self.read(reads).await?;
        if self.has(Bug::ForgetsOnDurableReads) {
            for row in answers.iter_mut().flat_map(|scope| scope.rows.iter_mut().skip(1)) {
                *row = None;
            }
        }
        Ok(answers)
    }

    async fn write(&self, sets: &[RowSet]) -> Vec<RowWriteResult> {
        let mut sets = sets.to_vec();
        for set in &mut sets {
            match self.bug {
                Bug::IgnoresUnchanged => set.unchanged.clear(),
                Bug::IgnoresNotAfter => set.not_after = None,
                Bug::TearsSets | Bug::TearsSetsWhenDropped => return self.write_torn(&sets).await,
                Bug::IgnoresRowVersions => self.expect_what_is_there(set).await,
                _ => {}
            }
        }
        let mut results = self.rows.write(&sets).await;
        match self.bug {
            Bug::ReversesResults => results.reverse(),
            Bug::IsBlindToEarlierItems => {
                for (i, set) in sets.iter().enumerate() {
                    if sets[..i].iter().any(|earlier| earlier.scope == set.scope) {
                        results[i] = RowWriteResult::Conflict;
                    }
                }
            }
            _ => {}
        }
        results
    }

    async fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<(RowKey, StoredRow)>, StoreError> {
        let prefix = if self.has(Bug::ScansWithoutPrefix) { b"" } else { prefix };
        let mut page = self.rows.scan(scope, prefix, cursor, limit).await?;
        if self.has(Bug::ScansBackwards) {
            page.items.reverse();
        }
        Ok(page)
    }

    async fn scopes(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Scope>, StoreError> {
        let prefix = if self.has(Bug::ListsEveryScope) { "" } else { prefix };
        let mut page = self.rows.scopes(prefix, cursor, limit).await?;
        if self.has(Bug::ScansBackwards) {
            page.items.reverse();
        }
        Ok(page)
    }
}

impl MutantStore {
    async fn write_torn(&self, sets: &[RowSet]) -> Vec<RowWriteResult> {
        let mut results = Vec::new();
        for set in sets {
            let mut result = RowWriteResult::Written;
            if self.has(Bug::TearsSetsWhenDropped) && self.fits(set).await.is_none() {
                results.push(RowWriteResult::Conflict);
                continue;
            }
            for change in &set.changes {
                if self.has(Bug::TearsSetsWhenDropped) {
                    tokio::task::yield_now().await;
                }
                let single = RowSet { changes: vec![change.clone()], ..set.clone() };
                let answer = self.rows.write(&[single]).await.remove(0);
                if !matches!(answer, RowWriteResult::Written) {
                    result = answer;
                }
            }
            results.push(result);
        }
        results
    }

    /// Whether all rows are as a set expects them.
    async fn fits(&self, set: &RowSet) -> Option<()> {
        let keys = set.changes.iter().map(|change| change.key.clone()).collect();
        let reads = [ScopeRead { scope: set.scope.clone(), keys }];
        let rows = self.rows.read(&reads).await.expect("memory never fails").remove(0).rows;
        let is_so = |(change, row): (&RowChange, Option<StoredRow>)| match change.expect {
            RowExpect::Absent => row.is_none(),
            RowExpect::Version(version) => row.is_some_and(|row| row.version == version),
        };
        set.changes.iter().zip(rows).all(is_so).then_some(())
    }

    async fn expect_what_is_there(&self, set: &mut RowSet) {
        let keys = set.changes.iter().map(|change| change.key.clone()).collect();
        let reads = [ScopeRead { scope: set.scope.clone(), keys }];
        let rows = self.rows.read(&reads).await.expect("memory never fails").remove(0).rows;
        for (change, row) in set.changes.iter_mut().zip(rows) {
            change.expect = row.map_or(RowExpect::Absent, |row| RowExpect::Version(row.version));
        }
    }

    async fn read_torn(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        let mut answers = self.rows.read(reads).await?;
        for (read, answer) in reads.iter().zip(&mut answers) {
            for (key, row) in read.keys.iter().zip(&mut answer.rows) {
                tokio::task::yield_now().await;
                let single = [ScopeRead { scope: read.scope.clone(), keys: vec![key.clone()] }];
                *row = self.rows.read(&single).await?.remove(0).rows.remove(0);
            }
        }
        Ok(answers)
    }
}
