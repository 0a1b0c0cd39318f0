//! One transaction, asked in one way.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use dtx_core::time::Timestamp;

use crate::{
    phase::{Aim, Effect, Input, Part, PhaseRun, Schedule},
    sim::phases::{
        result::{Measured, Way},
        world::{Draw, Known},
    },
};

/// How long the coordinator takes to make its decision durable, in microseconds.
const LOG: u64 = 1_000;

/// Runs a transaction in one way over latencies that are the same for all ways.
pub(super) fn transact(
    way: Way,
    known: &[Known],
    draws: &[Draw],
    schedule: &mut Schedule,
) -> Measured {
    let aim = match way {
        Way::Eager => Aim::Eager,
        Way::Locks => Aim::Locks,
        Way::Neutral => Aim::Neutral,
        Way::Ideal => return measure(draws, &behind_longest(draws.iter().map(Draw::answer))),
        Way::PointEstimate => {
            return measure(draws, &behind_longest(known.iter().map(Known::point)));
        }
    };
    let parts: Vec<_> = known
        .iter()
        .map(|known| Part { latency: known.latency, locks: true, after: &[] })
        .collect();
    schedule.compute(&parts, aim).expect("a test runs it: there are few parts, in no order");
    let (sends, spurious) = carry_out(&parts, schedule, draws);
    let mut measured = measure(draws, &sends);
    measured.spurious = spurious;
    let total = |of: fn(&Part<'_>) -> Duration| parts.iter().map(of).sum::<Duration>();
    measured.timeouts = total(|part| part.latency.timeout).as_micros() as u64;
    measured.medians = total(|part| part.latency.median).as_micros() as u64;
    measured
}

/// Each waits for as long as the longest takes longer.
fn behind_longest(answers: impl Iterator<Item = u64> + Clone) -> Vec<u64> {
    let longest = answers.clone().max().unwrap_or(0);
    answers.map(|answer| longest - answer).collect()
}

/// When each part was sent first, and how many were sent again for nothing: all answers come.
fn carry_out(parts: &[Part<'_>], schedule: &Schedule, draws: &[Draw]) -> (Vec<u64>, u64) {
    let mut run = PhaseRun::new(parts, schedule, Timestamp::from_micros(0));
    let (mut sends, mut spurious) = (vec![0; parts.len()], 0);
    let mut answers = BinaryHeap::new();
    let mut effects = Vec::new();
    let (mut now, mut input) = (Timestamp::from_micros(0), Input::Tick);
    loop {
        run.step(now, input, &mut effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Send { part, attempt: 1 } => {
                    sends[part] = now.as_micros();
                    answers.push(Reverse((sends[part] + draws[part].answer(), part)));
                }
                Effect::Send { .. } => spurious += 1,
                Effect::Finished => return (sends, spurious),
                Effect::Cancelled { .. } => {}
            }
        }
        let answer = answers.peek().map(|Reverse((at, _))| Timestamp::from_micros(*at));
        let wake = run.next_wake();
        (now, input) = match (answer, wake) {
            (Some(answer), wake) if wake.is_none_or(|wake| answer <= wake) => {
                let Reverse((_, part)) = answers.pop().expect("it was looked at");
                (answer, Input::Done { part })
            }
            (_, Some(wake)) => (wake, Input::Tick),
            (_, None) => return (sends, spurious),
        };
    }
}

fn measure(draws: &[Draw], sends: &[u64]) -> Measured {
    let answers = || draws.iter().zip(sends).map(|(draw, sent)| sent + draw.answer());
    let decided = answers().max().unwrap_or(0);
    let held = |(draw, sent): (&Draw, &u64)| decided + LOG + draw.commit - (sent + draw.there);
    Measured {
        decided,
        spread: decided - answers().min().unwrap_or(0),
        holds: draws.len() as u64,
        held: draws.iter().zip(sends).map(held).sum(),
        ..Measured::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(way: u64) -> Draw {
        Draw { there: way, service: 1_000, back: way, commit: way }
    }

    #[test]
    fn ideal_delays_hold_a_lock_for_its_own_round_trip() {
        let draws = [draw(10_000), draw(80_000)];
        let [eager, ideal] = [vec![0, 0], behind_longest(draws.iter().map(Draw::answer))]
            .map(|sends| measure(&draws, &sends));
        assert_eq!((eager.decided, eager.spread), (161_000, 140_000));
        assert_eq!((ideal.decided, ideal.spread), (161_000, 0));
        assert_eq!(eager.held, 162_000 * 2);
        assert_eq!(ideal.held, 22_000 + 162_000);
    }
}
