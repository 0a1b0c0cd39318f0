//! A participant whose effect is in the user's own keys. Nothing of it is idempotent: what is done
//! twice is there twice.

use dtx::{
    answer::{Answer, NotDone, rejected},
    participant::{
        Compensate, Context, Deliver, Execute, Prepare, Reserve, TwoPhaseCommit, Validate, Vote,
    },
    transaction::Action,
};
use dtx_store_redis::{KeyPrefix, RedisEffect, RedisScript, RedisUnit};
use serde::{Deserialize, Serialize};

use crate::support::book;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Due {
    pub(crate) cents: i64,
    pub(crate) how: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Pay {
    book: String,
}

static ADD: RedisScript = RedisScript::new(
    r#"
    if ARGV[2] == "never" then
        return "not enough money"
    end
    redis.call("HINCRBY", KEYS[1], ARGV[1], 1) -- no new line follows this"#,
);

static TAKE: RedisScript = RedisScript::new(
    r#"
    if tonumber(redis.call("HGET", KEYS[1], ARGV[1]) or "0") < 1 then
        error("nothing is there")
    end
    return redis.call("HINCRBY", KEYS[1], ARGV[1], -1)
    "#,
);

static MOVE: RedisScript = RedisScript::new(
    r#"
    if tonumber(redis.call("HGET", KEYS[1], ARGV[1]) or "0") < 1 then
        error("nothing is there")
    end
    redis.call("HINCRBY", KEYS[1], ARGV[1], -1)
    redis.call("HINCRBY", KEYS[1], ARGV[2], 1)
    return true
    "#,
);

type Cx<'a, 'b> = &'a mut Context<'b, RedisUnit>;

impl Action for Pay {
    const NAME: &'static str = "pay";
    type Input = Due;
    type Output = String;
}

impl Pay {
    pub(crate) fn on(prefix: &KeyPrefix) -> Self {
        Self { book: book(prefix) }
    }

    async fn add(&self, cx: Cx<'_, '_>, due: &Due, stage: &str) -> Answer<String> {
        let of = format!("{stage} {}", cx.operation_key());
        cx.tx().run(RedisEffect::of(&ADD).key(&self.book).arg(of).arg(&due.how))?;
        match due.how.as_str() {
            // What was said is not done.
            "late" => return rejected("not enough money, said late"),
            "parks" => dtx_testkit::parked::park().await,
            "panics" => panic!("as it was told"),
            "fails" => return Err(NotDone::unknown("as it was told")),
            "twice" => cx.tx().run(RedisEffect::of(&ADD).key(&self.book))?,
            _ => {}
        }
        Ok(format!("{} cents for {}", due.cents, cx.operation_key()))
    }

    async fn take(&self, cx: Cx<'_, '_>, stage: &str) -> Answer<()> {
        let of = format!("{stage} {}", cx.operation_key());
        cx.tx().run(RedisEffect::of(&TAKE).key(&self.book).arg(of))
    }

    async fn settle(&self, cx: Cx<'_, '_>, due: &Due) -> Answer<String> {
        let of = |stage: &str| format!("{stage} {}", cx.operation_key());
        let (held, paid) = (of("held"), of("paid"));
        cx.tx().run(RedisEffect::of(&MOVE).key(&self.book).arg(held).arg(paid))?;
        Ok(format!("{} cents for {}", due.cents, cx.operation_key()))
    }
}

impl Execute<RedisUnit> for Pay {
    async fn execute(&self, cx: Cx<'_, '_>, due: &Due) -> Answer<String> {
        if matches!(cx.pattern().name(), "2ps" | "3ps") {
            return self.settle(cx, due).await;
        }
        self.add(cx, due, "paid").await
    }
}

impl Compensate<RedisUnit> for Pay {
    async fn compensate(&self, cx: Cx<'_, '_>, _: &Due) -> Answer<()> {
        let said: Option<String> = cx.forward()?;
        assert!(said.is_some_and(|said| said.contains("cents")), "its own output");
        self.take(cx, "paid").await
    }
}

impl Prepare<RedisUnit> for Pay {
    async fn prepare(&self, cx: Cx<'_, '_>, due: &Due) -> Answer<()> {
        self.add(cx, due, "held").await.map(drop)
    }

    async fn cancel(&self, cx: Cx<'_, '_>, _: &Due) -> Answer<()> {
        self.take(cx, "held").await
    }
}

impl Reserve<RedisUnit> for Pay {
    async fn reserve(&self, cx: Cx<'_, '_>, due: &Due) -> Answer<()> {
        self.add(cx, due, "held").await.map(drop)
    }

    async fn release(&self, cx: Cx<'_, '_>, _: &Due) -> Answer<()> {
        self.take(cx, "held").await
    }
}

impl Validate<RedisUnit> for Pay {
    async fn validate(&self, _: Cx<'_, '_>, _: &Due) -> Answer<()> {
        Ok(())
    }
}

impl TwoPhaseCommit<RedisUnit> for Pay {
    async fn prepare(&self, cx: Cx<'_, '_>, due: &Due) -> Answer<Vote> {
        self.add(cx, due, "held").await?;
        Ok(Vote::Commit)
    }

    async fn commit(&self, cx: Cx<'_, '_>, due: &Due) -> Answer<String> {
        self.settle(cx, due).await
    }

    async fn abort(&self, cx: Cx<'_, '_>, _: &Due) -> Answer<()> {
        self.take(cx, "held").await
    }
}

impl Deliver<RedisUnit> for Pay {
    async fn deliver(&self, cx: Cx<'_, '_>, due: &Due) -> Answer<()> {
        self.add(cx, due, "paid").await.map(drop)
    }
}
