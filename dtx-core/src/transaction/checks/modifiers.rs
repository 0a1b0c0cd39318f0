//! Modifiers compose only with a pattern that has what they touch.

use super::{Result, duration, range, rules::has_last_gate, wrong};
use crate::{
    modifier::{Modifiers, TimeBounds, VerifyWhen, can_do, has_phase},
    transaction::{Limits, Problem, Transaction},
};

pub(super) fn check(transaction: &Transaction, limits: &Limits) -> Result {
    let Some(modifiers) = transaction.modifiers() else { return Ok(()) };
    verification(transaction, modifiers, limits)?;
    if let Some(bounds) = &modifiers.time_bounds {
        time_bounds(transaction, bounds, limits)?;
    }
    Ok(())
}

fn verification(transaction: &Transaction, modifiers: &Modifiers, limits: &Limits) -> Result {
    let approval = modifiers.approval.as_ref().map(|approval| approval.timeout);
    let waits = [
        ("modifiers.approval", "approval.timeout_ms", approval),
        ("modifiers.execute_after_ms", "execute_after_ms", modifiers.execute_after),
    ];
    let asked = modifiers.verification.is_some().then_some("modifiers.verification");
    let first = asked.into_iter().chain(waits.iter().filter(|w| w.2.is_some()).map(|w| w.0)).next();
    if let Some(field) = first
        && !has_last_gate(transaction)
    {
        return wrong(field, Problem::NoLastGate { pattern: transaction.pattern });
    }
    for (_, wait, time) in waits {
        let Some(time) = time else { continue };
        duration(format!("modifiers.{wait}"), time, limits)?;
        if transaction.deadline().is_some_and(|deadline| deadline <= time) {
            return wrong("deadline_ms", Problem::DeadlineBeforeWait { wait });
        }
    }
    let field = |name: &str| format!("modifiers.verification.when.{name}");
    match modifiers.verification.as_ref().map(|verification| &verification.when) {
        Some(VerifyWhen::ElapsedOver(time)) => duration(field("elapsed_over_ms"), *time, limits),
        // Nothing is over a hundred percent.
        Some(VerifyWhen::LoadOver(limit)) => range(field("load_over"), u64::from(*limit), 0, 99),
        Some(VerifyWhen::RecentFailuresOver(limit)) => {
            range(field("recent_failures_over"), u64::from(*limit), 0, 99)
        }
        Some(VerifyWhen::Always | VerifyWhen::AmountOver(_) | VerifyWhen::Custom(_)) | None => {
            Ok(())
        }
    }
}

fn time_bounds(transaction: &Transaction, bounds: &TimeBounds, limits: &Limits) -> Result {
    let pattern = transaction.pattern;
    for (&phase, &time) in &bounds.base {
        let field = format!("modifiers.time_bounds.base_ms.{phase}");
        if !has_phase(pattern, transaction.gate, phase) {
            return wrong(field, Problem::NoSuchPhase { pattern, phase });
        }
        duration(field, time, limits)?;
    }
    if let Some(found) = bounds.on_expiry
        && !can_do(pattern, found)
    {
        return wrong("modifiers.time_bounds.on_expiry", Problem::OnExpiry { pattern, found });
    }
    let extensions = u64::from(bounds.extensions_max.unwrap_or_default());
    let field = "modifiers.time_bounds.extensions_max";
    range(field, extensions, 0, u64::from(limits.extensions_max))
}
