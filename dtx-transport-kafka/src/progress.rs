//! How far a partition is handled: what may be committed, and what else is worth remembering.
//!
//! Kafka remembers one offset per partition and group. Everything before it is handled; so it may
//! only be moved over messages that are settled, without a gap. What was settled beyond it, and
//! how often the rest was delivered, is written beside it as the text of the commit, so that the
//! next owner of the partition need not begin from nothing. Losing that text costs repeats only.

use std::collections::VecDeque;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};

/// The most offsets from the watermark to the last message taken: as many as always fit into the
/// text of a commit, of which a broker takes 4,096 bytes.
pub const SPAN_MAX: usize = 4_096;

/// What the text of a commit begins with.
const FORM: &str = "1:";

/// Half a byte: settled.
const SETTLED: u8 = 15;

/// Half a byte: the most deliveries that are remembered.
const DELIVERIES_MAX: u8 = 14;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    settled: bool,
    deliveries: u8,
}

/// A text that a commit of dtx would not have written, or of a later form. It is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// The cells of one partition, from its watermark on.
#[derive(Debug)]
pub(crate) struct Progress {
    /// The offset of the first cell: everything before it is settled. `None` until it is known.
    watermark: Option<i64>,
    cells: VecDeque<Cell>,
    /// How many cells were taken here; the rest is what an earlier owner wrote.
    taken: usize,
}

impl Progress {
    /// A partition of which nothing is known: it begins with its first message.
    pub(crate) fn unknown() -> Self {
        Self { watermark: None, cells: VecDeque::new(), taken: 0 }
    }

    /// A partition as its last owner committed it.
    pub(crate) fn restore(watermark: i64, text: &str) -> (Self, Result<(), Unreadable>) {
        let cells = if text.is_empty() { Some(VecDeque::new()) } else { read(text) };
        let read = cells.as_ref().map(|_| ()).ok_or(Unreadable);
        let cells = cells.unwrap_or_default();
        let mut progress = Self { watermark: Some(watermark), cells, taken: 0 };
        // Settled cells at the watermark would have moved it; only a strange text has them.
        progress.taken = progress.cells.iter().take_while(|cell| cell.settled).count();
        progress.advance();
        (progress, read)
    }

    /// What may be committed: the offset of the first message that is not settled.
    pub(crate) fn watermark(&self) -> Option<i64> {
        self.watermark
    }

    /// How many offsets were taken from the watermark on.
    pub(crate) fn span(&self) -> usize {
        self.taken
    }

    /// Takes the message with this offset. `None` when it is settled or was taken before.
    /// Offsets that were left out have no message.
    pub(crate) fn take(&mut self, offset: i64) -> Option<u8> {
        let watermark = *self.watermark.get_or_insert(offset);
        let at = usize::try_from(offset.checked_sub(watermark)?).ok()?;
        if at < self.taken {
            return None;
        }
        while self.cells.len() <= at {
            self.cells.push_back(Cell { settled: false, deliveries: 0 });
        }
        for cell in self.cells.range_mut(self.taken..at) {
            cell.settled = true;
        }
        self.taken = at + 1;
        let cell = self.cells[at];
        self.advance();
        (!cell.settled).then_some(cell.deliveries)
    }

    /// Counts a delivery of a message that is not settled, and says how many there were.
    pub(crate) fn deliver(&mut self, offset: i64) -> u8 {
        let Some(cell) = self.cell(offset) else { return 0 };
        cell.deliveries = cell.deliveries.saturating_add(1);
        cell.deliveries
    }

    /// How often a message was delivered.
    pub(crate) fn deliveries(&self, offset: i64) -> u8 {
        let at = self.watermark.and_then(|first| usize::try_from(offset.checked_sub(first)?).ok());
        at.and_then(|at| self.cells.get(at)).map_or(0, |cell| cell.deliveries)
    }

    /// The message is handled. Says whether it was not before.
    pub(crate) fn settle(&mut self, offset: i64) -> bool {
        let Some(cell) = self.cell(offset) else { return false };
        let is_new = !cell.settled;
        cell.settled = true;
        self.advance();
        is_new
    }

    fn cell(&mut self, offset: i64) -> Option<&mut Cell> {
        let at = usize::try_from(offset.checked_sub(self.watermark?)?).ok()?;
        self.cells.get_mut(at).filter(|_| at < self.taken)
    }

    /// Moves the watermark over what is settled, up to the first message that is not.
    fn advance(&mut self) {
        while self.taken > 0 && self.cells.front().is_some_and(|cell| cell.settled) {
            self.cells.pop_front();
            self.taken -= 1;
            self.watermark = self.watermark.map(|offset| offset + 1);
        }
    }

    /// The text of the commit: half a byte per offset from the watermark on, up to the last one
    /// that has something to remember.
    pub(crate) fn text(&self) -> String {
        let half = |cell: &Cell| match cell.settled {
            true => SETTLED,
            false => cell.deliveries.min(DELIVERIES_MAX),
        };
        let cells: Vec<u8> = self.cells.iter().take(SPAN_MAX).map(half).collect();
        let Some(last) = cells.iter().rposition(|half| *half != 0) else { return String::new() };
        let bytes: Vec<u8> = cells[..=last]
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair.get(1).copied().unwrap_or_default())
            .collect();
        format!("{FORM}{}", STANDARD_NO_PAD.encode(bytes))
    }
}

fn read(text: &str) -> Option<VecDeque<Cell>> {
    let bytes = STANDARD_NO_PAD.decode(text.strip_prefix(FORM)?).ok()?;
    let halves = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let cell = |half| match half {
        SETTLED => Cell { settled: true, deliveries: 0 },
        deliveries => Cell { settled: false, deliveries },
    };
    (bytes.len() * 2 <= SPAN_MAX).then(|| halves.map(cell).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(count: i64) -> Progress {
        let (mut progress, read) = Progress::restore(100, "");
        assert_eq!(read, Ok(()));
        for offset in 100..100 + count {
            assert_eq!(progress.take(offset), Some(0));
        }
        progress
    }

    #[test]
    fn the_watermark_never_passes_what_is_not_settled() {
        let mut progress = taken(5);
        assert_eq!((progress.watermark(), progress.span()), (Some(100), 5));
        for (settled, watermark) in [(102, 100), (101, 100), (104, 100), (100, 103), (103, 105)] {
            assert!(progress.settle(settled));
            assert_eq!(progress.watermark(), Some(watermark), "after {settled}");
            assert!(!progress.settle(settled), "it is settled once");
        }
        assert_eq!(progress.span(), 0);
        assert!(!progress.settle(105), "it was never taken");
        assert!(!progress.settle(99), "it is long gone");
    }

    #[test]
    fn the_next_owner_knows_what_was_settled_and_how_often_the_rest_was_delivered() {
        let mut progress = taken(6);
        for (offset, times) in [(100, 1), (101, 3), (103, 20), (104, 1)] {
            for time in 1..=times {
                assert_eq!(progress.deliver(offset), time);
            }
        }
        progress.settle(101);
        progress.settle(104);
        let (mut next, read) = Progress::restore(100, &progress.text());
        assert_eq!(read, Ok(()));
        assert_eq!((next.watermark(), next.span()), (Some(100), 0));
        let took: Vec<_> = (100..107).map(|offset| next.take(offset)).collect();
        assert_eq!(took, [Some(1), None, Some(0), Some(14), None, Some(0), Some(0)]);
        assert_eq!(next.deliver(100), 2);
        for offset in [100, 102, 103] {
            next.settle(offset);
        }
        assert_eq!((next.watermark(), next.span()), (Some(105), 2));
    }

    #[test]
    fn what_was_not_read_again_by_this_owner_is_never_passed() {
        let mut progress = taken(3);
        progress.settle(101);
        progress.settle(102);
        let text = progress.text();
        let (mut next, _) = Progress::restore(100, &text);
        assert!(!next.settle(100), "it was not taken here");
        assert_eq!(next.take(100), Some(0));
        assert!(next.settle(100));
        // What the last owner settled is passed as it is read.
        assert_eq!(next.watermark(), Some(101));
        assert_eq!((next.take(101), next.take(102)), (None, None));
        assert_eq!((next.watermark(), next.span()), (Some(103), 0));
    }

    #[test]
    fn offsets_without_a_message_are_passed() {
        let mut progress = Progress::unknown();
        assert_eq!(progress.watermark(), None);
        assert_eq!(progress.take(7), Some(0));
        assert_eq!(progress.take(10), Some(0));
        assert_eq!(progress.take(9), None, "it was passed");
        assert_eq!((progress.watermark(), progress.span()), (Some(7), 4));
        progress.settle(7);
        assert_eq!(progress.watermark(), Some(10));
        assert_eq!(progress.take(3), None);
    }

    #[test]
    fn the_text_of_the_longest_span_fits_into_a_commit() {
        let mut progress = taken(SPAN_MAX as i64);
        for offset in (101..100 + SPAN_MAX as i64).step_by(2) {
            progress.settle(offset);
        }
        let text = progress.text();
        assert!(text.len() <= 4_096, "{}", text.len());
        assert_eq!(Progress::restore(100, &text).1, Ok(()));
        assert_eq!(progress.take(100 + SPAN_MAX as i64), Some(0));
        assert_eq!(progress.text(), text, "one past it is not written, which costs a repeat");
        assert_eq!(taken(3).text(), "", "nothing to remember");
    }

    #[test]
    fn a_strange_text_is_ignored() {
        let long = format!("{FORM}{}", STANDARD_NO_PAD.encode(vec![0; SPAN_MAX / 2 + 1]));
        for text in ["2:AA", "1:?", "checkpoint", &long] {
            let (mut progress, read) = Progress::restore(5, text);
            assert_eq!(read, Err(Unreadable), "{text}");
            assert_eq!((progress.watermark(), progress.take(5)), (Some(5), Some(0)));
        }
        // Settled at the watermark: nothing is lost by it, since it was written as settled.
        let (progress, _) =
            Progress::restore(5, &format!("{FORM}{}", STANDARD_NO_PAD.encode([0xf0])));
        assert_eq!(progress.watermark(), Some(6));
    }
}
