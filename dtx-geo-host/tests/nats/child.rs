//! The process of a region: this program again, which does what it is asked over one connection.

use std::{env, net::Ipv4Addr, sync::Arc, time::Duration};

use dtx_core::{
    pattern::Pattern,
    resource::{Amount, Debit, Ledger},
    transaction::Transaction,
};
use dtx_geo::pool::{Answer, HoldId};
use dtx_geo_host::{
    PoolHandle, PoolNode, PoolNodeSettings, PoolUnits, Pools, RegionalTransport, TakeFromPool,
    Told as PoolTold,
};
use dtx_runtime::{
    coordinator::{CoordinatorSettings, Dtx, Store},
    participant::{Host, HostHandle, HostSettings, OnStore},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::mpsc,
};

use crate::{
    hanging::Hanging,
    plan::{ACCOUNT, Ask, BUYS, Numbered, PAYS, Plan, TTL, Told},
    reach::reach,
};

/// The variable that makes this program the process of a region.
pub(crate) const PLAN: &str = "DTX_REGION_PLAN";

/// How long an end in order waits for what is open.
const GRACE: Duration = Duration::from_secs(20);

/// Does nothing unless it is the process of a region.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(text) = env::var(PLAN) else { return };
    let plan: Plan = serde_json::from_str(&text).expect("a plan");
    Region::start(&plan).await.serve(plan.control).await;
}

/// What runs in the process.
struct Region {
    node: PoolNode,
    rows: Arc<Hanging>,
    reach: Arc<RegionalTransport>,
    dtx: Option<Arc<Dtx>>,
    _payment: Option<HostHandle>,
}

/// What is needed for an answer.
#[derive(Clone)]
struct Desk {
    pool: PoolHandle,
    rows: Arc<Hanging>,
    reach: Arc<RegionalTransport>,
    dtx: Option<Arc<Dtx>>,
}

impl Region {
    async fn start(plan: &Plan) -> Self {
        let store = plan.rows.open().await;
        let reach = Arc::new(reach(plan).await);
        let (rows, settings) = (Arc::new(Hanging::new(store.clone())), PoolNodeSettings::default());
        let node = PoolNode::start(rows.clone(), reach.clone(), plan.spec(), settings).await;
        let node = node.expect("it starts");
        let (mut dtx, mut payment) = (None, None);
        if plan.has_checkouts && plan.region == BUYS {
            dtx = Some(Arc::new(coordinator(store, reach.clone(), node.handle()).await));
        } else if plan.has_checkouts && plan.region == PAYS {
            payment = Some(host(store, reach.clone()).await);
        }
        Self { node, rows, reach, dtx, _payment: payment }
    }

    /// Answers until it is asked to end, or whoever asks is gone.
    async fn serve(self, control: u16) {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, control)).await;
        let (from, mut to) = stream.expect("the test listens").into_split();
        let (answers, mut queue) = mpsc::channel::<Numbered<Told>>(1_024);
        let writes = tokio::spawn(async move {
            while let Some(answer) = queue.recv().await {
                let mut line = serde_json::to_vec(&answer).expect("it is JSON");
                line.push(b'\n');
                if to.write_all(&line).await.is_err() {
                    return;
                }
            }
        });
        let (pool, rows) = (self.node.handle().clone(), self.rows.clone());
        let desk = Desk { pool, rows, reach: self.reach.clone(), dtx: self.dtx.clone() };
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let asked: Numbered<Ask> = serde_json::from_str(&line).expect("a question");
            let (number, answers) = (asked.number, answers.clone());
            if matches!(asked.body, Ask::Stop) {
                let body = Told::Stopped { drained: self.stop().await };
                // Whoever asks may be gone.
                let _ = answers.send(Numbered { number, body }).await;
                break;
            }
            let desk = desk.clone();
            tokio::spawn(async move {
                let body = desk.answer(asked.body).await.unwrap_or_else(Told::Failed);
                let _ = answers.send(Numbered { number, body }).await;
            });
        }
        drop(answers);
        writes.await.expect("it does not panic");
    }

    async fn stop(self) -> bool {
        let drained = match &self.dtx {
            Some(dtx) => dtx.shutdown(GRACE).await.drained,
            None => true,
        };
        self.node.stop().await.expect("it ends in order");
        drained
    }
}

async fn coordinator(
    store: Arc<dyn Store>,
    reach: Arc<RegionalTransport>,
    pool: &PoolHandle,
) -> Dtx {
    let mut settings = CoordinatorSettings::default();
    // The shortest one that a broker far away can keep.
    settings.engine.attempt_timeout_min = Duration::from_millis(500);
    let inventory = Pools::new().with(pool).participant("inventory").expect("a name");
    let dtx = Dtx::builder().shared_store(store).shared_transport(reach).settings(settings);
    dtx.participant(inventory).start().await.expect("it starts")
}

async fn host(store: Arc<dyn Store>, reach: Arc<RegionalTransport>) -> HostHandle {
    let payment = Ledger::default().on_shared(store.clone()).participant("payment");
    let (payment, settings) = (payment.expect("a name"), HostSettings::default());
    Host::start(payment, reach, Some(store), settings).await.expect("it starts")
}

impl Desk {
    async fn answer(&self, ask: Ask) -> Result<Told, String> {
        let pool = &self.pool;
        let told = match ask {
            Ask::HasReached => return Ok(Told::Reached(self.reach.has_reached_all())),
            Ask::Reserve { id, units } => pool.reserve(HoldId(id.into()), units, TTL).await,
            Ask::Pin { id } => pool.pin(HoldId(id.into())).await,
            Ask::Confirm { id } => pool.confirm(HoldId(id.into())).await,
            Ask::Cancel { id } => pool.cancel(HoldId(id.into())).await,
            Ask::State => {
                let state = pool.state().await.map_err(|error| error.to_string())?;
                return Ok(Told::State { free: state.free, held: state.held, sold: state.sold });
            }
            Ask::Restock { total } => {
                pool.restock(total).await.map_err(|error| error.to_string())?;
                return Ok(Told::Restocked);
            }
            Ask::Hang(hang) => {
                self.rows.hang(hang).await;
                return Ok(Told::Hangs);
            }
            Ask::Checkout { key, units, cents, deadline } => {
                return self.check_out(key, units, cents, deadline).await;
            }
            Ask::Stop => return Err("it ends elsewhere".into()),
        };
        told.map(|told| self.told(told)).map_err(|error| error.to_string())
    }

    fn told(&self, told: PoolTold) -> Told {
        let name = |member| self.pool.spec().region(member).expect("it is one of them").to_string();
        match told.answer {
            Answer::Reserved { at, crossed, .. } => {
                Told::Reserved { at: usize::from(at.0), crossed }
            }
            Answer::SoldOut { left } => Told::SoldOut { left },
            Answer::Unavailable { unreachable, .. } => {
                Told::Unavailable { unreachable: unreachable.iter().map(name).collect() }
            }
            Answer::Busy => Told::Busy,
            Answer::Pinned => Told::Pinned,
            Answer::Confirmed => Told::Confirmed,
            Answer::Cancelled => Told::Cancelled,
            Answer::Expired => Told::Expired,
            Answer::NotHere => Told::NotHere,
            other => Told::Failed(format!("{other:?}")),
        }
    }

    async fn check_out(
        &self,
        key: String,
        units: u64,
        cents: u64,
        deadline: Duration,
    ) -> Result<Told, String> {
        let dtx = self.dtx.as_ref().ok_or("there is no coordinator here")?;
        let amount = Amount { account: ACCOUNT.into(), cents };
        let mut checkout = Transaction::builder(Pattern::ThreePhaseSaga)
            .key(key)
            .deadline(deadline)
            .call::<Debit>("payment", amount);
        if units > 0 {
            let units = PoolUnits { pool: "cds".into(), units };
            checkout = checkout.call::<TakeFromPool>("inventory", units);
        }
        let checkout = checkout.build().map_err(|error| error.to_string())?;
        let mut handle = dtx.submit(checkout).await.map_err(|error| error.to_string())?;
        let outcome = handle.outcome().await.map_err(|error| error.to_string())?;
        Ok(Told::Ended(outcome.to_string()))
    }
}
