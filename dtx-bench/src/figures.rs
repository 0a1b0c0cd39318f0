//! Figures, and the goals that they are held against.

use std::fmt;

/// What a figure must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
}

impl Goal {
    /// Whether a figure is as it must be. No number at all is not.
    pub fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtMost(goal) => figure <= goal,
            Self::AtLeast(goal) => figure >= goal,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(goal) => write!(f, "at most {goal}"),
            Self::AtLeast(goal) => write!(f, "at least {goal}"),
        }
    }
}

/// One printed line: a figure, its goal, and the floor of the same run.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What was measured.
    pub name: String,
    /// The figure.
    pub figure: f64,
    /// What it must be.
    pub goal: Goal,
    /// What it is measured against, with the numbers behind the figure.
    pub floor: String,
}

impl Line {
    /// Whether the goal was missed.
    pub fn is_missed(&self) -> bool {
        !self.goal.is_met(self.figure)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_missed() { "MISSED" } else { "met" };
        let Self { name, figure, goal, floor } = self;
        write!(f, "{name}: {figure:.2} ({goal}) {verdict}; floor: {floor}")
    }
}

/// The middle of what was measured; of an even number of values the upper one. Not a number where
/// there is none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    percentile(values.into_iter().collect(), 0.5)
}

/// The value below which this share (0 to 1) of all lies. Not a number where there is none.
pub fn percentile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * share.clamp(0.0, 1.0)) as usize;
    let last = values.len().checked_sub(1);
    last.map_or(f64::NAN, |last| values[at.min(last)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_ends_are_found_whatever_the_order() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 3.0, 2.0]), 3.0);
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(hundred.clone(), 0.99), 100.0);
        assert_eq!(percentile(hundred.clone(), 0.98), 99.0);
        assert_eq!(percentile(hundred.clone(), 0.0), 1.0);
        assert_eq!(percentile(hundred, 1.0), 100.0);
        assert!(median([]).is_nan());
    }

    #[test]
    fn a_goal_is_met_at_its_limit_and_missed_past_it() {
        assert!(Goal::AtMost(12.0).is_met(12.0) && !Goal::AtMost(12.0).is_met(12.01));
        assert!(Goal::AtLeast(50.0).is_met(50.0) && !Goal::AtLeast(50.0).is_met(49.99));
        assert!(!Goal::AtMost(1.0).is_met(f64::NAN) && !Goal::AtLeast(1.0).is_met(f64::NAN));
    }

    #[test]
    fn a_line_says_floor_figure_goal_and_whether_it_was_met() {
        let line = |figure| Line {
            name: "2ps".to_owned(),
            figure,
            goal: Goal::AtLeast(50.0),
            floor: "100 per second".to_owned(),
        };
        assert_eq!(line(60.0).to_string(), "2ps: 60.00 (at least 50) met; floor: 100 per second");
        assert!(line(40.0).to_string().contains("(at least 50) MISSED"));
        assert!(line(40.0).is_missed() && !line(50.0).is_missed());
    }
}
