//! A few regions, step by step: loss and return, a forgetful buddy, and large reserves.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use dtx_core::{name::RegionName, time::Timestamp};
use dtx_geo::{
    model::RttMap,
    pool::{
        Answer, Body, Cells, Count, Digest, Effect, Grants, HoldId, Input, Member, Message,
        PoolMap, PoolRegion, PoolSettings, Step,
    },
};

const WINDOW: u64 = 5;
const LEASE: Duration = Duration::from_secs(2);
const TTL: Duration = Duration::from_secs(600);

/// Regions on one clock, with a network that delivers at once, or not at all.
struct Regions {
    map: Arc<PoolMap>,
    settings: PoolSettings,
    parts: Vec<Option<PoolRegion>>,
    disks: Vec<Cells>,
    lives: Vec<u32>,
    cut: Vec<bool>,
    now: Timestamp,
    answers: BTreeMap<u128, Answer>,
}

impl Regions {
    /// Region 0 and 1 are near to each other, the others are farther.
    fn new(count: usize, settings: PoolSettings) -> Self {
        let name = |index: usize| RegionName::new(format!("r{index}")).expect("a name");
        let far = |region: &RegionName| region.as_str() > "r1";
        let map = RttMap::from_measured((0..count).map(name).collect(), |from, to| {
            let millis = if from == to { 0 } else { 40 + 40 * u64::from(far(from) || far(to)) };
            Some(Duration::from_millis(millis))
        });
        let mut regions = Self {
            map: Arc::new(PoolMap::new(&map).expect("every pair is known")),
            settings,
            parts: vec![None; count],
            disks: vec![Cells::new(count); count],
            lives: vec![0; count],
            cut: vec![false; count],
            now: Timestamp::from_millis(1),
            answers: BTreeMap::new(),
        };
        (0..count).for_each(|region| regions.start(region));
        regions
    }

    fn start(&mut self, region: usize) {
        let mut step = Step::default();
        let own = (Member(region as u8), self.lives[region]);
        let (map, disk) = (Arc::clone(&self.map), self.disks[region].clone());
        let part = PoolRegion::start(own, map, self.settings, disk, self.now, &mut step);
        step.writes.iter().for_each(|write| self.disks[region].apply(write));
        self.parts[region] = Some(part.expect("the settings are valid"));
    }

    fn input(&mut self, region: usize, input: Input) {
        let mut inputs = VecDeque::from([(region, input)]);
        let mut step = Step::default();
        let mut steps = 0;
        while let Some((region, input)) = inputs.pop_front() {
            steps += 1;
            assert!(steps < 100_000, "messages without end");
            let Some(part) = self.parts[region].as_mut() else { continue };
            part.step(self.now, input, &mut step);
            step.writes.iter().for_each(|write| self.disks[region].apply(write));
            for effect in step.effects.drain(..) {
                match effect {
                    Effect::Answer { id, answer } => {
                        self.answers.insert(id.0, answer);
                    }
                    Effect::Send { to, message, .. } => {
                        let to = usize::from(to.0);
                        if !self.cut[region] && !self.cut[to] {
                            let from = Member(region as u8);
                            inputs.push_back((to, Input::Message { from, message }));
                        }
                    }
                }
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let tick = Duration::from_millis(100);
        for _ in 0..time.as_millis() / tick.as_millis() {
            self.now = self.now + tick;
            (0..self.parts.len()).for_each(|region| self.input(region, Input::Tick));
        }
    }

    fn reserve(&mut self, region: usize, id: u128, units: u64) -> Option<Answer> {
        self.input(region, Input::Reserve { id: HoldId(id), units, ttl: TTL });
        self.answers.get(&id).copied()
    }

    fn free(&self, region: usize) -> i64 {
        self.disks[region].free()
    }
}

fn leased() -> PoolSettings {
    let grants = Grants::Leased { window: WINDOW, lease: LEASE };
    // Nothing moves by itself, so that the numbers are exact.
    PoolSettings { grants, cover_min: Duration::ZERO, ..PoolSettings::default() }
}

fn is_held(answer: Option<Answer>) -> bool {
    matches!(answer, Some(Answer::Reserved { .. }))
}

#[test]
fn of_a_lost_region_all_but_the_window_can_be_sold_after_the_lease() {
    let mut regions = Regions::new(3, leased());
    regions.input(0, Input::Mint { units: 100 });
    regions.pass(Duration::from_secs(1));
    for id in 0..20 {
        assert!(is_held(regions.reserve(0, id, 1)));
        regions.pass(Duration::from_millis(100));
    }
    regions.pass(Duration::from_secs(1));
    // Cut off, it sells within its window, and not more.
    regions.cut[0] = true;
    let alone = (20..40).filter(|id| is_held(regions.reserve(0, *id, 1))).count();
    assert_eq!(alone as u64, WINDOW);
    regions.parts[0] = None;
    regions.pass(LEASE - Duration::from_millis(600));
    assert_eq!(regions.free(1), 0, "not before the lease has ended");
    regions.pass(Duration::from_secs(1));
    assert_eq!(regions.free(1), 80 - WINDOW as i64, "all but the window");
    // Back with its disk, it learns what was taken, and nothing is stranded.
    regions.cut[0] = false;
    regions.start(0);
    regions.pass(Duration::from_secs(1));
    assert_eq!(regions.free(0), 0);
    let held: u64 = regions.disks.iter().map(Cells::held).sum();
    assert_eq!(held as i64 + regions.free(0) + regions.free(1), 100);
}

#[test]
fn a_region_that_lost_its_disk_strands_at_most_the_window() {
    let mut regions = Regions::new(3, leased());
    regions.input(0, Input::Mint { units: 100 });
    regions.pass(Duration::from_secs(1));
    for id in 0..20 {
        assert!(is_held(regions.reserve(0, id, 1)));
        regions.pass(Duration::from_millis(100));
    }
    regions.pass(Duration::from_secs(1));
    regions.parts[0] = None;
    regions.disks[0] = Cells::new(3);
    regions.lives[0] += 1;
    regions.start(0);
    regions.pass(Duration::from_secs(1));
    assert_eq!((regions.free(0), regions.free(1)), (0, 80 - WINDOW as i64));
}

#[test]
fn what_a_forgetful_buddy_may_have_taken_is_not_sold_again() {
    let mut regions = Regions::new(2, leased());
    regions.input(0, Input::Mint { units: 100 });
    regions.pass(Duration::from_secs(1));
    regions.cut[0] = true;
    regions.pass(LEASE * 2);
    // The buddy has taken 95 and sells them, then loses its disk.
    let sold = (1_000..1_200).filter(|id| is_held(regions.reserve(1, *id, 1)));
    let sold = sold.count() as u64;
    assert_eq!(sold, WINDOW, "its own buddy is cut off too");
    regions.disks[1] = Cells::new(2);
    regions.lives[1] += 1;
    regions.start(1);
    regions.cut[0] = false;
    regions.pass(Duration::from_secs(1));
    assert!(regions.free(0) <= WINDOW as i64, "{}", regions.free(0));
    // Within the lease it had taken nothing, and nothing is written off.
    let mut regions = Regions::new(2, leased());
    regions.input(0, Input::Mint { units: 100 });
    regions.pass(Duration::from_secs(1));
    regions.disks[1] = Cells::new(2);
    regions.lives[1] += 1;
    regions.start(1);
    regions.pass(Duration::from_secs(1));
    assert_eq!(regions.free(0), 100);
}

/// The messages of region 0 are lost here: two units of credit are on their way, if at all.
#[test]
fn what_lacks_credit_alone_waits_for_it_and_crosses_regions_only_beyond_that() {
    let mut regions = Regions::new(3, leased());
    regions.input(0, Input::Mint { units: 100 });
    regions.input(2, Input::Mint { units: 100 });
    regions.pass(Duration::from_secs(1));
    let now = regions.now;
    let part = regions.parts[0].as_mut().expect("it runs");
    let mut step = Step::default();
    // What is forwarded, and whether something is held.
    let mut take = |now: Timestamp, input| {
        part.step(now, input, &mut step);
        let forwards = step.effects.iter().filter_map(|effect| match effect {
            Effect::Send { message: Message { body: Body::Forward { id, .. }, .. }, .. } => {
                Some(id.0)
            }
            _ => None,
        });
        let answered = step.effects.iter().any(|effect| matches!(effect, Effect::Answer { .. }));
        (forwards.collect::<Vec<_>>(), answered)
    };
    let reserve = |id| Input::Reserve { id: HoldId(id), units: 1, ttl: TTL };
    for id in 0..u128::from(WINDOW) {
        assert_eq!(take(now, reserve(id)), (vec![], true));
    }
    // The buddy is asked after the second unit, so its answer brings two.
    assert_eq!(take(now, reserve(10)), (vec![], false));
    assert_eq!(take(now, reserve(11)), (vec![], false));
    assert_eq!(take(now, reserve(12)), (vec![12], false));
    // The answer is overdue after a round trip of 40 ms.
    assert_eq!(take(now + Duration::from_millis(41), Input::Tick), (vec![], false));
    let (mut crossed, _) = take(now + Duration::from_millis(43), Input::Tick);
    crossed.sort_unstable();
    assert_eq!(crossed, [10, 11]);
}

#[test]
fn two_large_reserves_that_share_the_stock_do_not_wait_for_each_other() {
    let settings = PoolSettings { cover_min: Duration::ZERO, ..PoolSettings::default() };
    let mut regions = Regions::new(4, settings);
    for region in 0..4 {
        regions.input(region, Input::Mint { units: 15 });
    }
    regions.pass(Duration::from_millis(200));
    // Both need more than half of it: one gets it, the other is told how little is left.
    let first = regions.reserve(0, 1, 50);
    let second = regions.reserve(3, 2, 50);
    regions.pass(Duration::from_secs(2));
    let answers = [1, 2].map(|id| regions.answers.get(&id).copied());
    assert!(is_held(answers[0]), "{first:?} {second:?} {answers:?}");
    assert_eq!(answers[1], Some(Answer::SoldOut { left: 10 }));
}

#[test]
fn a_large_reserve_gathers_from_all_and_the_small_ones_get_the_rest() {
    let settings = PoolSettings { cover_min: Duration::ZERO, ..PoolSettings::default() };
    let mut regions = Regions::new(3, settings);
    for region in 0..3 {
        regions.input(region, Input::Mint { units: 20 });
    }
    regions.pass(Duration::from_millis(200));
    regions.reserve(0, 5_000, 45);
    for id in 0..16 {
        regions.reserve(id as usize % 3, id, 1);
    }
    regions.pass(Duration::from_secs(1));
    assert!(is_held(regions.answers.get(&5_000).copied()));
    let small = (0..16).filter(|id| is_held(regions.answers.get(id).copied()));
    assert_eq!(small.count(), 15);
}

#[test]
fn a_repeat_is_the_same_hold_and_extensions_are_bounded() {
    let settings = PoolSettings { extensions_max: 2, ..PoolSettings::default() };
    let mut regions = Regions::new(2, settings);
    regions.input(0, Input::Mint { units: 5 });
    let id = HoldId(1);
    let reserve = Input::Reserve { id, units: 1, ttl: Duration::from_secs(100) };
    regions.input(0, reserve);
    regions.input(0, reserve);
    assert_eq!(regions.free(0), 4);
    let mut lives = Vec::new();
    for _ in 0..3 {
        regions.input(0, Input::Extend { id, by: Duration::from_secs(1_000) });
        match regions.answers.get(&1) {
            Some(Answer::Extended { remaining }) => lives.push(remaining.as_secs()),
            Some(Answer::NotExtended { remaining }) => lives.push(1_000 + remaining.as_secs()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(lives, [150, 175, 1_175], "two extensions, and one more is none");
    regions.pass(Duration::from_secs(176));
    regions.input(0, Input::Confirm { id });
    assert_eq!(regions.answers.get(&1), Some(&Answer::Expired));
    assert_eq!(regions.free(0), 5);
}

/// Three units are in a region that needs them itself; a hold of another region is there.
fn crossed() -> Regions {
    let mut regions = Regions::new(3, PoolSettings::default());
    regions.input(1, Input::Mint { units: 3 });
    for id in 100..200 {
        regions.reserve(1, id, 1);
        regions.input(1, Input::Cancel { id: HoldId(id) });
        regions.pass(Duration::from_millis(100));
    }
    regions.reserve(0, 1, 3);
    regions.pass(Duration::from_secs(1));
    regions
}

#[test]
fn a_hold_is_pinned_confirmed_and_cancelled_where_it_was_asked_for() {
    for end in [Input::Confirm { id: HoldId(1) }, Input::Cancel { id: HoldId(1) }] {
        let mut regions = crossed();
        let answer = regions.answers.get(&1);
        assert!(matches!(answer, Some(Answer::Reserved { crossed: true, .. })), "{answer:?}");
        regions.input(0, Input::Pin { id: HoldId(1) });
        assert_eq!(regions.answers.get(&1), Some(&Answer::Pinned));
        // No clock ends it, and the way to it is not forgotten.
        regions.pass(Duration::from_secs(3_000));
        assert_eq!(regions.disks[1].held(), 3);
        regions.start(0);
        regions.pass(Duration::from_secs(3_000));
        // It can be pinned again, and is no longer than that.
        regions.input(0, Input::Pin { id: HoldId(1) });
        assert_eq!(regions.answers.get(&1), Some(&Answer::Pinned));
        regions.input(0, end);
        let is_sold = matches!(end, Input::Confirm { .. });
        let answer = if is_sold { Answer::Confirmed } else { Answer::Cancelled };
        assert_eq!(regions.answers.get(&1), Some(&answer));
        assert_eq!(regions.disks[1].sold(), if is_sold { 3 } else { 0 });
        assert_eq!(regions.disks[1].held(), 0);
        // Long after its end it is forgotten, here and there.
        regions.pass(Duration::from_secs(3_000));
        regions.input(0, end);
        assert_eq!(regions.answers.get(&1), Some(&Answer::NotHere));
    }
}

/// A client that got no answer in time asks another region with the same id.
#[test]
fn a_region_has_one_hold_of_an_id_also_when_another_region_wants_one_here() {
    let mut regions = crossed();
    regions.input(0, Input::Pin { id: HoldId(1) });
    regions.input(0, Input::Mint { units: 3 });
    let body = Body::Forward { id: HoldId(1), units: 3, ttl: TTL };
    let message = Message { from: 0, to: 0, stamp: u64::MAX / 2, digest: Digest::default(), body };
    regions.input(0, Input::Message { from: Member(2), message });
    assert_eq!(regions.disks[0].held(), 0, "the hold of this id is in region 1");
    regions.input(0, Input::Confirm { id: HoldId(1) });
    assert_eq!(regions.answers.get(&1), Some(&Answer::Confirmed));
    assert_eq!((regions.disks[0].sold(), regions.disks[1].sold()), (0, 3));
    assert_eq!((regions.disks[0].held(), regions.disks[1].held()), (0, 0), "nothing is stranded");
}

/// The way to region 1 kept what region 0 asked it for, and has lost what took that back.
#[test]
fn a_hold_that_is_made_when_nobody_waits_for_it_any_more_is_given_back() {
    let mut regions = crossed();
    let late = |id| {
        let body = Body::Forward { id: HoldId(id), units: 3, ttl: TTL };
        let digest = Digest::default();
        let message = Message { from: 0, to: 0, stamp: u64::MAX / 2, digest, body };
        Input::Message { from: Member(0), message }
    };
    // A hold that somebody has is not.
    regions.input(1, late(1));
    assert_eq!((regions.free(1), regions.disks[1].held()), (0, 3));
    regions.input(0, Input::Cancel { id: HoldId(1) });
    regions.input(1, late(2));
    assert_eq!((regions.free(1), regions.disks[1].held()), (3, 0));
}

#[test]
fn more_reserves_than_one_step_serves_are_served_one_tick_later() {
    let settings = PoolSettings { cover_min: Duration::ZERO, ..PoolSettings::default() };
    let mut regions = Regions::new(2, settings);
    regions.pass(Duration::from_millis(200));
    regions.cut[1] = true;
    for id in 0..257 {
        regions.input(0, Input::Reserve { id: HoldId(id), units: 1, ttl: TTL });
    }
    regions.input(0, Input::Mint { units: 300 });
    assert_eq!(regions.disks[0].held(), 256);
    regions.pass(Duration::from_millis(100));
    assert_eq!(regions.disks[0].held(), 257);
}

/// Region 0 alone, whose messages are lost: what it sends in a step, and what it answers.
fn take(part: &mut PoolRegion, now: Timestamp, input: Input) -> (Vec<(u8, Body)>, Option<Answer>) {
    let (mut step, mut sent, mut told) = (Step::default(), Vec::new(), None);
    part.step(now, input, &mut step);
    for effect in step.effects {
        match effect {
            Effect::Send { to, message, .. } => sent.push((to.0, message.body)),
            Effect::Answer { answer, .. } => told = Some(answer),
        }
    }
    (sent, told)
}

/// A message of a region with so many units, which are asked for so often that none is expected to
/// be left when a message gets there.
fn said(from: u8, stamp: u64, free: u64, body: Body) -> Input {
    let digest = Digest { free, rate: 100_000_000, ..Digest::default() };
    Input::Message { from: Member(from), message: Message { from: 0, to: 0, stamp, digest, body } }
}

fn counted(look: u64, version: u64, free: u64) -> Body {
    let count = Count {
        version,
        incarnation: 0,
        incarnations: 0,
        free,
        spendable: free,
        held: 1 - free.min(1),
        given: 0,
        received: 0,
        minted: 1,
    };
    Body::Counted { look, count }
}

fn look_of(sent: &[(u8, Body)]) -> u64 {
    let look = sent.iter().find_map(|(_, body)| match body {
        Body::Collect { look } => Some(*look),
        _ => None,
    });
    look.expect("a look began")
}

fn forwards(sent: &[(u8, Body)]) -> Vec<u8> {
    let is_forward = |sent: &&(u8, Body)| matches!(sent.1, Body::Forward { .. });
    sent.iter().filter(is_forward).map(|(to, _)| *to).collect()
}

#[test]
fn nobody_is_told_that_all_is_sold_while_the_last_unit_may_be_held_for_him() {
    for is_late in [false, true] {
        let mut regions = Regions::new(2, PoolSettings::default());
        let mut now = regions.now;
        let part = regions.parts[0].as_mut().expect("it runs");
        take(part, now, said(1, 1, 1, Body::Digest));
        let reserve = Input::Reserve { id: HoldId(7), units: 1, ttl: TTL };
        let (sent, _) = take(part, now, reserve);
        assert_eq!(forwards(&sent), [0; 0], "the chance is too small");
        // There is one, so it is asked for; it is held there, and the answer is on its way.
        let (sent, _) = take(part, now, said(1, 2, 1, counted(look_of(&sent), 1, 1)));
        assert_eq!(forwards(&sent), [1]);
        let (sent, _) = take(part, now, said(1, 3, 0, counted(look_of(&sent), 2, 0)));
        let (sent, told) = take(part, now, said(1, 4, 0, counted(look_of(&sent), 2, 0)));
        assert_eq!(told, None, "two looks agree that none is free");
        if is_late {
            now = now + Duration::from_secs(1);
            let (_, told) = take(part, now, said(1, 5, 0, counted(look_of(&sent), 2, 0)));
            assert_eq!(told, Some(Answer::SoldOut { left: 0 }), "the answer is overdue");
        } else {
            let held = Body::Forwarded { id: HoldId(7), remaining: Some(TTL) };
            let (_, told) = take(part, now, said(1, 5, 0, held));
            assert!(is_held(told), "{told:?}");
        }
    }
}

#[test]
fn who_does_not_answer_a_look_is_not_asked_for_units_before_who_does() {
    let mut regions = Regions::new(3, PoolSettings::default());
    let now = regions.now;
    let part = regions.parts[0].as_mut().expect("it runs");
    take(part, now, said(1, 1, 9, Body::Digest));
    take(part, now, said(2, 1, 3, Body::Digest));
    let reserve = Input::Reserve { id: HoldId(7), units: 1, ttl: TTL };
    let (sent, _) = take(part, now, reserve);
    take(part, now, said(2, 2, 3, counted(look_of(&sent), 1, 3)));
    // Three round trips of 80 ms later region 1 has not answered.
    let (sent, told) = take(part, now + Duration::from_millis(300), Input::Tick);
    assert_eq!((forwards(&sent), told), (vec![2], None));
}
