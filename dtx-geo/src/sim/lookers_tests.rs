//! Units that are held and given back all the time are not sold, and are found.

use std::time::Duration;

use crate::{
    model::{Provider, Shipped},
    pool::{Answer, HoldId, Input, Member, PoolMap, PoolSettings},
    sim::{
        network::Network,
        world::{Event, Told, World},
    },
};

const REGIONS: [&str; 3] = ["us-east-1", "eu-west-1", "ap-northeast-1"];
/// What is in each region but the first, which has none.
const STOCK: u64 = 27;
const LOOKERS: u64 = 2;
/// How long a commit takes, in microseconds.
const COMMIT: (u64, u64) = (300, 600);
/// How long those look before the first one buys, in microseconds: their demand is known by then.
const BEFORE: u64 = 4_000_000;
const BUYERS: u128 = 20;
const PAUSE: u64 = 250_000;
/// The ids of buyers are below it.
const LOOKS: u128 = 1_000_000;

#[derive(Clone, Copy, Debug)]
enum Own {
    Buy(u128),
    Cancel(Member, HoldId),
}

/// Reserves of one unit in the first region, while others look at those of the other two, of which
/// some do not answer; and how long each of them took, in microseconds.
fn bought(down: &[u8], seed: u64) -> Vec<(Answer, u64)> {
    let map = Shipped::rtt(Provider::Aws).symmetric().select(&REGIONS).expect("they are there");
    let network = Network::new(map.clone(), &Shipped::jitter(Provider::Aws));
    // Nothing moves ahead of demand, so that each one crosses.
    let settings = PoolSettings { cover_min: Duration::ZERO, ..PoolSettings::default() };
    let pool_map = PoolMap::new(&map).expect("every pair is known");
    let mut world = World::new(network, pool_map, settings, COMMIT, seed);
    let mut looks = LOOKS;
    for member in world.members() {
        world.start(member);
        if member.0 > 0 {
            world.input(member, Input::Mint { units: STOCK });
        }
    }
    let ttl = Duration::from_secs(600);
    for region in 1..3 {
        for _ in 0..LOOKERS {
            looks += 1;
            world.input(Member(region), Input::Reserve { id: HoldId(looks), units: 1, ttl });
        }
    }
    let begin = world.now + BEFORE;
    for id in 0..BUYERS {
        world.at(begin + id as u64 * PAUSE, Event::Own(Own::Buy(id)));
    }
    let mut told = vec![None; BUYERS as usize];
    let mut is_down = false;
    while let Some(next) = world.next(begin + BUYERS as u64 * PAUSE + 4_000_000) {
        match next {
            Told::Own(Own::Buy(id)) => {
                if !is_down {
                    down.iter().for_each(|region| world.crash(Member(*region)));
                    is_down = true;
                }
                world.input(Member(0), Input::Reserve { id: HoldId(id), units: 1, ttl });
            }
            Told::Own(Own::Cancel(node, id)) => {
                world.input(node, Input::Cancel { id });
            }
            Told::Answer { id, answer, .. } if id.0 < LOOKS => {
                let asked = begin + id.0 as u64 * PAUSE;
                told[id.0 as usize] = Some((answer, world.now - asked));
            }
            Told::Answer { node, id, answer: Answer::Reserved { .. } } => {
                world.at(world.now, Event::Own(Own::Cancel(node, id)));
            }
            Told::Answer { node, .. } => {
                looks += 1;
                world.input(node, Input::Reserve { id: HoldId(looks), units: 1, ttl });
            }
        }
    }
    told.into_iter().map(|told| told.expect("each is answered")).collect()
}

#[test]
fn units_at_which_others_look_are_found() {
    for (down, name) in [(&[][..], "all"), (&[1], "the farther one"), (&[2], "the nearer one")] {
        for seed in 0..10 {
            for (answer, micros) in bought(down, seed) {
                let is_reserved = matches!(answer, Answer::Reserved { .. });
                assert!(is_reserved, "{name} there, seed {seed}: {answer:?} after {micros} us");
            }
        }
    }
}
