//! A participant whose effect is a row in the user's own table. Nothing of it is idempotent: what
//! is done twice is there twice.

use dtx::{
    Pg, PgStore,
    answer::{Answer, NotDone, rejected},
    participant::{
        Compensate, Context, Deliver, Execute, Prepare, Reserve, TwoPhaseCommit, Validate, Vote,
    },
    transaction::Action,
};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Connection};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Due {
    pub(crate) cents: i64,
    pub(crate) how: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Pay {
    schema: String,
}

type Cx<'a, 'b> = &'a mut Context<'b, Pg>;

impl Action for Pay {
    const NAME: &'static str = "pay";
    type Input = Due;
    type Output = String;
}

impl Pay {
    pub(crate) fn on(store: &PgStore) -> Self {
        Self { schema: store.schema().to_string() }
    }

    async fn change(&self, cx: Cx<'_, '_>, text: &str, stage: &str) -> Result<u64, sqlx::Error> {
        let op = cx.operation_key().to_owned();
        let query = sqlx::query(AssertSqlSafe(text.replace("{s}", &self.schema)));
        let done = query.bind(op).bind(stage.to_owned()).execute(&mut **cx.tx()).await?;
        Ok(done.rows_affected())
    }

    async fn add(&self, cx: Cx<'_, '_>, due: &Due, stage: &str) -> Answer<String> {
        self.change(cx, "INSERT INTO {s}.paid (op, stage) VALUES ($1, $2)", stage).await?;
        match due.how.as_str() {
            // After the effect: it must be undone.
            "never" => return rejected("not enough money"),
            "badly" => {
                let wrong = sqlx::query("SELECT 1/0").execute(&mut **cx.tx()).await;
                assert!(wrong.is_err(), "the transaction is broken by now");
                return rejected("it went wrong");
            }
            "ends" => _ = sqlx::raw_sql("COMMIT").execute(&mut **cx.tx()).await?,
            "parks" => dtx_testkit::parked::park().await,
            "slow" => std::future::pending().await,
            "panics" => panic!("as it was told"),
            "fails" => return Err(NotDone::unknown("as it was told")),
            "nested" => {
                let mut inner = cx.tx().begin().await?;
                sqlx::query("SELECT 1").execute(&mut *inner).await?;
                inner.commit().await?;
            }
            _ => {}
        }
        Ok(format!("{} cents for {}", due.cents, cx.operation_key()))
    }

    async fn take(&self, cx: Cx<'_, '_>, stage: &str) -> Answer<()> {
        const ONE: &str = "DELETE FROM {s}.paid WHERE ctid = (SELECT ctid FROM {s}.paid WHERE \
            op = $1 AND stage = $2 LIMIT 1)";
        match self.change(cx, ONE, stage).await? {
            1 => Ok(()),
            _ => Err(NotDone::unknown(format!("nothing is {stage}"))),
        }
    }
}

impl Execute<Pg> for Pay {
    async fn execute(&self, cx: &mut Context<'_, Pg>, due: &Due) -> Answer<String> {
        if matches!(cx.pattern().name(), "2ps" | "3ps") {
            self.take(cx, "held").await?;
        }
        self.add(cx, due, "paid").await
    }
}

impl Compensate<Pg> for Pay {
    async fn compensate(&self, cx: &mut Context<'_, Pg>, _: &Due) -> Answer<()> {
        let said: Option<String> = cx.forward()?;
        assert!(said.is_some_and(|said| said.contains("cents")), "its own output");
        self.take(cx, "paid").await
    }
}

impl Prepare<Pg> for Pay {
    async fn prepare(&self, cx: &mut Context<'_, Pg>, due: &Due) -> Answer<()> {
        self.add(cx, due, "held").await.map(drop)
    }

    async fn cancel(&self, cx: &mut Context<'_, Pg>, _: &Due) -> Answer<()> {
        self.take(cx, "held").await
    }
}

impl Reserve<Pg> for Pay {
    async fn reserve(&self, cx: &mut Context<'_, Pg>, due: &Due) -> Answer<()> {
        self.add(cx, due, "held").await.map(drop)
    }

    async fn release(&self, cx: &mut Context<'_, Pg>, _: &Due) -> Answer<()> {
        self.take(cx, "held").await
    }
}

impl Validate<Pg> for Pay {
    async fn validate(&self, _: &mut Context<'_, Pg>, _: &Due) -> Answer<()> {
        Ok(())
    }
}

impl TwoPhaseCommit<Pg> for Pay {
    async fn prepare(&self, cx: &mut Context<'_, Pg>, due: &Due) -> Answer<Vote> {
        self.add(cx, due, "held").await?;
        Ok(Vote::Commit)
    }

    async fn commit(&self, cx: &mut Context<'_, Pg>, due: &Due) -> Answer<String> {
        self.take(cx, "held").await?;
        self.add(cx, due, "paid").await
    }

    async fn abort(&self, cx: &mut Context<'_, Pg>, _: &Due) -> Answer<()> {
        self.take(cx, "held").await
    }
}

impl Deliver<Pg> for Pay {
    async fn deliver(&self, cx: &mut Context<'_, Pg>, due: &Due) -> Answer<()> {
        self.add(cx, due, "paid").await.map(drop)
    }
}
