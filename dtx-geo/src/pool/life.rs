//! The life of a hold: made, extended, pinned, and ended once.

use std::time::Duration;

use dtx_core::time::Timestamp;

use crate::pool::{
    Answer, Body, Bug, Change, Effect, Hold, HoldId, HoldState, Member, PoolRegion, Step, Write,
    cells::Route,
};

/// The most holds that end by themselves, or are forgotten, in one step; the rest do in the next.
/// So what one step changes is bounded.
const ENDED_MAX: usize = 256;

/// What a caller is told of a hold that is so now.
fn told(state: Option<HoldState>) -> Answer {
    match state {
        Some(HoldState::Open | HoldState::Pinned) => Answer::Pinned,
        Some(HoldState::Sold) => Answer::Confirmed,
        Some(HoldState::Cancelled) => Answer::Cancelled,
        Some(HoldState::Expired) => Answer::Expired,
        None => Answer::NotHere,
    }
}

impl PoolRegion {
    pub(crate) fn end_holds(&mut self, out: &mut Step) {
        let mut freed = false;
        for _ in 0..ENDED_MAX {
            let Some((id, hold)) = self.cells.holds.next_due(self.latest) else { break };
            if hold.state == HoldState::Open {
                self.end_hold(id, hold, HoldState::Expired, out);
                freed = true;
            } else {
                self.write(Write::Forget(id), out);
            }
        }
        if freed {
            self.changed(out);
        }
    }

    /// The one place where a hold ends.
    fn end_hold(&mut self, id: HoldId, hold: Hold, state: HoldState, out: &mut Step) {
        let until = self.latest + self.settings.retry_window;
        self.write(Write::Hold(id, Hold { state, until, ..hold }), out);
        let (mut sold, mut released) = (self.cells.sold, self.cells.released);
        match state {
            HoldState::Sold => sold += hold.units,
            _ => released += hold.units,
        }
        self.write(Write::Ended { sold, released }, out);
    }

    /// Takes units out for a hold. The caller has looked that they are there.
    pub(crate) fn hold(&mut self, id: HoldId, units: u64, ttl: Duration, out: &mut Step) -> Hold {
        let span = ttl.min(self.settings.hold_total_max);
        let created = self.latest;
        let hold = Hold {
            units,
            created,
            until: created + span,
            span,
            extensions: 0,
            state: HoldState::Open,
        };
        self.write(Write::Hold(id, hold), out);
        hold
    }

    /// Changes a hold for a caller, wherever it is.
    pub(crate) fn change(&mut self, id: HoldId, change: Change, out: &mut Step) {
        let route = self.cells.routed.get(&id).copied();
        let waiting = self.waiting.iter().position(|waiting| waiting.id == id);
        if let Some(at) = waiting.filter(|_| change == Change::Cancel) {
            self.give_up(at, out);
            if route.is_none() {
                out.effects.push(Effect::Answer { id, answer: Answer::Cancelled });
                return;
            }
        }
        let Some(route) = route else {
            let state = self.change_here(id, change, out);
            out.effects.push(Effect::Answer { id, answer: told(state) });
            return;
        };
        if change == Change::Pin && !route.pinned {
            // Before the hold can be pinned there: where it is must not be forgotten here.
            self.write(Write::Routed(id, Route { pinned: true, ..route }), out);
        }
        self.send(route.at, Body::Change { id, change }, out);
    }

    /// Another region changes a hold that it has here.
    pub(crate) fn change_for(&mut self, from: Member, id: HoldId, change: Change, out: &mut Step) {
        let state = self.change_here(id, change, out);
        self.send(from, Body::Changed { id, state }, out);
    }

    /// What became of a hold in another region.
    pub(crate) fn changed_there(
        &mut self,
        from: Member,
        id: HoldId,
        state: Option<HoldState>,
        out: &mut Step,
    ) {
        let route = self.cells.routed.get(&id).copied();
        let Some(route) = route.filter(|route| route.at == from) else { return };
        if route.pinned && !state.is_some_and(HoldState::is_held) {
            self.remember_route(id, from, out);
        }
        out.effects.push(Effect::Answer { id, answer: told(state) });
    }

    /// Changes a hold of this region, and says how it is then.
    fn change_here(&mut self, id: HoldId, change: Change, out: &mut Step) -> Option<HoldState> {
        let hold = self.cells.holds.get(id).copied()?;
        let sells_expired = self.has(Bug::ExpiredSells) && hold.state == HoldState::Expired;
        let state = match change {
            Change::Pin if hold.state == HoldState::Open => {
                let until = Timestamp::MAX;
                self.write(Write::Hold(id, Hold { state: HoldState::Pinned, until, ..hold }), out);
                HoldState::Pinned
            }
            Change::Confirm if hold.state.is_held() || sells_expired => {
                self.end_hold(id, hold, HoldState::Sold, out);
                HoldState::Sold
            }
            Change::Cancel if hold.state.is_held() => {
                self.end_hold(id, hold, HoldState::Cancelled, out);
                self.changed(out);
                HoldState::Cancelled
            }
            _ => hold.state,
        };
        Some(state)
    }

    /// Another region has got the units elsewhere. A hold that is pinned is no tentative one.
    pub(crate) fn drop_tentative(&mut self, id: HoldId, out: &mut Step) {
        if self.cells.holds.get(id).is_some_and(|hold| hold.state == HoldState::Open) {
            self.change_here(id, Change::Cancel, out);
        }
    }

    pub(crate) fn extend(&mut self, id: HoldId, by: Duration, out: &mut Step) {
        let known = self.cells.holds.get(id).copied();
        let Some(mut hold) = known.filter(|hold| hold.state == HoldState::Open) else {
            let answer = match known.map(|hold| hold.state) {
                Some(HoldState::Pinned) => Answer::Pinned,
                _ => Answer::Expired,
            };
            out.effects.push(Effect::Answer { id, answer });
            return;
        };
        let by = by.min(hold.span / 2);
        let mut until = (hold.until + by).min(hold.created + self.settings.hold_total_max);
        let mut may = hold.extensions < self.settings.extensions_max;
        if self.has(Bug::ExtendsForever) {
            until = hold.until + hold.span;
            may = true;
        }
        let answer = if may && until > hold.until {
            hold = Hold { until, span: by, extensions: hold.extensions + 1, ..hold };
            self.write(Write::Hold(id, hold), out);
            Answer::Extended { remaining: until.since(self.latest) }
        } else {
            Answer::NotExtended { remaining: hold.until.since(self.latest) }
        };
        out.effects.push(Effect::Answer { id, answer });
    }

    pub(crate) fn remember_route(&mut self, id: HoldId, at: Member, out: &mut Step) {
        self.write(Write::Routed(id, Route { at, pinned: false }), out);
        self.routes.push_back((self.latest, id));
    }

    pub(crate) fn forget_routes(&mut self, out: &mut Step) {
        let kept = self.settings.hold_total_max + self.settings.retry_window;
        for _ in 0..ENDED_MAX {
            let front = self.routes.front().copied();
            let Some((_, id)) = front.filter(|(since, _)| self.latest.since(*since) >= kept) else {
                return;
            };
            self.routes.pop_front();
            // A pinned one comes back here when its hold has ended.
            if self.cells.routed.get(&id).is_some_and(|route| !route.pinned) {
                self.write(Write::Forget(id), out);
            }
        }
    }
}
