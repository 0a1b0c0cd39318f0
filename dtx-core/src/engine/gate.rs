//! The last gate (OV): approval, delayed execution, verification. What was found is durable
//! before it is acted on, and is never evaluated again.

use crate::{
    engine::{Signal, open::Record, write::Turn},
    ids::OperationIndex,
    modifier::Facts,
    mutant,
    pattern::{Event, Phase},
    store::Status,
    time::Timestamp,
    transaction::{Consistency, Operation},
};

/// A gate that is shut.
#[derive(Clone, Debug)]
pub(super) struct GateRun {
    /// When to look again by the clock.
    pub(super) wake_at: Timestamp,
    /// Operations whose status is awaited; `None` before they are asked.
    pub(super) asked: Option<Vec<OperationIndex>>,
    /// The time until an approval must be there.
    pub(super) approval_until: Option<Timestamp>,
}

impl Turn<'_, '_> {
    /// The machine stands at its last gate.
    pub(super) fn open_gate(&mut self) {
        let approval = self.open.transaction.modifiers().and_then(|m| m.approval.as_ref());
        let approval_until = approval.map(|approval| {
            let reached = self.cx.now.since(self.open.accepted_at);
            let within = *self.open.state.approval_within.get_or_insert(reached + approval.timeout);
            self.open.accepted_at + within
        });
        self.open.gate =
            Some(Box::new(GateRun { wake_at: Timestamp::MAX, asked: None, approval_until }));
        self.check_gate();
    }

    /// Sees whether the gate opens now.
    pub(super) fn check_gate(&mut self) {
        if self.open.gate.is_none() || self.open.unsettled.is_some() {
            return;
        }
        if let Some(found) = self.open.state.verified {
            self.open.gate = None;
            self.feed(if found { Event::GateOpened } else { Event::GateRefused });
            return;
        }
        if self.open.state.signals.iter().any(|entry| entry.signal == Signal::ForceCommit) {
            // An operator's word stands in place of all that is waited for here.
            self.found(true);
            return;
        }
        if !self.is_approved() || !self.is_time() {
            return;
        }
        let verifies = self.to_verify();
        if verifies.is_empty() && !self.has_condition() {
            self.open.gate = None;
            self.feed(Event::GateOpened);
        } else if verifies.is_empty() {
            self.found(true);
        } else {
            self.verify(verifies);
        }
    }

    fn is_approved(&mut self) -> bool {
        let given = mutant!(ApprovalIgnored)
            || self.open.state.signals.iter().any(|e| e.signal == Signal::Approve);
        let until = self.open.gate.as_ref().and_then(|gate| gate.approval_until);
        match until {
            None => true,
            Some(_) if given => true,
            Some(until) if until <= self.cx.now => {
                self.open.gate = None;
                self.feed(Event::GateRefused);
                false
            }
            Some(until) => {
                self.wait_until(until);
                false
            }
        }
    }

    fn is_time(&mut self) -> bool {
        let after = self.open.transaction.modifiers().and_then(|m| m.execute_after);
        let at = after.map_or(Timestamp::ZERO, |after| self.open.accepted_at + after);
        if at <= self.cx.now || mutant!(DelayIgnored) {
            return true;
        }
        self.wait_until(at);
        false
    }

    /// A short wait stays in memory; a long one is parked in the store by its due time.
    fn wait_until(&mut self, at: Timestamp) {
        let Some(gate) = &mut self.open.gate else { return };
        gate.wake_at = at;
        if at.since(self.cx.now) > self.shared.settings.park_after {
            self.open.status = Status::Parked;
            self.record(Record::PROGRESS);
        }
    }

    fn has_condition(&self) -> bool {
        self.open.transaction.modifiers().is_some_and(|m| m.verification.is_some())
    }

    /// The operations that must say that they still stand: all of them when the condition holds,
    /// else those that are verified in any case.
    fn to_verify(&self) -> Vec<OperationIndex> {
        let verification = self.open.transaction.modifiers().and_then(|m| m.verification.as_ref());
        let all = verification.is_some_and(|verification| {
            let facts = Facts {
                amount: verification.amount,
                elapsed: self.cx.now.since(self.open.accepted_at),
                load_percent: self.cx.load_percent,
                recent_failures_percent: self.cx.peers.recent_failures_percent(),
            };
            verification.when.holds(&facts, &self.shared.settings.conditions)
        });
        let wanted =
            |operation: &Operation| all || operation.consistency() == Consistency::Immediate;
        let operations = self.open.transaction.operations().iter().enumerate();
        operations
            .filter(|(_, operation)| wanted(operation))
            .map(|(index, _)| OperationIndex(index as u16))
            .collect()
    }

    fn verify(&mut self, operations: Vec<OperationIndex>) {
        let Some(gate) = &mut self.open.gate else { return };
        if gate.asked.is_some() {
            return;
        }
        gate.wake_at = Timestamp::MAX;
        gate.asked = Some(operations.clone());
        for operation in operations {
            self.begin(operation, Phase::Status, false);
        }
    }

    /// A participant said whether what it holds still stands.
    pub(super) fn verified(&mut self, operation: OperationIndex, stands: bool) {
        let Some(asked) = self.open.gate.as_mut().and_then(|gate| gate.asked.as_mut()) else {
            return;
        };
        asked.retain(|other| *other != operation);
        let done = asked.is_empty();
        if !stands && !mutant!(VerificationIgnored) {
            self.found(false);
        } else if done {
            self.found(true);
        }
    }

    fn found(&mut self, stands: bool) {
        if self.open.state.verified.is_none() {
            self.open.state.verified = Some(stands);
            if mutant!(VerifiedUnwritten) {
                self.check_gate();
                return;
            }
            self.record(Record::PROGRESS);
        }
    }
}
