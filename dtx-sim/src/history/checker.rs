//! Judges a history as it is read.

use std::collections::{BTreeMap, BTreeSet};

use dtx_core::{
    ids::{Epoch, ShardId, TxId},
    pattern::Phase,
    store::{Outcome, Status},
};

use super::{
    finding::{Breach, Coverage, Doubt, Finding, Judgement},
    line::{Change, HISTORY_VERSION, Happening, Pool, What},
    past::Past,
    pools::{self, LEASES, LEDGER, NOTHING_HELD, PINNED, PROMISED, PoolRule, Pools},
    rules::{Moment, RULES},
};

/// The most breaches that are kept; all are counted.
const BREACHES_MAX: usize = 100;

/// What a checker takes, and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckSettings {
    /// The longest line, in bytes without its end.
    pub line_bytes_max: usize,
    /// The most lines.
    pub lines_max: u64,
    /// The most transactions that are held in memory: all of a history, until it ends.
    pub transactions_max: usize,
    /// How long after the last fault everything must have ended, in milliseconds.
    pub settle_ms: u64,
    /// Faults that must be in the history, beside those that it announces itself.
    pub faults: BTreeSet<String>,
}

impl Default for CheckSettings {
    fn default() -> Self {
        Self {
            line_bytes_max: 1 << 20,
            lines_max: 100_000_000,
            transactions_max: 1_000_000,
            settle_ms: 600_000,
            faults: BTreeSet::new(),
        }
    }
}

/// Takes a history in, line by line.
#[derive(Debug, Default)]
pub struct Checker {
    settings: CheckSettings,
    pasts: BTreeMap<TxId, Past>,
    pools: Pools,
    final_pools: Vec<(u64, Pool)>,
    leases: BTreeMap<ShardId, (Epoch, String, u64)>,
    breaches: Vec<Breach>,
    breach_count: u64,
    doubt: Option<Doubt>,
    coverage: Coverage,
    line: u64,
    /// Lines of this incarnation.
    own_lines: u64,
    is_ended: bool,
    healed_us: u64,
    moved: bool,
    announced: BTreeSet<String>,
}

impl Checker {
    /// One that has seen nothing.
    pub fn new(settings: CheckSettings) -> Self {
        let announced = settings.faults.clone();
        Self { settings, announced, ..Self::default() }
    }

    /// Whether something makes the rest not worth reading.
    pub(super) fn is_lost(&self) -> bool {
        self.doubt.is_some()
    }

    /// The reader cannot go on.
    pub(super) fn doubt(&mut self, doubt: Doubt) {
        self.doubt.get_or_insert(doubt);
    }

    /// A line that its writer did not live to end.
    pub(super) fn skip(&mut self) {
        self.line += 1;
        self.coverage.torn += 1;
    }

    /// Takes the next line in.
    pub fn see(&mut self, happening: &Happening) {
        if self.is_lost() {
            return;
        }
        self.line += 1;
        self.own_lines += 1;
        self.coverage.lines += 1;
        let line = self.line;
        if happening.kind != happening.what.kind() {
            return self.doubt(Doubt::Kind(line));
        }
        match &happening.what {
            What::Began { version, faults } => self.begin(*version, faults, happening.at_us),
            _ if self.coverage.incarnations == 0 => self.doubt(Doubt::NoBeginning(line)),
            _ if self.is_ended => self.doubt(Doubt::MisplacedEnd(line)),
            What::Ended { lines } if *lines == self.own_lines => self.is_ended = true,
            What::Ended { .. } => self.doubt(Doubt::MisplacedEnd(line)),
            _ => self.take(line, happening),
        }
    }

    fn begin(&mut self, version: u32, faults: &[String], at_us: u64) {
        if version != HISTORY_VERSION {
            return self.doubt(Doubt::Version(version));
        }
        if self.coverage.incarnations > 0 && !self.is_ended {
            self.coverage.faults.insert("kill".to_owned());
        }
        self.announced.extend(faults.iter().cloned());
        self.coverage.incarnations += 1;
        (self.own_lines, self.is_ended) = (1, false);
        self.healed_us = self.healed_us.max(at_us);
        // The tables at the end are those of the last incarnation.
        self.final_pools.clear();
        self.pools.values_mut().for_each(pools::PoolPast::forget_the_end);
        self.pasts.values_mut().for_each(Past::forget_the_end);
    }

    fn take(&mut self, line: u64, happening: &Happening) {
        let (at_us, what) = (happening.at_us, &happening.what);
        self.coverage.count(what);
        match (happening.tx, what) {
            (Some(tx), what) => {
                if let What::FinalEffect { scope, change, .. } = what {
                    self.pools.entry(scope.clone()).or_default().final_effect(*change);
                }
                self.ask(tx, line, at_us, what);
            }
            (None, What::Pool { pool, effects }) => {
                self.write((line, at_us, happening.incarnation), pool, effects);
            }
            (None, What::FinalPool { pool }) => self.final_pools.push((line, pool.clone())),
            (None, What::Leased { shard, epoch }) => {
                self.lease(line, *shard, *epoch, (&happening.node, happening.incarnation));
            }
            (None, What::Healed) => self.healed_us = self.healed_us.max(at_us),
            (None, What::Moved) => self.moved = true,
            (None, _) => {}
        }
    }

    fn lease(&mut self, line: u64, shard: ShardId, epoch: Epoch, of: (&str, u64)) {
        let is_again = |(last, node, run): &(Epoch, String, u64)| {
            epoch < *last || (epoch == *last && (node.as_str(), *run) != of)
        };
        let broken = self.leases.get(&shard).is_some_and(is_again);
        self.leases.insert(shard, (epoch, of.0.to_owned(), of.1));
        if broken {
            self.keep_pool(&LEASES, None, format!("shard {shard}"), line);
        }
    }

    fn write(&mut self, place: (u64, u64, u64), pool: &Pool, effects: &[Change]) {
        let (line, at_us, incarnation) = place;
        for effect in effects {
            let Change { tx, operation, reversal, .. } = *effect;
            self.coverage.effects += 1;
            self.ask(tx, line, at_us, &What::Effect { operation, reversal });
        }
        let past = self.pools.entry(pool.scope.clone()).or_default();
        let written = past.write(incarnation, pool, effects);
        if written.ledger {
            self.keep_pool(&LEDGER, None, pool.scope.clone(), line);
        }
        if written.promised {
            self.keep_pool(&PROMISED, None, pool.scope.clone(), line);
        }
        for claim in written.left {
            let is_settled = self.pasts.get(&claim.tx).is_some_and(|past| {
                let of = past.of(claim.operation);
                past.is_executed(claim.operation) || past.is_undone(claim.operation)
                    // Taken in the same write that its answer is in.
                    || of.executed > 0
            });
            if !is_settled {
                self.keep_pool(&PINNED, Some(claim.tx), pool.scope.clone(), line);
            }
        }
    }

    fn ask(&mut self, tx: TxId, line: u64, at_us: u64, what: &What) {
        if !self.pasts.contains_key(&tx) && self.pasts.len() >= self.settings.transactions_max {
            return self.doubt(Doubt::Transactions(self.settings.transactions_max));
        }
        let past = self.pasts.entry(tx).or_default();
        let broken = RULES.iter().filter(|rule| (rule.is_broken)(past, Moment::At(what)));
        let found: Vec<_> = broken
            .map(|rule| Breach::new((rule.name, rule.says), Some(tx), past.lines(line)))
            .collect();
        let was_accepted = past.is_accepted();
        past.apply(line, at_us, what);
        self.coverage.accepted += u64::from(!was_accepted && past.is_accepted());
        self.keep(found);
    }

    fn keep_pool(&mut self, rule: &PoolRule, tx: Option<TxId>, of: String, line: u64) {
        let breach = Breach::new((rule.name, rule.says), tx, vec![line]).of(of);
        self.keep(vec![breach]);
    }

    fn keep(&mut self, found: Vec<Breach>) {
        for breach in found {
            self.breach_count += 1;
            if self.breaches.len() < BREACHES_MAX {
                self.breaches.push(breach);
            }
        }
    }

    /// The last rules, and the finding. A broken rule stays broken however the history goes on,
    /// so it counts in a cut one too.
    pub fn finish(mut self) -> Judgement {
        if self.coverage.incarnations == 0 {
            self.doubt(Doubt::NoBeginning(self.line));
        } else if !self.is_ended {
            self.doubt(Doubt::NoEnd(self.line));
        }
        if self.doubt.is_none() {
            self.ask_at_the_end();
            self.look_at_pools();
            let missing = self.announced.iter().find(|name| !self.coverage.has_fault(name));
            if let Some(missing) = missing.cloned() {
                self.doubt(Doubt::NoFault(missing));
            }
        }
        if let Some(what) = self.coverage.lacks() {
            self.doubt(Doubt::Empty(what));
        }
        let finding = match (&self.doubt, self.breach_count) {
            (_, 1..) => Finding::Invalid,
            (Some(_), 0) => Finding::Unknown,
            (None, 0) => Finding::Valid,
        };
        let Self { breaches, breach_count, doubt, coverage, .. } = self;
        Judgement { finding, breaches, breach_count, doubt, coverage }
    }

    fn ask_at_the_end(&mut self) {
        let touched = |past: &Past| past.is_excepted();
        let moved = self.moved || self.pasts.values().any(touched);
        let (line, healed_us) = (self.line, self.healed_us);
        let settle_us = self.settings.settle_ms.saturating_mul(1_000);
        let moment = Moment::End { healed_us, settle_us, moved };
        let asked = self.pasts.iter().flat_map(|(tx, past)| {
            let broken = RULES.iter().filter(move |rule| (rule.is_broken)(past, moment));
            broken.map(move |rule| Breach::new((rule.name, rule.says), Some(*tx), past.lines(line)))
        });
        let found = asked.collect();
        for past in self.pasts.values() {
            self.coverage.end(past.status);
        }
        self.moved = moved;
        self.keep(found);
    }

    fn look_at_pools(&mut self) {
        for (line, pool) in std::mem::take(&mut self.final_pools) {
            let past = self.pools.entry(pool.scope.clone()).or_default();
            let wrong = past.is_wrong_at_the_end(&pool);
            if wrong {
                self.keep_pool(&LEDGER, None, pool.scope.clone(), line);
            }
            if pools::is_overcommitted(&pool) {
                self.keep_pool(&PROMISED, None, pool.scope.clone(), line);
            }
            let ended = |past: &Past| matches!(past.status, Some(Status::Finished(of)) if of != Outcome::Abandoned);
            let held = pool.claims.iter().filter(|claim| pools::is_live(claim, pool.latest_us));
            let held = held.filter(|claim| self.pasts.get(&claim.tx).is_some_and(ended));
            // What an operator counted as done, or gave up, may be held for ever: it is on him.
            let held: Vec<_> = held.filter(|_| !self.moved).map(|claim| claim.tx).collect();
            for tx in held {
                self.keep_pool(&NOTHING_HELD, Some(tx), pool.scope.clone(), line);
            }
        }
    }
}

/// Whether a phase has the effect that a transaction is for.
pub(super) fn is_effect(phase: Phase) -> bool {
    matches!(phase, Phase::Execute | Phase::Commit | Phase::Deliver)
}
