//! What happened to a transaction since its last write, kept small: 16 bytes for what happens in
//! every transaction, and whole entries for the rest.

use std::sync::Arc;

use thin_vec::ThinVec;

use crate::{
    answer::Refusal,
    ids::{Epoch, OperationIndex},
    pattern::Phase,
    store::{Answered, JournalEntry, JournalEvent, Outcome, RecordKind, Verdict},
    time::Timestamp,
};

/// The entries that ride in the next write.
#[derive(Clone, Debug, Default)]
pub(super) struct Timeline {
    brief: Vec<Brief>,
    whole: ThinVec<JournalEntry>,
    /// How many entries had no room.
    left_out: u32,
}

#[derive(Clone, Copy, Debug)]
struct Brief {
    at: Timestamp,
    operation: OperationIndex,
    attempt: u16,
    phase: Phase,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Sent,
    Done,
    ReadOnly,
    Refused(Refusal),
    TimedOut,
    Recorded(RecordKind),
    Decided(Verdict),
    Told(Outcome),
    /// The next of the whole entries stands here.
    Whole,
}

impl Brief {
    /// What is of no operation alone.
    fn of_all(at: Timestamp, what: What) -> Self {
        Self { at, operation: OperationIndex(0), attempt: 0, phase: Phase::Status, what }
    }
}

impl Timeline {
    pub(super) fn len(&self) -> usize {
        self.brief.len()
    }

    pub(super) fn push(&mut self, entry: JournalEntry) {
        let of_all = |what| Brief::of_all(entry.at, what);
        let brief = |operation: &OperationIndex, attempt: &u32, phase: &Phase, what| {
            let attempt = u16::try_from(*attempt).ok()?;
            Some(Brief { at: entry.at, operation: *operation, attempt, phase: *phase, what })
        };
        let brief = match &entry.event {
            JournalEvent::Sent { operation, phase, attempt } => {
                brief(operation, attempt, phase, What::Sent)
            }
            JournalEvent::Answered { operation, phase, attempt, answer } => {
                let what = match answer {
                    Answered::Done => Some(What::Done),
                    Answered::ReadOnly => Some(What::ReadOnly),
                    Answered::Refused(refusal) => Some(What::Refused(*refusal)),
                    Answered::TimedOut => Some(What::TimedOut),
                    Answered::Rejected(_) | Answered::Unknown(_) => None,
                };
                what.and_then(|what| brief(operation, attempt, phase, what))
            }
            JournalEvent::Recorded(kind) => Some(of_all(What::Recorded(*kind))),
            JournalEvent::Decided(verdict) => Some(of_all(What::Decided(*verdict))),
            JournalEvent::Told(outcome) => Some(of_all(What::Told(*outcome))),
            JournalEvent::Signalled(_) | JournalEvent::Exception(_) | JournalEvent::LeftOut(_) => {
                None
            }
        };
        if let Some(brief) = brief {
            self.brief.push(brief);
        } else {
            self.brief.push(of_all(What::Whole));
            self.whole.push(entry);
        }
    }

    /// Something happened that there is no room for.
    pub(super) fn leave_out(&mut self) {
        self.left_out = self.left_out.saturating_add(1);
    }

    /// Puts what a write had taken along back to the front: the write will not be.
    pub(super) fn put_back(&mut self, entries: &[JournalEntry]) {
        let Some(epoch) = entries.first().map(|entry| entry.epoch) else { return };
        let later = self.entries(epoch);
        for entry in entries.iter().chain(&later) {
            self.push(entry.clone());
        }
    }

    /// All entries, in order, and last how many had no room; none are left.
    pub(super) fn take(&mut self, now: Timestamp, epoch: Epoch) -> Arc<[JournalEntry]> {
        let mut entries = self.entries(epoch);
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0 {
            entries.push(JournalEntry { at: now, epoch, event: JournalEvent::LeftOut(left_out) });
        }
        entries.into()
    }

    fn entries(&mut self, epoch: Epoch) -> Vec<JournalEntry> {
        let mut whole = std::mem::take(&mut self.whole).into_iter();
        let brief = std::mem::take(&mut self.brief);
        let entry = |Brief { at, operation, attempt, phase, what }| {
            let attempt = u32::from(attempt);
            let answered =
                |answer| Some(JournalEvent::Answered { operation, phase, attempt, answer });
            let event = match what {
                What::Recorded(kind) => Some(JournalEvent::Recorded(kind)),
                What::Decided(verdict) => Some(JournalEvent::Decided(verdict)),
                What::Told(outcome) => Some(JournalEvent::Told(outcome)),
                What::Sent => Some(JournalEvent::Sent { operation, phase, attempt }),
                What::Done => answered(Answered::Done),
                What::ReadOnly => answered(Answered::ReadOnly),
                What::Refused(refusal) => answered(Answered::Refused(refusal)),
                What::TimedOut => answered(Answered::TimedOut),
                What::Whole => None,
            };
            match event {
                Some(event) => JournalEntry { at, epoch, event },
                None => whole.next().expect("there is one for every place"),
            }
        };
        brief.into_iter().map(entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Reason;

    #[test]
    fn what_goes_in_comes_out_in_order() {
        let (now, epoch) = (Timestamp::from_micros(99), Epoch(3));
        let (operation, phase) = (OperationIndex(7), Phase::Reserve);
        let of = |attempt, answer| JournalEvent::Answered { operation, phase, attempt, answer };
        let answered = |answer| of(2, answer);
        let entries: Vec<JournalEntry> = [
            JournalEvent::Recorded(RecordKind::Accepted),
            JournalEvent::Sent { operation, phase, attempt: 1 },
            JournalEvent::Sent { operation, phase, attempt: 65_535 },
            JournalEvent::Sent { operation, phase, attempt: 65_536 },
            answered(Answered::Done),
            answered(Answered::ReadOnly),
            answered(Answered::Rejected(Reason::new("sold out"))),
            answered(Answered::Refused(Refusal::Expired)),
            answered(Answered::Unknown(Reason::new("lost"))),
            answered(Answered::TimedOut),
            of(65_535, Answered::Done),
            of(65_536, Answered::Done),
            JournalEvent::Exception(Reason::new("odd")),
            JournalEvent::Decided(Verdict::Turned),
            JournalEvent::Told(Outcome::Compensated),
        ]
        .into_iter()
        .enumerate()
        .map(|(at, event)| JournalEntry { at: Timestamp::from_micros(at as u64), epoch, event })
        .collect();
        let mut timeline = Timeline::default();
        entries.iter().cloned().for_each(|entry| timeline.push(entry));
        assert_eq!(timeline.len(), entries.len());
        assert_eq!(*timeline.take(now, epoch), entries);
        assert_eq!(*timeline.take(now, epoch), []);

        let (early, late) = entries.split_at(4);
        late.iter().cloned().for_each(|entry| timeline.push(entry));
        timeline.put_back(early);
        timeline.leave_out();
        timeline.leave_out();
        let left_out = JournalEntry { at: now, epoch, event: JournalEvent::LeftOut(2) };
        assert_eq!(*timeline.take(now, epoch), [entries, vec![left_out]].concat());
        assert_eq!(*timeline.take(now, epoch), []);
    }

    #[test]
    fn what_happens_in_every_transaction_takes_sixteen_bytes() {
        assert_eq!(size_of::<Brief>(), 16);
    }
}
