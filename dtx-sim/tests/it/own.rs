//! Users' own participants: a sound one stays sound, and each kind of mistake is found.

use dtx_core::{
    answer::{Done, PhaseAnswer},
    ids::TxId,
    pattern::{Pattern, Phase},
    transaction::{OperationDraft, Transaction},
    transport::Command,
};
use dtx_sim::{Draw, Explorer, Faults, Participant, Run, Sim};

/// Counts what was done for each transaction.
#[derive(Debug, Default)]
struct Till {
    /// Of each sale, and whether it stands.
    sales: Vec<(TxId, bool)>,
    knows_repeats: bool,
    keeps_on_undo: bool,
}

impl Participant for Till {
    fn handle(&mut self, command: &Command, _: &mut Draw) -> PhaseAnswer {
        let known = self.sales.iter().any(|(tx, _)| *tx == command.tx);
        match command.phase {
            Phase::Execute if known && self.knows_repeats => {}
            Phase::Execute => self.sales.push((command.tx, true)),
            Phase::Compensate if !self.keeps_on_undo => {
                let own = self.sales.iter_mut().filter(|(tx, _)| *tx == command.tx);
                own.for_each(|(_, stands)| *stands = false);
            }
            _ => {}
        }
        Ok(Done::default())
    }
}

fn sales(draw: &mut Draw) -> Vec<Transaction> {
    let sale = |_| {
        let till = |name: &str| OperationDraft::new(name, "sell").name(name);
        let builder = Transaction::builder(Pattern::Saga).operation(till("first"));
        builder.operation(till("second")).in_sequence().build().expect("a valid definition")
    };
    (0..draw.range(1, 4)).map(sale).collect()
}

/// Each sale stands once or not at all, and all of it or nothing when all is over.
fn once(run: &Run<'_>) -> Result<(), String> {
    let mut standing = Vec::new();
    for name in ["first", "second"] {
        let till = run.participant::<Till>(name).ok_or("there is a till")?;
        let stands = till.sales.iter().filter(|(_, stands)| *stands).map(|(tx, _)| *tx);
        let mut stands: Vec<_> = stands.collect();
        stands.sort_unstable();
        if stands.windows(2).any(|two| two[0] == two[1]) {
            return Err("sold twice".to_owned());
        }
        standing.push(stands);
    }
    if run.is_over() && standing[0] != standing[1] {
        return Err("sold in part".to_owned());
    }
    Ok(())
}

fn tills(seeds: std::ops::Range<u64>, knows_repeats: bool, keeps_on_undo: bool) -> Explorer {
    let till = move || Till { knows_repeats, keeps_on_undo, ..Till::default() };
    Sim::explore(seeds)
        .participant("first", till)
        .participant("second", till)
        .transactions(sales)
        .check(once)
}

#[test]
fn a_sound_participant_is_sound_under_all_faults_and_twice() {
    let summary = tills(0..500, true, false).run();
    assert_eq!(summary.failed, 0, "{:#?}", summary.first_violations);
    let summary = tills(0..100, true, false).each_step_twice().run();
    assert_eq!(summary.failed, 0, "{:#?}", summary.first_violations);
    assert!(summary.counters.duplicates > 0);
}

#[test]
fn one_that_does_not_know_a_repeat_is_found_when_each_step_comes_twice() {
    let summary = tills(0..10, false, false).faults(Faults::none()).each_step_twice().run();
    assert_eq!(summary.failed, 10);
    assert!(summary.first_violations[0].contains("sold twice"), "{:?}", summary.first_violations);
    let summary = tills(0..10, false, false).faults(Faults::none()).run();
    assert_eq!(summary.failed, 0, "without faults nothing is repeated");
}

#[test]
fn one_that_does_not_take_back_is_found_under_faults() {
    let summary = tills(0..500, true, true).run();
    assert!(summary.first_violations.iter().any(|text| text.contains("sold in part")));
}

#[test]
fn a_crash_of_every_node_at_every_event_is_survived_and_finds_what_no_seed_shows() {
    let sound = tills(0..4, true, false).faults(Faults::none());
    let calm = sound.run();
    let summary = sound.crash_everywhere().run();
    assert_eq!(summary.failed, 0, "{:#?}", summary.first_violations);
    // Two coordinators, the store and two participants, at each event.
    assert_eq!((summary.seeds, summary.runs), (4, 4 + 5 * calm.counters.events));
    let mistaken = tills(0..4, false, false).faults(Faults::none());
    assert_eq!(mistaken.run().failed, 0);
    let summary = mistaken.clone().crash_everywhere().run();
    assert!(summary.failed > 0);
    let text = &summary.first_violations[0];
    let (_, found) = text.split_once("crash of ").expect(text);
    let (node, rest) = found.split_once(" at event ").expect(text);
    let event = rest.split(':').next().and_then(|event| event.parse().ok()).expect(text);
    let again = mistaken.crash_at(event, node).replay(summary.failing_seeds[0]);
    assert!(!again.is_sound() && !again.journal.is_empty(), "{text}");
}

#[test]
fn drawn_transactions_run_over_own_participants() {
    let till = || Till { knows_repeats: true, ..Till::default() };
    let summary = Sim::explore(0..200).participant("till", till).run();
    assert_eq!(summary.failed, 0, "{:#?}", summary.first_violations);
    assert!(summary.counters.committed > 0 && summary.counters.dispatched > 0);
}
