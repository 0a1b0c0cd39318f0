//! A flash sale over three regions: each sells from its own part, units move to where they are
//! asked for, and the last ones are found wherever they are.
//!
//! The parts of the pool are pure. This program is the loop around them that a service would
//! write, with a network that delivers at once; the order matters: what a step writes lands before
//! what it sends leaves.
//!
//! `cargo run -p dtx --features geo --example geo_flash_sale`

use std::{collections::VecDeque, error::Error, sync::Arc, time::Duration};

use dtx::{
    geo::{
        model::{Provider, Shipped},
        pool::{
            Answer, Cells, Effect, HoldId, Input, Member, PoolMap, PoolRegion, PoolSettings, Step,
        },
    },
    time::Timestamp,
};

const REGIONS: [&str; 3] = ["us-east-1", "eu-west-1", "sa-east-1"];
const STOCK: u64 = 300;

struct Sale {
    parts: Vec<PoolRegion>,
    /// What would be rows of each region's store.
    disks: Vec<Cells>,
    now: Timestamp,
    answers: Vec<(HoldId, Answer)>,
}

impl Sale {
    fn open(map: PoolMap) -> Result<Self, Box<dyn Error>> {
        let (map, now) = (Arc::new(map), Timestamp::from_millis(1));
        let disks = vec![Cells::new(REGIONS.len()); REGIONS.len()];
        let mut sale = Self { parts: Vec::new(), disks, now, answers: Vec::new() };
        let mut step = Step::default();
        for region in 0..REGIONS.len() as u8 {
            let (own, empty) = ((Member(region), 0), Cells::new(REGIONS.len()));
            let settings = PoolSettings::default();
            let part = PoolRegion::start(own, Arc::clone(&map), settings, empty, now, &mut step)?;
            sale.parts.push(part);
            step.writes.drain(..).for_each(|write| sale.disks[usize::from(region)].apply(&write));
        }
        for region in 0..REGIONS.len() {
            sale.happens(region, Input::Mint { units: STOCK / REGIONS.len() as u64 });
        }
        Ok(sale)
    }

    /// Something happens in a region, and all that follows from it.
    fn happens(&mut self, region: usize, input: Input) {
        let mut inputs = VecDeque::from([(region, input)]);
        let mut step = Step::default();
        while let Some((region, input)) = inputs.pop_front() {
            self.parts[region].step(self.now, input, &mut step);
            step.writes.iter().for_each(|write| self.disks[region].apply(write));
            for effect in step.effects.drain(..) {
                match effect {
                    Effect::Answer { id, answer } => self.answers.push((id, answer)),
                    Effect::Send { to, message, .. } => {
                        let from = Member(region as u8);
                        inputs.push_back((usize::from(to.0), Input::Message { from, message }));
                    }
                }
            }
        }
    }

    fn passes(&mut self, time: Duration) {
        self.now = self.now + time;
        (0..REGIONS.len()).for_each(|region| self.happens(region, Input::Tick));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let map = Shipped::rtt(Provider::Aws).select(&REGIONS).ok_or("a region is not in the map")?;
    let mut sale = Sale::open(PoolMap::new(&map)?)?;
    sale.passes(Duration::from_millis(100));

    // Everybody is in São Paulo, and wants one; a few more than there are.
    for buyer in 0..STOCK + 5 {
        let ttl = Duration::from_secs(60);
        sale.happens(2, Input::Reserve { id: HoldId(buyer.into()), units: 1, ttl });
        if buyer % 20 == 0 {
            sale.passes(Duration::from_millis(100));
        }
        while let Some((id, answer)) = sale.answers.pop() {
            if let Answer::Reserved { at, .. } = answer {
                sale.happens(usize::from(at.0), Input::Confirm { id });
            }
            if let Answer::SoldOut { left } = answer {
                println!("buyer {}: sold out, {left} left", id.0);
            }
        }
    }
    for (region, disk) in REGIONS.iter().zip(&sale.disks) {
        println!("{region}: sold {}, free {}", disk.sold(), disk.free());
    }
    assert_eq!(sale.disks.iter().map(Cells::sold).sum::<u64>(), STOCK);
    Ok(())
}
