//! One phase of one transaction, from the first command to the last answer.

use std::time::Duration;

use dtx_core::time::Timestamp;

use crate::phase::{Part, Schedule};

/// The longest time after which a command without an answer is sent again.
pub const REPEAT_MAX: Duration = Duration::from_secs(30);

/// What happens to a phase. Times are the coordinator's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time went on.
    Tick,
    /// A part has answered that it did what it was asked.
    Done {
        /// Which part.
        part: usize,
    },
    /// A part has refused: nothing more is sent.
    Refused {
        /// Which part.
        part: usize,
    },
}

/// What a coordinator has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send the command of a part.
    Send {
        /// Which part.
        part: usize,
        /// 1 the first time; more when there was no answer in time.
        attempt: u32,
    },
    /// The command of this part will never be sent, because another one refused. It was never
    /// asked, so it holds nothing yet; whether it is told to go back is the pattern's business.
    Cancelled {
        /// Which part.
        part: usize,
    },
    /// All parts have done what they were asked.
    Finished,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Unsent,
    Sent { attempt: u32, again: Timestamp, timeout: Duration },
    Ended,
}

#[derive(Clone, Debug)]
struct RunPart {
    progress: Progress,
    not_before: Timestamp,
    timeout: Duration,
    /// Answers that it needs and that have not come.
    missing: usize,
    /// The parts that need its answer.
    needed_by: Vec<usize>,
}

/// One phase of one transaction. It reads no clock and sends nothing: it says what to do.
///
/// A part is sent when its delay is over and what it needs is answered, whichever is later, so a
/// late answer shifts those that need it and no other. A part without an answer is sent again
/// alone.
#[derive(Clone, Debug)]
pub struct PhaseRun {
    parts: Vec<RunPart>,
    refused: bool,
    open: usize,
}

impl PhaseRun {
    /// Begins at `now` a phase of `parts` that was scheduled by `schedule`; [`Input::Tick`] gives
    /// the first commands.
    pub fn new(parts: &[Part<'_>], schedule: &Schedule, now: Timestamp) -> Self {
        let times = parts.iter().zip(schedule.sends());
        let mut run: Vec<_> = times
            .map(|(part, send)| RunPart {
                progress: Progress::Unsent,
                not_before: now + send.delay,
                timeout: send.timeout,
                missing: part.after.len(),
                needed_by: Vec::new(),
            })
            .collect();
        for (index, part) in parts.iter().enumerate().take(run.len()) {
            for on in part.after {
                run[*on].needed_by.push(index);
            }
        }
        Self { open: run.len(), parts: run, refused: false }
    }

    /// Takes what happened at `now`, and adds to `effects` what there is to do. An answer that was
    /// seen before, or that belongs to no part, changes nothing.
    pub fn step(&mut self, now: Timestamp, input: Input, effects: &mut Vec<Effect>) {
        let before = self.open;
        match input {
            Input::Tick => {}
            Input::Done { part } => self.done(part),
            Input::Refused { part } => self.refuse(part, effects),
        }
        if !self.refused {
            for part in 0..self.parts.len() {
                self.send(part, now, effects);
            }
            if before > 0 && self.open == 0 {
                effects.push(Effect::Finished);
            }
        }
    }

    /// When the next command is due, if no answer comes before: then give it a tick.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let due = |part: &RunPart| match part.progress {
            Progress::Unsent if part.missing == 0 => Some(part.not_before),
            Progress::Sent { again, .. } => Some(again),
            Progress::Unsent | Progress::Ended => None,
        };
        self.parts.iter().filter_map(due).min().filter(|_| !self.refused)
    }

    /// Whether a part's command was ever sent.
    pub fn was_sent(&self, part: usize) -> bool {
        self.parts.get(part).is_some_and(|part| part.progress != Progress::Unsent)
    }

    fn done(&mut self, part: usize) {
        let Some(answered) = self.parts.get_mut(part) else { return };
        if !matches!(answered.progress, Progress::Sent { .. }) {
            return;
        }
        answered.progress = Progress::Ended;
        self.open -= 1;
        for next in std::mem::take(&mut answered.needed_by) {
            self.parts[next].missing -= 1;
        }
    }

    fn refuse(&mut self, part: usize, effects: &mut Vec<Effect>) {
        let Some(refusing) = self.parts.get_mut(part) else { return };
        if !matches!(refusing.progress, Progress::Sent { .. }) {
            return;
        }
        refusing.progress = Progress::Ended;
        if std::mem::replace(&mut self.refused, true) {
            return;
        }
        for (part, state) in self.parts.iter().enumerate() {
            if state.progress == Progress::Unsent {
                effects.push(Effect::Cancelled { part });
            }
        }
    }

    fn send(&mut self, part: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        let state = &mut self.parts[part];
        let (attempt, timeout) = match state.progress {
            Progress::Unsent if state.missing == 0 && state.not_before <= now => (1, state.timeout),
            Progress::Sent { attempt, again, timeout } if again <= now => {
                (attempt.saturating_add(1), (timeout * 2).min(REPEAT_MAX.max(state.timeout)))
            }
            _ => return,
        };
        state.progress = Progress::Sent { attempt, again: now + timeout, timeout };
        effects.push(Effect::Send { part, attempt });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phase::{Aim, Latency};

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn part(millis: u64, after: &[usize]) -> Part<'_> {
        Part { latency: Latency::exact(ms(millis)), locks: true, after }
    }

    struct Bench {
        run: PhaseRun,
        begin: Timestamp,
    }

    impl Bench {
        fn new(parts: &[Part<'_>]) -> Self {
            let begin = Timestamp::from_millis(1_000);
            let mut schedule = Schedule::default();
            schedule.compute(parts, Aim::Locks).expect("a valid phase");
            Self { run: PhaseRun::new(parts, &schedule, begin), begin }
        }

        fn at(&mut self, millis: u64, input: Input) -> Vec<Effect> {
            let mut effects = Vec::new();
            self.run.step(self.begin + ms(millis), input, &mut effects);
            effects
        }

        fn wakes_at(&self) -> Option<u64> {
            self.run.next_wake().map(|at| at.since(self.begin).as_millis() as u64)
        }
    }

    fn sent(part: usize) -> Effect {
        Effect::Send { part, attempt: 1 }
    }

    #[test]
    fn each_is_sent_at_its_time_and_the_end_is_told_once() {
        let mut bench = Bench::new(&[part(20, &[]), part(150, &[])]);
        assert_eq!(bench.at(0, Input::Tick), [sent(1)]);
        assert_eq!(bench.wakes_at(), Some(130));
        assert_eq!(bench.at(129, Input::Tick), []);
        assert_eq!(bench.at(130, Input::Tick), [sent(0)]);
        assert_eq!(bench.at(150, Input::Done { part: 0 }), []);
        assert_eq!(bench.at(150, Input::Done { part: 0 }), []);
        assert_eq!(bench.at(150, Input::Done { part: 1 }), [Effect::Finished]);
        assert_eq!(bench.at(151, Input::Done { part: 1 }), []);
        assert_eq!(bench.wakes_at(), None);
    }

    #[test]
    fn a_late_answer_shifts_only_those_that_need_it() {
        // Part 1 needs part 0; part 2 stands alone; part 3 is the farthest.
        let mut bench = Bench::new(&[part(30, &[]), part(50, &[0]), part(60, &[]), part(200, &[])]);
        assert_eq!(bench.at(0, Input::Tick), [sent(3)]);
        assert_eq!(bench.at(120, Input::Tick), [sent(0)]);
        assert_eq!(bench.at(140, Input::Tick), [sent(2)]);
        assert_eq!(bench.at(150, Input::Tick), [], "its delay is over, but the answer is late");
        assert_eq!(bench.at(155, Input::Done { part: 0 }), [sent(1)]);
    }

    #[test]
    fn a_refusal_cancels_what_is_not_sent_and_nothing_follows() {
        let mut bench = Bench::new(&[part(20, &[]), part(150, &[]), part(90, &[]), part(9, &[2])]);
        assert_eq!(bench.at(0, Input::Tick), [sent(1)]);
        assert_eq!(bench.at(51, Input::Tick), [sent(2)]);
        let cancelled = [Effect::Cancelled { part: 0 }, Effect::Cancelled { part: 3 }];
        assert_eq!(bench.at(60, Input::Refused { part: 1 }), cancelled);
        assert_eq!(bench.at(61, Input::Refused { part: 2 }), [], "it is told once");
        assert_eq!(bench.at(900, Input::Tick), []);
        assert_eq!(bench.wakes_at(), None);
        assert!(bench.run.was_sent(1) && bench.run.was_sent(2) && !bench.run.was_sent(3));
    }

    #[test]
    fn one_that_is_silent_is_asked_again_alone_at_twice_the_time_up_to_the_most() {
        let mut bench = Bench::new(&[part(100, &[]), part(90, &[])]);
        assert_eq!(bench.at(0, Input::Tick), [sent(0)]);
        assert_eq!(bench.at(10, Input::Tick), [sent(1)]);
        assert_eq!(bench.at(100, Input::Done { part: 1 }), []);
        assert_eq!(bench.at(149, Input::Tick), []);
        let mut at = 150;
        for (attempt, wait) in (2..).zip([300, 600, 1_200, 2_400, 4_800, 9_600, 19_200]) {
            assert_eq!(bench.at(at, Input::Tick), [Effect::Send { part: 0, attempt }]);
            at += wait;
            assert_eq!(bench.wakes_at(), Some(at));
        }
        for _ in 0..2 {
            assert_eq!(bench.at(at, Input::Tick).len(), 1);
            at += REPEAT_MAX.as_millis() as u64;
            assert_eq!(bench.wakes_at(), Some(at), "the most, and not more");
        }
        assert_eq!(bench.at(at - 1, Input::Done { part: 0 }), [Effect::Finished]);
    }

    #[test]
    fn answers_of_parts_that_were_not_asked_change_nothing() {
        let mut bench = Bench::new(&[part(20, &[]), part(150, &[])]);
        assert_eq!(bench.at(0, Input::Done { part: 0 }), [sent(1)]);
        assert_eq!(bench.at(1, Input::Refused { part: 0 }), []);
        assert_eq!(bench.at(1, Input::Done { part: 7 }), []);
        assert_eq!(bench.wakes_at(), Some(130));
    }
}
