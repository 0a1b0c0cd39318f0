//! The phases of a pool.

use bytes::Bytes;

use crate::{
    answer::{Done, NotDone, PhaseAnswer, Reason, Refusal, rejected},
    frame::Kind,
    mutant,
    pattern::{Pattern, Phase},
    resource::{
        DamagedRow, ReadRows, ScopeState, StatusOutput, StatusState,
        barrier::InboxRow,
        codec,
        holds::{HoldKind, HoldSettings, Holds, NewHold, Owner},
        pool::row::{EffectRow, LEVEL_MAX, PoolOutput, PoolRow, effect_key, pool_key},
    },
    store::RowKey,
    time::Timestamp,
    transport::Command,
};

/// What a command asks of a pool.
#[derive(Clone, Copy, Debug)]
pub(in crate::resource) struct Terms {
    /// How much.
    pub(in crate::resource) amount: u64,
    /// What a 3PS reserve makes of it; `Incoming` adds, the others take.
    pub(in crate::resource) kind: HoldKind,
}

/// The decoded rows of a pool.
#[derive(Debug)]
pub(in crate::resource) struct PoolState {
    settings: HoldSettings,
    terms: fn(&Command) -> Result<Terms, NotDone>,
    /// Without its claims, which are in `holds`. `None` when the pool was never opened.
    row: Option<PoolRow>,
    holds: Holds,
    effects: Vec<(RowKey, EffectRow)>,
    change_count: u64,
}

impl PoolState {
    pub(in crate::resource) fn load(
        settings: &HoldSettings,
        terms: fn(&Command) -> Result<Terms, NotDone>,
        rows: &ReadRows,
        now: Timestamp,
    ) -> Result<Self, DamagedRow> {
        let mut row = rows.get(&pool_key()).map(PoolRow::decode).transpose()?;
        let mut holds = Holds::default();
        let mut change_count = 0;
        if let Some(row) = &mut row {
            row.latest = row.latest.max(now);
            holds = Holds::new(std::mem::take(&mut row.holds));
            change_count = holds.expire(row.latest) as u64;
        }
        let effects = Vec::new();
        Ok(Self { settings: settings.clone(), terms, row, holds, effects, change_count })
    }

    pub(super) fn into_row(self) -> Option<PoolRow> {
        let mut row = self.row?;
        row.holds = self.holds.into_vec();
        Some(row)
    }
}

impl ScopeState for PoolState {
    fn apply(&mut self, command: &Command, inbox: Option<&InboxRow>) -> PhaseAnswer {
        let terms = (self.terms)(command)?;
        let Some(row) = &mut self.row else {
            // What was never opened has nothing to take back.
            return if command.phase.is_backward() {
                Ok(Done::default())
            } else {
                rejected("it was never opened")
            };
        };
        let mut pool = Open {
            row,
            holds: &mut self.holds,
            effects: &mut self.effects,
            change_count: &mut self.change_count,
            settings: &self.settings,
            command,
            owner: (command.tx, command.operation),
            terms,
        };
        pool.apply(inbox)
    }

    fn change_count(&self) -> u64 {
        self.change_count
    }

    fn into_changes(mut self: Box<Self>) -> Vec<(RowKey, Option<Bytes>)> {
        if self.change_count == 0 {
            return Vec::new();
        }
        let effects = std::mem::take(&mut self.effects);
        let effects =
            effects.into_iter().map(|(key, row)| (key, Some(codec::encode(Kind::EffectRow, &row))));
        let row = self.into_row().map(|row| (pool_key(), Some(row.encode())));
        row.into_iter().chain(effects).collect()
    }
}

/// An open pool and one command for it.
struct Open<'a> {
    row: &'a mut PoolRow,
    holds: &'a mut Holds,
    effects: &'a mut Vec<(RowKey, EffectRow)>,
    change_count: &'a mut u64,
    settings: &'a HoldSettings,
    command: &'a Command,
    owner: Owner,
    terms: Terms,
}

impl Open<'_> {
    fn apply(&mut self, inbox: Option<&InboxRow>) -> PhaseAnswer {
        let is_held = self.holds.get(self.owner).is_some();
        let strict = match self.terms.kind {
            HoldKind::Incoming => HoldKind::Incoming,
            HoldKind::Optimistic | HoldKind::Strict => HoldKind::Strict,
        };
        match (self.command.phase, self.command.pattern) {
            (Phase::Reserve, _) => self.hold(self.terms.kind),
            (Phase::Prepare, Pattern::TwoPhaseCommit) => self.prepare_commit(strict),
            (Phase::Prepare, _) => self.hold(strict),
            (Phase::Validate, _) => self.validate(),
            (Phase::Execute, Pattern::Saga | Pattern::CriticalEventual) | (Phase::Deliver, _) => {
                self.take()
            }
            (Phase::Commit, _) if self.command.one_phase && !is_held => self.take(),
            // The vote was `ReadOnly`: there is nothing to commit.
            (Phase::Commit, _) if !is_held && self.terms.amount == 0 => Ok(self.output()),
            (Phase::Execute | Phase::Commit, _) => self.consume(),
            (Phase::Abort | Phase::Cancel | Phase::Release, _) => {
                self.drop_hold();
                Ok(Done::default())
            }
            (Phase::Compensate, _) => self.compensate(inbox.is_some_and(InboxRow::is_executed)),
            (Phase::Status, _) => self.status(inbox),
        }
    }

    /// Whether the amount fits beside `claimed`.
    fn fits(&self, claimed: u128) -> bool {
        u128::from(self.terms.amount) + claimed <= u128::from(self.row.level)
    }

    /// Whether the amount could be added beside what others will add.
    fn has_room(&self) -> bool {
        let level = u128::from(self.row.level) + self.holds.totals().incoming;
        level + u128::from(self.terms.amount) <= u128::from(LEVEL_MAX)
    }

    fn admits(&self, kind: HoldKind) -> bool {
        let totals = self.holds.totals();
        match kind {
            HoldKind::Incoming => self.has_room(),
            HoldKind::Optimistic => self.fits(totals.firm()),
            HoldKind::Strict if mutant!(StrictIgnoresOptimistic) => self.fits(totals.firm()),
            HoldKind::Strict => self.fits(totals.firm() + totals.optimistic),
        }
    }

    fn no(&self) -> PhaseAnswer {
        let totals = self.holds.totals();
        let claimed = totals.firm() + totals.optimistic;
        match self.terms.kind {
            HoldKind::Incoming => rejected(format!("it would hold more than {LEVEL_MAX}")),
            HoldKind::Optimistic | HoldKind::Strict => rejected(format!(
                "{} do not fit: {} are there, {claimed} are claimed",
                self.terms.amount, self.row.level
            )),
        }
    }

    fn add(&mut self, kind: HoldKind, pinned: bool) -> PhaseAnswer {
        if self.holds.len() >= self.settings.holds_max as usize {
            return Err(NotDone::unknown("there are too many live claims"));
        }
        self.row.hold_count += 1;
        let number = self.row.hold_count;
        let hold = NewHold { number, owner: self.owner, amount: self.terms.amount, kind, pinned };
        self.holds.add(self.settings, self.row.latest, self.command.ttl, hold);
        *self.change_count += 1;
        Ok(Done::default())
    }

    /// 3PS reserve and 2PS prepare: a claim that expires.
    fn hold(&mut self, kind: HoldKind) -> PhaseAnswer {
        if self.admits(kind) { self.add(kind, false) } else { self.no() }
    }

    /// 2PC prepare: a claim that does not, admitted like a direct take.
    fn prepare_commit(&mut self, kind: HoldKind) -> PhaseAnswer {
        if self.terms.amount == 0 {
            return Ok(Done { read_only: true, ..Done::default() });
        }
        if self.may_take() { self.add(kind, true) } else { self.no() }
    }

    /// 3PS validate: pins the claim, or drops it.
    fn validate(&mut self) -> PhaseAnswer {
        let Some(hold) = self.holds.get(self.owner) else {
            return Err(NotDone::Refused(Refusal::Expired));
        };
        let (number, kind) = (hold.number, hold.kind);
        let totals = self.holds.totals();
        let passes = match kind {
            // The room was made sure of when it was claimed, and nothing takes it away.
            HoldKind::Incoming => true,
            // Its own amount is among the strict claims.
            HoldKind::Strict => {
                totals.firm() + self.holds.optimistic_before(number) <= u128::from(self.row.level)
            }
            HoldKind::Optimistic => self.fits(totals.firm() + self.holds.optimistic_before(number)),
        };
        if !passes && !mutant!(ValidatedUnchecked) {
            let no = self.no();
            self.drop_hold();
            return no;
        }
        self.holds.pin(self.owner);
        *self.change_count += 1;
        Ok(Done::default())
    }

    fn may_take(&self) -> bool {
        match self.terms.kind {
            HoldKind::Incoming => self.has_room(),
            HoldKind::Optimistic | HoldKind::Strict => self.fits(self.holds.totals().firm()),
        }
    }

    /// A direct take: no claim was made before it.
    fn take(&mut self) -> PhaseAnswer {
        if !self.may_take() {
            return self.no();
        }
        self.change(self.terms.amount, self.terms.kind == HoldKind::Incoming, false);
        Ok(self.output())
    }

    /// Takes what was claimed.
    fn consume(&mut self) -> PhaseAnswer {
        let Some(hold) = self.holds.remove(self.owner) else {
            return Err(NotDone::Refused(Refusal::Expired));
        };
        *self.change_count += 1;
        self.change(hold.amount, hold.kind == HoldKind::Incoming, false);
        Ok(self.output())
    }

    fn drop_hold(&mut self) {
        if let Some(hold) = self.holds.remove(self.owner) {
            *self.change_count += 1;
            if mutant!(ReleaseGivesBack) {
                self.change(hold.amount, hold.kind != HoldKind::Incoming, true);
            }
        }
    }

    fn compensate(&mut self, is_executed: bool) -> PhaseAnswer {
        if !is_executed && !mutant!(UnexecutedGivenBack) {
            self.drop_hold();
            return Ok(Done::default());
        }
        let was_added = self.terms.kind == HoldKind::Incoming;
        let fits = if was_added { self.fits(self.holds.totals().firm()) } else { self.has_room() };
        if !fits {
            return Err(NotDone::Rejected(Reason::new(if was_added {
                "what was added is gone or claimed"
            } else {
                "there is no room for what was taken"
            })));
        }
        self.change(self.terms.amount, !was_added, true);
        Ok(Done::default())
    }

    /// Changes the quantity and records that. Both directions were checked before.
    fn change(&mut self, amount: u64, is_added: bool, is_reversal: bool) {
        if amount == 0 {
            return;
        }
        let signed = i64::try_from(amount).expect("amounts are at most LEVEL_MAX");
        let change = if is_added { signed } else { -signed };
        self.row.level = self
            .row
            .level
            .checked_add_signed(change)
            .expect("a change is checked before it is made");
        self.row.effect_count += 1;
        *self.change_count += 1;
        let (tx, operation) = self.owner;
        let effect = EffectRow { tx, operation, change, is_reversal, at: self.row.latest };
        self.effects.push((effect_key(self.row.effect_count), effect));
    }

    fn output(&self) -> Done {
        let output = serde_json::to_vec(&PoolOutput { left: self.row.level })
            .expect("a number is always valid JSON");
        Done::with(output)
    }

    fn status(&self, inbox: Option<&InboxRow>) -> PhaseAnswer {
        let Some(inbox) = inbox else {
            return Err(NotDone::unknown("nothing is known of this operation"));
        };
        if inbox.is_undone() {
            return Err(NotDone::Refused(Refusal::Undone));
        }
        let state = match self.holds.get(self.owner) {
            _ if inbox.is_executed() => StatusState::Executed,
            Some(hold) if hold.pinned => StatusState::Pinned,
            Some(_) => StatusState::Held,
            None if inbox.forward().is_some_and(|done| done.read_only) => StatusState::Pinned,
            None if inbox.forward().is_some() => {
                return Err(NotDone::Refused(Refusal::Expired));
            }
            None => return rejected("nothing is held"),
        };
        StatusOutput::answer(state, Vec::new())
    }
}
