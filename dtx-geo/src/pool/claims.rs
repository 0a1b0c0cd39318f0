//! Large reserves, for which units must be gathered from several regions.
//!
//! Two that each gather half of what they need would wait for each other for ever. So each has a
//! claim, and claims are in one order, by logical time: while an older one needs units, nothing
//! goes to a younger one, and who has a younger one gives away what it has gathered.

use std::time::Duration;

use dtx_core::time::Timestamp;

use crate::pool::{Body, Claim, Member, PoolRegion, Step};

/// A claim that was not heard of for so long is over: its region is lost or cut off.
const LOST: Duration = Duration::from_secs(1);

/// A claim of another region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pending {
    pub(crate) claim: Claim,
    pub(crate) need: u64,
    pub(crate) heard: Timestamp,
}

impl PoolRegion {
    fn own_claim(&self) -> Option<Claim> {
        self.waiting.iter().find_map(|waiting| waiting.claim)
    }

    /// The oldest claim, if it is of another region.
    pub(crate) fn foreign_claim(&self) -> Option<(Member, Pending)> {
        let open = self.claims.iter().filter(|(_, pending)| pending.need > 0);
        let (member, pending) = open.min_by_key(|(_, pending)| pending.claim)?;
        let is_oldest = self.own_claim().is_none_or(|own| pending.claim < own);
        is_oldest.then_some((*member, *pending))
    }

    /// Whether units are for a claim, and not for who comes now.
    pub(crate) fn is_claimed(&self) -> bool {
        self.own_claim().is_some() || self.claims.values().any(|pending| pending.need > 0)
    }

    /// Gives the oldest claim what there is.
    pub(crate) fn serve_claims(&mut self, out: &mut Step) {
        while let Some((member, pending)) = self.foreign_claim() {
            let units = pending.need.min(self.spendable());
            if units == 0 {
                return;
            }
            let need = pending.need - units;
            self.claims.insert(member, Pending { need, ..pending });
            self.give(member, units, out);
        }
    }

    /// A reserve for which no region alone has enough begins to gather.
    pub(crate) fn claim(&mut self, at: usize, out: &mut Step) {
        if self.own_claim().is_some() {
            return;
        }
        self.stamp += 1;
        let claim = Claim { stamp: self.stamp, region: self.own.0 };
        self.waiting[at].claim = Some(claim);
        self.waiting[at].claimed = self.latest;
        self.ask_all(at, claim, out);
    }

    fn ask_all(&mut self, at: usize, claim: Claim, out: &mut Step) {
        let waiting = self.waiting[at].units;
        let need = waiting.saturating_sub(self.spendable());
        for to in self.map.clone().others(self.own) {
            self.send(to, Body::Pull { need, waiting, claim: Some(claim) }, out);
        }
    }

    /// Asks again for the own claim, and forgets those that are over.
    pub(crate) fn keep_claims(&mut self, out: &mut Step) {
        let now = self.latest;
        self.claims.retain(|_, pending| now.since(pending.heard) < LOST);
        self.serve(out);
        let own = self.waiting.iter().position(|waiting| waiting.claim.is_some());
        let Some(at) = own else { return };
        let Some(claim) = self.waiting[at].claim else { return };
        self.ask_all(at, claim, out);
        if now.since(self.waiting[at].claimed) > self.map.farthest(self.own) * 2 {
            self.join(at, out);
        }
    }

    /// The own claim is over.
    pub(crate) fn end_claim(&mut self, claim: Claim, out: &mut Step) {
        for to in self.map.clone().others(self.own) {
            self.send(to, Body::ClaimEnded { claim }, out);
        }
    }

    pub(crate) fn claim_ended(&mut self, from: Member, claim: Claim, out: &mut Step) {
        if self.claims.get(&from).is_some_and(|pending| pending.claim <= claim) {
            self.claims.remove(&from);
            self.serve(out);
        }
    }

    /// Another region asks for a claim.
    pub(crate) fn claimed_by(&mut self, from: Member, claim: Claim, need: u64, out: &mut Step) {
        let known = self.claims.get(&from);
        if known.is_some_and(|pending| pending.claim > claim) {
            return;
        }
        self.claims.insert(from, Pending { claim, need, heard: self.latest });
        self.serve(out);
        self.send(from, Body::Digest, out);
    }
}
