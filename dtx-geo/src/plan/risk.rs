//! How probable it is that a plan cannot be carried out at a given moment.

use thiserror::Error;

use crate::{
    model::MAP_REGIONS_MAX,
    plan::{
        map::PlanMap,
        transaction::{DataOperation, Kind, Mode, Shape, TransactionPlan},
    },
};

/// The probability that something does not work at a given moment, each independent of the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Risk {
    region: f64,
    zone: f64,
    link: f64,
}

/// A probability that is none.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[error("{field}: {value} is no probability: give 0 to 1")]
pub struct RiskError {
    /// Which one.
    pub field: &'static str,
    /// Its value.
    pub value: f64,
}

impl Risk {
    /// Of a whole region, of one of its three zones, and of a way between two regions.
    ///
    /// # Errors
    /// [`RiskError`], which names the field.
    pub fn new(region: f64, zone: f64, link: f64) -> Result<Self, RiskError> {
        for (field, value) in [("region", region), ("zone", zone), ("link", link)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(RiskError { field, value });
            }
        }
        Ok(Self { region, zone, link })
    }

    /// Most of three zones work.
    fn zones(&self) -> f64 {
        let works = 1.0 - self.zone;
        works * works * (works + 3.0 * self.zone)
    }
}

/// Regions that a plan cannot do without.
#[derive(Clone, Copy)]
struct Needed([bool; MAP_REGIONS_MAX]);

impl PlanMap {
    /// The probability that a plan cannot be carried out as it is, or a little more than that.
    ///
    /// What is needed is taken for independent: the regions that serve and coordinate, the ways to
    /// them, most of the copies of what is written, a place for the decision. In truth these have
    /// regions in common, and what works in one of them is likelier to work in the other (Harris'
    /// inequality), so the failure is never understated. Another plan may still be possible then.
    pub fn failure(&self, shape: &Shape<'_>, plan: &TransactionPlan, risk: &Risk) -> f64 {
        let (needed, mut works) = self.needed(shape, plan, risk);
        for operation in shape.operations {
            if operation.write && shape.mode == Mode::StrongGlobal {
                works *= copies_work(shape, operation, &needed, risk);
            }
        }
        if plan.kind == Kind::TwoPhase && shape.mode == Mode::StrongGlobal {
            let others = self.log_others(shape, plan.coordinator);
            works *= 1.0 - others.map(|other| 1.0 - reaches(other, &needed, risk)).product::<f64>();
        }
        1.0 - works
    }

    /// The regions that must work, and the probability that they and the ways to them do.
    fn needed(&self, shape: &Shape<'_>, plan: &TransactionPlan, risk: &Risk) -> (Needed, f64) {
        let mut needed = Needed([false; MAP_REGIONS_MAX]);
        let coordinates = matches!(plan.kind, Kind::Local | Kind::Pool | Kind::TwoPhase);
        let mut works = 1.0;
        let mut need = |region: usize, by: usize| {
            if !std::mem::replace(&mut needed.0[region], true) {
                works *= (1.0 - risk.region) * risk.zones();
                if region != by {
                    works *= 1.0 - risk.link;
                }
            }
        };
        if coordinates {
            need(plan.coordinator, shape.client);
        }
        for server in &plan.served_by {
            need(*server, plan.coordinator);
        }
        (needed, works)
    }
}

/// A region works, if it is not needed anyway, and the way to it does.
fn reaches(region: usize, needed: &Needed, risk: &Risk) -> f64 {
    let works = if needed.0[region] { 1.0 } else { 1.0 - risk.region };
    works * (1.0 - risk.link)
}

/// So many copies can be reached that they are most of them together with the home.
fn copies_work(
    shape: &Shape<'_>,
    operation: &DataOperation<'_>,
    needed: &Needed,
    risk: &Risk,
) -> f64 {
    // The probability that so many of the copies looked at can be reached.
    let mut exactly = [0.0; MAP_REGIONS_MAX + 1];
    exactly[0] = 1.0;
    let mut count = 0;
    for copy in operation.copies.iter().filter(|copy| shape.allowed[**copy]) {
        let works = reaches(*copy, needed, risk);
        count += 1;
        for many in (1..=count).rev() {
            exactly[many] = exactly[many] * (1.0 - works) + exactly[many - 1] * works;
        }
        exactly[0] *= 1.0 - works;
    }
    exactly[usize::div_ceil(count, 2)..=count].iter().sum()
}
