//! CPU per transaction in memory, against a round trip over tokio channels.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use dtx::prelude::*;
use nix::sys::resource::{UsageWho, getrusage};
use tokio::sync::{mpsc, oneshot};

use dtx_bench::nothing;

use super::{judge, median};

const CALLERS: usize = 1_024;

fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let of = |time: nix::sys::time::TimeVal| {
        Duration::from_secs(time.tv_sec() as u64) + Duration::from_micros(time.tv_usec() as u64)
    };
    of(usage.user_time()) + of(usage.system_time())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// CPU microseconds per round trip: a request over an mpsc, the answer over a oneshot.
fn channel_window(window: Duration) -> f64 {
    runtime().block_on(async {
        let (requests, mut asked) = mpsc::channel::<oneshot::Sender<u64>>(CALLERS);
        tokio::spawn(async move {
            while let Some(answer) = asked.recv().await {
                let _ = answer.send(1);
            }
        });
        let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let before = cpu_time();
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (requests, done, stop) = (requests.clone(), done.clone(), stop.clone());
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        let (answer, answered) = oneshot::channel();
                        requests.send(answer).await.unwrap();
                        done.fetch_add(answered.await.unwrap(), Ordering::Relaxed);
                    }
                })
            })
            .collect();
        tokio::time::sleep_until(tokio::time::Instant::now() + window).await;
        stop.store(true, Ordering::Relaxed);
        for caller in callers {
            caller.await.unwrap();
        }
        micros(cpu_time() - before) / done.load(Ordering::Relaxed) as f64
    })
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// CPU microseconds per transaction, and transactions per second.
fn transaction_window(pattern: Pattern, window: Duration) -> (f64, f64) {
    runtime().block_on(async {
        let mut builder = Dtx::builder()
            .store(MemoryStore::new())
            .transport(InMemoryTransport::new())
            .allow_volatile();
        for participant in nothing::participants() {
            builder = builder.participant(participant);
        }
        let dtx = builder.start().await.unwrap();
        let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (before, begun) = (cpu_time(), Instant::now());
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (dtx, done, stop) = (dtx.clone(), done.clone(), stop.clone());
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        let mut handle = dtx.submit(nothing::transaction(pattern)).await.unwrap();
                        assert_eq!(handle.outcome().await.unwrap(), Outcome::Committed);
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        tokio::time::sleep_until(tokio::time::Instant::now() + window).await;
        stop.store(true, Ordering::Relaxed);
        for caller in callers {
            caller.await.unwrap();
        }
        let (cpu, took) = (cpu_time() - before, begun.elapsed());
        let done = done.load(Ordering::Relaxed) as f64;
        dtx.shutdown(Duration::from_secs(5)).await;
        (micros(cpu) / done, done / took.as_secs_f64())
    })
}

pub(crate) fn run(seconds: u64, windows: usize) -> usize {
    let window = Duration::from_secs(seconds);
    let goals =
        [(Pattern::Saga, 68.0), (Pattern::TwoPhaseSaga, 104.0), (Pattern::ThreePhaseSaga, 169.0)];
    let mut missed = 0;
    for (pattern, goal) in goals {
        let (mut ratios, mut floors, mut costs, mut rates) = (vec![], vec![], vec![], vec![]);
        for _ in 0..windows {
            let floor = channel_window(window);
            let (cost, rate) = transaction_window(pattern, window);
            ratios.push(cost / floor);
            floors.push(floor);
            costs.push(cost);
            rates.push(rate);
        }
        let floor = format!(
            "channel round trip {:.2} CPU us; {:.1} CPU us and {:.0} per second each",
            median(floors),
            median(costs),
            median(rates)
        );
        let name = format!("{pattern} in memory, CPU in round trips");
        missed += judge(&name, &floor, median(ratios), goal, true);
    }
    missed
}
