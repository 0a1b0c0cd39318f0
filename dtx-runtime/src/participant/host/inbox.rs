//! The memory of a participant with user handlers: the barrier over rows of a store.

use std::{
    collections::HashSet as StdHashSet,
    sync::{Arc, Mutex, PoisonError},
};

use dtx_core::{
    answer::{Done, NotDone, PhaseAnswer},
    crash_point,
    error::{ErrorKind, StoreError},
    ids::{HolderId, ShardId, Version},
    name::ParticipantName,
    resource::barrier::{self, Claim, ClaimContext, Entry, InboxRow},
    store::{
        ParticipantStore, RowChange, RowExpect, RowKey, RowSet, RowWriteResult, Scope, ScopeRead,
        ScopeRows, StoredRow,
    },
    time::Timestamp,
    transport::Command,
};
use foldhash::{HashMap, HashSet};
use tokio::time::Instant;

use super::{
    incarnation::is_ended,
    job::{Job, OperationKey, expired},
    lease::HostLease,
};

/// What the barrier said about a command.
#[derive(Debug)]
pub(crate) enum Claimed {
    /// The claim is stored: run the handler, then `finish`.
    Run { held: Held, forward: Option<Done> },
    /// Run the handler of `status`; nothing is stored.
    Ask { forward: Option<Done> },
    /// Here is the answer, and the row holds it.
    Answer(PhaseAnswer),
    /// The store failed; nothing was begun.
    Fault(StoreError),
}

/// A claim that this host holds: the row with it, and what the store has.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) row: InboxRow,
    pub(crate) expect: RowExpect,
}

/// The operations whose handler this host is running.
#[derive(Debug, Default)]
pub(crate) struct Running(Mutex<HashSet<OperationKey>>);

impl Running {
    fn with<T>(&self, use_it: impl FnOnce(&mut HashSet<OperationKey>) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn begin(&self, key: OperationKey) {
        self.with(|keys| keys.insert(key));
    }

    pub(crate) fn end(&self, key: OperationKey) {
        self.with(|keys| keys.remove(&key));
    }

    pub(crate) fn holds(&self, key: OperationKey) -> bool {
        self.with(|keys| keys.contains(&key))
    }
}

/// The scopes of the inbox rows of one participant: one per shard, each made once.
#[derive(Debug)]
pub(crate) struct InboxScopes {
    participant: ParticipantName,
    made: Mutex<HashMap<ShardId, Scope>>,
}

impl InboxScopes {
    pub(crate) fn new(participant: ParticipantName) -> Self {
        Self { participant, made: Mutex::default() }
    }

    /// The scope of one shard.
    pub(crate) fn of(&self, shard: ShardId) -> Scope {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || Scope::new(format!("{}/inbox/{shard}", self.participant));
        let scope =
            made.entry(shard).or_insert_with(|| make().expect("names and numbers make a scope"));
        scope.clone()
    }
}

/// The inbox of a participant whose effects lie outside the rows.
#[derive(Debug)]
pub(crate) struct StoredInbox {
    pub(crate) store: Arc<dyn ParticipantStore>,
    pub(crate) scopes: Arc<InboxScopes>,
    pub(crate) host: HolderId,
    pub(crate) running: Running,
    /// On a store that several processes share.
    pub(crate) lease: Option<Arc<HostLease>>,
    pub(crate) conflict_retries_max: u32,
}

/// One row as it will be written.
struct Draft {
    row: Option<InboxRow>,
    stored: RowExpect,
    is_changed: bool,
}

/// The commands of one scope in one round.
struct Group {
    scope: Scope,
    shard: ShardId,
    jobs: Vec<usize>,
    keys: Vec<RowKey>,
}

struct Evaluated {
    results: Vec<(usize, Claimed)>,
    set: Option<RowSet>,
}

fn expect_of(row: Option<&StoredRow>) -> RowExpect {
    row.map_or(RowExpect::Absent, |row| RowExpect::Version(row.version))
}

/// What the store has after a write. Only a guess where the row is new: a conflict corrects it.
fn after(expect: RowExpect) -> RowExpect {
    RowExpect::Version(match expect {
        RowExpect::Absent => Version(1),
        RowExpect::Version(version) => version.next(),
    })
}

pub(crate) fn conflicts() -> StoreError {
    StoreError::new(ErrorKind::Unavailable, "inbox", "write")
        .with_context("other writers changed the same rows each time")
}

impl StoredInbox {
    /// Claims what may be run and answers the rest. One result per job, in order.
    ///
    /// # Cancel safety
    /// Not cancel safe: run it in a task of its own.
    pub(crate) async fn claim(&self, jobs: &[&Job]) -> Vec<Claimed> {
        let mut results: Vec<Option<Claimed>> = jobs.iter().map(|_| None).collect();
        for _ in 0..=self.conflict_retries_max {
            let open: Vec<_> = (0..jobs.len()).filter(|i| results[*i].is_none()).collect();
            if open.is_empty() {
                break;
            }
            let known = self.claim_by(&open, jobs, false, &mut results).await;
            // An earlier answer may be read before it is durable.
            if !known.is_empty() {
                self.claim_by(&known, jobs, true, &mut results).await;
            }
        }
        results.into_iter().map(|r| r.unwrap_or_else(|| Claimed::Fault(conflicts()))).collect()
    }

    /// Reads and writes once for these jobs. Gives those whose answers are in what was read, with
    /// nothing to be written before; none where that was durable.
    async fn claim_by(
        &self,
        open: &[usize],
        jobs: &[&Job],
        is_durable: bool,
        results: &mut [Option<Claimed>],
    ) -> Vec<usize> {
        let groups = self.groups(open, |index| &jobs[index].command);
        let (read, gone) = match self.look(&groups, is_durable).await {
            Ok(found) => found,
            Err(error) => {
                let again = || error_like(&error);
                open.iter().for_each(|i| results[*i] = Some(Claimed::Fault(again())));
                return Vec::new();
            }
        };
        let (mut writes, mut known) = (Vec::new(), Vec::new());
        for (group, rows) in groups.iter().zip(&read) {
            let evaluated = self.evaluate(group, (rows, &gone), jobs);
            match evaluated.set {
                Some(set) => writes.push((set, evaluated.results)),
                None if is_durable => place(results, evaluated.results),
                None => known.extend(&group.jobs),
            }
        }
        self.write_claims(writes, jobs, results).await;
        known
    }

    /// The rows, and which of the hosts that have claims in them are gone.
    async fn look(
        &self,
        groups: &[Group],
        is_durable: bool,
    ) -> Result<(Vec<ScopeRows>, StdHashSet<HolderId>), StoreError> {
        let read = match is_durable {
            true => self.store.read_durable(&reads(groups)).await?,
            false => self.store.read(&reads(groups)).await?,
        };
        let gone = match &self.lease {
            Some(lease) => lease.gone(&read).await?,
            None => StdHashSet::new(),
        };
        Ok((read, gone))
    }

    async fn write_claims(
        &self,
        writes: Vec<(RowSet, Vec<(usize, Claimed)>)>,
        jobs: &[&Job],
        results: &mut [Option<Claimed>],
    ) {
        if writes.is_empty() {
            return;
        }
        let (sets, drafts): (Vec<_>, Vec<_>) = writes.into_iter().unzip();
        crash_point!("inbox.claim.before");
        let written = self.store.write(&sets).await;
        crash_point!("inbox.claim.after");
        for (written, draft) in written.into_iter().zip(drafts) {
            if matches!(written, RowWriteResult::Written) {
                place(results, draft);
                continue;
            }
            // Nothing runs for these, so their claims, should they be stored, have ended.
            for (index, claimed) in &draft {
                if matches!(claimed, Claimed::Run { .. }) {
                    self.running.end(jobs[*index].key());
                }
            }
            if let RowWriteResult::Failed(error) = written {
                let faults = draft.iter().map(|(i, _)| (*i, Claimed::Fault(error_like(&error))));
                place(results, faults.collect());
            }
        }
    }

    fn groups<'c>(&self, open: &[usize], command: impl Fn(usize) -> &'c Command) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut places: HashMap<ShardId, usize> = HashMap::default();
        for &index in open {
            let command = command(index);
            let place = *places.entry(command.shard).or_insert_with(|| {
                groups.push(Group {
                    scope: self.scopes.of(command.shard),
                    shard: command.shard,
                    jobs: Vec::new(),
                    keys: vec![barrier::mark_key(command.shard)],
                });
                groups.len() - 1
            });
            let group = &mut groups[place];
            group.jobs.push(index);
            group.keys.push(barrier::inbox_key(command.tx, command.operation));
        }
        for group in &mut groups {
            // The mark stays first: it is looked up by its place.
            group.keys[1..].sort_unstable();
            group.keys.dedup();
        }
        groups
    }

    /// Runs the barrier over the commands of one scope, in their order.
    fn evaluate(
        &self,
        group: &Group,
        (read, gone): (&ScopeRows, &StdHashSet<HolderId>),
        jobs: &[&Job],
    ) -> Evaluated {
        let now = Instant::now();
        let mark = read.rows[0].as_ref();
        let Ok(forgotten_below) = barrier::forgotten_below(mark.map(|row| row.value.as_ref()))
        else {
            let results = group.jobs.iter().map(|i| (*i, unreadable())).collect();
            return Evaluated { results, set: None };
        };
        let mut drafts: HashMap<&RowKey, Option<Draft>> = HashMap::default();
        for (key, stored) in group.keys[1..].iter().zip(&read.rows[1..]) {
            drafts.insert(key, draft(stored.as_ref()));
        }
        let mut results = Vec::with_capacity(group.jobs.len());
        let mut not_after: Option<Timestamp> = None;
        for &index in &group.jobs {
            let job = jobs[index];
            let key = barrier::inbox_key(job.command.tx, job.command.operation);
            let Some(Some(draft)) = drafts.get_mut(&key) else {
                results.push((index, unreadable()));
                continue;
            };
            if job.is_expired(now) {
                results.push((index, Claimed::Answer(Err(expired()))));
                continue;
            }
            let ended = |host: HolderId| gone.contains(&host) || self.has_ended(host, job.key());
            let context =
                ClaimContext { host: self.host, ended: &ended, forgotten_below, now: read.now };
            let claimed = self.apply(draft, &context, job);
            if let Claimed::Run { .. } = &claimed {
                let latest = job.left(now).map(|left| read.now + left);
                let leased = self.lease.as_ref().map(|lease| lease.not_after());
                not_after = [not_after, latest, leased].into_iter().flatten().min();
            }
            results.push((index, claimed));
        }
        // A later command of the same batch may have raised the epoch in the row of a claim.
        for (index, claimed) in &mut results {
            let command = &jobs[*index].command;
            let key = barrier::inbox_key(command.tx, command.operation);
            if let (Claimed::Run { held, .. }, Some(Some(draft))) = (claimed, drafts.get(&key))
                && let Some(row) = &draft.row
            {
                held.row.clone_from(row);
            }
        }
        let set = row_set(group, mark, drafts, not_after);
        Evaluated { results, set }
    }

    fn apply(&self, draft: &mut Draft, context: &ClaimContext<'_>, job: &Job) -> Claimed {
        match barrier::claim(draft.row.as_ref(), context, &job.command) {
            Claim::Run { row, forward } => {
                self.running.begin(job.key());
                draft.row = Some(row.clone());
                draft.is_changed = true;
                Claimed::Run { held: Held { row, expect: after(draft.stored) }, forward }
            }
            Claim::Ask { forward } => Claimed::Ask { forward },
            Claim::Answer { row, answer } => {
                if let Some(row) = row {
                    draft.row = Some(row);
                    draft.is_changed = true;
                }
                Claimed::Answer(answer)
            }
        }
    }

    /// A claim of this host has ended when no handler of it runs.
    fn has_ended(&self, host: HolderId, key: OperationKey) -> bool {
        if host == self.host { !self.running.holds(key) } else { is_ended(self.store.info(), host) }
    }

    /// Stores the answers of handlers, and ends their claims. One result per item, in order: the
    /// answer that may be told.
    ///
    /// # Cancel safety
    /// Not cancel safe: run it in a task of its own.
    pub(crate) async fn finish(
        &self,
        items: Vec<(&Command, Held, PhaseAnswer)>,
    ) -> Vec<Result<PhaseAnswer, StoreError>> {
        let mut slots: Vec<Finish<'_>> = items
            .into_iter()
            .map(|(command, held, answer)| Finish { command, held, answer, told: None })
            .collect();
        for _ in 0..=self.conflict_retries_max {
            let open: Vec<_> = (0..slots.len()).filter(|i| slots[*i].told.is_none()).collect();
            if open.is_empty() {
                break;
            }
            let groups = self.groups(&open, |index| slots[index].command);
            let sets: Vec<_> = groups.iter().map(|group| finish_set(group, &slots)).collect();
            let mut again = Vec::new();
            crash_point!("inbox.finish.before");
            let written = self.store.write(&sets).await;
            crash_point!("inbox.finish.after");
            for (group, written) in groups.iter().zip(written) {
                match written {
                    RowWriteResult::Written => tell_all(&mut slots, &group.jobs),
                    RowWriteResult::Failed(error) if error.kind() != ErrorKind::Timeout => {
                        let jobs = &group.jobs;
                        jobs.iter().for_each(|i| slots[*i].told = Some(Err(error_like(&error))));
                    }
                    _ => again.extend(group.jobs.iter().copied()),
                }
            }
            self.reread(&again, &mut slots).await;
        }
        let end = |slot: Finish<'_>| {
            self.running.end((slot.command.tx, slot.command.operation));
            slot.told.unwrap_or_else(|| Err(conflicts()))
        };
        slots.into_iter().map(end).collect()
    }

    /// Takes the newest rows of those whose write did not apply, or may have applied unseen.
    async fn reread(&self, again: &[usize], slots: &mut [Finish<'_>]) {
        if again.is_empty() {
            return;
        }
        let groups = self.groups(again, |index| slots[index].command);
        let read = match self.store.read_durable(&reads(&groups)).await {
            Ok(read) => read,
            Err(error) => {
                again.iter().for_each(|i| slots[*i].told = Some(Err(error_like(&error))));
                return;
            }
        };
        for (group, rows) in groups.iter().zip(&read) {
            for &index in &group.jobs {
                let slot = &mut slots[index];
                let key = barrier::inbox_key(slot.command.tx, slot.command.operation);
                let place = group.keys[1..].binary_search(&key).expect("the key was read");
                slot.adopt(rows.rows[place + 1].as_ref(), self.host);
            }
        }
    }
}

struct Finish<'c> {
    command: &'c Command,
    held: Held,
    answer: PhaseAnswer,
    told: Option<Result<PhaseAnswer, StoreError>>,
}

impl Finish<'_> {
    /// Goes on with what is stored: with the claim if it is still ours, else with its answer.
    fn adopt(&mut self, stored: Option<&StoredRow>, host: HolderId) {
        let row = stored.and_then(|stored| InboxRow::decode(&stored.value).ok());
        let phase = self.command.phase;
        match row.as_ref().and_then(|row| row.entry(phase)) {
            Some(Entry::Started { host: claimant, .. }) if *claimant == host => {
                let row = row.expect("its entry was just seen");
                self.held = Held { row, expect: expect_of(stored) };
            }
            Some(Entry::Unsettled) if matches!(self.answer, Err(NotDone::Unknown(_))) => {
                self.told = Some(Ok(self.answer.clone()));
            }
            _ => {
                let lost = || Err(NotDone::unknown("the claim was taken over"));
                self.told = Some(Ok(row.and_then(|row| row.answer(phase)).unwrap_or_else(lost)));
            }
        }
    }
}

fn tell_all(slots: &mut [Finish<'_>], jobs: &[usize]) {
    for &index in jobs {
        let slot = &mut slots[index];
        slot.told = Some(Ok(slot.answer.clone()));
    }
}

fn finish_set(group: &Group, slots: &[Finish<'_>]) -> RowSet {
    let change = |index: &usize| {
        let slot = &slots[*index];
        let row = barrier::finish(slot.held.row.clone(), slot.command, &slot.answer);
        RowChange {
            key: barrier::inbox_key(slot.command.tx, slot.command.operation),
            expect: slot.held.expect,
            value: Some(row.encode()),
        }
    };
    RowSet {
        scope: group.scope.clone(),
        changes: group.jobs.iter().map(change).collect(),
        unchanged: Vec::new(),
        not_after: None,
    }
}

fn place(results: &mut [Option<Claimed>], placed: Vec<(usize, Claimed)>) {
    for (index, claimed) in placed {
        results[index] = Some(claimed);
    }
}

fn reads(groups: &[Group]) -> Vec<ScopeRead> {
    let read = |group: &Group| ScopeRead { scope: group.scope.clone(), keys: group.keys.clone() };
    groups.iter().map(read).collect()
}

/// `None` for a row that cannot be read: it is left alone.
fn draft(stored: Option<&StoredRow>) -> Option<Draft> {
    let row = match stored {
        Some(stored) => Some(InboxRow::decode(&stored.value).ok()?),
        None => None,
    };
    Some(Draft { row, stored: expect_of(stored), is_changed: false })
}

fn row_set(
    group: &Group,
    mark: Option<&StoredRow>,
    drafts: HashMap<&RowKey, Option<Draft>>,
    not_after: Option<Timestamp>,
) -> Option<RowSet> {
    let (mut changes, mut unchanged) = (Vec::new(), Vec::new());
    let mut is_any_new = false;
    for (key, draft) in drafts {
        let Some(Draft { row: Some(row), stored, is_changed }) = draft else { continue };
        if is_changed {
            is_any_new |= stored == RowExpect::Absent;
            changes.push(RowChange { key: key.clone(), expect: stored, value: Some(row.encode()) });
        } else {
            // Its earlier answer is told with this write, if it is still there.
            unchanged.push((key.clone(), stored));
        }
    }
    if changes.is_empty() {
        return None;
    }
    // A row may be missing because it was collected; then the mark was raised with it.
    if is_any_new {
        unchanged.push((barrier::mark_key(group.shard), expect_of(mark)));
    }
    Some(RowSet { scope: group.scope.clone(), changes, unchanged, not_after })
}

fn unreadable() -> Claimed {
    Claimed::Answer(Err(NotDone::unknown("the stored row cannot be read by this release")))
}

/// Errors are not cloned: each command of a failed batch gets one that says the same.
pub(crate) fn error_like(error: &StoreError) -> StoreError {
    StoreError::new(error.kind(), error.backend(), "inbox")
        .with_effect(error.effect())
        .with_context(error.to_string())
}
