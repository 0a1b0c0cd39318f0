//! Random operations on a few transactions, shards, holders, keys and rows, so that they meet.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use dtx_core::{
    ids::{Epoch, HolderId, ShardCount, ShardId, TxId, Version},
    pattern::Pattern,
    store::{
        Catalog, Expect, Fence, Filter, Lease, LeaseRequest, ParticipantStore, Purge, RecordKind,
        RowChange, RowExpect, RowKey, RowSet, Scope, ScopeRead, StateStore, StoreLimits, StoredRow,
        TxWrite, Verdict,
    },
    time::Timestamp,
};

use super::{
    Pen, StoreHarness,
    differential::{Answer, Dice, nameless, timeless},
    tx, tx_of,
};

/// How many transactions there are, in two shards, so that several are open in one.
const TRANSACTIONS: usize = 6;
const HOLDERS: u128 = 3;
const LONG: Duration = Duration::from_secs(36_000);
const SHORT: Duration = Duration::from_millis(20);

/// One step.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    /// Writes, each with the holder whose newest lease is its fence, if it has one.
    Commit(Vec<(TxWrite, Option<HolderId>)>),
    Load(Vec<TxId>),
    Open(ShardId, Timestamp, usize),
    Acquire(HolderId, Vec<ShardId>),
    /// Takes shards for a short time and lets that pass.
    AcquireAndLetEnd(HolderId, Vec<ShardId>),
    Renew(HolderId),
    Release(HolderId),
    List(Filter),
    History(TxId),
    ByKey(dtx_core::transaction::Key),
    Purge(Purge),
    /// Sets, and whether each is too late.
    Write(Vec<(RowSet, bool)>),
    Read(Vec<ScopeRead>),
    Scan(Scope, Vec<u8>, usize),
    Scopes(String, usize),
}

impl Operation {
    pub(super) const NAMES: &[&str] = &[
        "commit", "load", "open", "acquire", "end", "renew", "release", "list", "history", "key",
        "purge", "write", "read", "scan", "scopes",
    ];

    pub(super) fn name(&self) -> &'static str {
        let place = match self {
            Self::Commit(_) => 0,
            Self::Load(_) => 1,
            Self::Open(..) => 2,
            Self::Acquire(..) => 3,
            Self::AcquireAndLetEnd(..) => 4,
            Self::Renew(_) => 5,
            Self::Release(_) => 6,
            Self::List(_) => 7,
            Self::History(_) => 8,
            Self::ByKey(_) => 9,
            Self::Purge(_) => 10,
            Self::Write(_) => 11,
            Self::Read(_) => 12,
            Self::Scan(..) => 13,
            Self::Scopes(..) => 14,
        };
        Self::NAMES[place]
    }
}

/// Draws operations, and knows enough of what is stored to draw ones that apply.
#[derive(Debug)]
pub(super) struct Operations {
    pen: Pen,
    shards: ShardCount,
    ids: Vec<TxId>,
    limits: StoreLimits,
    versions: BTreeMap<TxId, Version>,
    /// The versions of the rows in each of the two stores: they may begin elsewhere.
    rows: [BTreeMap<(Scope, RowKey), Version>; 2],
    written: Vec<TxWrite>,
    /// The leases that each of the two stores granted.
    leases: [BTreeMap<(HolderId, ShardId), Lease>; 2],
}

impl Operations {
    pub(super) fn new(shards: ShardCount, limits: StoreLimits) -> Self {
        let of = |shard| tx_of(ShardId(shard % shards.get()), shards, TRANSACTIONS / 2);
        let mut ids = [of(0), of(1)].concat();
        ids.sort_unstable();
        ids.dedup();
        Self {
            pen: Pen::new(0xD1FF),
            shards,
            ids,
            limits,
            versions: BTreeMap::new(),
            rows: [BTreeMap::new(), BTreeMap::new()],
            written: Vec::new(),
            leases: [BTreeMap::new(), BTreeMap::new()],
        }
    }

    pub(super) fn draw(&mut self, dice: &mut Dice) -> Operation {
        match dice.below(40) {
            0..14 => {
                let count = 1 + dice.below(4);
                Operation::Commit((0..count).map(|_| self.draw_write(dice)).collect())
            }
            14 | 15 => Operation::Load((0..dice.below(4)).map(|_| dice.pick(&self.ids)).collect()),
            16 => {
                let shard = dice.pick(&self.ids).shard(self.shards);
                let due = Timestamp::from_micros(dice.below(6) * 500);
                Operation::Open(shard, due, 1 + dice.below(3) as usize)
            }
            17..21 => Operation::Acquire(draw_holder(dice), self.draw_shards(dice)),
            21 => Operation::AcquireAndLetEnd(draw_holder(dice), self.draw_shards(dice)),
            22 => Operation::Renew(draw_holder(dice)),
            23 => Operation::Release(draw_holder(dice)),
            24 => Operation::List(draw_filter(dice)),
            25 => Operation::History(dice.pick(&self.ids)),
            26 => Operation::ByKey(
                self.pen.accept_key(tx(1), "shop", &draw_key(dice)).key.expect("a key"),
            ),
            27 => Operation::Purge(Purge {
                older_than: dice.pick(&[Duration::ZERO, LONG]),
                key_retention: dice.pick(&[Duration::ZERO, LONG]),
                limit: 1 + dice.below(3) as usize,
            }),
            28..35 => {
                let count = 1 + dice.below(3);
                Operation::Write((0..count).map(|_| self.draw_set(dice)).collect())
            }
            35 | 36 => {
                let reads = (0..dice.below(3)).map(|_| ScopeRead {
                    scope: draw_scope(dice),
                    keys: (0..dice.below(4)).map(|_| draw_row_key(dice)).collect(),
                });
                Operation::Read(reads.collect())
            }
            37 | 38 => {
                let prefix = dice.pick(&[&b""[..], b"a", b"ab", b"\xFF"]).to_vec();
                Operation::Scan(draw_scope(dice), prefix, 1 + dice.below(3) as usize)
            }
            _ => {
                let prefix = dice.pick(&["", "s", "s/", "none"]).to_owned();
                Operation::Scopes(prefix, 1 + dice.below(3) as usize)
            }
        }
    }

    fn draw_shards(&self, dice: &mut Dice) -> Vec<ShardId> {
        let mut shards: Vec<_> =
            (0..1 + dice.below(3)).map(|_| dice.pick(&self.ids).shard(self.shards)).collect();
        if dice.one_in(20) {
            shards.push(ShardId(self.shards.get()));
        }
        shards.sort_unstable();
        shards.dedup();
        shards
    }

    fn draw_write(&mut self, dice: &mut Dice) -> (TxWrite, Option<HolderId>) {
        if !self.written.is_empty() && dice.one_in(8) {
            // A repeat of the last write of a row, or of one that was overwritten since.
            return (dice.pick(&self.written), None);
        }
        let id = dice.pick(&self.ids);
        let known = self.versions.get(&id).copied();
        let version = match (known, dice.one_in(6)) {
            (Some(version), false) => version.0,
            (Some(version), true) => (version.0 + dice.below(3)).saturating_sub(1),
            (None, _) => dice.below(2),
        };
        let is_accept = if known.is_some() { dice.one_in(12) } else { !dice.one_in(8) };
        let mut write = if is_accept {
            match dice.below(3) {
                0 => self.pen.accept(id),
                _ => self.pen.accept_key(id, "shop", &draw_key(dice)),
            }
        } else {
            let kinds = [
                RecordKind::Progress,
                RecordKind::Resumed,
                RecordKind::Signal,
                RecordKind::Verdict,
                RecordKind::PivotSent,
                RecordKind::Finished,
            ];
            self.pen.write(id, dice.pick(&kinds), Expect::Version(Version(version)))
        };
        self.spoil(dice, &mut write);
        let signs = matches!(write.kind, RecordKind::Accepted | RecordKind::Signal);
        let fenced = if signs { dice.one_in(4) } else { !dice.one_in(6) };
        (write, fenced.then(|| draw_holder(dice)))
    }

    /// What a write carries beyond its kind, now and then what it may not carry.
    fn spoil(&self, dice: &mut Dice, write: &mut TxWrite) {
        let verdicts = [Verdict::Completed, Verdict::Turned, Verdict::Commit, Verdict::Abort];
        if write.kind == RecordKind::Verdict || dice.one_in(10) {
            write.verdict = (!dice.one_in(20)).then(|| dice.pick(&verdicts));
        }
        if write.kind == RecordKind::Finished || dice.one_in(10) {
            write.due = None;
        } else {
            write.due = Some(Timestamp::from_micros(dice.below(6) * 500));
        }
        write.summary.pattern = dice.pick(&Pattern::ALL);
        match dice.below(60) {
            0 => write.state = Bytes::from(vec![0; self.limits.value_bytes_max + 1]),
            1 => write.expect = Expect::Absent,
            2 => write.definition = Some(Bytes::from_static(b"another")),
            _ => {}
        }
    }

    fn draw_set(&self, dice: &mut Dice) -> (RowSet, bool) {
        let scope = draw_scope(dice);
        let expect = |dice: &mut Dice, key: &RowKey| {
            let known = self.rows[1].get(&(scope.clone(), key.clone())).copied();
            match (known, dice.one_in(6)) {
                (Some(version), false) => RowExpect::Version(version),
                (None, false) => RowExpect::Absent,
                (Some(_), true) => RowExpect::Absent,
                (None, true) => RowExpect::Version(Version(1 + dice.below(3))),
            }
        };
        let mut changes: Vec<RowChange> = Vec::new();
        for _ in 0..1 + dice.below(3) {
            let key = draw_row_key(dice);
            if changes.iter().any(|change| change.key == key) && !dice.one_in(10) {
                continue;
            }
            let expect = expect(dice, &key);
            let value = (!dice.one_in(4)).then(|| Bytes::from(dice.below(100).to_string()));
            changes.push(RowChange { key, expect, value });
        }
        let mut unchanged = Vec::new();
        if dice.one_in(3) {
            let key = draw_row_key(dice);
            if changes.iter().all(|change| change.key != key) {
                unchanged.push((key.clone(), expect(dice, &key)));
            }
        }
        let is_late = dice.one_in(12);
        (RowSet { scope, changes, unchanged, not_after: None }, is_late)
    }

    /// Carries an operation out on one of the two stores. One answer per item.
    pub(super) async fn apply<H: StoreHarness>(
        &mut self,
        harness: &H,
        which: usize,
        operation: &Operation,
    ) -> Vec<Answer> {
        match operation {
            Operation::Commit(_)
            | Operation::Load(_)
            | Operation::Open(..)
            | Operation::Acquire(..)
            | Operation::AcquireAndLetEnd(..)
            | Operation::Renew(_)
            | Operation::Release(_) => self.apply_state(harness, which, operation).await,
            Operation::List(_)
            | Operation::History(_)
            | Operation::ByKey(_)
            | Operation::Purge(_) => vec![ask(&*harness.catalog(), operation).await],
            Operation::Write(_)
            | Operation::Read(_)
            | Operation::Scan(..)
            | Operation::Scopes(..) => {
                let operation = self.translated(which, operation);
                on_rows(&*harness.participants(), &operation).await
            }
        }
    }

    async fn apply_state<H: StoreHarness>(
        &mut self,
        harness: &H,
        which: usize,
        operation: &Operation,
    ) -> Vec<Answer> {
        let store = harness.state();
        match operation {
            Operation::Commit(writes) => {
                let writes: Vec<_> =
                    writes.iter().map(|(write, by)| self.fenced(which, write, *by)).collect();
                store.commit(&writes).await.iter().map(Answer::committed).collect()
            }
            Operation::Load(ids) => {
                let rows = store.load(ids).await;
                let rows = rows.map(|rows| rows.into_iter().map(|row| row.map(timeless)).collect());
                vec![Answer::of::<Vec<_>>(rows)]
            }
            Operation::Open(shard, due, limit) => {
                vec![Answer::of(all_open(&*store, *shard, *due, *limit).await)]
            }
            Operation::Acquire(holder, shards) => {
                vec![self.acquire(&*store, which, *holder, shards, LONG).await]
            }
            Operation::AcquireAndLetEnd(holder, shards) => {
                let answer = self.acquire(&*store, which, *holder, shards, SHORT).await;
                harness.pass(SHORT).await;
                vec![answer]
            }
            Operation::Renew(holder) => {
                let held: Vec<_> = self.held(which, *holder);
                let renewed = store.renew(&held).await;
                vec![Answer::of(renewed.map(|leases| nameless(&leases)))]
            }
            Operation::Release(holder) => {
                let held: Vec<_> = self.held(which, *holder);
                vec![Answer::of(store.release(&held).await)]
            }
            _ => Vec::new(),
        }
    }

    fn held(&self, which: usize, holder: HolderId) -> Vec<Lease> {
        let held = self.leases[which].iter().filter(|((by, _), _)| *by == holder);
        held.map(|(_, lease)| Lease { ttl: LONG, ..lease.clone() }).collect()
    }

    /// The write as the holder would send it to this store, under the newest lease that it had.
    fn fenced(&self, which: usize, write: &TxWrite, by: Option<HolderId>) -> TxWrite {
        let Some(holder) = by else { return write.clone() };
        let shard = write.tx.shard(self.shards);
        let never = Fence { shard, holder, epoch: Epoch(0) };
        let lease = self.leases[which].get(&(holder, shard));
        TxWrite { fence: Some(lease.map_or(never, Lease::fence)), ..write.clone() }
    }

    async fn acquire(
        &mut self,
        store: &dyn StateStore,
        which: usize,
        holder: HolderId,
        shards: &[ShardId],
        ttl: Duration,
    ) -> Answer {
        let request = LeaseRequest { holder, shards: shards.to_vec(), ttl };
        let mut granted = store.acquire(&request).await;
        if let Ok(leases) = &mut granted {
            leases.sort_by_key(|lease| lease.shard);
            for lease in leases {
                self.leases[which].insert((holder, lease.shard), lease.clone());
            }
        }
        Answer::of(granted.map(|leases| nameless(&leases)))
    }

    /// The operation with the versions of this store's rows in place of the model's.
    fn translated(&self, which: usize, operation: &Operation) -> Operation {
        let mut operation = operation.clone();
        if let Operation::Write(sets) = &mut operation {
            for (set, _) in sets {
                let scope = set.scope.clone();
                let version = |key: &RowKey, expect: &mut RowExpect| {
                    let place = (scope.clone(), key.clone());
                    if let RowExpect::Version(version) = expect {
                        let is_current = self.rows[1].get(&place) == Some(version);
                        let current = self.rows[which].get(&place).copied();
                        *version = current.filter(|_| is_current).unwrap_or(Version(u64::MAX >> 2));
                    }
                };
                for change in &mut set.changes {
                    version(&change.key, &mut change.expect);
                }
                for (key, expect) in &mut set.unchanged {
                    version(key, expect);
                }
            }
        }
        operation
    }

    /// Looks at both stores again, after the operation.
    pub(super) async fn learn<B: StoreHarness, M: StoreHarness>(
        &mut self,
        operation: &Operation,
        backend: &B,
        model: &M,
    ) {
        match operation {
            Operation::Commit(writes) => {
                // Without its fence, a repeat is still known by its id.
                self.written.extend(writes.iter().map(|(write, _)| write.clone()));
                let excess = self.written.len().saturating_sub(12);
                self.written.drain(..excess);
            }
            Operation::Purge(_) => {}
            Operation::Write(sets) => {
                for (set, _) in sets {
                    learn_rows(&mut self.rows[0], set, &*backend.participants()).await;
                    learn_rows(&mut self.rows[1], set, &*model.participants()).await;
                }
                return;
            }
            _ => return,
        }
        let rows = model.state().load(&self.ids).await.expect("memory");
        self.versions = rows.into_iter().flatten().map(|row| (row.tx, row.version)).collect();
    }
}

async fn learn_rows(
    known: &mut BTreeMap<(Scope, RowKey), Version>,
    set: &RowSet,
    store: &dyn ParticipantStore,
) {
    let keys: Vec<_> = set.changes.iter().map(|change| change.key.clone()).collect();
    let reads = [ScopeRead { scope: set.scope.clone(), keys: keys.clone() }];
    let rows = store.read(&reads).await.expect("read").remove(0).rows;
    for (key, row) in keys.into_iter().zip(rows) {
        let place = (set.scope.clone(), key);
        match row {
            Some(row) => known.insert(place, row.version),
            None => known.remove(&place),
        };
    }
}

fn draw_holder(dice: &mut Dice) -> HolderId {
    HolderId(1 + u128::from(dice.below(HOLDERS as u64)))
}

fn draw_key(dice: &mut Dice) -> String {
    format!("k{}", dice.below(4))
}

fn draw_scope(dice: &mut Dice) -> Scope {
    Scope::new(dice.pick(&["s", "s/a", "t"])).expect("a scope")
}

fn draw_row_key(dice: &mut Dice) -> RowKey {
    RowKey(Bytes::from_static(dice.pick(&[&b"a"[..], b"ab", b"b", b"\xFF"])))
}

fn draw_filter(dice: &mut Dice) -> Filter {
    Filter {
        pattern: dice.one_in(2).then(|| dice.pick(&Pattern::ALL)),
        limit: 1 + dice.below(3) as usize,
        ..Filter::default()
    }
}

async fn all_open(
    store: &dyn StateStore,
    shard: ShardId,
    due: Timestamp,
    limit: usize,
) -> Result<Vec<dtx_core::store::TxRecord>, dtx_core::error::StoreError> {
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.open(shard, due, cursor.as_ref(), limit).await?;
        found.extend(page.records.into_iter().map(timeless));
        cursor = page.next;
        if cursor.is_none() {
            return Ok(found);
        }
    }
}

/// More steps than there are transactions and keys to forget: which of them go first is free.
const PURGES: usize = 2 * TRANSACTIONS + 2;

async fn purge_all(
    catalog: &dyn Catalog,
    purge: &Purge,
) -> Result<u64, dtx_core::error::StoreError> {
    let mut sum = 0;
    for _ in 0..PURGES {
        sum += catalog.purge(purge).await?;
    }
    Ok(sum)
}

async fn ask(catalog: &dyn Catalog, operation: &Operation) -> Answer {
    match operation {
        Operation::List(filter) => {
            let (mut filter, mut found) = (filter.clone(), Vec::new());
            loop {
                match catalog.list(&filter).await {
                    Ok(page) => {
                        found.extend(page.items.into_iter().map(timeless));
                        filter.cursor = page.next;
                    }
                    Err(error) => return Answer::of::<()>(Err(error)),
                }
                if filter.cursor.is_none() {
                    return Answer::of(Ok(found));
                }
            }
        }
        Operation::History(tx) => Answer::of(catalog.history(*tx).await),
        Operation::ByKey(key) => Answer::of(catalog.by_key(key).await),
        Operation::Purge(purge) => Answer::of(purge_all(catalog, purge).await),
        _ => Answer::of(Ok(())),
    }
}

async fn on_rows(store: &dyn ParticipantStore, operation: &Operation) -> Vec<Answer> {
    match operation {
        Operation::Write(sets) => {
            let reads = [ScopeRead { scope: sets[0].0.scope.clone(), keys: Vec::new() }];
            let now = store.read(&reads).await.expect("read").remove(0).now;
            let late = Timestamp::from_micros(now.as_micros() - 1_000);
            let sets: Vec<_> = sets
                .iter()
                .map(|(set, is_late)| RowSet { not_after: is_late.then_some(late), ..set.clone() })
                .collect();
            store.write(&sets).await.iter().map(Answer::written).collect()
        }
        Operation::Read(reads) => {
            let rows = store.read(reads).await;
            let values = |rows: Vec<Option<StoredRow>>| -> Vec<_> {
                rows.into_iter().map(|row| row.map(|row| row.value)).collect()
            };
            let rows = rows.map(|all| all.into_iter().map(|scope| values(scope.rows)).collect());
            vec![Answer::of::<Vec<_>>(rows)]
        }
        Operation::Scan(scope, prefix, limit) => {
            let (mut found, mut cursor) = (Vec::new(), None);
            loop {
                match store.scan(scope, prefix, cursor.as_ref(), *limit).await {
                    Ok(page) => {
                        found.extend(page.items.into_iter().map(|(key, row)| (key, row.value)));
                        cursor = page.next;
                    }
                    Err(error) => return vec![Answer::of::<()>(Err(error))],
                }
                if cursor.is_none() {
                    return vec![Answer::of(Ok(found))];
                }
            }
        }
        Operation::Scopes(prefix, limit) => {
            let (mut found, mut cursor) = (Vec::new(), None);
            loop {
                match store.scopes(prefix, cursor.as_ref(), *limit).await {
                    Ok(page) => {
                        found.extend(page.items);
                        cursor = page.next;
                    }
                    Err(error) => return vec![Answer::of::<()>(Err(error))],
                }
                if cursor.is_none() {
                    return vec![Answer::of(Ok(found))];
                }
            }
        }
        _ => Vec::new(),
    }
}
