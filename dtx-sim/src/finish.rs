//! What must hold when a run is over.

use std::collections::BTreeMap;

use dtx_core::{
    ids::{OperationIndex, TxId},
    pattern::{Pattern, Phase},
    resource::{EffectRow, audit},
    store::{Outcome, Status, TxRecord},
    transaction::Transaction,
};

use crate::{
    counters::Counters,
    history::{Facts, What, final_effect, pool},
    participant::Run,
    report::{End, Report},
    view::View,
    workload::HostKind,
    world::World,
};

/// More rows than a scope ever has.
const ROWS_MAX: usize = 4_096;

/// How often an operation took effect and was reversed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    pub(crate) executed: u64,
    pub(crate) reversed: u64,
}

/// The effects of all operations of a transaction.
pub(crate) type TxEffects = BTreeMap<OperationIndex, Effects>;

/// An ended transaction with what it did.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    pub(crate) transaction: &'a Transaction,
    pub(crate) outcome: Outcome,
    pub(crate) effects: &'a TxEffects,
    pub(crate) dead_letters: u16,
    /// Operations that are not looked at.
    pub(crate) skipped: Vec<OperationIndex>,
    /// Every reversal can be seen: no handler may have been asked to reverse what it may have
    /// done and has not.
    pub(crate) is_exact: bool,
}

/// What is wrong with the effects of an ended transaction.
pub(crate) fn judge(case: &Case<'_>) -> Option<String> {
    let Case { transaction, outcome, effects, dead_letters, skipped, is_exact } = case;
    let of = |index: usize| effects.get(&OperationIndex(index as u16)).copied().unwrap_or_default();
    let indices: Vec<usize> = (0..transaction.operations().len())
        .filter(|index| !skipped.contains(&OperationIndex(*index as u16)))
        .collect();
    for index in &indices {
        let Effects { executed, reversed } = of(*index);
        if executed > 1 || reversed > 1 {
            return Some(format!(
                "operation {index} took effect {executed} times, reversed {reversed}"
            ));
        }
        if reversed > executed {
            return Some(format!("operation {index} was reversed without an effect"));
        }
    }
    let stands = |index: &usize| of(*index).executed > of(*index).reversed;
    let is_critical =
        |index: &&usize| transaction.operations()[**index].consistency().is_critical();
    let critical: Vec<_> = indices.iter().filter(is_critical).collect();
    match outcome {
        Outcome::Committed | Outcome::Dispatched => {
            if !critical.iter().all(|index| stands(index)) {
                return Some(format!("{outcome}, but not everything took effect: {effects:?}"));
            }
            let eventual: Vec<_> = indices.iter().filter(|index| !is_critical(index)).collect();
            let missing = eventual.iter().filter(|index| !stands(index)).count();
            (missing > usize::from(*dead_letters))
                .then(|| format!("{missing} were not delivered, {dead_letters} dead letters"))
        }
        Outcome::Aborted => indices
            .iter()
            .any(|index| of(*index).executed > 0)
            .then(|| format!("aborted, but something took effect: {effects:?}")),
        Outcome::Compensated => {
            if indices.iter().any(stands) {
                return Some(format!("compensated, but something stands: {effects:?}"));
            }
            let any = indices.iter().any(|index| of(*index).reversed > 0);
            (!any && *is_exact).then(|| "compensated, but nothing was reversed".to_owned())
        }
        Outcome::Abandoned => None,
    }
}

impl World {
    /// The last checks, and the report.
    pub(crate) fn finish(mut self) -> Report {
        let effects = self.all_effects();
        let clients: Vec<_> = (0..self.clients.len()).collect();
        let mut ends = Vec::new();
        for client in clients {
            ends.push(self.finish_client(client, &effects));
        }
        self.audit_pools();
        self.check_own();
        self.note_tables();
        let healed = self.healed_at.unwrap_or(self.now);
        let nodes = self.node_names();
        Report {
            seed: self.seed,
            settled_after_us: self.ended_at.unwrap_or(self.now).saturating_sub(healed),
            violations: self.violations,
            counters: self.counters,
            trace_hash: self.trace.hash(),
            journal: self.trace.into_journal(self.now),
            ends,
            nodes,
        }
    }

    /// The final tables, for the journal.
    fn note_tables(&mut self) {
        if !self.trace.is_kept() {
            return;
        }
        let mut lines = Vec::new();
        for host in 0..self.hosts.len() {
            for scope in self.scopes(host) {
                let rows = self.store.scan(&scope, b"", None, ROWS_MAX).items;
                lines.extend(rows.iter().filter_map(|(key, row)| final_effect(&scope, key, row)));
                let mut pools =
                    rows.iter().filter_map(|(k, row)| pool(scope.as_str(), k, &row.value));
                lines.extend(pools.next().map(|pool| (None, What::FinalPool { pool })));
            }
        }
        for ((host, (tx, operation)), external) in &self.external {
            let counts = [(external.executed, false), (external.reversed, true)];
            for (_, reversal) in counts
                .into_iter()
                .filter(|(count, _)| *count > 0 && !self.hosts[*host].is_foreign())
            {
                let (scope, operation) = (String::new(), *operation);
                let what = What::FinalEffect { scope, operation, change: 0, reversal };
                lines.push((Some(*tx), what));
            }
        }
        let ids: Vec<TxId> = self.views.keys().copied().collect();
        for record in self.store.load(&ids).into_iter().flatten() {
            let TxRecord { tx, version, verdict, state, summary, .. } = &record;
            let facts = Facts::of(*version, *verdict, state, summary);
            lines.push((Some(*tx), What::FinalRecord { facts }));
        }
        for (tx, what) in lines {
            self.trace.note(self.now, ("store", "store"), tx, || what);
        }
    }

    fn finish_client(&mut self, client: usize, effects: &BTreeMap<TxId, TxEffects>) -> End {
        let accepted: Vec<TxId> = self.clients[client]
            .tries
            .iter()
            .filter(|tx| self.views.get(tx).is_some_and(View::is_accepted))
            .copied()
            .collect();
        if accepted.len() > 1 {
            self.broken(Some(accepted[1]), "rule 10: two transactions have the same key");
        }
        if let Some(tx) = self.clients[client].refused
            && accepted.contains(&tx)
        {
            self.broken(Some(tx), "accounting: told as not accepted, but it is in the store");
        }
        if let Some(tx) = self.clients[client].accepted
            && !accepted.contains(&tx)
        {
            self.broken(Some(tx), "accounting: told as accepted, but it is not in the store");
        }
        let mut end = End { outcome: None, awaited_writes: 0, lazy_writes: 0 };
        for tx in accepted {
            end = self.finish_tx(tx, effects.get(&tx).unwrap_or(&TxEffects::new()));
        }
        end
    }

    fn finish_tx(&mut self, tx: TxId, effects: &TxEffects) -> End {
        let Some(view) = self.views.get(&tx) else {
            return End { outcome: None, awaited_writes: 0, lazy_writes: 0 };
        };
        self.counters.awaited_writes += u64::from(view.awaited);
        self.counters.lazy_writes += u64::from(view.lazy);
        let end = End { outcome: view.told, awaited_writes: view.awaited, lazy_writes: view.lazy };
        let Status::Finished(outcome) = view.status else {
            if self.operators_decided && self.waits_for_a_lock(&view.transaction) {
                return end;
            }
            let what = format!("liveness: it has not ended and is {:?}", view.status);
            self.broken(Some(tx), what);
            return end;
        };
        let mut found = Vec::new();
        // A coordinator may end between the landing of the last record and the telling.
        let Counters { crashes, stalls, handovers, leases_lost, .. } = self.counters;
        let is_steady = [crashes, stalls, handovers, leases_lost] == [0; 4];
        if view.told != Some(outcome) && (view.told.is_some() || is_steady) {
            found.push(format!("told {:?}, but the record says {outcome}", view.told));
        }
        // An exception stands beside the outcome until an operator has cleared it.
        if view.exceptions == 0 {
            let count = view.transaction.operations().len() as u16;
            let skipped: Vec<_> = (0..count)
                .map(OperationIndex)
                .filter(|operation| self.has_no_effect(tx, view, *operation))
                .collect();
            let is_exact = skipped.is_empty() && !self.has_handlers(&view.transaction);
            let (transaction, dead_letters) = (&*view.transaction, view.dead_letters);
            let case = Case { transaction, outcome, effects, dead_letters, skipped, is_exact };
            found.extend(judge(&case));
        }
        match outcome {
            Outcome::Committed => self.counters.committed += 1,
            Outcome::Aborted => self.counters.aborted += 1,
            Outcome::Compensated => self.counters.compensated += 1,
            Outcome::Dispatched => self.counters.dispatched += 1,
            Outcome::Abandoned => {}
        }
        for what in found {
            self.broken(Some(tx), what);
        }
        end
    }

    /// What users want to hold.
    pub(crate) fn check_own(&mut self) {
        let checks = std::mem::take(&mut self.checks);
        for check in &checks {
            if let Err(what) = check.0(&Run { world: self }) {
                self.broken(None, what);
            }
        }
        self.checks = checks;
    }

    /// Operations that leave no effect that could be counted: locks, amounts of nothing, and
    /// what a participant without an inbox may still do later (rule 13).
    fn has_no_effect(&self, tx: TxId, view: &View, operation: OperationIndex) -> bool {
        let definition = view.transaction.operation(operation);
        let host = self.names.get(definition.participant()).map(|host| self.hosts[*host].kind);
        let nothing = definition.payload().ends_with(b"\"cents\":0}");
        let unseen = matches!(host, Some(HostKind::Locks | HostKind::Own));
        nothing || unseen || self.is_foreign(tx, operation)
    }

    /// Of a transaction that an operator gave up a key may stay locked until it is freed by hand.
    fn waits_for_a_lock(&self, transaction: &Transaction) -> bool {
        transaction.operations().iter().any(|operation| {
            let host = self.names.get(operation.participant());
            host.is_some_and(|host| self.hosts[*host].kind == HostKind::Locks)
        })
    }

    fn has_handlers(&self, transaction: &Transaction) -> bool {
        transaction.operations().iter().any(|operation| {
            let host = self.names.get(operation.participant());
            host.is_none_or(|host| self.hosts[*host].resource.is_none())
        })
    }

    fn all_effects(&self) -> BTreeMap<TxId, TxEffects> {
        let mut all: BTreeMap<TxId, TxEffects> = BTreeMap::new();
        for host in 0..self.hosts.len() {
            for scope in self.scopes(host) {
                let rows = self.store.scan(&scope, b"e", None, ROWS_MAX).items;
                let effects = rows.iter().filter_map(|(key, row)| EffectRow::of(key, row)?.ok());
                for effect in effects {
                    let operations = all.entry(effect.tx).or_default();
                    let counted = operations.entry(effect.operation).or_default();
                    if effect.is_reversal {
                        counted.reversed += 1;
                    } else {
                        counted.executed += 1;
                    }
                }
            }
        }
        for ((_, (tx, operation)), external) in &self.external {
            let counted = all.entry(*tx).or_default().entry(*operation).or_default();
            counted.executed += u64::from(external.executed);
            counted.reversed += u64::from(external.reversed);
        }
        all
    }

    /// Stock and money are conserved, nothing is oversold, and nothing is held any more.
    fn audit_pools(&mut self) {
        // What an operator counted as done, or gave up, may be held for ever: it is on him.
        let unfinished = self.operators_decided || self.views.values().any(|view| view.is_open);
        let now = self.store_now();
        for host in 0..self.hosts.len() {
            let kind = self.hosts[host].kind;
            for scope in self.scopes(host) {
                let rows = self.store.scan(&scope, b"", None, ROWS_MAX).items;
                let held = rows.iter().any(|(key, _)| key.0.as_ref() == b"l");
                if kind == HostKind::Locks && held && !unfinished && !self.lock_is_free(&rows) {
                    self.broken(None, format!("{scope}: a lock is held at the end"));
                }
                if !matches!(kind, HostKind::Ledger | HostKind::Stock) {
                    continue;
                }
                let mut found = audit(rows.iter().map(|(key, row)| (key, row)), now);
                if self.operators_decided {
                    // The row of what was given up may be forgotten before its claim expires.
                    found.leaked_holds -= found.leaked_holds.min(found.holds - found.pinned);
                }
                // A row may have been collected while its claim had expired long before.
                let is_clean = found.is_clean();
                let leaks = found.holds > 0 && !unfinished;
                if !is_clean || leaks {
                    self.broken(None, format!("{scope}: {found:?}"));
                }
            }
        }
    }

    /// Whether all claims on a lock have expired.
    fn lock_is_free(&self, rows: &[(dtx_core::store::RowKey, dtx_core::store::StoredRow)]) -> bool {
        // Only claims that no clock may release must be gone: those of operations whose inbox
        // row still holds something.
        !rows.iter().any(|(_, row)| {
            dtx_core::resource::barrier::InboxRow::decode(&row.value).is_ok_and(|inbox| {
                let pinned = matches!(inbox.pattern(), Pattern::TwoPhaseCommit)
                    && inbox.entry(Phase::Prepare).is_some();
                inbox.recall().is_some() || (pinned && !inbox.is_executed() && !inbox.is_undone())
            })
        })
    }
}

#[cfg(test)]
#[path = "finish_tests.rs"]
mod tests;
