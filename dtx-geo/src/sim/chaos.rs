//! Small pools under every kind of fault.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    model::{FailedLink, JitterMap, Provider, Rng, Shipped},
    pool::{Answer, Bug, Grants, HoldId, Input, Member, PoolMap, PoolSettings},
    sim::{
        check::Checker,
        network::Network,
        world::{Event, Told, World},
    },
};

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) leased: bool,
    pub(crate) disk_loss: bool,
    pub(crate) bug: Option<Bug>,
}

#[derive(Clone, Copy, Debug)]
enum Own {
    /// Somebody wants units, somewhere.
    Want,
    /// Says again what was not answered.
    Again(HoldId, Member, Input),
    Fault,
    Back(Member),
}

/// What a run has shown.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shown {
    pub(crate) steps: u64,
    pub(crate) sold: u64,
    pub(crate) crossed: u64,
    pub(crate) sold_out: u64,
    pub(crate) unavailable: u64,
    pub(crate) large: u64,
    pub(crate) reclaimed: u64,
    pub(crate) lost_disks: u64,
    pub(crate) expired: u64,
    pub(crate) pinned: u64,
}

/// How long faults go on, and how long it is quiet afterwards, in microseconds.
const FAULTS: u64 = 20_000_000;
const QUIET: u64 = 25_000_000;
const WINDOW: u64 = 6;

struct Run {
    world: World<Own>,
    checker: Checker,
    rng: Rng,
    plan: Plan,
    stock: u64,
    next: u128,
    /// What was asked, when, and for how many.
    asked: BTreeMap<HoldId, (u64, u64)>,
    /// Holds that are not ended, and who was asked for them.
    open: BTreeSet<(HoldId, Member)>,
    shown: Shown,
    is_quiet: bool,
}

/// Runs a plan; an error says what was broken.
pub(crate) fn run(plan: Plan) -> Result<Shown, String> {
    let mut run = Run::new(plan);
    run.faults();
    run.quiet();
    run.drain();
    match run.checker.broken() {
        Some(broken) => Err(format!("seed {}: {broken}", plan.seed)),
        None => Ok(Shown { steps: run.world.steps, ..run.shown }),
    }
}

impl Run {
    fn new(plan: Plan) -> Self {
        let mut rng = Rng::new(plan.seed, 9);
        let count = 3 + rng.below(2) as usize;
        let map = Shipped::rtt(Provider::Aws).symmetric();
        let names = ["us-east-1", "eu-west-1", "us-west-2", "ap-northeast-1"];
        let map = map.select(&names[..count]).expect("they are in the map");
        let lease = Duration::from_millis(1_500);
        let settings = PoolSettings {
            hold_total_max: Duration::from_secs(4),
            retry_window: Duration::from_secs(8),
            holds_max: 4_096,
            grants: match plan.leased {
                true => Grants::Leased { window: WINDOW, lease },
                false => Grants::Permanent,
            },
            ..PoolSettings::default()
        };
        let pool_map = PoolMap::new(&map).expect("every pair is known");
        let mut network = Network::new(map, &JitterMap::default());
        network.lost = rng.below(150) as u32;
        network.doubled = rng.below(150) as u32;
        network.late = rng.below(100) as u32;
        let mut world = World::new(network, pool_map.clone(), settings, (500, 5_000), plan.seed);
        world = world.with_bug(plan.bug);
        let stock = 30 + rng.below(120);
        let mut left = stock;
        for member in world.members() {
            let drift = rng.below(1_001) as i64 - 500;
            world.set_drift(member, drift);
            world.start(member);
            let last = member.index() + 1 == count;
            let units = if last { left } else { rng.below(left + 1) };
            left -= units;
            world.input(member, Input::Mint { units });
        }
        let checker = Checker::new(settings, &pool_map, stock);
        let mut run = Self {
            checker,
            world,
            rng,
            plan,
            stock,
            next: 0,
            asked: BTreeMap::new(),
            open: BTreeSet::new(),
            shown: Shown::default(),
            is_quiet: false,
        };
        // Before the first step is checked everything that was brought in has landed.
        run.world.next(run.world.now + 6_000);
        run.world.landed.clear();
        let now = run.world.now;
        run.world.at(now, Event::Own(Own::Want));
        run.world.at(now + 500_000, Event::Own(Own::Fault));
        run
    }

    fn go(&mut self, until: u64) {
        while self.checker.broken().is_none() {
            self.world.checked(&mut self.checker);
            if let Some(told) = self.world.take_told() {
                self.take(told);
                continue;
            }
            if !self.world.advance(until) {
                self.world.now = self.world.now.max(until);
                return;
            }
        }
    }

    fn faults(&mut self) {
        let until = self.world.now + FAULTS;
        self.go(until);
    }

    /// Everything works again, and all holds end.
    fn quiet(&mut self) {
        self.is_quiet = true;
        self.world.network.lost = 0;
        self.world.network.doubled = 0;
        self.world.network.late = 0;
        self.world.network.topology.heal_links();
        for member in self.world.members() {
            if self.world.nodes[member.index()].part.is_none() {
                self.world.start(member);
            }
        }
        let until = self.world.now + QUIET;
        self.go(until);
    }

    /// I7: every unit can be sold again, but for what went down with a disk.
    fn drain(&mut self) {
        if self.checker.broken().is_some() {
            return;
        }
        let on_disks = |of: fn(&crate::pool::Cells) -> u64| {
            self.world.nodes.iter().map(|node| of(&node.disk)).sum::<u64>()
        };
        let (held, sold, off) = (
            on_disks(|disk| disk.held()),
            on_disks(|disk| disk.sold()),
            on_disks(|disk| disk.written_off),
        );
        let free: i64 = self.world.nodes.iter().map(|node| node.disk.free()).sum();
        let all = self.world.left();
        let is_lossless = self.shown.lost_disks == 0;
        let mut broken = None;
        if free != all || held > 0 {
            broken = Some(format!("I7: {free} free of {all} left, {held} held"));
        } else if is_lossless && free as u64 + sold + off != self.stock {
            broken = Some(format!("I7: {free} free, {sold} sold of {}", self.stock));
        } else if is_lossless && off > 0 {
            broken = Some(format!("I7: {off} written off"));
        } else if is_lossless && sold < self.checker.told_sold() {
            // More may be sold than told: an answer is lost when its region crashes.
            broken = Some(format!("I4: {sold} sold, {} told", self.checker.told_sold()));
        }
        if let Some(broken) = broken {
            self.checker.break_with(broken);
            return;
        }
        // Sells all that is left, one by one, through one region.
        let node = Member::of(self.rng.below(self.world.nodes.len() as u64) as usize);
        let (mut got, mut pauses) = (0, 0);
        while got < free || pauses == 0 {
            self.next += 1;
            let id = HoldId(self.next);
            let since = self.world.now;
            let ttl = Duration::from_secs(4);
            self.world.input(node, Input::Reserve { id, units: 1, ttl });
            match self.await_answer(id) {
                Some(Answer::Reserved { at, .. }) if got < free => {
                    got += 1;
                    self.world.input(at, Input::Confirm { id });
                }
                Some(Answer::SoldOut { .. }) if got == free => {
                    self.checker.sold_out(since, 1);
                    return;
                }
                // Of two regions that were asked, the slower one holds a unit until that ends.
                Some(Answer::SoldOut { .. }) if pauses < 5 => {
                    self.checker.sold_out(since, 1);
                    pauses += 1;
                    let until = self.world.now + 5_000_000;
                    while self.world.advance(until) {
                        self.world.checked(&mut self.checker);
                    }
                    self.world.now = self.world.now.max(until);
                }
                answer => {
                    let text = format!("I7: {got} of {free} could be sold, then {answer:?}");
                    self.checker.break_with(text);
                    return;
                }
            }
        }
    }

    fn await_answer(&mut self, id: HoldId) -> Option<Answer> {
        let until = self.world.now + 10_000_000;
        while self.world.now < until {
            self.world.checked(&mut self.checker);
            while let Some(told) = self.world.take_told() {
                if let Told::Answer { id: of, answer, .. } = told
                    && of == id
                {
                    return Some(answer);
                }
            }
            self.world.advance(until);
        }
        None
    }

    fn take(&mut self, told: Told<Own>) {
        match told {
            Told::Own(Own::Want) => self.want(),
            Told::Own(Own::Again(id, node, input)) => self.again(id, node, input),
            Told::Own(Own::Fault) => self.fault(),
            Told::Own(Own::Back(node)) => {
                if self.world.nodes[node.index()].part.is_none() {
                    self.world.start(node);
                }
            }
            Told::Answer { node, id, answer } => self.answer(node, id, answer),
        }
    }

    fn any(&mut self) -> Member {
        Member::of(self.rng.below(self.world.nodes.len() as u64) as usize)
    }

    fn want(&mut self) {
        if self.is_quiet {
            return;
        }
        let node = self.any();
        // A few keep asking for the same id, as clients do that got no answer.
        let id = HoldId(self.next.saturating_sub(u128::from(self.rng.below(20))));
        let recent = |asked: &(u64, u64)| self.world.now - asked.0 < 2_000_000;
        let known = self.asked.get(&id).copied().filter(recent);
        if let Some((_, units)) = known.filter(|_| self.rng.chance(100)) {
            let ttl = Duration::from_millis(500);
            self.world.input(node, Input::Reserve { id, units, ttl });
        } else {
            self.next += 1;
            let id = HoldId(self.next);
            let units = match self.rng.below(12) {
                0 => 2 + self.rng.below(30),
                1 | 2 => 2 + self.rng.below(4),
                _ => 1,
            };
            self.shown.large += u64::from(units > 6);
            self.asked.insert(id, (self.world.now, units));
            let ttl = Duration::from_millis(100 + self.rng.below(3_000));
            self.world.input(node, Input::Reserve { id, units, ttl });
        }
        let pause = self.rng.exponential(80_000.0) as u64;
        self.world.at(self.world.now + pause, Event::Own(Own::Want));
    }

    fn again(&mut self, id: HoldId, node: Member, input: Input) {
        if self.open.contains(&(id, node)) {
            self.world.input(node, input);
            let retry = Event::Own(Own::Again(id, node, input));
            self.world.at(self.world.now + 400_000, retry);
        }
    }

    fn answer(&mut self, node: Member, id: HoldId, answer: Answer) {
        let Some((since, units)) = self.asked.get(&id).copied() else { return };
        match answer {
            Answer::Reserved { at, crossed, .. } => {
                self.shown.crossed += u64::from(crossed);
                let by = Duration::from_millis(self.rng.below(4_000));
                let input = match self.rng.below(13) {
                    0..=4 => Input::Confirm { id },
                    5 => Input::Cancel { id },
                    6 | 7 => Input::Extend { id, by },
                    8..=10 => Input::Pin { id },
                    _ => return,
                };
                // A pinned hold whose way is lost with a disk can be ended only where it is.
                let direct = match input {
                    Input::Pin { .. } => self.plan.disk_loss,
                    Input::Extend { .. } => true,
                    _ => self.rng.chance(500),
                };
                let via = if direct { at } else { node };
                self.open.insert((id, via));
                let when = self.world.now + self.rng.below(1_500_000);
                self.world.at(when, Event::Own(Own::Again(id, via, input)));
            }
            Answer::Pinned => {
                self.shown.pinned += 1;
                let input = match self.rng.below(3) {
                    0 => Input::Cancel { id },
                    _ => Input::Confirm { id },
                };
                self.open.insert((id, node));
                let when = self.world.now + self.rng.below(6_000_000);
                self.world.at(when, Event::Own(Own::Again(id, node, input)));
            }
            Answer::Confirmed => {
                self.open.remove(&(id, node));
                self.shown.sold += units;
                self.told_sold(node, id, units);
            }
            Answer::Extended { .. } => {
                // Extended as often as it may be, and then sold, or forgotten.
                let by = Duration::from_millis(self.rng.below(4_000));
                let input = match self.rng.below(4) {
                    0 => Input::Confirm { id },
                    _ => Input::Extend { id, by },
                };
                self.open.insert((id, node));
                let when = self.world.now + self.rng.below(400_000);
                self.world.at(when, Event::Own(Own::Again(id, node, input)));
            }
            Answer::SoldOut { .. } => {
                self.shown.sold_out += 1;
                self.checker.sold_out(since, units);
            }
            Answer::Unavailable { .. } => self.shown.unavailable += 1,
            Answer::Expired | Answer::Cancelled | Answer::NotHere | Answer::NotExtended { .. } => {
                self.shown.expired += u64::from(answer == Answer::Expired);
                self.open.remove(&(id, node));
            }
            Answer::Busy => {}
        }
    }

    /// The hold may be in another region than the one that was asked.
    fn told_sold(&mut self, node: Member, id: HoldId, units: u64) {
        let asked = self.world.nodes[node.index()].part.as_ref();
        let at = asked.and_then(|part| part.cells().route(id)).unwrap_or(node);
        self.checker.sold(at, id, units);
    }

    fn fault(&mut self) {
        if self.is_quiet {
            return;
        }
        let node = self.any();
        let back = self.world.now + 50_000 + self.rng.below(5_000_000);
        match self.rng.below(8) {
            0 | 1 => {
                self.world.crash(node);
                self.world.at(back, Event::Own(Own::Back(node)));
            }
            2 if self.plan.disk_loss && self.world.nodes[node.index()].part.is_some() => {
                self.shown.lost_disks += 1;
                self.world.crash(node);
                self.world.lose_disk(node);
                self.checker.lost_disk();
                self.world.at(back, Event::Own(Own::Back(node)));
            }
            3 | 4 => {
                let (from, to) = (node.index(), self.any().index());
                self.world.network.topology.cut(FailedLink { from, to });
            }
            5 => self.world.network.topology.partition(&[node.index()]),
            _ => self.world.network.topology.heal_links(),
        }
        self.shown.reclaimed = self
            .world
            .nodes
            .iter()
            .map(|node| {
                node.disk
                    .wards
                    .values()
                    .map(|ward| ward.reclaimed + ward.reclaimed_before)
                    .sum::<u64>()
            })
            .sum::<u64>()
            .max(self.shown.reclaimed);
        let pause = self.rng.below(2_000_000);
        self.world.at(self.world.now + pause, Event::Own(Own::Fault));
    }
}
