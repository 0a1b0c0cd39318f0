//! What goes wrong at one step.

use std::fmt;

use dtx_core::store::CommitResult;
use serde::Serialize;

use crate::{
    event::Event,
    history::What,
    service::unknown,
    swarm::{MS, SECOND},
    world::World,
};

/// How long a coordinator that has crashed is down: less than its lease lasts, so that it meets
/// its own lease of before.
const COORDINATOR_DOWN_US: u64 = SECOND / 2;
/// How long a participant that has crashed is down: longer than the shortest attempt time-out.
const PARTICIPANT_DOWN_US: u64 = 800 * MS;
/// How long a coordinator stands still: longer than its lease lasts, so that another one works
/// beside it when it wakes with an old epoch.
const STALL_US: u64 = 5 * SECOND;
/// Longer than several attempt time-outs.
const DELAY_US: u64 = 900 * MS;
/// Longer than a lease and any phase of the run.
const LATE_US: u64 = 6 * SECOND;
/// When a store that cannot be reached says so.
const REFUSED_US: u64 = 30 * MS;

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepFault {
    /// The coordinator loses its memory right before the step, and is started anew.
    CrashCoordinator(u8),
    /// The participant loses its memory right before the step, and is started anew.
    CrashParticipant(u8),
    /// The coordinator stands still from the step on for longer than its lease.
    Stall(u8),
    /// The message is lost.
    Drop,
    /// The message comes after the time-out of its attempt.
    Delay,
    /// The message comes, and once more long afterwards.
    Duplicate,
    /// The store's answer is lost: nobody knows whether the write was applied.
    LostAcknowledgement,
    /// The store cannot be reached, and says so.
    Unavailable,
    /// Nobody knows whether the write was applied, and it is applied long afterwards.
    LateLanding,
}

/// A fault at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// Which step, from 0.
    pub step: u32,
    /// What goes wrong there.
    pub fault: StepFault,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:?}", self.step, self.fault)
    }
}

impl StepFault {
    /// Whether the fault is done to what the step is about, and not to a node.
    pub(super) fn is_of_the_event(self) -> bool {
        !matches!(self, Self::CrashCoordinator(_) | Self::CrashParticipant(_) | Self::Stall(_))
    }

    /// The name without its node, for counting.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CrashCoordinator(_) => "crash_coordinator",
            Self::CrashParticipant(_) => "crash_participant",
            Self::Stall(_) => "stall",
            Self::Drop => "drop",
            Self::Delay => "delay",
            Self::Duplicate => "duplicate",
            Self::LostAcknowledgement => "lost_acknowledgement",
            Self::Unavailable => "unavailable",
            Self::LateLanding => "late_landing",
        }
    }
}

/// What a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A message arrives.
    Message,
    /// Writes reach the store.
    Landing,
    /// The store's answer reaches its coordinator.
    Acknowledgement,
    /// Anything else.
    Other,
}

impl Step {
    /// What an event is about; `None` for what goes on whether there is a transaction or not.
    pub(super) fn of(event: &Event) -> Option<Self> {
        Some(match event {
            Event::Command { .. }
            | Event::Reply(_)
            | Event::Inquiry { .. }
            | Event::InquiryAnswer { .. }
            | Event::Poke(_) => Self::Message,
            Event::Land { .. } => Self::Landing,
            Event::Answered(_) => Self::Acknowledgement,
            Event::Submit(_)
            | Event::Load { .. }
            | Event::Loaded { .. }
            | Event::Tick { .. }
            | Event::Signal { .. }
            | Event::SignalWrite { .. }
            | Event::Work { .. }
            | Event::HostWrite(_)
            | Event::Effect(_)
            | Event::Finish(_)
            | Event::InquiryWrite { .. } => Self::Other,
            Event::Remind(_)
            | Event::Recover { .. }
            | Event::Leases { .. }
            | Event::Scan { .. }
            | Event::Ask { .. }
            | Event::Examine { .. }
            | Event::Orphan { .. }
            | Event::Move
            | Event::Collect { .. }
            | Event::Trouble(_)
            | Event::Poisoned { .. }
            | Event::Heal
            | Event::Settle => return None,
        })
    }

    /// Every fault that can happen at the step, in order.
    pub(super) fn faults(self, coordinators: usize, participants: usize) -> Vec<StepFault> {
        let coordinators = 0..coordinators as u8;
        let nodes = coordinators
            .clone()
            .map(StepFault::CrashCoordinator)
            .chain((0..participants as u8).map(StepFault::CrashParticipant))
            .chain(coordinators.map(StepFault::Stall));
        let own: &[StepFault] = match self {
            Self::Message => &[StepFault::Drop, StepFault::Delay, StepFault::Duplicate],
            Self::Landing => &[StepFault::Unavailable, StepFault::LateLanding],
            Self::Acknowledgement => &[StepFault::LostAcknowledgement],
            Self::Other => &[],
        };
        nodes.chain(own.iter().copied()).collect()
    }
}

impl World {
    /// Does a fault to what is about to happen; what is left of it happens now.
    pub(super) fn strike(&mut self, fault: StepFault, event: Event) -> Option<Event> {
        let text = || What::Note { text: format!("{fault:?}") };
        self.trace.note(self.now, ("trouble", "trouble"), None, text);
        match fault {
            StepFault::CrashCoordinator(c) => {
                self.crash_coordinator(usize::from(c), COORDINATOR_DOWN_US);
                Some(event)
            }
            StepFault::CrashParticipant(p) => {
                self.crash_participant(usize::from(p), PARTICIPANT_DOWN_US);
                Some(event)
            }
            StepFault::Stall(c) => {
                self.counters.stalls += 1;
                self.coordinators[usize::from(c)].stalled_until = self.now + STALL_US;
                Some(event)
            }
            StepFault::Drop => {
                self.counters.lost += 1;
                None
            }
            StepFault::Delay => {
                self.after(DELAY_US, event);
                None
            }
            StepFault::Duplicate => {
                if let Some(copy) = copy(&event) {
                    self.counters.duplicates += 1;
                    self.after(LATE_US, copy);
                }
                Some(event)
            }
            StepFault::LostAcknowledgement => Some(lose_answer(event)),
            StepFault::Unavailable | StepFault::LateLanding => {
                let late = (fault == StepFault::LateLanding).then_some(LATE_US);
                match event {
                    Event::Land { batch } => self.miss(batch, REFUSED_US, late),
                    other => return Some(other),
                }
                None
            }
        }
    }
}

fn lose_answer(event: Event) -> Event {
    let Event::Answered(mut answer) = event else { return event };
    for (_, result) in &mut answer.results {
        *result = CommitResult::Failed(unknown("commit"));
    }
    Event::Answered(answer)
}

/// The same message once more.
fn copy(event: &Event) -> Option<Event> {
    Some(match event {
        Event::Command { host, command } => {
            Event::Command { host: *host, command: command.clone() }
        }
        Event::Reply(reply) => Event::Reply(reply.clone()),
        Event::Inquiry { coordinator, inquiry } => {
            Event::Inquiry { coordinator: *coordinator, inquiry: inquiry.clone() }
        }
        Event::InquiryAnswer { host, answer } => {
            Event::InquiryAnswer { host: *host, answer: answer.clone() }
        }
        Event::Poke(tx) => Event::Poke(*tx),
        _ => return None,
    })
}
