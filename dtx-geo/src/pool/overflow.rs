//! Reserves: at home where there are units, else over the nearest way to some.

use std::time::Duration;

use dtx_core::time::Timestamp;

use crate::pool::{
    Answer, Body, Bug, Claim, Effect, Hold, HoldId, HoldState, Member, Members, PoolRegion, Step,
};

/// When another region is asked as well, as a multiple of the round trip to the one that was
/// asked first.
const HEDGE: f64 = 1.25;
/// A region that has the units with a smaller chance is not asked.
const CHANCE_MIN: f64 = 0.02;
/// When to look again for units that nobody could give.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The most regions that are asked at once for one reserve.
const PROBES_MAX: usize = 2;

/// The most reserves that get what they waited for at once; the rest do with the next tick. So
/// what one step changes is bounded.
const SERVED_MAX: usize = 256;

/// A reserve that home has no units for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Waiting {
    pub(crate) id: HoldId,
    pub(crate) units: u64,
    pub(crate) ttl: Duration,
    pub(crate) since: Timestamp,
    /// Regions that were asked, and those that have not answered.
    asked: Members,
    open: Members,
    /// When to ask another one.
    hedge: Timestamp,
    /// Units are on their way until then.
    pub(crate) riding: Timestamp,
    /// The hold may be there already: a repeat of a reserve that went there.
    route: Option<Member>,
    /// Waits for the certificate.
    pub(crate) joined: bool,
    /// The look at which it joined: an earlier one says nothing about it.
    pub(crate) joined_at: u64,
    pub(crate) claim: Option<Claim>,
    pub(crate) claimed: Timestamp,
}

impl Waiting {
    /// All regions may be asked again but those that have not answered.
    pub(crate) fn forget_asked(&mut self) {
        self.asked = self.open;
    }

    /// These are not asked: they do not answer.
    pub(crate) fn pass_over(&mut self, members: Members) {
        self.asked = members.iter().fold(self.asked, Members::with);
    }

    /// Whether the answer of a region is due.
    pub(crate) fn is_asking(&self, now: Timestamp) -> bool {
        !self.open.is_empty() && now < self.hedge
    }
}

impl PoolRegion {
    pub(crate) fn reserve(&mut self, id: HoldId, units: u64, ttl: Duration, out: &mut Step) {
        if let Some(hold) = self.cells.holds.get(id).copied() {
            let answer = self.of_known(hold);
            out.effects.push(Effect::Answer { id, answer });
            return;
        }
        if self.waiting.iter().any(|waiting| waiting.id == id) {
            return;
        }
        let route = self.cells.route(id);
        if route.is_none() {
            self.demand.add(self.latest, units);
            if self.can_hold(units) && !self.is_claimed() {
                self.hold_here(id, units, ttl, out);
                if self.free() < self.low_mark {
                    self.rebalance(0, out);
                }
                self.renew_early(out);
                return;
            }
            if self.ended.is_some() && units > 0 {
                let answer = Answer::SoldOut { left: 0 };
                out.effects.push(Effect::Answer { id, answer });
                return;
            }
        }
        let is_full = self.cells.holds.len() >= self.settings.holds_max;
        if is_full || self.waiting.len() >= self.settings.waiting_max {
            out.effects.push(Effect::Answer { id, answer: Answer::Busy });
            return;
        }
        let now = self.latest;
        self.waiting.push_back(Waiting {
            id,
            units,
            ttl,
            since: now,
            asked: Members::default(),
            open: Members::default(),
            hedge: now,
            riding: now,
            route,
            joined: false,
            joined_at: 0,
            claim: None,
            claimed: now,
        });
        self.drive(self.waiting.len() - 1, out);
    }

    fn of_known(&self, hold: Hold) -> Answer {
        match hold.state {
            HoldState::Open | HoldState::Pinned | HoldState::Sold => Answer::Reserved {
                at: self.own,
                remaining: match hold.state {
                    HoldState::Open => hold.until.since(self.latest),
                    _ => Duration::ZERO,
                },
                crossed: false,
            },
            HoldState::Cancelled => Answer::Cancelled,
            HoldState::Expired => Answer::Expired,
        }
    }

    fn can_hold(&self, units: u64) -> bool {
        let extra = u64::from(self.has(Bug::SpendsOneMore));
        units <= self.spendable() + extra && self.cells.holds.len() < self.settings.holds_max
    }

    fn hold_here(&mut self, id: HoldId, units: u64, ttl: Duration, out: &mut Step) {
        let hold = self.hold(id, units, ttl, out);
        let answer = self.of_known(hold);
        out.effects.push(Effect::Answer { id, answer });
    }

    /// Gives units that have come or become free to those who wait for them, in their order; to
    /// an older claim of another region first.
    pub(crate) fn serve(&mut self, out: &mut Step) {
        self.serve_claims(out);
        if self.waiting.is_empty() || self.foreign_claim().is_some() {
            return;
        }
        let claim = self.waiting.iter().position(|waiting| waiting.claim.is_some());
        if let Some(at) = claim {
            if !self.can_hold(self.waiting[at].units) {
                return;
            }
            self.settle_here(at, out);
        }
        let (mut at, mut served) = (0, 0);
        while at < self.waiting.len() && self.spendable() > 0 && served < SERVED_MAX {
            if self.waiting[at].route.is_none() && self.can_hold(self.waiting[at].units) {
                self.settle_here(at, out);
                served += 1;
            } else {
                at += 1;
            }
        }
        self.serves_more = served == SERVED_MAX;
    }

    fn settle_here(&mut self, at: usize, out: &mut Step) {
        let Some(waiting) = self.take(at, None, out) else { return };
        self.hold_here(waiting.id, waiting.units, waiting.ttl, out);
    }

    /// Takes a reserve out of the queue; who was asked for it in vain is told so.
    fn take(&mut self, at: usize, but: Option<Member>, out: &mut Step) -> Option<Waiting> {
        let waiting = self.waiting.remove(at)?;
        for open in waiting.open.iter().filter(|open| Some(*open) != but) {
            self.send(open, Body::Cancel { id: waiting.id }, out);
        }
        if let Some(claim) = waiting.claim {
            self.end_claim(claim, out);
        }
        Some(waiting)
    }

    /// Answers a reserve that gets no units.
    pub(crate) fn refuse(&mut self, at: usize, answer: Answer, out: &mut Step) {
        if let Some(waiting) = self.take(at, None, out) {
            out.effects.push(Effect::Answer { id: waiting.id, answer });
        }
    }

    /// The caller does not wait any more.
    pub(crate) fn give_up(&mut self, at: usize, out: &mut Step) {
        self.take(at, None, out);
    }

    /// What comes next for every reserve that waits.
    pub(crate) fn keep_waiting(&mut self, out: &mut Step) {
        let mut at = 0;
        while at < self.waiting.len() {
            let id = self.waiting[at].id;
            if self.latest.since(self.waiting[at].since) >= self.settings.wait_max {
                let answer = self.too_late();
                self.refuse(at, answer, out);
            } else {
                self.drive(at, out);
            }
            if self.waiting.get(at).is_some_and(|waiting| waiting.id == id) {
                at += 1;
            }
        }
    }

    fn too_late(&self) -> Answer {
        let silent = |member: &Member| self.views[member.index()].is_silent(self.latest);
        let unreachable =
            self.map.others(self.own).filter(silent).fold(Members::default(), Members::with);
        if unreachable.is_empty() {
            return Answer::Busy;
        }
        Answer::Unavailable { known_free: self.known_free(), unreachable }
    }

    pub(crate) fn known_free(&self) -> u64 {
        let others = self.map.others(self.own);
        let heard = others.map(|other| &self.views[other.index()]);
        let heard = heard.filter(|view| !view.is_silent(self.latest));
        self.spendable() + heard.map(|view| view.digest.free).sum::<u64>()
    }

    /// What comes next for one reserve that waits: units that are on their way, another region
    /// that may have some, a claim on what is scattered, or the certificate that there is nothing.
    fn drive(&mut self, at: usize, out: &mut Step) {
        let now = self.latest;
        let (units, route) = (self.waiting[at].units, self.waiting[at].route);
        if let Some(at_region) = route {
            if self.waiting[at].hedge <= now {
                self.forward(at, at_region, out);
            }
            return;
        }
        let waiting = &self.waiting[at];
        let (riding, hedge) = (waiting.riding, waiting.hedge);
        let full = waiting.open.iter().count() >= PROBES_MAX;
        let waits = riding > now || waiting.joined || waiting.claim.is_some();
        if waits || !waiting.open.is_empty() && (hedge > now || full) {
            return;
        }
        let best = self.best_for(at);
        if waiting_alone(&self.waiting[at]) && self.ride(at, best.map(|best| best.1), out) {
            return;
        }
        match best {
            Some((to, _)) => self.forward(at, to, out),
            None if !self.waiting[at].open.is_empty() => _ = self.ask_all_the_same(at, out),
            None if units > 1 && self.known_free() >= units => self.claim(at, out),
            None => self.join(at, out),
        }
    }

    /// The region to ask: of those that may have the units, the one with the greatest chance per
    /// time. In this order a search one after the other takes least time on average.
    fn best_for(&self, at: usize) -> Option<(Member, Duration)> {
        let (units, asked) = (self.waiting[at].units, self.waiting[at].asked);
        let others = self.map.others(self.own).filter(|other| !asked.has(*other));
        let scored = others.filter_map(|other| {
            let rtt = self.map.rtt(self.own, other);
            let chance = self.views[other.index()].chance(units, self.latest, rtt / 2);
            (chance > CHANCE_MIN).then_some((other, rtt, chance / rtt.as_secs_f64()))
        });
        let best = scored.max_by(|a, b| a.2.total_cmp(&b.2).then(b.0.cmp(&a.0)));
        best.map(|(other, rtt, _)| (other, rtt))
    }

    /// Asks the region that was heard to have most, however fast they go there: units that are held
    /// and given back all the time move as fast as units that are sold, and there are some. Says
    /// whether there is such a region that this reserve has not asked.
    pub(crate) fn ask_all_the_same(&mut self, at: usize, out: &mut Step) -> bool {
        let waiting = &self.waiting[at];
        if waiting.open.iter().count() >= PROBES_MAX {
            return false;
        }
        let (units, asked) = (waiting.units, waiting.asked);
        let others = self.map.others(self.own).filter(|other| !asked.has(*other));
        let has_units = |other: &Member| {
            let view = &self.views[other.index()];
            !view.is_silent(self.latest) && view.digest.free >= units
        };
        let most = |other: &Member| {
            let near = std::cmp::Reverse(self.map.rtt(self.own, *other));
            (self.views[other.index()].digest.free, near)
        };
        let Some(to) = others.filter(has_units).max_by_key(most) else { return false };
        self.forward(at, to, out);
        true
    }

    /// Waits for units that are on their way, or for credit for units that are here, if that comes
    /// no later than another region's answer would. Asks for some first.
    fn ride(&mut self, at: usize, forward: Option<Duration>, out: &mut Step) -> bool {
        let now = self.latest;
        let is_soon = |arrival: Timestamp| forward.is_none_or(|rtt| now + rtt >= arrival);
        self.renew_early(out);
        if let Some(arrival) = self.credit_arrival(self.waiting[at].units).filter(|at| is_soon(*at))
        {
            self.waiting[at].riding = arrival;
            return true;
        }
        if self.next_arrival().is_none() {
            let waiting = self.waiting.iter().filter(|waiting| waiting.riding <= now);
            self.rebalance(waiting.map(|waiting| waiting.units).sum(), out);
        }
        let Some(arrival) = self.next_arrival() else { return false };
        if !is_soon(arrival) {
            return false;
        }
        self.waiting[at].riding = arrival;
        true
    }

    /// When the next units come that were asked for.
    fn next_arrival(&self) -> Option<Timestamp> {
        let arrival = |other: Member| {
            let pull = self.views[other.index()].pull?;
            let arrival = pull.sent + self.map.rtt(self.own, other).mul_f64(1.05);
            (arrival > self.latest).then_some(arrival)
        };
        self.map.others(self.own).filter_map(arrival).min()
    }

    fn forward(&mut self, at: usize, to: Member, out: &mut Step) {
        let hedge = self.latest + self.map.rtt(self.own, to).mul_f64(HEDGE);
        let waiting = &mut self.waiting[at];
        waiting.asked = waiting.asked.with(to);
        waiting.open = waiting.open.with(to);
        waiting.hedge = hedge;
        let (id, units, ttl) = (waiting.id, waiting.units, waiting.ttl);
        // So that not all who wait now ask for the same units.
        let digest = &mut self.views[to.index()].digest;
        digest.free = digest.free.saturating_sub(units);
        self.send(to, Body::Forward { id, units, ttl }, out);
    }

    /// Another region wants units held here. Not if this one has asked elsewhere for the same id:
    /// a region knows one hold of an id, or its caller would end another than it was given.
    pub(crate) fn forwarded_here(
        &mut self,
        from: Member,
        id: HoldId,
        units: u64,
        ttl: Duration,
        out: &mut Step,
    ) {
        let hold = match self.cells.holds.get(id).copied() {
            Some(hold) => Some(hold),
            None if self.is_elsewhere(id) => None,
            None if self.can_hold(units) && !self.is_claimed() => {
                Some(self.hold(id, units, ttl, out))
            }
            None => None,
        };
        let remaining = hold.and_then(|hold| match hold.state {
            HoldState::Open => Some(hold.until.since(self.latest)),
            HoldState::Pinned | HoldState::Sold => Some(Duration::ZERO),
            _ => None,
        });
        self.send(from, Body::Forwarded { id, remaining }, out);
    }

    /// Whether the hold of an id is in another region, or may come to be there.
    fn is_elsewhere(&self, id: HoldId) -> bool {
        let is_asked = || self.waiting.iter().any(|waiting| waiting.id == id);
        !self.has(Bug::HeldTwice) && (self.cells.route(id).is_some() || is_asked())
    }

    /// Another region has held units, or not.
    pub(crate) fn forwarded(
        &mut self,
        from: Member,
        id: HoldId,
        remaining: Option<Duration>,
        out: &mut Step,
    ) {
        let Some(at) = self.waiting.iter().position(|waiting| waiting.id == id) else {
            // Nobody waits for it. Who got units elsewhere has taken it back; if that was lost, it
            // ends by itself. Of one that is not known here what was asked came late: the caller
            // was told long ago that there are none.
            let is_known = self.cells.route(id).is_some() || self.cells.holds.get(id).is_some();
            if remaining.is_some() && !is_known {
                self.send(from, Body::Cancel { id }, out);
            }
            return;
        };
        if let Some(remaining) = remaining {
            self.take(at, Some(from), out);
            self.remember_route(id, from, out);
            let answer = Answer::Reserved { at: from, remaining, crossed: true };
            out.effects.push(Effect::Answer { id, answer });
            return;
        }
        self.waiting[at].open = self.waiting[at].open.without(from);
        if self.waiting[at].route.is_some() {
            self.refuse(at, Answer::Expired, out);
            return;
        }
        self.drive(at, out);
    }

    /// Asks all regions again: somebody has units after all.
    pub(crate) fn search_again(&mut self, at: usize, out: &mut Step) {
        self.waiting[at].joined = false;
        self.waiting[at].forget_asked();
        let gathers = self.waiting[at].units > 1 && self.known_free() >= self.waiting[at].units;
        if self.best_for(at).is_some() || gathers {
            self.drive(at, out);
        } else if !self.ask_all_the_same(at, out) {
            // They are on their way, or their region may not spend them yet.
            self.waiting[at].riding = self.latest + LOOK_AGAIN;
        }
    }
}

fn waiting_alone(waiting: &Waiting) -> bool {
    waiting.open.is_empty()
}
