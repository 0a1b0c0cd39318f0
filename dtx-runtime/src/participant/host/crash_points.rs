//! The crash points of a host that depend on the phase. Without the feature `crash-points` of
//! dtx-core all of this compiles to nothing.

use dtx_core::{answer::PhaseAnswer, crash_point, pattern::Phase, store::Scope};

use super::job::Job;

/// The commands that one write stores the answers of.
type Waiting = (Scope, Vec<Job>, Vec<PhaseAnswer>);

fn asks(waiting: &[Waiting], phase: Phase) -> bool {
    let mut jobs = waiting.iter().flat_map(|(_, jobs, _)| jobs);
    jobs.any(|job| job.command.phase == phase)
}

/// Before claim, effect and answer of a resource's commands are written.
pub(super) fn writing(waiting: &[Waiting]) {
    crash_point!("resource.prepare.before", asks(waiting, Phase::Prepare));
    crash_point!("resource.reserve.before", asks(waiting, Phase::Reserve));
    crash_point!("resource.validate.before", asks(waiting, Phase::Validate));
    crash_point!("resource.execute.before", asks(waiting, Phase::Execute));
    crash_point!("resource.commit.before", asks(waiting, Phase::Commit));
    crash_point!("resource.abort.before", asks(waiting, Phase::Abort));
    crash_point!("resource.cancel.before", asks(waiting, Phase::Cancel));
    crash_point!("resource.release.before", asks(waiting, Phase::Release));
    crash_point!("resource.compensate.before", asks(waiting, Phase::Compensate));
    crash_point!("resource.deliver.before", asks(waiting, Phase::Deliver));
}

/// After claim, effect and answer of a resource's commands are durable, before they are told.
pub(super) fn written(waiting: &[Waiting]) {
    crash_point!("resource.prepare.after", asks(waiting, Phase::Prepare));
    crash_point!("resource.reserve.after", asks(waiting, Phase::Reserve));
    crash_point!("resource.validate.after", asks(waiting, Phase::Validate));
    crash_point!("resource.execute.after", asks(waiting, Phase::Execute));
    crash_point!("resource.commit.after", asks(waiting, Phase::Commit));
    crash_point!("resource.abort.after", asks(waiting, Phase::Abort));
    crash_point!("resource.cancel.after", asks(waiting, Phase::Cancel));
    crash_point!("resource.release.after", asks(waiting, Phase::Release));
    crash_point!("resource.compensate.after", asks(waiting, Phase::Compensate));
    crash_point!("resource.deliver.after", asks(waiting, Phase::Deliver));
}
