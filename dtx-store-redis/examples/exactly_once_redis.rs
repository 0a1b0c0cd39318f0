//! Exactly once on Redis: the effect is in one script with the participant's memory of it. Many
//! answers are lost here, so commands come again and again, and money moves once.
//!
//! Needs a Redis: `cargo xtask services exec redis -- cargo run -p dtx-store-redis --features
//! test-redis --example exactly_once_redis`, or `DTX_REDIS_URL=redis://..`.

use std::{env, error::Error, sync::Arc, time::Duration};

use dtx::prelude::*;
use dtx_store_redis::{RedisEffect, RedisScript, RedisStore, RedisUnit};
use dtx_testkit::chaos::{Chaos, ChaosSettings};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Due {
    account: String,
    cents: i64,
}

/// Takes money from an account in the user's own key.
struct Pay;

static TAKE: RedisScript = RedisScript::new(
    r#"
    if tonumber(redis.call("GET", KEYS[1]) or "0") < tonumber(ARGV[1]) then
        return "not enough money"
    end
    redis.call("DECRBY", KEYS[1], ARGV[1])
    "#,
);

static GIVE: RedisScript = RedisScript::new(r#"redis.call("INCRBY", KEYS[1], ARGV[1])"#);

impl Due {
    /// On a cluster all of them are in the slot of `{payment}`.
    fn key(&self) -> String {
        format!("{{payment}}account:{}", self.account)
    }
}

impl Action for Pay {
    const NAME: &'static str = "pay";
    type Input = Due;
    type Output = ();
}

impl Execute<RedisUnit> for Pay {
    async fn execute(&self, cx: &mut Context<'_, RedisUnit>, due: &Due) -> Answer<()> {
        let take = RedisEffect::of(&TAKE).key(due.key()).arg(due.cents.to_string());
        cx.tx().run(take)
    }
}

impl Compensate<RedisUnit> for Pay {
    async fn compensate(&self, cx: &mut Context<'_, RedisUnit>, due: &Due) -> Answer<()> {
        let give = RedisEffect::of(&GIVE).key(due.key()).arg(due.cents.to_string());
        cx.tx().run(give)
    }
}

fn url() -> Result<String, Box<dyn Error>> {
    let given = env::var("DTX_REDIS_URL").or_else(|_| env::var("DTX_TEST_REDIS_URL"));
    given.map_err(|_| "set DTX_REDIS_URL to redis://HOST:PORT".into())
}

fn pay(account: &str, cents: i64) -> Due {
    Due { account: account.into(), cents }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = RedisStore::connect(&url()?).await?;
    let client = redis::Client::open(url()?)?;
    let mut accounts = client.get_multiplexed_async_connection().await?;
    let (alice, bob) = (pay("alice", 0).key(), pay("bob", 0).key());
    redis::cmd("MSET").arg(&[(&alice, 10_000), (&bob, 5)]).exec_async(&mut accounts).await?;

    let payment = Participant::within("payment", store.beside("payment")?)?.saga(Pay);
    let chaos = Chaos::new(ChaosSettings { seed: 7, timeout_rate: 0.4, ..Default::default() })?;
    let dtx = Dtx::builder()
        .store(store.clone())
        .transport(chaos.transport(Arc::new(InMemoryTransport::new())))
        .participant(payment)
        .start()
        .await?;
    let mut left = (0, 0);
    for (cents, from_bob) in [(2_933, 0), (2_933, 100)] {
        let transaction = Transaction::builder(Pattern::Saga)
            .in_sequence()
            .call::<Pay>("payment", pay("alice", cents))
            .call::<Pay>("payment", pay("bob", from_bob))
            .build()?;
        let outcome = dtx.submit(transaction).await?.outcome().await?;
        left = redis::cmd("MGET").arg(&[&alice, &bob]).query_async(&mut accounts).await?;
        println!("{outcome}: alice has {}, bob has {}", left.0, left.1);
    }
    let stats = dtx.host_stats().await;
    println!("{} commands were delivered, {} handlers ran", stats[0].1.commands, stats[0].1.runs);
    assert_eq!(left, (10_000 - 2_933, 5));
    dtx.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
