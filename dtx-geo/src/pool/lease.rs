//! Credit and leases, so that the units of a region that is lost can be sold by others.
//!
//! Every region has a buddy: the one nearest to it. It reports to the buddy what it has spent, and
//! the buddy acknowledges that once it is durable. The region never spends more than `window`
//! units above what was acknowledged. So whenever the buddy takes all but `window` of what the
//! last report had left, what remains covers what the region has spent: **taking is safe at any
//! time, by any clock**. It is done when the buddy has heard nothing for as long as a lease, so
//! that it is not done for nothing. The region learns with its next lease what was taken.
//!
//! One thing rests on clocks, and on their rates only. A buddy that loses its disk forgets what it
//! took. A region whose lease had not ended when it learns of that knows that nothing was taken,
//! because it counts the lease from when it *asked*, the buddy from when it *granted*, each with
//! the drift against itself. Else the region takes all but its credit for taken.

use std::{collections::VecDeque, time::Duration};

use dtx_core::time::Timestamp;

use crate::pool::{Body, Bug, Grants, Member, PoolRegion, Report, Step, Write, cells::Ward};

/// At most so many times in one round trip a lease is asked for because credit is used.
const RENEWS: u32 = 8;
/// Requests whose answer still counts.
const REQUESTS_MAX: usize = 16;
/// What clocks are read to.
const GRAIN: Duration = Duration::from_millis(1);

/// The own lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct LeaseState {
    /// Until when units may be spent.
    until: Option<Timestamp>,
    /// What the buddy has stored as spent.
    spent: u64,
    number: u64,
    /// The last request that was answered.
    answered: u64,
    /// The last requests: number, when it was sent, and what it said was spent.
    sent: VecDeque<(u64, Timestamp, u64)>,
}

impl PoolRegion {
    fn buddy(&self) -> Option<Member> {
        self.map.nearest(self.own)
    }

    fn terms(&self) -> Option<(u64, Duration)> {
        match self.settings.grants {
            Grants::Leased { window, lease } if self.has_leases() => Some((window, lease)),
            _ => None,
        }
    }

    fn is_leased(&self) -> bool {
        self.lease.until.is_some_and(|until| self.latest < until)
    }

    /// How much may be spent before the buddy must know of it; `None`: without leases.
    pub(crate) fn credit(&self) -> Option<u64> {
        let (window, _) = self.terms()?;
        if self.has(Bug::CreditIgnored) {
            return Some(u64::MAX);
        }
        Some((self.lease.spent + window).saturating_sub(self.cells.spent()))
    }

    /// When so much credit comes, beside what others wait for already, with an answer of the buddy
    /// that is on its way. `None` when it does not, or when answers are overdue.
    pub(crate) fn credit_arrival(&self, units: u64) -> Option<Timestamp> {
        let (Some(buddy), Some(credit)) = (self.buddy(), self.credit()) else { return None };
        let riding = self.waiting.iter().filter(|waiting| waiting.riding > self.latest);
        let wanted = units + riding.map(|waiting| waiting.units).sum::<u64>();
        if wanted > self.free() {
            return None;
        }
        let arrival = |sent: Timestamp| sent + self.map.rtt(self.own, buddy).mul_f64(1.05);
        let mut open = self.lease.sent.iter().filter(|request| request.0 > self.lease.answered);
        let oldest = open.clone().next()?;
        if arrival(oldest.1) <= self.latest {
            return None;
        }
        let enough = |spent: u64| spent.saturating_sub(self.lease.spent) + credit >= wanted;
        open.find(|request| enough(request.2)).map(|request| arrival(request.1))
    }

    /// Asks for a new lease when a quarter of the credit is used: at the rate that a window is good
    /// for, the answer is here before the rest is.
    pub(crate) fn renew_early(&mut self, out: &mut Step) {
        let (Some((window, _)), Some(buddy)) = (self.terms(), self.buddy()) else { return };
        let used = self.cells.spent().saturating_sub(self.lease.spent);
        let pause = self.map.rtt(self.own, buddy) / RENEWS;
        let is_new =
            self.lease.sent.back().is_some_and(|(_, at, _)| self.latest.since(*at) < pause);
        if used * 4 > window && !is_new {
            self.renew(buddy, out);
        }
    }

    fn renew(&mut self, buddy: Member, out: &mut Step) {
        self.lease.number += 1;
        if self.lease.sent.len() == REQUESTS_MAX {
            self.lease.sent.pop_front();
        }
        let (run, number) = (self.cells.run, self.lease.number);
        let report = self.cells.report();
        self.lease.sent.push_back((number, self.latest, report.spent));
        self.send(buddy, Body::Renew { run, number, report, buddy: self.cells.buddy }, out);
    }

    /// Renews the own lease, and takes what regions have left whose lease has ended.
    pub(crate) fn keep_leases(&mut self, out: &mut Step) {
        let (Some((window, lease)), Some(buddy)) = (self.terms(), self.buddy()) else { return };
        self.settle_with(buddy, out);
        let is_due =
            self.lease.sent.back().is_none_or(|(_, at, _)| self.latest.since(*at) > lease / 4);
        if is_due || !self.is_leased() {
            self.renew(buddy, out);
        }
        let drift = f64::from(self.settings.drift_ppm) / 1e6;
        let held = lease.mul_f64(1.0 + drift) + GRAIN;
        for member in self.map.clone().others(self.own) {
            let over = self.latest.since(self.granted[member.index()]) > held;
            let Some(ward) = self.cells.wards.get(&member).copied().filter(|_| over) else {
                continue;
            };
            let reclaimed = ward.report.free().saturating_sub(window);
            if reclaimed > ward.reclaimed {
                self.write(Write::Ward(member, Ward { reclaimed, ..ward }), out);
                self.changed(out);
            }
        }
    }

    /// The buddy has lost its disk, and with it what it had taken. While the lease of its old
    /// incarnation lasts it had taken nothing that is not known here. Afterwards it may have taken
    /// all but the credit, so nothing of that is sold any more.
    fn settle_with(&mut self, buddy: Member, out: &mut Step) {
        let incarnation = self.cells.peers[buddy.index()].incarnation;
        if incarnation == self.cells.buddy {
            return;
        }
        if !self.is_leased() {
            let credit = self.credit().unwrap_or(0);
            let total = self.cells.written_off + self.free().saturating_sub(credit);
            self.write(Write::WrittenOff(total), out);
        }
        let total = self.cells.reclaimed;
        self.write(Write::Reclaimed { total, before: total, buddy: incarnation }, out);
        self.lease = LeaseState { number: self.lease.number, ..LeaseState::default() };
        self.changed(out);
    }

    /// A region asks this one, its buddy, for a lease.
    pub(crate) fn renewed(
        &mut self,
        from: Member,
        (run, number): (u32, u64),
        report: Report,
        buddy: u32,
        out: &mut Step,
    ) {
        let is_buddy = self.map.nearest(from) == Some(self.own) && self.terms().is_some();
        if !is_buddy || buddy != self.incarnation {
            return;
        }
        let incarnation = self.cells.peers[from.index()].incarnation;
        let known = self.cells.wards.get(&from).copied();
        let known = known.unwrap_or_else(|| Ward { incarnation, ..Ward::default() });
        let report = known.report.merge(report);
        if report != known.report {
            self.write(Write::Ward(from, Ward { incarnation, report, ..known }), out);
        }
        self.granted[from.index()] = self.latest;
        let (spent, reclaimed) = (report.spent, known.reclaimed);
        self.send(from, Body::Lease { run, number, spent, reclaimed }, out);
    }

    /// The buddy has granted a lease.
    pub(crate) fn leased(
        &mut self,
        from: Member,
        (run, number): (u32, u64),
        spent: u64,
        reclaimed: u64,
        out: &mut Step,
    ) {
        let (Some((_, lease)), Some(buddy)) = (self.terms(), self.buddy()) else { return };
        let settled = self.cells.peers[buddy.index()].incarnation == self.cells.buddy;
        if from != buddy || run != self.cells.run || !settled {
            return;
        }
        let Some((_, sent, _)) = self.lease.sent.iter().find(|sent| sent.0 == number).copied()
        else {
            return;
        };
        self.lease.answered = self.lease.answered.max(number);
        let drift = f64::from(self.settings.drift_ppm) / 1e6;
        let lasts = lease.mul_f64(1.0 - drift).saturating_sub(GRAIN);
        let until = sent + lasts;
        self.lease.until = Some(self.lease.until.map_or(until, |old| old.max(until)));
        self.lease.spent = self.lease.spent.max(spent);
        let before = self.cells.reclaimed_before;
        if before + reclaimed > self.cells.reclaimed {
            let total = before + reclaimed;
            self.write(Write::Reclaimed { total, before, buddy: self.cells.buddy }, out);
            self.changed(out);
        } else {
            self.serve(out);
        }
    }

    /// A region has lost its disk: it will never spend again what its old incarnation had.
    pub(crate) fn close_ward(&mut self, of: Member, incarnation: u32, out: &mut Step) {
        let (Some((window, _)), Some(ward)) = (self.terms(), self.cells.wards.get(&of).copied())
        else {
            return;
        };
        let taken = ward.reclaimed.max(ward.report.free().saturating_sub(window));
        let reclaimed_before = ward.reclaimed_before + taken;
        let ward = Ward { incarnation, report: Report::default(), reclaimed: 0, reclaimed_before };
        self.write(Write::Ward(of, ward), out);
    }
}
