//! One region's part of one pool: what comes in, and what goes out.

use std::{collections::BTreeMap, collections::VecDeque, sync::Arc, time::Duration};

use dtx_core::time::Timestamp;

use crate::pool::{
    Body, Bug, Cells, Change, Count, Demand, Digest, Grants, HoldId, Member, Members, Message,
    PoolMap, PoolSettings, PoolSettingsError, Write, cells::Peer, certificate::Collect,
    claims::Pending, lease::LeaseState, overflow::Waiting, peers::View,
};

/// What happens to a region. The clock is that of the region: it never goes back, also across
/// restarts, and is compared with no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// Somebody wants units. The same id again is the same hold, where it is asked for again in
    /// the same region. In another region it may be a second hold, which ends by itself.
    Reserve {
        /// The id of the hold.
        id: HoldId,
        /// How many.
        units: u64,
        /// For how long, at most `hold_total_max`.
        ttl: Duration,
    },
    /// A hold must not end by itself any more. Where the hold is in another region, this one asks
    /// there, and says nothing before the answer has come: say it again until it has. So with
    /// [`Confirm`](Self::Confirm) and [`Cancel`](Self::Cancel).
    Pin {
        /// Which hold.
        id: HoldId,
    },
    /// The units of a hold are sold.
    Confirm {
        /// Which hold.
        id: HoldId,
    },
    /// The units of a hold are free again.
    Cancel {
        /// Which hold.
        id: HoldId,
    },
    /// A hold should live longer. Only where the hold is.
    Extend {
        /// Which hold.
        id: HoldId,
        /// By how much; at most half as long as it was given before.
        by: Duration,
    },
    /// Units come in from outside.
    Mint {
        /// How many.
        units: u64,
    },
    /// Time has passed. Ten times a second is often enough.
    Tick,
    /// A message has come.
    Message {
        /// From where.
        from: Member,
        /// What it says.
        message: Message,
    },
}

/// What a caller is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The units are held.
    Reserved {
        /// Where. Others of its phases may go there, or to the region that was asked; `Extend`
        /// goes there.
        at: Member,
        /// How long the hold lives on.
        remaining: Duration,
        /// Whether that is another region than the one that was asked.
        crossed: bool,
    },
    /// In all regions together there are fewer units than were asked for: certified, at a moment
    /// between question and answer.
    SoldOut {
        /// How many there are.
        left: u64,
    },
    /// None here, and some regions cannot be asked.
    Unavailable {
        /// Units that were known to be free.
        known_free: u64,
        /// The regions that did not answer.
        unreachable: Members,
    },
    /// Too much is waiting, or the wait was too long while units moved. Nothing is held.
    Busy,
    /// The hold does not end by itself any more.
    Pinned,
    /// The units are sold.
    Confirmed,
    /// The units are free again.
    Cancelled,
    /// The hold ended by itself: nothing is sold.
    Expired,
    /// There is no such hold: it never was, or it ended so long ago that it is forgotten. A hold
    /// that is pinned is not forgotten before it is confirmed or cancelled.
    NotHere,
    /// The hold lives longer.
    Extended {
        /// How long it lives on.
        remaining: Duration,
    },
    /// The hold was extended as often or as long as it may be, and lives as long as before.
    NotExtended {
        /// How long it lives on.
        remaining: Duration,
    },
}

/// What may leave once the writes of its step, and of all steps before, have landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// A message.
    Send {
        /// To where.
        to: Member,
        /// What it says.
        message: Message,
        /// How many units go with it for the first time.
        moves: u64,
    },
    /// An answer to a caller.
    Answer {
        /// About which hold.
        id: HoldId,
        /// What it is told.
        answer: Answer,
    },
}

/// What a step wants done. Kept by the caller and used again, so that a step needs no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Durable changes: all of them land together, after those of earlier steps.
    pub writes: Vec<Write>,
    /// What leaves when they have landed.
    pub effects: Vec<Effect>,
}

impl Step {
    /// Makes it ready for the next step.
    pub fn clear(&mut self) {
        self.writes.clear();
        self.effects.clear();
    }
}

/// One region's part of one pool.
#[derive(Clone, Debug)]
pub struct PoolRegion {
    pub(crate) own: Member,
    pub(crate) incarnation: u32,
    pub(crate) map: Arc<PoolMap>,
    pub(crate) settings: PoolSettings,
    pub(crate) cells: Cells,
    pub(crate) latest: Timestamp,
    pub(crate) stamp: u64,
    pub(crate) version: u64,
    pub(crate) views: Vec<View>,
    pub(crate) demand: Demand,
    pub(crate) waiting: VecDeque<Waiting>,
    pub(crate) collect: Option<Collect>,
    pub(crate) looks: u64,
    pub(crate) claims: BTreeMap<Member, Pending>,
    /// All of so many units are sold, for good.
    pub(crate) ended: Option<u64>,
    pub(crate) lease: LeaseState,
    /// When each region was last granted a lease by this one.
    pub(crate) granted: Vec<Timestamp>,
    /// Below this many units it is time to look whether others have more.
    pub(crate) low_mark: u64,
    pub(crate) rebalanced: Timestamp,
    /// More of those who wait can be served.
    pub(crate) serves_more: bool,
    /// Kept for their memory.
    pub(crate) scratch: Vec<u64>,
    /// When to forget where a hold went.
    pub(crate) routes: VecDeque<(Timestamp, HoldId)>,
    #[cfg(test)]
    pub(crate) bug: Option<Bug>,
}

impl PoolRegion {
    /// Begins, or begins again with what was durable. `incarnation` is 0 at first and one more
    /// whenever the disk was lost; then `cells` are empty. The step holds what has to land before
    /// anything else.
    ///
    /// # Errors
    /// When a setting cannot be.
    pub fn start(
        (own, incarnation): (Member, u32),
        map: Arc<PoolMap>,
        settings: PoolSettings,
        cells: Cells,
        now: Timestamp,
        out: &mut Step,
    ) -> Result<Self, PoolSettingsError> {
        settings.check()?;
        if own.index() >= map.count() {
            return Err(PoolSettingsError::Own(own.0));
        }
        let count = map.count();
        let run = cells.run + 1;
        let routes = cells.routed.keys().map(|id| (now, *id)).collect();
        let mut region = Self {
            own,
            incarnation,
            map,
            settings,
            cells,
            latest: now,
            // Above all that this region ever said.
            stamp: u64::from(run) << 40,
            version: u64::from(run) << 32,
            views: vec![View::default(); count],
            demand: Demand::default(),
            waiting: VecDeque::new(),
            collect: None,
            looks: u64::from(run) << 32,
            claims: BTreeMap::new(),
            ended: None,
            lease: LeaseState::default(),
            // Who has a lease is not stored; all may have one from just before.
            granted: vec![now; count],
            low_mark: 0,
            rebalanced: now,
            serves_more: false,
            scratch: Vec::new(),
            routes,
            #[cfg(test)]
            bug: None,
        };
        region.cells.holds.reserve_room(settings.holds_max);
        region.write(Write::Run(run), out);
        Ok(region)
    }

    /// What is durable once all writes have landed.
    pub fn cells(&self) -> &Cells {
        &self.cells
    }

    /// Units that may be held or given now.
    pub fn spendable(&self) -> u64 {
        let free = self.free();
        self.credit().map_or(free, |credit| free.min(credit))
    }

    /// Units that are here, also those that the buddy must hear of others first.
    pub(crate) fn free(&self) -> u64 {
        u64::try_from(self.cells.free()).unwrap_or(0)
    }

    /// Takes an input at a moment of the region's clock. `out` is cleared and filled.
    pub fn step(&mut self, now: Timestamp, input: Input, out: &mut Step) {
        out.clear();
        self.latest = self.latest.max(now);
        self.end_holds(out);
        match input {
            Input::Reserve { id, units, ttl } => self.reserve(id, units, ttl, out),
            Input::Pin { id } => self.change(id, Change::Pin, out),
            Input::Confirm { id } => self.change(id, Change::Confirm, out),
            Input::Cancel { id } => self.change(id, Change::Cancel, out),
            Input::Extend { id, by } => self.extend(id, by, out),
            Input::Mint { units } => {
                let minted = self.cells.minted + units;
                self.write(Write::Minted(minted), out);
                self.changed(out);
            }
            Input::Tick => self.tick(out),
            Input::Message { from, message } => self.receive(from, message, out),
        }
    }

    pub(crate) fn write(&mut self, write: Write, out: &mut Step) {
        self.cells.apply(&write);
        out.writes.push(write);
    }

    /// Units came in, went away or became free: what was counted before no longer holds.
    pub(crate) fn changed(&mut self, out: &mut Step) {
        self.version += 1;
        self.serve(out);
    }

    pub(crate) fn send(&mut self, to: Member, body: Body, out: &mut Step) {
        self.send_with(to, body, 0, out);
    }

    fn send_with(&mut self, to: Member, body: Body, moves: u64, out: &mut Step) {
        self.stamp += 1;
        let peer = self.cells.peers[to.index()];
        let digest = Digest {
            free: self.spendable(),
            rate: self.demand.told(),
            minted: self.cells.minted,
            seen: peer.received,
            given: if moves == 0 && self.has(Bug::NeverResent) { 0 } else { peer.given },
        };
        let (from, stamp) = (self.incarnation, self.stamp);
        let message = Message { from, to: peer.incarnation, stamp, digest, body };
        out.effects.push(Effect::Send { to, message, moves });
    }

    /// Gives units to a region, for good.
    pub(crate) fn give(&mut self, to: Member, units: u64, out: &mut Step) {
        let mut peer = self.cells.peers[to.index()];
        peer.given += units;
        if self.has(Bug::GivenUnwritten) {
            self.cells.apply(&Write::Peer(to, peer));
        } else {
            self.write(Write::Peer(to, peer), out);
        }
        self.version += 1;
        self.views[to.index()].told = self.latest;
        self.views[to.index()].digest.free += units;
        self.send_with(to, Body::Digest, units, out);
    }

    fn tick(&mut self, out: &mut Step) {
        self.demand.roll(self.latest);
        self.forget_routes(out);
        self.keep_leases(out);
        self.keep_claims(out);
        if self.serves_more {
            self.serve(out);
        }
        self.keep_waiting(out);
        self.look_out(out);
        self.rebalance(0, out);
        for to in self.map.clone().others(self.own) {
            let view = &self.views[to.index()];
            let unseen = self.cells.peers[to.index()].given > view.digest.seen;
            if unseen && self.has(Bug::TakesBack) && self.latest.since(view.told).as_secs() > 2 {
                let mut peer = self.cells.peers[to.index()];
                peer.given = view.digest.seen;
                self.write(Write::Peer(to, peer), out);
            }
            self.send(to, Body::Digest, out);
        }
    }

    fn receive(&mut self, from: Member, message: Message, out: &mut Step) {
        if from == self.own || from.index() >= self.map.count() {
            return;
        }
        let known = self.cells.peers[from.index()].incarnation;
        if message.from < known || message.to > self.incarnation {
            return;
        }
        if message.from > known {
            self.begin_with(from, message.from, out);
        }
        if message.to < self.incarnation {
            // It does not know yet that this region has lost its disk.
            self.send(from, Body::Digest, out);
            return;
        }
        self.stamp = self.stamp.max(message.stamp);
        self.learn(from, &message, out);
        match message.body {
            Body::Digest => {}
            Body::Pull { need, waiting, claim } => self.pulled(from, need, waiting, claim, out),
            Body::ClaimEnded { claim } => self.claim_ended(from, claim, out),
            Body::Forward { id, units, ttl } => self.forwarded_here(from, id, units, ttl, out),
            Body::Forwarded { id, remaining } => self.forwarded(from, id, remaining, out),
            Body::Cancel { id } => self.drop_tentative(id, out),
            Body::Change { id, change } => self.change_for(from, id, change, out),
            Body::Changed { id, state } => self.changed_there(from, id, state, out),
            Body::Collect { look } => {
                let count = self.count();
                self.send(from, Body::Counted { look, count }, out);
            }
            Body::Counted { look, count } => self.counted(from, look, count, out),
            Body::Renew { run, number, report, buddy } => {
                self.renewed(from, (run, number), report, buddy, out);
            }
            Body::Lease { run, number, spent, reclaimed } => {
                self.leased(from, (run, number), spent, reclaimed, out);
            }
        }
    }

    /// A region has begun again with an empty disk. What was given to it before, and came from it
    /// before, stays as it is; the totals of its new incarnation begin at zero.
    fn begin_with(&mut self, from: Member, incarnation: u32, out: &mut Step) {
        let old = self.cells.peers[from.index()];
        let peer = Peer {
            incarnation,
            given: 0,
            received: 0,
            given_before: old.given_before + old.given,
            received_before: old.received_before + old.received,
        };
        self.write(Write::Peer(from, peer), out);
        self.views[from.index()] = View::default();
        self.claims.remove(&from);
        self.close_ward(from, incarnation, out);
        self.changed(out);
    }

    fn learn(&mut self, from: Member, message: &Message, out: &mut Step) {
        let view = &mut self.views[from.index()];
        if message.stamp >= view.stamp {
            view.stamp = message.stamp;
            view.digest = message.digest;
            view.heard = Some(self.latest);
        }
        if self.ended.is_some_and(|of| self.known_minted() > of) {
            self.ended = None;
        }
        let mut peer = self.cells.peers[from.index()];
        let given = message.digest.given;
        let is_answer = matches!(message.body, Body::Digest);
        let arrived = given > peer.received;
        if is_answer && (arrived || self.is_pull_over(from)) {
            self.views[from.index()].pull = None;
        }
        if arrived || self.has(Bug::TotalsAdded) && given > 0 && is_answer {
            peer.received = if self.has(Bug::TotalsAdded) { peer.received + given } else { given };
            self.write(Write::Peer(from, peer), out);
            self.changed(out);
        }
        if is_answer && !self.waiting.is_empty() {
            self.keep_waiting(out);
        }
    }

    fn is_pull_over(&self, from: Member) -> bool {
        let rtt = self.map.rtt(self.own, from);
        let pull = self.views[from.index()].pull;
        pull.is_some_and(|pull| self.latest.since(pull.sent) >= rtt.mul_f64(0.95))
    }

    pub(crate) fn known_minted(&self) -> u64 {
        let others = self.map.others(self.own);
        let others = others.map(|other| self.views[other.index()].digest.minted);
        self.cells.minted + others.sum::<u64>()
    }

    pub(crate) fn count(&self) -> Count {
        let peers = &self.cells.peers;
        let taken: u64 = self.cells.wards.values().map(|ward| ward.reclaimed).sum();
        let lost = self.cells.reclaimed - self.cells.reclaimed_before;
        let others: u64 = peers.iter().map(|peer| u64::from(peer.incarnation)).sum();
        Count {
            version: self.version,
            incarnation: self.incarnation,
            incarnations: others + u64::from(self.incarnation),
            free: self.free(),
            spendable: self.spendable(),
            held: self.cells.held(),
            given: peers.iter().map(|peer| peer.given).sum::<u64>() + lost,
            received: peers.iter().map(|peer| peer.received).sum::<u64>() + taken,
            minted: self.cells.minted,
        }
    }

    pub(crate) fn has_leases(&self) -> bool {
        matches!(self.settings.grants, Grants::Leased { .. }) && self.map.count() > 1
    }

    /// All that decides what comes next, but for the demand: without time nothing is measured.
    #[cfg(test)]
    pub(crate) fn fingerprint(&self, state: &mut impl std::hash::Hasher) {
        use std::hash::Hash;
        (self.incarnation, &self.cells, self.latest, self.stamp, self.version).hash(state);
        (&self.views, &self.waiting, &self.collect, self.looks, &self.claims).hash(state);
        (self.ended, &self.lease, &self.granted, self.low_mark, self.rebalanced).hash(state);
    }

    pub(crate) fn has(&self, bug: Bug) -> bool {
        #[cfg(test)]
        return self.bug == Some(bug);
        #[cfg(not(test))]
        {
            let _ = bug;
            false
        }
    }
}
