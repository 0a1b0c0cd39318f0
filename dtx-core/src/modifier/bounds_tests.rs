use proptest::prelude::*;

use super::*;
use crate::{
    modifier::TimeBounds,
    transaction::{OperationDraft, TransactionBuilder, arbitrary},
};

const SECOND: Duration = Duration::from_secs(1);

fn builder(pattern: Pattern) -> TransactionBuilder {
    Transaction::builder(pattern).operation(OperationDraft::new("p", "act"))
}

fn bounded(pattern: Pattern, bounds: TimeBounds) -> Transaction {
    builder(pattern).time_bounds(bounds).build().expect("is right")
}

fn strategy(strategy: ExpiryStrategy) -> TimeBounds {
    TimeBounds { strategy, ..TimeBounds::default() }
}

fn at(phase: Phase) -> PhaseProgress {
    PhaseProgress { phase, decided: false, extensions: 0, load_percent: 0 }
}

fn of(transaction: &Transaction, progress: PhaseProgress) -> Option<Expiry> {
    expiry(transaction, &BoundsSettings::default(), &Strategies::new(), progress)
}

fn seconds_of(transaction: &Transaction, progress: PhaseProgress) -> f64 {
    of(transaction, progress).expect("has the phase").time_to_live.as_secs_f64()
}

#[test]
fn the_base_times_are_those_of_the_source_text() {
    let base = BaseTimes::default();
    for (pattern, phase, time) in [
        (Pattern::TwoPhaseCommit, Phase::Prepare, 30),
        (Pattern::TwoPhaseCommit, Phase::Commit, 5),
        (Pattern::TwoPhaseSaga, Phase::Prepare, 5 * 60),
        (Pattern::TwoPhaseSaga, Phase::Execute, 2 * 60),
        (Pattern::ThreePhaseSaga, Phase::Reserve, 10 * 60),
        (Pattern::ThreePhaseSaga, Phase::Validate, 60),
        (Pattern::ThreePhaseSaga, Phase::Execute, 2 * 60),
    ] {
        assert_eq!(base.get(pattern, phase), Some(Duration::from_secs(time)));
        assert_eq!(
            seconds_of(&builder(pattern).build().expect("is right"), at(phase)),
            time as f64
        );
    }
    assert_eq!(base.0.len(), BASE.len(), "no row is there twice");
}

#[test]
fn a_transaction_overrides_the_setting_and_the_setting_the_table() {
    let mut settings = BoundsSettings::default();
    let pattern = Pattern::TwoPhaseCommit;
    settings.base.set(pattern, Phase::Prepare, SECOND * 7).expect("has the phase");
    assert_eq!(
        settings.base.set(pattern, Phase::Reserve, SECOND),
        Err(NoSuchPhase { pattern, phase: Phase::Reserve })
    );
    let live = |transaction: &Transaction| {
        expiry(transaction, &settings, &Strategies::new(), at(Phase::Prepare))
            .expect("has the phase")
            .time_to_live
    };
    assert_eq!(live(&builder(pattern).build().expect("is right")), SECOND * 7);
    let own = TimeBounds { base: [(Phase::Prepare, SECOND)].into(), ..TimeBounds::default() };
    assert_eq!(live(&bounded(pattern, own)), SECOND);
    assert_eq!(of(&builder(pattern).build().expect("is right"), at(Phase::Reserve)), None);
}

#[test]
fn the_strategies_differ_as_they_say() {
    let pattern = Pattern::TwoPhaseCommit;
    let later = |extensions| PhaseProgress { extensions, ..at(Phase::Prepare) };
    let loaded = |load_percent| PhaseProgress { load_percent, ..at(Phase::Prepare) };
    let fixed = bounded(pattern, strategy(ExpiryStrategy::Fixed));
    assert_eq!(seconds_of(&fixed, later(3)), 30.0);
    assert_eq!(seconds_of(&fixed, loaded(100)), 30.0);
    let progressive = bounded(pattern, strategy(ExpiryStrategy::Progressive));
    for (extensions, time) in [(0, 30.0), (1, 45.0), (2, 60.0), (3, 75.0)] {
        assert_eq!(seconds_of(&progressive, later(extensions)), time);
    }
    let adaptive = bounded(pattern, strategy(ExpiryStrategy::Adaptive));
    for (load, time) in [(0, 30.0), (50, 30.0), (80, 16.5), (100, 7.5), (255, 7.5)] {
        assert_eq!(seconds_of(&adaptive, loaded(load)), time);
    }
}

#[test]
fn a_claim_outlives_the_wait_for_a_person_and_a_delay() {
    let waiting = builder(Pattern::ThreePhaseSaga)
        .approval(SECOND * 3600)
        .execute_after(SECOND * 10)
        .build()
        .expect("is right");
    assert_eq!(seconds_of(&waiting, at(Phase::Reserve)), 1200.0 + 3610.0);
    assert_eq!(seconds_of(&waiting, at(Phase::Validate)), 120.0 + 3610.0);
    // What comes after the gate waits for nobody.
    let decided = PhaseProgress { decided: true, ..at(Phase::Execute) };
    assert_eq!(seconds_of(&waiting, decided), 120.0);
}

#[test]
fn what_happens_on_expiry_by_default() {
    use OnExpiry::{Abort, Ask, Cancel, Release, Retry};
    for (pattern, phase, on_expiry) in [
        (Pattern::FireAndForget, Phase::Deliver, Retry),
        (Pattern::Saga, Phase::Execute, Ask),
        (Pattern::CriticalEventual, Phase::Execute, Ask),
        (Pattern::CriticalEventual, Phase::Deliver, Retry),
        (Pattern::TwoPhaseSaga, Phase::Prepare, Cancel),
        (Pattern::TwoPhaseSaga, Phase::Execute, Ask),
        (Pattern::ThreePhaseSaga, Phase::Reserve, Release),
        (Pattern::ThreePhaseSaga, Phase::Validate, Abort),
        (Pattern::ThreePhaseSaga, Phase::Execute, Ask),
        (Pattern::TwoPhaseCommit, Phase::Prepare, Abort),
        (Pattern::TwoPhaseCommit, Phase::Commit, Retry),
    ] {
        let transaction = builder(pattern).build().expect("is right");
        let found = |decided| {
            of(&transaction, PhaseProgress { decided, ..at(phase) }).map(|expiry| expiry.on_expiry)
        };
        assert_eq!(found(false), Some(on_expiry), "{pattern} {phase}");
        assert_eq!(found(true), Some(Retry), "{pattern} {phase}");
    }
}

#[derive(Debug)]
struct Own(Duration, OnExpiry);
impl Expiration for Own {
    fn time_to_live(&self, _: &PhaseFacts) -> Duration {
        self.0
    }
    fn on_expiry(&self, _: &PhaseFacts) -> OnExpiry {
        self.1
    }
}

#[test]
fn a_strategy_of_ones_own_is_used_within_the_bounds() {
    let name = ActionName::new("mine").expect("a name");
    let transaction =
        bounded(Pattern::TwoPhaseSaga, strategy(ExpiryStrategy::Custom(name.clone())));
    let with = |own: Own, progress| {
        let strategies: Strategies = [(name.clone(), Arc::new(own) as Arc<dyn Expiration>)].into();
        expiry(&transaction, &BoundsSettings::default(), &strategies, progress)
            .expect("has the phase")
    };
    let prepare = at(Phase::Prepare);
    let usual = with(Own(SECOND, OnExpiry::Attention), prepare);
    assert_eq!(usual, Expiry { time_to_live: SECOND, on_expiry: OnExpiry::Attention });
    assert_eq!(with(Own(Duration::ZERO, OnExpiry::Ask), prepare).time_to_live, TIME_TO_LIVE_MIN);
    let day = SECOND * 24 * 3600;
    assert_eq!(with(Own(Duration::MAX, OnExpiry::Ask), prepare).time_to_live, day);
    // A 2PS has nothing to release, and after a verdict nothing stops.
    assert_eq!(with(Own(SECOND, OnExpiry::Release), prepare).on_expiry, OnExpiry::Cancel);
    let decided = PhaseProgress { decided: true, ..at(Phase::Execute) };
    assert_eq!(with(Own(SECOND, OnExpiry::Abort), decided).on_expiry, OnExpiry::Retry);
    let back = at(Phase::Compensate);
    assert_eq!(with(Own(SECOND, OnExpiry::Attention), back).on_expiry, OnExpiry::Retry);
    // One that nobody registered counts as `Fixed`.
    assert_eq!(seconds_of(&transaction, prepare), 300.0);
}

#[test]
fn settings_of_no_time_at_all_still_give_the_shortest_time() {
    let mut settings = BoundsSettings { life_max: Duration::ZERO, ..BoundsSettings::default() };
    let pattern = Pattern::TwoPhaseCommit;
    settings.base.set(pattern, Phase::Prepare, Duration::ZERO).expect("has the phase");
    let transaction = builder(pattern).build().expect("is right");
    let found = expiry(&transaction, &settings, &Strategies::new(), at(Phase::Prepare));
    assert_eq!(found.map(|expiry| expiry.time_to_live), Some(TIME_TO_LIVE_MIN));
}

#[test]
fn the_transactions_own_end_beats_the_strategys() {
    let bounds = TimeBounds { on_expiry: Some(OnExpiry::Attention), ..TimeBounds::default() };
    let transaction = bounded(Pattern::TwoPhaseCommit, bounds);
    let found = of(&transaction, at(Phase::Prepare)).map(|expiry| expiry.on_expiry);
    assert_eq!(found, Some(OnExpiry::Attention));
}

#[test]
fn extensions_are_bounded_in_number_and_in_total_life() {
    let settings = BoundsSettings::default();
    let extend = |transaction: &Transaction, extensions, lived| {
        let progress = PhaseProgress { extensions, ..at(Phase::Prepare) };
        extension(transaction, &settings, &Strategies::new(), progress, lived)
    };
    let plain = builder(Pattern::TwoPhaseCommit).build().expect("is right");
    assert_eq!(extend(&plain, 2, SECOND), Some(SECOND * 30));
    assert_eq!(extend(&plain, 3, SECOND), None);
    assert_eq!(extend(&plain, 0, settings.life_max - SECOND), Some(SECOND));
    assert_eq!(extend(&plain, 0, settings.life_max), None);
    let own = TimeBounds { extensions_max: Some(1), ..strategy(ExpiryStrategy::Progressive) };
    let own = bounded(Pattern::TwoPhaseCommit, own);
    assert_eq!(extend(&own, 0, SECOND), Some(SECOND * 45));
    assert_eq!(extend(&own, 1, SECOND), None);
}

proptest! {
    #[test]
    fn every_phase_has_a_bound_that_it_can_keep(
        transaction in arbitrary::transaction(),
        phase in proptest::sample::select(Phase::ALL.to_vec()),
        decided in any::<bool>(),
        extensions in any::<u8>(),
        load_percent in any::<u8>(),
        lived in 0..200_000_u64,
    ) {
        let progress = PhaseProgress { phase, decided, extensions, load_percent };
        let found = of(&transaction, progress);
        prop_assert_eq!(
            found.is_some(),
            has_phase(transaction.pattern(), transaction.gate(), phase)
        );
        let settings = BoundsSettings::default();
        let lived = Duration::from_secs(lived);
        let more = extension(&transaction, &settings, &Strategies::new(), progress, lived);
        if let Some(found) = found {
            prop_assert!(found.time_to_live >= TIME_TO_LIVE_MIN);
            prop_assert!(can_do(transaction.pattern(), found.on_expiry));
            prop_assert!(!(decided || phase.is_backward()) || found.on_expiry == OnExpiry::Retry);
            if let Some(more) = more {
                let facts = facts(&transaction, &settings, progress).expect("has the phase");
                prop_assert!(!more.is_zero());
                prop_assert!(lived + more <= life_max(&facts, &settings));
            }
        } else {
            prop_assert_eq!(more, None);
        }
    }

    #[test]
    fn load_only_shortens_and_extensions_only_lengthen(
        base in 1..1_000_000_u64, load in 0..100_u8, extensions in 0..20_u8,
        approval in proptest::option::of(1..1_000_000_u64),
    ) {
        let facts = PhaseFacts {
            pattern: Pattern::TwoPhaseSaga,
            phase: Phase::Prepare,
            decided: false,
            base: Duration::from_millis(base),
            extensions,
            load_percent: load,
            approval: approval.map(Duration::from_millis),
            delay: Duration::ZERO,
        };
        let more_load = PhaseFacts { load_percent: load + 1, ..facts };
        prop_assert!(Adaptive.time_to_live(&more_load) <= Adaptive.time_to_live(&facts));
        let later = PhaseFacts { extensions: extensions + 1, ..facts };
        prop_assert!(Progressive.time_to_live(&later) >= Progressive.time_to_live(&facts));
        for strategy in [&Fixed as &dyn Expiration, &Progressive, &Adaptive] {
            let nobody = PhaseFacts { approval: None, ..facts };
            let window = facts.approval.unwrap_or_default();
            prop_assert!(strategy.time_to_live(&facts) >= strategy.time_to_live(&nobody) + window);
        }
    }
}
