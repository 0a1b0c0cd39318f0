//! What clients want: a few transactions of all patterns over few things with little in them, so
//! that they race.

use std::{sync::Arc, time::Duration};

use dtx_core::{
    ids::OperationIndex,
    modifier::VerifyWhen,
    name::RegionName,
    pattern::Pattern,
    transaction::{
        Consistency, Gate, OperationDraft, RetryPolicy, StepKind, Transaction, TransactionBuilder,
    },
};

use crate::{
    rng::Rng,
    swarm::{SECOND, Swarm},
};

/// What a participant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostKind {
    Ledger,
    Stock,
    Locks,
    /// A user's handler whose effect is not in one transaction with the inbox.
    Detached,
    /// A participant without an inbox.
    Foreign,
    /// A participant of the user's own.
    Own,
}

/// What a transaction kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poison {
    /// The coordinator that sends its commands.
    Coordinator,
    /// The participant of this operation.
    Participant(OperationIndex),
}

/// A participant with its name and what it has.
#[derive(Clone, Debug)]
pub(crate) struct HostPlan {
    pub(crate) name: String,
    pub(crate) kind: HostKind,
    /// Accounts or items with what is in them.
    pub(crate) pools: Vec<(String, u64)>,
    /// The place and the name of its region.
    pub(crate) region: Option<(usize, RegionName)>,
}

/// A transaction and when it is handed in.
#[derive(Clone, Debug)]
pub(crate) struct ClientPlan {
    pub(crate) transaction: Arc<Transaction>,
    pub(crate) at: u64,
    /// When somebody cancels it.
    pub(crate) cancel_at: Option<u64>,
    /// When somebody approves (true) or rejects it.
    pub(crate) judged: Option<(u64, bool)>,
    pub(crate) poison: Option<Poison>,
}

/// Everything that a run begins with.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) hosts: Vec<HostPlan>,
    pub(crate) clients: Vec<ClientPlan>,
}

const ITEMS: [&str; 2] = ["cd", "lp"];
const ACCOUNTS: [&str; 2] = ["alice", "bob"];
/// Only ever gets money, so that what it got can always be taken back.
const MERCHANT: &str = "shop";

fn host(name: &str, kind: HostKind, rng: &mut Rng) -> HostPlan {
    let pools = match kind {
        HostKind::Stock => ITEMS.iter().map(|item| ((*item).to_owned(), rng.range(1, 6))).collect(),
        HostKind::Ledger => {
            let mut accounts: Vec<_> =
                ACCOUNTS.iter().map(|a| ((*a).to_owned(), rng.range(50, 300))).collect();
            accounts.push((MERCHANT.to_owned(), 0));
            accounts
        }
        _ => Vec::new(),
    };
    HostPlan { name: name.to_owned(), kind, pools, region: None }
}

impl Workload {
    /// `pattern`: all transactions are of this one. `place` puts the participants somewhere.
    pub(crate) fn draw(
        rng: &mut Rng,
        swarm: &Swarm,
        pattern: Option<Pattern>,
        place: impl FnOnce(&mut [HostPlan]),
    ) -> Self {
        let mut hosts = Self::hosts(rng);
        place(&mut hosts);
        let transactions = Self::transactions(rng, &hosts, pattern);
        let clients = Self::clients(rng, swarm, transactions);
        Self { hosts, clients }
    }

    /// Participants of the user's own, with these transactions or with drawn ones.
    pub(crate) fn own(
        rng: &mut Rng,
        swarm: &Swarm,
        names: &[&str],
        place: impl FnOnce(&mut [HostPlan]),
        transactions: impl FnOnce(&mut Rng, &[HostPlan]) -> Vec<Transaction>,
    ) -> Self {
        let mut hosts: Vec<_> = names.iter().map(|name| host(name, HostKind::Own, rng)).collect();
        place(&mut hosts);
        let transactions = transactions(rng, &hosts);
        let clients = Self::clients(rng, swarm, transactions);
        Self { hosts, clients }
    }

    /// Transactions of all patterns, or of one, over some participants.
    pub(crate) fn transactions(
        rng: &mut Rng,
        hosts: &[HostPlan],
        pattern: Option<Pattern>,
    ) -> Vec<Transaction> {
        let count = rng.range(9, 12);
        (0..count).map(|index| Draft { rng: &mut *rng, hosts, index, pattern }.build()).collect()
    }

    /// When they are handed in, and what people say to them.
    fn clients(rng: &mut Rng, swarm: &Swarm, transactions: Vec<Transaction>) -> Vec<ClientPlan> {
        let span = rng.range(SECOND / 4, 6 * SECOND);
        let plan = |transaction: Transaction| {
            let at = rng.below(span);
            let approval = transaction.modifiers().is_some_and(|m| m.approval.is_some());
            let judged = (approval && rng.chance(800))
                .then(|| (at + rng.range(SECOND / 5, 5 * SECOND), rng.chance(750)));
            let cancel_at = rng.chance(swarm.cancels).then(|| at + rng.below(4 * SECOND) / 2);
            let operations = transaction.operations().len() as u64;
            let poison = rng.chance(swarm.poison).then(|| match rng.chance(500) {
                true => Poison::Coordinator,
                false => Poison::Participant(OperationIndex(rng.below(operations) as u16)),
            });
            let transaction = Arc::new(transaction);
            ClientPlan { transaction, at, cancel_at, judged, poison }
        };
        transactions.into_iter().map(plan).collect()
    }

    fn hosts(rng: &mut Rng) -> Vec<HostPlan> {
        let mut hosts = vec![
            host("bank", HostKind::Ledger, rng),
            host("stock", HostKind::Stock, rng),
            host("svc", HostKind::Detached, rng),
        ];
        let more = [
            ("locks", HostKind::Locks),
            ("svc2", HostKind::Detached),
            ("foreign", HostKind::Foreign),
            ("stock2", HostKind::Stock),
            ("bank2", HostKind::Ledger),
        ];
        for (name, kind) in more {
            if rng.chance(400) {
                hosts.push(host(name, kind, rng));
            }
        }
        hosts
    }
}

struct Draft<'a> {
    rng: &'a mut Rng,
    hosts: &'a [HostPlan],
    index: u64,
    pattern: Option<Pattern>,
}

impl Draft<'_> {
    fn build(&mut self) -> Transaction {
        let drawn = *self.rng.pick(&Pattern::ALL);
        let pattern = self.pattern.unwrap_or(drawn);
        let mut builder = Transaction::builder(pattern);
        if self.rng.chance(800) {
            builder = builder.key(format!("order-{}", self.index));
        }
        if self.rng.chance(300) {
            builder = builder.deadline(self.millis(1_500, 15_000));
        }
        let alone = pattern == Pattern::TwoPhaseCommit && self.rng.chance(300);
        let count = if alone { 1 } else { self.rng.range(1, 6) as usize };
        builder = match pattern {
            Pattern::Saga => self.saga(builder, count),
            _ => self.others(builder, pattern, count),
        };
        builder.build().expect("the workload only makes valid definitions")
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.rng.range(from, to))
    }

    fn saga(&mut self, mut builder: TransactionBuilder, count: usize) -> TransactionBuilder {
        let pivot = self.rng.chance(400).then(|| self.rng.below(count as u64) as usize);
        if pivot.is_some() || self.rng.chance(400) {
            builder = builder.in_sequence();
        }
        let is_dag = pivot.is_none() && self.rng.chance(400);
        for index in 0..count {
            let kind = match pivot {
                Some(pivot) if index == pivot => StepKind::Pivot,
                Some(pivot) if index > pivot => StepKind::Retriable,
                _ => StepKind::Compensatable,
            };
            let mut draft = self.operation(index, kind == StepKind::Retriable, true).step(kind);
            if is_dag && index > 0 && self.rng.chance(600) {
                draft = draft.depends_on([format!("o{}", self.rng.below(index as u64))]);
            }
            builder = builder.operation(draft);
        }
        builder
    }

    fn others(
        &mut self,
        mut builder: TransactionBuilder,
        pattern: Pattern,
        count: usize,
    ) -> TransactionBuilder {
        if pattern == Pattern::ThreePhaseSaga && self.rng.chance(350) {
            builder = builder.gate(Gate::Independent);
        } else if matches!(
            pattern,
            Pattern::TwoPhaseSaga | Pattern::ThreePhaseSaga | Pattern::TwoPhaseCommit
        ) {
            builder = self.gate(builder);
        }
        for index in 0..count {
            let mut draft = self.operation(index, false, false);
            let loose =
                if self.rng.chance(300) { Consistency::BestEffort } else { Consistency::Eventual };
            match pattern {
                Pattern::FireAndForget => draft = draft.consistency(loose),
                Pattern::CriticalEventual if index > 0 && self.rng.chance(500) => {
                    draft = draft.consistency(loose);
                }
                Pattern::TwoPhaseSaga if index > 0 && self.rng.chance(250) => {
                    draft = draft.depends_on([format!("o{}", index - 1)]);
                }
                _ => {}
            }
            builder = builder.operation(draft);
        }
        builder
    }

    fn gate(&mut self, mut builder: TransactionBuilder) -> TransactionBuilder {
        if self.rng.chance(250) {
            builder = builder.verify(VerifyWhen::Always, 0);
        }
        if self.rng.chance(200) {
            // Longer than the deadline that may have been given would not build.
            builder = builder.approval(self.millis(300, 1_400));
        }
        if self.rng.chance(150) {
            builder = builder.execute_after(self.millis(100, 1_400));
        }
        builder
    }

    fn operation(&mut self, index: usize, never_refused: bool, saga: bool) -> OperationDraft {
        let allowed = |host: &&HostPlan| match host.kind {
            HostKind::Foreign => saga && !never_refused,
            HostKind::Detached | HostKind::Ledger | HostKind::Own => true,
            HostKind::Stock | HostKind::Locks => !never_refused,
        };
        let hosts: Vec<_> = self.hosts.iter().filter(allowed).collect();
        let host = *self.rng.pick(&hosts);
        let (action, payload) = self.action(host.kind, never_refused);
        let draft = OperationDraft::new(&host.name, action).payload(payload);
        let draft = draft.name(format!("o{index}"));
        match &host.region {
            Some((_, region)) => draft.region(region.as_str()),
            None => draft,
        }
    }

    fn action(&mut self, kind: HostKind, never_refused: bool) -> (&'static str, String) {
        let rng = &mut *self.rng;
        match kind {
            HostKind::Ledger if never_refused || rng.chance(250) => {
                let cents = rng.range(0, 60);
                ("credit", format!(r#"{{"account":"{MERCHANT}","cents":{cents}}}"#))
            }
            HostKind::Ledger => {
                let (account, cents) = (rng.pick(&ACCOUNTS), rng.range(0, 90));
                ("debit", format!(r#"{{"account":"{account}","cents":{cents}}}"#))
            }
            HostKind::Stock => {
                let (item, units, strict) = (rng.pick(&ITEMS), rng.range(1, 3), rng.chance(200));
                ("take", format!(r#"{{"item":"{item}","units":{units},"strict":{strict}}}"#))
            }
            HostKind::Locks => {
                let (key, shared) = (rng.below(2), rng.chance(300));
                ("lock", format!(r#"{{"key":"k{key}","shared":{shared}}}"#))
            }
            HostKind::Detached | HostKind::Foreign | HostKind::Own => ("work", "{}".to_owned()),
        }
    }
}

impl Swarm {
    /// How the coordinators of this run retry.
    pub(crate) fn retry(&self) -> RetryPolicy {
        RetryPolicy { attempts_max: self.attempts_max, backoff_ms: 40, backoff_ms_max: 1_200 }
    }
}
