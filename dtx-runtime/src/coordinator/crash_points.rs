//! The crash points of a coordinator that depend on what is on its way. Without the feature
//! `crash-points` of dtx-core all of this compiles to nothing.

use dtx_core::{
    crash_point,
    pattern::Phase,
    store::{RecordKind, TxWrite, Verdict},
    transport::{Body, Envelope, Reply},
};

fn holds(writes: &[TxWrite], kind: RecordKind) -> bool {
    writes.iter().any(|write| write.kind == kind)
}

fn decides(writes: &[TxWrite], verdict: Verdict) -> bool {
    writes.iter().any(|write| write.kind == RecordKind::Verdict && write.verdict == Some(verdict))
}

/// Before a commit is handed to the store.
pub(super) fn committing(writes: &[TxWrite]) {
    crash_point!("coordinator.accepted.before", holds(writes, RecordKind::Accepted));
    crash_point!("coordinator.resumed.before", holds(writes, RecordKind::Resumed));
    crash_point!("coordinator.progress.before", holds(writes, RecordKind::Progress));
    crash_point!("coordinator.pivot-sent.before", holds(writes, RecordKind::PivotSent));
    crash_point!("coordinator.delegated.before", holds(writes, RecordKind::Delegated));
    crash_point!("coordinator.completed.before", decides(writes, Verdict::Completed));
    crash_point!("coordinator.turned.before", decides(writes, Verdict::Turned));
    crash_point!("coordinator.commit.before", decides(writes, Verdict::Commit));
    crash_point!("coordinator.abort.before", decides(writes, Verdict::Abort));
    crash_point!("coordinator.finished.before", holds(writes, RecordKind::Finished));
}

/// After a commit has returned, before anything that waited for it happens.
pub(super) fn committed(writes: &[TxWrite]) {
    crash_point!("coordinator.accepted.after", holds(writes, RecordKind::Accepted));
    crash_point!("coordinator.resumed.after", holds(writes, RecordKind::Resumed));
    crash_point!("coordinator.progress.after", holds(writes, RecordKind::Progress));
    crash_point!("coordinator.pivot-sent.after", holds(writes, RecordKind::PivotSent));
    crash_point!("coordinator.delegated.after", holds(writes, RecordKind::Delegated));
    crash_point!("coordinator.completed.after", decides(writes, Verdict::Completed));
    crash_point!("coordinator.turned.after", decides(writes, Verdict::Turned));
    crash_point!("coordinator.commit.after", decides(writes, Verdict::Commit));
    crash_point!("coordinator.abort.after", decides(writes, Verdict::Abort));
    crash_point!("coordinator.finished.after", holds(writes, RecordKind::Finished));
}

fn sends(commands: &[Envelope], phase: Phase) -> bool {
    let is_it = |envelope: &Envelope| matches!(&envelope.body, Body::Command(command) if command.phase == phase);
    commands.iter().any(is_it)
}

/// Before commands are handed to the transport.
pub(super) fn publishing(commands: &[Envelope]) {
    crash_point!("coordinator.send.prepare.before", sends(commands, Phase::Prepare));
    crash_point!("coordinator.send.reserve.before", sends(commands, Phase::Reserve));
    crash_point!("coordinator.send.validate.before", sends(commands, Phase::Validate));
    crash_point!("coordinator.send.execute.before", sends(commands, Phase::Execute));
    crash_point!("coordinator.send.commit.before", sends(commands, Phase::Commit));
    crash_point!("coordinator.send.abort.before", sends(commands, Phase::Abort));
    crash_point!("coordinator.send.cancel.before", sends(commands, Phase::Cancel));
    crash_point!("coordinator.send.release.before", sends(commands, Phase::Release));
    crash_point!("coordinator.send.compensate.before", sends(commands, Phase::Compensate));
    crash_point!("coordinator.send.deliver.before", sends(commands, Phase::Deliver));
    crash_point!("coordinator.send.status.before", sends(commands, Phase::Status));
}

/// After the transport has taken commands.
pub(super) fn published(commands: &[Envelope]) {
    crash_point!("coordinator.send.prepare.after", sends(commands, Phase::Prepare));
    crash_point!("coordinator.send.reserve.after", sends(commands, Phase::Reserve));
    crash_point!("coordinator.send.validate.after", sends(commands, Phase::Validate));
    crash_point!("coordinator.send.execute.after", sends(commands, Phase::Execute));
    crash_point!("coordinator.send.commit.after", sends(commands, Phase::Commit));
    crash_point!("coordinator.send.abort.after", sends(commands, Phase::Abort));
    crash_point!("coordinator.send.cancel.after", sends(commands, Phase::Cancel));
    crash_point!("coordinator.send.release.after", sends(commands, Phase::Release));
    crash_point!("coordinator.send.compensate.after", sends(commands, Phase::Compensate));
    crash_point!("coordinator.send.deliver.after", sends(commands, Phase::Deliver));
    crash_point!("coordinator.send.status.after", sends(commands, Phase::Status));
}

fn answers(replies: &[Reply], phase: Phase) -> bool {
    replies.iter().any(|reply| reply.phase == phase)
}

/// When answers have arrived and nothing was made of them yet.
pub(super) fn replied(replies: &[Reply]) {
    crash_point!("coordinator.reply.prepare", answers(replies, Phase::Prepare));
    crash_point!("coordinator.reply.reserve", answers(replies, Phase::Reserve));
    crash_point!("coordinator.reply.validate", answers(replies, Phase::Validate));
    crash_point!("coordinator.reply.execute", answers(replies, Phase::Execute));
    crash_point!("coordinator.reply.commit", answers(replies, Phase::Commit));
    crash_point!("coordinator.reply.abort", answers(replies, Phase::Abort));
    crash_point!("coordinator.reply.cancel", answers(replies, Phase::Cancel));
    crash_point!("coordinator.reply.release", answers(replies, Phase::Release));
    crash_point!("coordinator.reply.compensate", answers(replies, Phase::Compensate));
    crash_point!("coordinator.reply.deliver", answers(replies, Phase::Deliver));
    crash_point!("coordinator.reply.status", answers(replies, Phase::Status));
}
