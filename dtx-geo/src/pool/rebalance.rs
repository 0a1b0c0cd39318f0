//! Units move to where they are asked for.
//!
//! Every region computes the same targets from what it has heard of all. A region that is far
//! below its own asks the nearest ones that are above theirs, before it runs out; each gives of
//! what it has above its own. So a move makes both nearer to their targets, and none goes back.

use std::time::Duration;

use crate::pool::{Body, Claim, Member, Need, PoolRegion, Step, peers::Pull, targets};

/// The least time between two looks at the targets.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// An answer that took so many round trips does not come any more.
const PULL_LOST: u32 = 3;

impl PoolRegion {
    /// Computes the targets of all regions into `scratch`; gives the stock and the demand of all.
    fn aim(&mut self) -> (u64, f64) {
        let now = self.latest;
        let (mut stock, mut demand) = (0, 0.0);
        let mut needs = [Need { rate: 0.0, cost: 1.0 }; crate::pool::POOL_REGIONS_MAX];
        let count = self.map.count();
        for (index, need) in needs.iter_mut().enumerate().take(count) {
            let member = Member::of(index);
            let (free, rate) = if member == self.own {
                (self.free(), self.demand.rate())
            } else {
                let view = &self.views[index];
                if view.is_silent(now) {
                    continue;
                }
                (view.digest.free, view.digest.rate as f64 / 1e3)
            };
            stock += free;
            demand += rate;
            let nearest = self.map.nearest(member).map(|near| self.map.rtt(member, near));
            *need = Need { rate, cost: nearest.unwrap_or_default().as_secs_f64() };
        }
        targets(stock, &needs[..count], &mut self.scratch);
        (stock, demand)
    }

    /// Asks others for units if this region is about to run out, or if reserves wait for so many.
    pub(crate) fn rebalance(&mut self, waiting: u64, out: &mut Step) {
        let now = self.latest;
        let Some(nearest) = self.map.nearest(self.own) else { return };
        if self.is_claimed() || waiting == 0 && now.since(self.rebalanced) < LOOK_INTERVAL {
            return;
        }
        self.rebalanced = now;
        self.drop_lost_pulls();
        let (stock, demand) = self.aim();
        let near = self.map.rtt(self.own, nearest);
        // What is sold before it could arrive needs no move; it is asked for where it is.
        let lasts = if demand > 0.0 { stock as f64 / demand } else { f64::INFINITY };
        let target = self.scratch[self.own.index()];
        let coming: u64 = self.views.iter().filter_map(|view| view.pull).map(|p| p.need).sum();
        let have = self.free() + coming;
        let cover = self.settings.cover_min;
        let cover = if cover.is_zero() { cover } else { cover + near * 2 };
        let low = ((self.demand.rate() * cover.as_secs_f64()) as u64).min(target / 2);
        self.low_mark = low;
        if have >= low.max(waiting) || lasts < near.as_secs_f64() {
            return;
        }
        let need = target.max(waiting).saturating_sub(have);
        self.pull(need, waiting, out);
    }

    fn pull(&mut self, mut need: u64, waiting: u64, out: &mut Step) {
        let now = self.latest;
        let mut donors: Vec<_> = self.map.others(self.own).collect();
        donors.sort_by_key(|donor| (self.map.rtt(self.own, *donor), *donor));
        for donor in donors {
            let view = &self.views[donor.index()];
            let surplus = view.digest.free.saturating_sub(self.scratch[donor.index()]);
            let ask = need.min(surplus);
            if ask == 0 || view.pull.is_some() || view.is_silent(now) {
                continue;
            }
            need -= ask;
            let view = &mut self.views[donor.index()];
            view.pull = Some(Pull { sent: now, need: ask });
            view.digest.free -= ask;
            self.send(donor, Body::Pull { need: ask, waiting, claim: None }, out);
        }
    }

    fn drop_lost_pulls(&mut self) {
        for donor in self.map.clone().others(self.own) {
            let lost = self.map.rtt(self.own, donor) * PULL_LOST;
            let view = &mut self.views[donor.index()];
            view.pull = view.pull.filter(|pull| self.latest.since(pull.sent) < lost);
        }
    }

    /// Another region asks for units.
    pub(crate) fn pulled(
        &mut self,
        from: Member,
        need: u64,
        waiting: u64,
        claim: Option<Claim>,
        out: &mut Step,
    ) {
        if let Some(claim) = claim {
            self.claimed_by(from, claim, need, out);
            return;
        }
        let units = if self.is_claimed() { 0 } else { self.share_for(from, need, waiting) };
        if units > 0 {
            self.give(from, units, out);
        } else {
            self.send(from, Body::Digest, out);
        }
    }

    /// How much of what is asked for another region gets: what is above the own target; and for
    /// reserves that wait there, its part of what is here by demand.
    fn share_for(&mut self, from: Member, need: u64, waiting: u64) -> u64 {
        self.aim();
        let free = self.free();
        let surplus = free.saturating_sub(self.scratch[self.own.index()]);
        let (own, other) = (self.demand.told(), self.views[from.index()].digest.rate);
        let part = u128::from(free) * u128::from(other + 1) / u128::from(own + other + 1);
        need.min(self.spendable()).min(surplus.max(waiting.min(part as u64)))
    }
}
