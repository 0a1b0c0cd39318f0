//! Participants that hold something for too long ask what was decided; and they forget what has
//! long been finished.

use std::time::Duration;

use dtx_core::{
    engine::{InquiryStep, answer_inquiry},
    ids::{AcceptSequence, Epoch, ShardId, WriteId},
    pattern::{Pattern, Phase},
    resource::barrier::{Collect, INBOX_PREFIX, InboxRow, MARK_PREFIX, collect, parse_inbox_key},
    store::{CommitResult, RowKey, Scope, StoredRow, TxRecord, TxWrite, Verdict},
    transport::{Inquiry, InquiryAnswer},
};

use crate::{
    event::{Event, OperationKey},
    history::What,
    mutation::Mutation,
    network::Node,
    swarm::{MS, SECOND},
    view::Broken,
    world::World,
};

/// How often a participant looks whether it has to ask.
const ASK_US: u64 = SECOND / 2;
/// How often it looks for what may be forgotten.
pub(crate) const COLLECT_US: u64 = 5 * SECOND;
/// Longer than any message or retry takes.
const RETENTION: Duration = Duration::from_secs(8);
/// How many rows a scan reads.
const ROWS_MAX: usize = 256;

impl World {
    /// Remembers that an operation holds what no clock may release, if it does.
    pub(crate) fn watch(&mut self, host: usize, scope: Scope, key: OperationKey) {
        let Some(row) = self.inbox(&scope, key) else { return };
        if let Some(recall) = row.recall() {
            self.hosts[host].pinned.insert(key, (scope, recall.ask_at));
            self.asks(host);
        } else {
            self.hosts[host].pinned.remove(&key);
        }
    }

    /// Looks again in a while, as long as something is held.
    pub(crate) fn asks(&mut self, host: usize) {
        if !self.hosts[host].asks && !self.hosts[host].pinned.is_empty() {
            self.hosts[host].asks = true;
            let run = self.hosts[host].run;
            self.after(ASK_US, Event::Ask { host, run });
        }
    }

    /// A participant that starts finds what its earlier runs hold.
    pub(crate) fn find_pinned(&mut self, host: usize) {
        for scope in self.scopes(host) {
            let rows = self.store.scan(&scope, INBOX_PREFIX, None, ROWS_MAX).items;
            for (key, stored) in rows {
                let Ok(row) = InboxRow::decode(&stored.value) else { continue };
                if let (Some(key), Some(recall)) = (parse_inbox_key(&key), row.recall()) {
                    let ask_at = recall.ask_at;
                    self.hosts[host].pinned.insert(key, (scope.clone(), ask_at));
                }
            }
        }
        self.asks(host);
    }

    pub(crate) fn scopes(&self, host: usize) -> Vec<Scope> {
        self.hosts[host].scopes.iter().cloned().collect()
    }

    pub(crate) fn ask(&mut self, host: usize, run: u32) {
        if self.hosts[host].run != run || !self.hosts[host].is_up {
            return;
        }
        self.hosts[host].asks = false;
        let now = self.host_now(host);
        let due: Vec<_> = self.hosts[host]
            .pinned
            .iter()
            .filter(|(_, (_, ask_at))| *ask_at <= now)
            .map(|(key, (scope, _))| (*key, scope.clone()))
            .collect();
        let silent = self.swarm.inquiry_off && !self.is_healed();
        for (key, scope) in due {
            let Some(row) = self.inbox(&scope, key).filter(|row| row.recall().is_some()) else {
                self.hosts[host].pinned.remove(&key);
                continue;
            };
            if self.is_mutant(Mutation::PinnedExpires) {
                self.recall(host, key, &row);
            } else if !silent {
                self.inquire(host, key, row.pattern());
            }
        }
        self.asks(host);
    }

    fn inquire(&mut self, host: usize, (tx, operation): OperationKey, pattern: Pattern) {
        self.counters.inquiries += 1;
        let participant = self.hosts[host].name.clone();
        let instance = self.hosts[host].instances[0];
        let inquiry = Box::new(Inquiry { tx, pattern, operation, participant, host: instance });
        let coordinator = self.rng.below(self.coordinators.len() as u64) as usize;
        let link = (Node::Host(host), Node::Coordinator(coordinator));
        self.send(link, || Event::Inquiry { coordinator, inquiry: inquiry.clone() });
    }

    /// A coordinator answers from the store.
    pub(crate) fn inquiry(&mut self, coordinator: usize, inquiry: Box<Inquiry>) {
        let c = &self.coordinators[coordinator];
        if !c.is_up || c.stalled_until > self.now || !self.reaches_store(coordinator) {
            return;
        }
        let c = &self.coordinators[coordinator];
        let (writer, number) = (c.holder, self.fresh() | 1 << 63);
        let record = self.store.load(&[inquiry.tx]).pop().flatten();
        let id = WriteId { writer, number };
        let step = answer_inquiry(&inquiry, record.as_ref(), self.store_now(), id);
        match step {
            InquiryStep::Answer(verdict) => {
                self.answer_inquiry(coordinator, &inquiry, Some(verdict), Duration::ZERO);
            }
            InquiryStep::Pending(retry_after) => {
                self.answer_inquiry(coordinator, &inquiry, None, retry_after);
            }
            InquiryStep::Write(write) => {
                let may_end = self.may_take_back(record.as_ref());
                self.expect(inquiry.tx, may_end);
                let way = self.way_to_store(coordinator) + self.way_from_store(coordinator);
                let delay = way + self.rng.range(1, 30 * MS);
                self.after(delay, Event::InquiryWrite { coordinator, inquiry, write });
            }
        }
    }

    /// Whether an inquiry may take a transaction back: it is undecided, and its time is over.
    fn may_take_back(&self, record: Option<&TxRecord>) -> Result<(), Broken> {
        let Some(record) = record else { return Ok(()) };
        let Some(view) = self.views.get(&record.tx) else { return Ok(()) };
        if view.state.point_of_no_return.is_some() {
            return Err("rule 4: an inquiry takes back what counts as decided");
        }
        if self.store_now() <= record.accepted_at + view.state.deadline {
            return Err("clocks: an inquiry takes back what still has time");
        }
        Ok(())
    }

    pub(crate) fn inquiry_write(
        &mut self,
        coordinator: usize,
        inquiry: Box<Inquiry>,
        write: &TxWrite,
    ) {
        match self.commit(std::slice::from_ref(write)).pop() {
            Some(CommitResult::Committed(_)) => {
                self.counters.inquiry_aborts += 1;
                self.answer_inquiry(coordinator, &inquiry, write.verdict, Duration::ZERO);
                let tx = write.tx;
                if self.is_healed() || !self.swarm.wakes_off {
                    self.set_off(None, || Event::Poke(tx));
                }
            }
            // Somebody wrote in between: read again.
            _ => self.inquiry(coordinator, inquiry),
        }
    }

    fn answer_inquiry(
        &mut self,
        coordinator: usize,
        inquiry: &Inquiry,
        verdict: Option<Verdict>,
        after: Duration,
    ) {
        let Some(&host) = self.names.get(&inquiry.participant) else { return };
        let told = self.views.get(&inquiry.tx).and_then(|view| view.verdict);
        if verdict.is_some() && told != verdict {
            self.broken(Some(inquiry.tx), "rule 1: an inquiry was answered without the verdict");
        }
        let answer = Box::new(InquiryAnswer {
            tx: inquiry.tx,
            operation: inquiry.operation,
            participant: inquiry.participant.clone(),
            host: inquiry.host,
            verdict,
            retry_after: after,
        });
        let link = (Node::Coordinator(coordinator), Node::Host(host));
        self.send(link, || Event::InquiryAnswer { host, answer: answer.clone() });
    }

    /// A verdict to go back is carried out here; one to go forward is the coordinator's.
    pub(crate) fn inquiry_answer(&mut self, host: usize, answer: &InquiryAnswer) {
        let key = (answer.tx, answer.operation);
        if !self.hosts[host].is_up || !self.hosts[host].instances.contains(&answer.host) {
            return;
        }
        self.trace.mark(8, answer.tx.salt(), answer.verdict.map_or(9, |v| v as u64));
        let way = ("coordinators", &answer.participant);
        let inquired = || What::Inquired { verdict: answer.verdict };
        self.trace.note(self.now, way, Some(answer.tx), inquired);
        let ask_at = self.host_now(host) + answer.retry_after.max(Duration::from_millis(500));
        let Some((scope, later)) = self.hosts[host].pinned.get_mut(&key) else { return };
        *later = ask_at;
        let scope = scope.clone();
        if answer.verdict.is_some_and(Verdict::is_backward)
            && let Some(row) = self.inbox(&scope, key)
        {
            self.recall(host, key, &row);
        }
    }

    fn recall(&mut self, host: usize, (tx, operation): OperationKey, row: &InboxRow) {
        let phase = match row.pattern() {
            Pattern::TwoPhaseCommit => Phase::Abort,
            _ => Phase::Release,
        };
        let name = self.hosts[host].name.clone();
        if let Some(command) = row.recalled(tx, operation, &name, phase) {
            self.begin_own(host, command);
        }
    }

    /// A participant forgets what is finished and old.
    pub(crate) fn collect(&mut self, host: usize) {
        self.after(COLLECT_US, Event::Collect { host });
        let early = self.is_mutant(Mutation::ForgottenEarly);
        if !self.hosts[host].is_up || (self.swarm.collect_off && !early) {
            return;
        }
        for scope in self.scopes(host) {
            let rows = self.store.scan(&scope, INBOX_PREFIX, None, ROWS_MAX).items;
            let marks = self.store.scan(&scope, MARK_PREFIX, None, ROWS_MAX).items;
            let known = &self.hosts[host].watermarks;
            let watermark = |shard: ShardId| {
                let top = AcceptSequence { epoch: Epoch(u64::MAX), number: 0 };
                if early { top } else { known.get(&shard).copied().unwrap_or_default() }
            };
            let retention = if early { Duration::from_millis(300) } else { RETENTION };
            let now = self.host_now(host);
            let wish = Collect {
                scope: &scope,
                rows: &rows,
                marks: &marks,
                watermark: &watermark,
                now,
                retention,
            };
            let Some(mut set) = collect(&wish) else { continue };
            let is_young = |(key, stored): &(RowKey, StoredRow)| {
                let goes = set.changes.iter().any(|change| change.key == *key);
                let row = InboxRow::decode(&stored.value).ok().filter(|_| goes);
                row.is_some_and(|row| now < row.changed_at() + RETENTION)
            };
            if rows.iter().any(is_young) && !early {
                self.broken(None, "rule 14: a row was forgotten before its time");
            }
            if early {
                set.changes.retain(|change| !change.key.0.starts_with(MARK_PREFIX));
            }
            self.counters.collected += set.changes.len() as u64;
            // A conflict means that a row is in use after all; the next look finds it again.
            drop(self.store.write(&[set], now));
        }
    }
}
