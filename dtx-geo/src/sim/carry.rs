//! One transaction that is carried out by its plan, message by message.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
};

use crate::plan::{Durability, Kind, Mode, Shape, TransactionPlan};

/// How long things take, in microseconds.
pub(super) trait Ways {
    /// A message.
    fn one_way(&mut self, from: usize, to: usize) -> u64;
    /// Until what a region has is in most of its zones.
    fn zones(&mut self) -> u64;
}

/// Where something is durable.
type Held = BTreeSet<usize>;

/// What was durable where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Durable {
    /// For each operation; empty for one that only reads.
    pub(super) writes: Vec<Held>,
    /// The decision of a two-phase commit.
    pub(super) decision: Held,
}

/// How a transaction went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Carried {
    /// After how many microseconds the client was told.
    pub(super) told: u64,
    /// What was durable when that was sent.
    pub(super) then: Durable,
    /// What is durable once every message has arrived.
    pub(super) later: Durable,
    /// Regions that data or decisions of it were sent to.
    pub(super) touched: BTreeSet<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The coordinator, or the client where there is none, has the transaction.
    Begin,
    /// The server of an operation has it.
    Asked(Round),
    /// What a round writes is durable in a region.
    Written(Round, usize),
    /// Its server knows that.
    Noted(Round, usize),
    /// The coordinator has the answer of an operation.
    Answered(Round),
    /// The decision is durable in a region.
    Logged(usize),
    /// The coordinator knows that.
    LogNoted(usize),
    /// The client has the outcome.
    Told,
}

/// One time of several that the server of an operation is asked, the first one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Round {
    operation: usize,
    number: u32,
}

/// Carries a plan out: each operation is asked for after its delay, in microseconds, and the client
/// is told when all is durable that `durability` says.
pub(super) fn carry(
    (shape, plan): (&Shape<'_>, &TransactionPlan),
    durability: &Durability,
    delays: &[u64],
    ways: &mut impl Ways,
) -> Carried {
    let count = shape.operations.len();
    let rounds = if plan.kind == Kind::TwoPhase { shape.rounds } else { 1 };
    let mut run = Run {
        shape,
        plan,
        durability,
        delays,
        rounds,
        ways,
        now: 0,
        events: BinaryHeap::new(),
        noted: vec![vec![Held::new(); rounds as usize]; count],
        answered: 0,
        log_noted: Held::new(),
        is_told: false,
        carried: Carried::default(),
    };
    run.carried.later.writes = vec![Held::new(); count];
    let way = run.coordinator_way();
    run.at(way, Event::Begin);
    while let Some(Reverse((now, event))) = run.events.pop() {
        run.now = now;
        run.take(event);
    }
    run.carried
}

struct Run<'a, W> {
    shape: &'a Shape<'a>,
    plan: &'a TransactionPlan,
    durability: &'a Durability,
    delays: &'a [u64],
    /// How often each server is asked.
    rounds: u32,
    ways: &'a mut W,
    now: u64,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    /// Where the server of each operation knows each round of it to be durable.
    noted: Vec<Vec<Held>>,
    answered: usize,
    log_noted: Held,
    is_told: bool,
    carried: Carried,
}

impl<W: Ways> Run<'_, W> {
    fn at(&mut self, after: u64, event: Event) {
        self.events.push(Reverse((self.now + after, event)));
    }

    /// How long a message between the client and who asks the servers takes.
    fn coordinator_way(&mut self) -> u64 {
        match self.plan.kind {
            Kind::Local | Kind::Pool | Kind::TwoPhase => {
                self.carried.touched.insert(self.plan.coordinator);
                self.ways.one_way(self.shape.client, self.plan.coordinator)
            }
            Kind::ReadReplica | Kind::Eventual => 0,
        }
    }

    /// How long a message between who asks and the server of an operation takes.
    fn server_way(&mut self, operation: usize) -> u64 {
        let server = self.plan.served_by[operation];
        let through = match self.plan.kind {
            // What its own region does is part of the client's way.
            Kind::Local | Kind::Pool if server == self.plan.coordinator => return 0,
            Kind::Local | Kind::Pool | Kind::TwoPhase => self.plan.coordinator,
            Kind::ReadReplica | Kind::Eventual => self.shape.client,
        };
        self.ways.one_way(through, server)
    }

    /// What one region has is durable, alone or with others.
    fn store(&mut self) -> u64 {
        if self.plan.mode == Mode::StrongGlobal { 0 } else { self.ways.zones() }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Begin => {
                for operation in 0..self.shape.operations.len() {
                    let round = Round { operation, number: 0 };
                    self.ask(self.delays[operation], round);
                }
            }
            Event::Asked(round) => self.asked(round),
            Event::Written(round, region) => self.written(round, region),
            Event::Noted(round, region) => self.noted(round, region),
            Event::Answered(round) => self.answered(round),
            Event::Logged(region) => self.logged(region),
            Event::LogNoted(region) => {
                self.log_noted.insert(region);
                let quorum = self.durability.decision.as_ref();
                if quorum.is_some_and(|quorum| quorum.is_met(|at| self.log_noted.contains(&at))) {
                    self.tell();
                }
            }
            Event::Told => self.carried.told = self.now,
        }
    }

    fn ask(&mut self, after: u64, round: Round) {
        let way = self.server_way(round.operation);
        self.at(after + way, Event::Asked(round));
    }

    fn asked(&mut self, round: Round) {
        let server = self.plan.served_by[round.operation];
        self.carried.touched.insert(server);
        if self.shape.operations[round.operation].write {
            let stored = self.store();
            self.at(stored, Event::Written(round, server));
        } else {
            let way = self.server_way(round.operation);
            self.at(way, Event::Answered(round));
        }
    }

    /// Who serves an operation sends it on to the others that hold it, and hears of them. What the
    /// last round writes is what the earlier ones wrote, and more.
    fn written(&mut self, round: Round, region: usize) {
        let operation = round.operation;
        self.carried.touched.insert(region);
        if round.number + 1 == self.rounds {
            self.carried.later.writes[operation].insert(region);
        }
        let (server, data) = (self.plan.served_by[operation], self.shape.operations[operation]);
        if region != server {
            let way = self.ways.one_way(region, server);
            self.at(way, Event::Noted(round, region));
            return;
        }
        self.at(0, Event::Noted(round, region));
        if data.pooled && self.plan.mode != Mode::StrongGlobal {
            // The units are of its own part.
            return;
        }
        let copies = data.copies.iter().copied().filter(|copy| self.shape.allowed[*copy]);
        let others = copies.chain([data.home]).filter(|holder| *holder != server);
        for holder in others.collect::<Vec<_>>() {
            let way = self.ways.one_way(server, holder);
            self.at(way, Event::Written(round, holder));
        }
    }

    fn noted(&mut self, round: Round, region: usize) {
        let Some(quorum) = &self.durability.writes[round.operation] else { return };
        let noted = &mut self.noted[round.operation][round.number as usize];
        let was_met = quorum.is_met(|at| noted.contains(&at));
        noted.insert(region);
        if !was_met && quorum.is_met(|at| noted.contains(&at)) {
            let way = self.server_way(round.operation);
            self.at(way, Event::Answered(round));
        }
    }

    /// The next round of an operation waits for its own server alone, the decision for all.
    fn answered(&mut self, round: Round) {
        let next = Round { number: round.number + 1, ..round };
        if next.number < self.rounds {
            self.ask(0, next);
            return;
        }
        self.answered += 1;
        if self.answered == self.shape.operations.len() {
            self.all_answered();
        }
    }

    fn all_answered(&mut self) {
        let Some(quorum) = &self.durability.decision else { return self.tell() };
        for region in quorum.regions.clone() {
            let own = region == self.plan.coordinator;
            let way =
                if own { self.store() } else { self.ways.one_way(self.plan.coordinator, region) };
            self.at(way, Event::Logged(region));
        }
    }

    fn logged(&mut self, region: usize) {
        self.carried.touched.insert(region);
        self.carried.later.decision.insert(region);
        let own = region == self.plan.coordinator;
        let way = if own { 0 } else { self.ways.one_way(region, self.plan.coordinator) };
        self.at(way, Event::LogNoted(region));
    }

    fn tell(&mut self) {
        if !std::mem::replace(&mut self.is_told, true) {
            self.carried.then = self.carried.later.clone();
            let way = self.coordinator_way();
            self.at(way, Event::Told);
        }
    }
}

/// Whether less was durable when the client was told than the mode promises. It is judged by what
/// the mode says of losses, not by the quorums of the plan.
pub(super) fn is_weaker(shape: &Shape<'_>, plan: &TransactionPlan, carried: &Carried) -> bool {
    let then = &carried.then;
    let operations = shape.operations.iter().zip(&plan.served_by).zip(&then.writes);
    let mut each =
        operations.filter(|((one, _), _)| one.write).map(|((operation, server), held)| {
            let copies = operation.copies.iter().filter(|copy| shape.allowed[**copy]);
            let holders: Held = copies.copied().chain([operation.home]).collect();
            let has = holders.intersection(held).count();
            match shape.mode {
                // Whichever region is lost, another one has it, and any most of the holders do.
                Mode::StrongGlobal => has < 2 || 2 * has <= holders.len(),
                // A part is spent where it is, and nowhere else.
                _ if operation.pooled => has < held.len() || !held.contains(server),
                Mode::StrongRegional => !held.contains(&operation.home),
                Mode::EventualGlobal => has == 0,
            }
        });
    let decision = plan.kind == Kind::TwoPhase
        && match shape.mode {
            Mode::StrongGlobal => then.decision.len() < 2,
            Mode::StrongRegional | Mode::EventualGlobal => {
                !then.decision.contains(&plan.coordinator)
            }
        };
    plan.mode != shape.mode || decision || each.any(|is_less| is_less) || is_split(shape, plan)
}

/// Whether units are taken in one region and something is written in another without a decision for
/// both: a pool can say no.
fn is_split(shape: &Shape<'_>, plan: &TransactionPlan) -> bool {
    let writes = shape.operations.iter().zip(&plan.served_by).filter(|(one, _)| one.write);
    let servers: Held = writes.map(|(_, server)| *server).collect();
    let takes_units = shape.operations.iter().any(|one| one.pooled);
    takes_units && plan.kind != Kind::TwoPhase && servers.len() > 1
}

/// Whether data or decisions came to a region that is not allowed.
pub(super) fn is_outside(shape: &Shape<'_>, carried: &Carried) -> bool {
    carried.touched.iter().any(|region| !shape.allowed[*region])
}
