//! One transaction, its participants, and which mechanisms are on.

use std::{sync::Arc, time::Duration};

use dtx_core::{
    modifier::{ExpiryStrategy, OnExpiry, TimeBounds, VerifyWhen},
    pattern::{Pattern, Phase},
    transaction::{Consistency, Gate, OperationDraft, StepKind, Transaction, TransactionBuilder},
};

use crate::{
    coordinator::NAMES,
    mutation::Mutation,
    swarm::{MS, SECOND, Swarm},
    workload::{ClientPlan, HostKind, HostPlan, Workload},
};

/// More than any pool has.
const TOO_MANY: u64 = 5_000;
/// When a person agrees or does not.
const JUDGED_US: u64 = 150 * MS;
/// How long an approval is waited for.
const APPROVAL: Duration = Duration::from_millis(700);
/// How long an execution is put off.
const DELAY: Duration = Duration::from_millis(400);
/// A time of a phase that the faults exceed.
const SHORT: Duration = Duration::from_millis(500);
/// How long a transaction may stay undecided.
const DEADLINE: Duration = Duration::from_secs(4);

/// What is explored: one transaction and its participants.
#[derive(Clone, Debug)]
pub struct Scenario {
    name: String,
    pub(super) seed: u64,
    pub(super) swarm: Swarm,
    pub(super) workload: Workload,
    pub(super) mutation: Option<Mutation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    FireAndForget,
    Saga,
    SagaPivot,
    SagaGraph,
    CriticalEventual,
    TwoPhaseSaga,
    TwoPhaseSequence,
    ThreePhaseSaga,
    Independent,
    TwoPhaseCommit,
    ReadOnly,
    OnePhase,
}

const SHAPES: [Shape; 12] = [
    Shape::FireAndForget,
    Shape::Saga,
    Shape::SagaPivot,
    Shape::SagaGraph,
    Shape::CriticalEventual,
    Shape::TwoPhaseSaga,
    Shape::TwoPhaseSequence,
    Shape::ThreePhaseSaga,
    Shape::Independent,
    Shape::TwoPhaseCommit,
    Shape::ReadOnly,
    Shape::OnePhase,
];

/// How it goes without a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Course {
    #[default]
    Good,
    /// The last participant says no.
    Refused,
    /// The caller takes it back on its way.
    Cancelled,
    /// A person does not agree.
    Disapproved,
    /// Nobody answers for the person.
    Unanswered,
}

/// Which mechanism is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Off {
    #[default]
    Nothing,
    /// Nothing expires at a participant.
    Expiry,
    /// Participants do not ask, and owners are not woken.
    Inquiry,
    /// A command is sent once.
    Retries,
    /// A participant's write does not follow its read at once.
    OneStep,
}

const OFF: [Off; 5] = [Off::Nothing, Off::Expiry, Off::Inquiry, Off::Retries, Off::OneStep];

/// The modifiers of a scenario.
#[derive(Clone, Debug, Default)]
struct Modified {
    verified: Option<VerifyWhen>,
    approved: bool,
    delayed: bool,
    strategy: Option<ExpiryStrategy>,
    on_expiry: Option<OnExpiry>,
    immediate: bool,
}

impl Modified {
    fn name(&self) -> String {
        let mut words = Vec::new();
        if let Some(when) = &self.verified {
            words.push(format!("verify-{when:?}"));
        }
        let flags =
            [(self.approved, "approval"), (self.delayed, "delay"), (self.immediate, "immediate")];
        words.extend(flags.iter().filter(|(on, _)| *on).map(|(_, word)| (*word).to_owned()));
        words.extend(self.strategy.iter().map(|strategy| format!("{strategy:?}")));
        words.extend(self.on_expiry.iter().map(|on| format!("on-{on:?}")));
        words.join("+").to_lowercase()
    }
}

impl Shape {
    fn pattern(self) -> Pattern {
        match self {
            Self::FireAndForget => Pattern::FireAndForget,
            Self::Saga | Self::SagaPivot | Self::SagaGraph => Pattern::Saga,
            Self::CriticalEventual => Pattern::CriticalEventual,
            Self::TwoPhaseSaga | Self::TwoPhaseSequence => Pattern::TwoPhaseSaga,
            Self::ThreePhaseSaga | Self::Independent => Pattern::ThreePhaseSaga,
            Self::TwoPhaseCommit | Self::ReadOnly | Self::OnePhase => Pattern::TwoPhaseCommit,
        }
    }

    fn has_last_gate(self) -> bool {
        matches!(
            self.pattern(),
            Pattern::TwoPhaseSaga | Pattern::ThreePhaseSaga | Pattern::TwoPhaseCommit
        ) && self != Self::Independent
    }

    /// The operations. The last one that can be refused asks for more than there is, if it is to be.
    fn operations(self, is_refused: bool) -> Vec<OperationDraft> {
        let units = if is_refused { TOO_MANY } else { 1 };
        let take = || {
            let payload = format!(r#"{{"item":"cd","units":{units}}}"#);
            OperationDraft::new("stock", "take").name("take").payload(payload)
        };
        let work = |name: &str| OperationDraft::new("svc", "work").name(name).payload("{}");
        let credit = |cents: u64| {
            let payload = format!(r#"{{"account":"shop","cents":{cents}}}"#);
            OperationDraft::new("bank", "credit").name("credit").payload(payload)
        };
        match self {
            Self::FireAndForget => vec![
                work("work").consistency(Consistency::BestEffort),
                credit(5).consistency(Consistency::Eventual),
            ],
            Self::SagaPivot => vec![
                work("work"),
                take().step(StepKind::Pivot).depends_on(["work"]),
                credit(5).step(StepKind::Retriable).depends_on(["take"]),
            ],
            Self::SagaGraph => vec![
                work("work"),
                credit(5).depends_on(["work"]),
                work("more").depends_on(["work"]),
                take().depends_on(["credit", "more"]),
            ],
            Self::CriticalEventual => {
                vec![work("work"), take(), credit(5).consistency(Consistency::Eventual)]
            }
            Self::TwoPhaseSequence => vec![work("work"), take().depends_on(["work"])],
            Self::ReadOnly => vec![credit(0), take()],
            Self::OnePhase => vec![take()],
            _ => vec![work("work"), take()],
        }
    }

    fn builder(self, course: Course, modified: &Modified) -> TransactionBuilder {
        let mut builder = Transaction::builder(self.pattern()).key("order-1").deadline(DEADLINE);
        if self == Self::Independent {
            builder = builder.gate(Gate::Independent);
        }
        if let Some(when) = &modified.verified {
            builder = builder.verify(when.clone(), 10);
        }
        if modified.approved {
            builder = builder.approval(APPROVAL);
        }
        if modified.delayed {
            builder = builder.execute_after(DELAY);
        }
        if modified.strategy.is_some() || modified.on_expiry.is_some() {
            builder = builder.time_bounds(self.bounds(modified));
        }
        let operations = self.operations(course == Course::Refused);
        operations.into_iter().enumerate().fold(builder, |builder, (index, operation)| {
            let is_immediate = modified.immediate && index == 0;
            let level = Consistency::Immediate;
            let operation = if is_immediate { operation.consistency(level) } else { operation };
            builder.operation(operation)
        })
    }

    fn bounds(self, modified: &Modified) -> TimeBounds {
        let forward: &[Phase] = match self.pattern() {
            Pattern::FireAndForget => &[Phase::Deliver],
            Pattern::Saga | Pattern::CriticalEventual => &[Phase::Execute],
            Pattern::TwoPhaseSaga => &[Phase::Prepare, Phase::Execute],
            Pattern::ThreePhaseSaga => &[Phase::Reserve, Phase::Validate, Phase::Execute],
            Pattern::TwoPhaseCommit => &[Phase::Prepare],
        };
        TimeBounds {
            strategy: modified.strategy.clone().unwrap_or_default(),
            base: forward.iter().map(|phase| (*phase, SHORT)).collect(),
            on_expiry: modified.on_expiry,
            extensions_max: None,
        }
    }
}

impl Scenario {
    /// All scenarios: every pattern with every course and every mechanism switched off, and every
    /// legal set of modifiers.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for shape in SHAPES {
            for course in courses(shape, false) {
                for off in OFF {
                    all.extend(Self::new(shape, course, &Modified::default(), off));
                }
            }
            for modified in modifier_sets(shape) {
                for course in courses(shape, modified.approved) {
                    let plain = matches!(course, Course::Refused | Course::Cancelled);
                    if !plain {
                        all.extend(Self::new(shape, course, &modified, Off::Nothing));
                    }
                }
            }
        }
        all
    }

    /// Its name, which no other one has.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same with a rule taken out.
    #[doc(hidden)]
    #[must_use]
    pub fn with_mutation(self, mutation: Mutation) -> Self {
        Self { mutation: Some(mutation), ..self }
    }

    pub(super) fn coordinators(&self) -> usize {
        NAMES.len()
    }

    pub(super) fn participants(&self) -> usize {
        self.workload.hosts.len()
    }

    /// `None` if the definition is not legal.
    fn new(shape: Shape, course: Course, modified: &Modified, off: Off) -> Option<Self> {
        let transaction = shape.builder(course, modified).build().ok()?;
        let mut hosts: Vec<HostPlan> = Vec::new();
        for operation in transaction.operations() {
            let name = operation.participant().to_string();
            if !hosts.iter().any(|host| host.name == name) {
                hosts.push(host(name));
            }
        }
        let cancel_at = (course == Course::Cancelled).then_some(8 * MS);
        let judged = modified.approved && course != Course::Unanswered;
        let client = ClientPlan {
            transaction: Arc::new(transaction),
            at: SECOND / 100,
            cancel_at,
            judged: judged.then_some((JUDGED_US, course != Course::Disapproved)),
            poison: None,
        };
        let name = [
            format!("{shape:?}").to_lowercase(),
            format!("{course:?}").to_lowercase(),
            modified.name(),
            if off == Off::Nothing { String::new() } else { format!("no-{off:?}").to_lowercase() },
        ];
        let name: Vec<_> = name.into_iter().filter(|word| !word.is_empty()).collect();
        let workload = Workload { hosts, clients: vec![client] };
        let (name, swarm) = (name.join("/"), swarm(off));
        Some(Self { name, seed: 0, swarm, workload, mutation: None })
    }
}

fn host(name: String) -> HostPlan {
    let (kind, pool) = match name.as_str() {
        "stock" => (HostKind::Stock, Some(("cd", 10))),
        "bank" => (HostKind::Ledger, Some(("shop", 0))),
        _ => (HostKind::Detached, None),
    };
    let pools = pool.into_iter().map(|(pool, level)| (pool.to_owned(), level)).collect();
    HostPlan { name, kind, pools, region: None }
}

fn swarm(off: Off) -> Swarm {
    let mut swarm = Swarm::calm();
    match off {
        Off::Nothing => {}
        Off::Expiry => swarm.expiry_off = true,
        Off::Inquiry => (swarm.inquiry_off, swarm.wakes_off) = (true, true),
        Off::Retries => swarm.attempts_max = 1,
        Off::OneStep => swarm.split_us = 20 * MS,
    }
    swarm
}

fn courses(shape: Shape, is_approved: bool) -> Vec<Course> {
    let mut courses = vec![Course::Good];
    if shape != Shape::FireAndForget {
        courses.extend([Course::Refused, Course::Cancelled]);
    }
    if is_approved {
        courses.extend([Course::Disapproved, Course::Unanswered]);
    }
    courses
}

/// Every set of modifiers but the empty one, whether it is legal or not.
fn modifier_sets(shape: Shape) -> Vec<Modified> {
    let strategies = [
        None,
        Some(ExpiryStrategy::Fixed),
        Some(ExpiryStrategy::Progressive),
        Some(ExpiryStrategy::Adaptive),
    ];
    let mut sets = Vec::new();
    let gates = if shape.has_last_gate() { 16 } else { 1 };
    for bits in 0..gates {
        for strategy in &strategies {
            let has = |bit: u8| bits & bit != 0;
            let modified = Modified {
                verified: has(1).then_some(VerifyWhen::Always),
                approved: has(2),
                delayed: has(4),
                immediate: has(8),
                strategy: strategy.clone(),
                on_expiry: None,
            };
            if bits != 0 || strategy.is_some() {
                sets.push(modified);
            }
        }
    }
    let conditions = [
        VerifyWhen::AmountOver(9),
        VerifyWhen::AmountOver(10),
        VerifyWhen::ElapsedOver(Duration::from_millis(20)),
        VerifyWhen::LoadOver(50),
        VerifyWhen::RecentFailuresOver(50),
    ];
    sets.extend(conditions.map(|when| Modified { verified: Some(when), ..Modified::default() }));
    let ends = [
        OnExpiry::Abort,
        OnExpiry::Cancel,
        OnExpiry::Release,
        OnExpiry::Ask,
        OnExpiry::Retry,
        OnExpiry::Attention,
    ];
    sets.extend(ends.map(|on| Modified { on_expiry: Some(on), ..Modified::default() }));
    sets
}
