//! The certificate that there are too few units anywhere.
//!
//! One look at all regions is not enough: a unit may move behind the back of who looks. Two looks
//! are: when nothing came in, was freed or was sent away in any region between its two counts,
//! then at the moment between the looks there was at most what the first one found. Looks go on
//! one after the other while somebody waits, each the second one of the one before: who comes
//! during a look is answered by the next one, because the moment between them is after that.

use dtx_core::time::Timestamp;

use crate::pool::{Answer, Body, Bug, Count, Member, Members, PoolRegion, Step};

/// The most looks for one that waits; then it is told that units move too fast.
const LOOKS_MAX: u64 = 8;

/// Looks that are going on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Collect {
    look: u64,
    counts: Vec<Option<Count>>,
    before: Option<Vec<Option<Count>>>,
    started: Timestamp,
}

impl PoolRegion {
    /// A reserve waits for the certificate.
    pub(crate) fn join(&mut self, at: usize, out: &mut Step) {
        if !self.waiting[at].joined {
            self.waiting[at].joined = true;
            self.waiting[at].joined_at = self.looks + 1;
        }
        if self.collect.is_none() {
            self.look(None, out);
        }
    }

    fn look(&mut self, before: Option<Vec<Option<Count>>>, out: &mut Step) {
        self.looks += 1;
        let look = self.looks;
        let mut counts = vec![None; self.map.count()];
        counts[self.own.index()] = Some(self.count());
        self.collect = Some(Collect { look, counts, before, started: self.latest });
        for to in self.map.clone().others(self.own) {
            self.send(to, Body::Collect { look }, out);
        }
        self.finish_look(out);
    }

    pub(crate) fn counted(&mut self, from: Member, look: u64, count: Count, out: &mut Step) {
        let Some(collect) = self.collect.as_mut().filter(|collect| collect.look == look) else {
            return;
        };
        collect.counts[from.index()] = Some(count);
        self.finish_look(out);
    }

    fn finish_look(&mut self, out: &mut Step) {
        let Some(collect) = self.collect.take() else { return };
        if collect.counts.iter().any(Option::is_none) {
            self.collect = Some(collect);
            return;
        }
        let versions = |counts: &[Option<Count>]| {
            counts.iter().flatten().map(|count| count.version).collect::<Vec<_>>()
        };
        let stable = collect
            .before
            .as_ref()
            .is_some_and(|before| versions(before) == versions(&collect.counts) && agree(before));
        let waits = if stable || self.has(Bug::LooksOnce) {
            self.certified(&collect, out)
        } else {
            self.unsettled(collect.look, out)
        };
        if waits && self.collect.is_none() {
            self.look(Some(collect.counts), out);
        }
    }

    /// At the moment between two looks there was at most what the first one found. Says whether
    /// somebody waits for the next look.
    fn certified(&mut self, collect: &Collect, out: &mut Step) -> bool {
        let counts = collect.before.as_ref().unwrap_or(&collect.counts);
        let sum = |of: fn(&Count) -> u64| counts.iter().flatten().map(of).sum::<u64>();
        let free = sum(|count| count.free);
        // What is given and not received is on its way. Taken by a buddy and not yet known to its
        // region, it counts twice as free and once less as on its way.
        let left = (free + sum(|count| count.given)).saturating_sub(sum(|count| count.received));
        let held: u64 = collect.counts.iter().flatten().map(|count| count.held).sum();
        let minted = sum(|count| count.minted);
        for (index, count) in collect.counts.iter().enumerate() {
            if let Some(count) = count.filter(|_| index != self.own.index()) {
                self.views[index].digest.free = count.spendable;
            }
        }
        if left == 0 && held == 0 {
            self.ended = Some(minted);
        }
        self.answer_joined(collect.look, left, out)
    }

    /// Answers those who had joined before this look began. Says whether there are others.
    fn answer_joined(&mut self, look: u64, left: u64, out: &mut Step) -> bool {
        let mut at = 0;
        let mut later = false;
        while at < self.waiting.len() {
            let waiting = &self.waiting[at];
            let (id, units) = (waiting.id, waiting.units);
            if waiting.joined && waiting.joined_at <= look {
                if left >= units {
                    self.search_again(at, out);
                } else if waiting.is_asking(self.latest) {
                    // What is not free any more may be held for this one.
                    later = true;
                } else {
                    self.refuse(at, Answer::SoldOut { left }, out);
                }
            } else if waiting.joined {
                later = true;
            }
            if self.waiting.get(at).is_some_and(|waiting| waiting.id == id) {
                at += 1;
            }
        }
        later
    }

    /// Units moved between two looks. Where there still are some they are asked for once in each
    /// look. Who has waited for as many looks as one may is answered: one that came late has all
    /// of them before it. Says whether somebody waits for the next look.
    fn unsettled(&mut self, look: u64, out: &mut Step) -> bool {
        let mut at = 0;
        while at < self.waiting.len() {
            let waiting = &mut self.waiting[at];
            let (id, looks) = (waiting.id, (look + 1).saturating_sub(waiting.joined_at));
            if waiting.joined && looks >= LOOKS_MAX {
                self.refuse(at, Answer::Busy, out);
            } else if waiting.joined {
                waiting.forget_asked();
                self.ask_all_the_same(at, out);
            }
            if self.waiting.get(at).is_some_and(|waiting| waiting.id == id) {
                at += 1;
            }
        }
        self.waiting.iter().any(|waiting| waiting.joined)
    }

    /// Gives a look up when regions do not answer.
    pub(crate) fn look_out(&mut self, out: &mut Step) {
        let patience = self.map.farthest(self.own) * 3;
        let late = |collect: &Collect| self.latest.since(collect.started) > patience;
        if !self.collect.as_ref().is_some_and(late) {
            return;
        }
        let Some(collect) = self.collect.take() else { return };
        let missing = (0..self.map.count()).filter(|index| collect.counts[*index].is_none());
        let unreachable = missing.map(Member::of).fold(Members::default(), Members::with);
        let known_free = collect.counts.iter().flatten().map(|count| count.free).sum();
        let mut at = 0;
        while at < self.waiting.len() {
            if !self.waiting[at].joined {
                at += 1;
                continue;
            }
            self.waiting[at].pass_over(unreachable);
            if self.ask_all_the_same(at, out) {
                // If it has none either, the next look begins.
                self.waiting[at].joined = false;
                at += 1;
            } else {
                self.refuse(at, Answer::Unavailable { known_free, unreachable }, out);
            }
        }
    }
}

/// Whether all know of the present incarnations of all. Else a region that has begun again could
/// hide units that are on their way.
fn agree(counts: &[Option<Count>]) -> bool {
    let present: u64 = counts.iter().flatten().map(|count| u64::from(count.incarnation)).sum();
    counts.iter().flatten().all(|count| count.incarnations == present)
}
