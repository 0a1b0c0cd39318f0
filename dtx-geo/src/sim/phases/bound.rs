//! How much lock time can be saved at all by who does not see the future.
//!
//! The ideal knows beforehand how long each answer takes. Beside it a schedule loses, in each
//! transaction, the time that each vote waits for the last one: with `n` votes at `t_i`, the sum of
//! `max(t) - t_i`. Two bounds say how much of that nobody can avoid. Neither looks at how long the
//! transaction takes, so a schedule that may not be late can only be worse.

/// What can be saved in the transactions of some sets, added up, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Possible {
    /// By the ideal.
    ideal: f64,
    /// By delays that are the same for all transactions of a set.
    fixed: f64,
    /// By whoever does not see the future.
    any: f64,
}

impl Possible {
    /// Adds a set: how long each answer took, by transaction and participant.
    pub(super) fn add(&mut self, answers: &[Vec<u64>]) {
        let Some(participants) = answers.first().map(Vec::len) else { return };
        let ideal: f64 = answers.iter().map(|row| longest_less_each(row)).sum();
        self.ideal += ideal;
        self.fixed += ideal - waits_of_fixed(answers, participants);
        self.any += ideal - waits_of_any(answers, participants);
    }

    pub(super) fn fixed_share(&self) -> f64 {
        self.fixed / self.ideal.max(1.0)
    }

    pub(super) fn any_share(&self) -> f64 {
        self.any / self.ideal.max(1.0)
    }
}

fn longest_less_each(row: &[u64]) -> f64 {
    let longest = row.iter().copied().max().unwrap_or(0);
    row.iter().map(|answer| (longest - answer) as f64).sum()
}

/// Rounds of the search for delays. More make the bound tighter; it holds after any number.
const ROUNDS: usize = 12;

/// With delays that are the same for all of these transactions votes wait at least this long, all
/// together.
///
/// The wait is `n x max(d_i + a_i) - sum(d_i + a_i)`, convex in the delays `d`. Let each transaction
/// name the participant that is the last one in it, so that each of the `n` is named in an `n`-th
/// of the transactions. Whatever the delays, the last vote is no sooner than that of the one named,
/// and in the sum over all transactions the delays of those named cancel out against `sum(d_i)`:
/// so no delays make the wait shorter than `n x sum(a of those named) - sum(a_i)` (the dual of a
/// linear program). Delays under which each is the last equally often give the best names.
fn waits_of_fixed(answers: &[Vec<u64>], participants: usize) -> f64 {
    let delays = balanced(answers, participants);
    let mut named = Named::by(answers, &delays);
    named.balance(answers, &delays);
    // A transaction has a share of each of those that it names.
    let last: f64 = named.value(answers);
    let all: f64 = answers.iter().flatten().map(|answer| *answer as f64).sum();
    last - all
}

/// Delays under which each participant is the last one about equally often.
fn balanced(answers: &[Vec<u64>], participants: usize) -> Vec<f64> {
    let mut delays: Vec<f64> = (0..participants)
        .map(|at| -answers.iter().map(|row| row[at] as f64).sum::<f64>() / answers.len() as f64)
        .collect();
    let mut needed = Vec::with_capacity(answers.len());
    for at in (0..participants).cycle().take(ROUNDS * participants) {
        needed.clear();
        needed.extend(answers.iter().map(|row| {
            let others = (0..participants).filter(|other| *other != at);
            let last = others.map(|other| delays[other] + row[other] as f64);
            last.fold(f64::NEG_INFINITY, f64::max) - row[at] as f64
        }));
        let share = answers.len() / participants;
        let (_, value, _) = needed.select_nth_unstable_by(share, f64::total_cmp);
        delays[at] = *value;
    }
    delays
}

/// For each transaction, how many of its `n` parts name which participant.
struct Named {
    parts: Vec<Vec<usize>>,
    totals: Vec<usize>,
}

impl Named {
    /// All parts name the one that is the last.
    fn by(answers: &[Vec<u64>], delays: &[f64]) -> Self {
        let participants = delays.len();
        let mut named = Self { parts: Vec::new(), totals: vec![0; participants] };
        for row in answers {
            let vote = |at: &usize| delays[*at] + row[*at] as f64;
            let last = (0..participants).max_by(|one, other| vote(one).total_cmp(&vote(other)));
            let mut parts = vec![0; participants];
            let last = last.unwrap_or(0);
            parts[last] = participants;
            named.totals[last] += participants;
            named.parts.push(parts);
        }
        named
    }

    /// Moves parts until each participant is named as often, those first that cost the least.
    fn balance(&mut self, answers: &[Vec<u64>], delays: &[f64]) {
        let (most, participants) = (answers.len(), delays.len());
        for from in 0..participants {
            for to in 0..participants {
                if self.totals[from] <= most || self.totals[to] >= most {
                    continue;
                }
                let vote = |row: usize, at: usize| delays[at] + answers[row][at] as f64;
                let cost = |row: &usize| vote(*row, from) - vote(*row, to);
                let mut rows: Vec<usize> =
                    (0..most).filter(|row| self.parts[*row][from] > 0).collect();
                rows.sort_by(|one, other| cost(one).total_cmp(&cost(other)));
                for row in rows {
                    let spare = (self.totals[from] - most).min(most - self.totals[to]);
                    let moved = spare.min(self.parts[row][from]);
                    self.parts[row][from] -= moved;
                    self.parts[row][to] += moved;
                    self.totals[from] -= moved;
                    self.totals[to] += moved;
                }
            }
        }
    }

    /// The answers of those named, added up with their parts.
    fn value(&self, answers: &[Vec<u64>]) -> f64 {
        let cells = self.parts.iter().flatten().zip(answers.iter().flatten());
        cells.map(|(parts, answer)| *parts as f64 * *answer as f64).sum()
    }
}

/// Whoever does not see the future lets votes wait at least this long, all together, on average.
///
/// Take the participants in the order in which they are asked. When the `m`-th is asked, the votes
/// of those before it lie at times that nothing later changes, and its own answer is as uncertain
/// as ever. Should its vote be the last of the `m`, the `m - 1` others wait for it; else it waits
/// for the last of them. So it adds at least the least that `(m - 1) x (a - c)+ + (c - a)+` is on
/// average for any `c` (a newsvendor's cost), whatever was seen before. Here it is taken of the
/// participant for which it is the least, because the order may be any.
fn waits_of_any(answers: &[Vec<u64>], participants: usize) -> f64 {
    let sorted: Vec<Vec<f64>> = (0..participants)
        .map(|at| {
            let mut column: Vec<f64> = answers.iter().map(|row| row[at] as f64).collect();
            column.sort_by(f64::total_cmp);
            column
        })
        .collect();
    let least = |place: usize| {
        let costs = sorted.iter().map(|column| newsvendor(column, place - 1));
        costs.fold(f64::INFINITY, f64::min)
    };
    (2..=participants).map(least).sum()
}

/// The least sum of `late x (a - c)+ + (c - a)+` over all `a` for any `c`; `a` in their order.
fn newsvendor(sorted: &[f64], late: usize) -> f64 {
    let best = sorted[(sorted.len() * late / (late + 1)).min(sorted.len() - 1)];
    let cost = |answer: &f64| match answer - best {
        over if over > 0.0 => late as f64 * over,
        under => -under,
    };
    sorted.iter().map(cost).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Rng;

    /// `n` participants with different means, and noise of this width.
    fn drawn(participants: usize, width: u64, rng: &mut Rng) -> Vec<Vec<u64>> {
        let means: Vec<u64> = (0..participants).map(|_| 100_000 + rng.below(100_000)).collect();
        let answer = |mean: &u64, rng: &mut Rng| mean + rng.below(width + 1) + rng.below(width + 1);
        (0..400).map(|_| means.iter().map(|mean| answer(mean, rng)).collect()).collect()
    }

    fn waits(answers: &[Vec<u64>], delays: &[f64]) -> f64 {
        let of = |row: &Vec<u64>| {
            let votes: Vec<f64> =
                row.iter().zip(delays).map(|(answer, delay)| *answer as f64 + delay).collect();
            let last = votes.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            votes.iter().map(|vote| last - vote).sum::<f64>()
        };
        answers.iter().map(of).sum()
    }

    #[test]
    fn without_jitter_nothing_is_lost() {
        let answers = drawn(4, 0, &mut Rng::new(1, 1));
        assert!(waits_of_fixed(&answers, 4).abs() < 1.0);
        assert!(waits_of_any(&answers, 4).abs() < 1.0);
    }

    #[test]
    fn no_fixed_delays_are_below_their_bound_and_the_best_ones_meet_it() {
        let mut rng = Rng::new(2, 1);
        for participants in 2..=5 {
            let answers = drawn(participants, 30_000, &mut rng);
            let bound = waits_of_fixed(&answers, participants);
            let best = balanced(&answers, participants);
            let found = waits(&answers, &best);
            assert!(bound <= found * 1.000_001, "{participants}: {bound} {found}");
            assert!(bound >= found * 0.99, "{participants}: {bound} {found}");
            for _ in 0..200 {
                let moved: Vec<f64> =
                    best.iter().map(|delay| delay + rng.unit() * 8_000.0 - 4_000.0).collect();
                assert!(waits(&answers, &moved) >= bound);
            }
            assert!(waits_of_any(&answers, participants) < bound);
        }
    }

    /// One that asks the second after it has seen part of what the first one does.
    #[test]
    fn who_waits_for_answers_before_asking_is_not_below_the_other_bound() {
        let mut rng = Rng::new(3, 1);
        let answers = drawn(2, 30_000, &mut rng);
        let bound = waits_of_any(&answers, 2);
        let means = [0, 1].map(|at| answers.iter().map(|row| row[at] as f64).sum::<f64>() / 400.0);
        for wait in (0..=60).map(|wait| f64::from(wait) * 1_000.0) {
            let of = |row: &Vec<u64>| {
                // Asked when the first has answered, but no later than `wait` after the mean.
                let latest = means[0] - means[1] + wait;
                let first = row[0] as f64;
                let asked = if first < latest { first } else { latest };
                (asked + row[1] as f64 - first).abs()
            };
            let found: f64 = answers.iter().map(of).sum();
            assert!(found >= bound, "{wait}: {found} {bound}");
        }
    }

    #[test]
    fn the_cost_of_a_newsvendor_is_the_least_of_all() {
        let mut rng = Rng::new(4, 1);
        let mut sorted: Vec<f64> = (0..301).map(|_| rng.exponential(50.0)).collect();
        sorted.sort_by(f64::total_cmp);
        for late in 1..6 {
            let cost = |c: f64| -> f64 {
                let late = late as f64;
                sorted.iter().map(|a| if *a > c { late * (a - c) } else { c - a }).sum()
            };
            let least = sorted.iter().map(|c| cost(*c)).fold(f64::INFINITY, f64::min);
            assert!((newsvendor(&sorted, late) - least).abs() < 1e-6, "{late}");
        }
    }
}
