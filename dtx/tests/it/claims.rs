//! Claims of a host whose process is gone.

use dtx::{RedbStore, coordinator::Dtx, prelude::*};

use crate::kit::*;

async fn start(path: &std::path::Path, script: &Script) -> Dtx {
    let mut opened = None;
    eventually("the file is free", async || {
        opened = RedbStore::open(path).await.ok();
        opened.is_some()
    })
    .await;
    Dtx::builder()
        .store(opened.unwrap())
        .transport(InMemoryTransport::new())
        .settings(quick())
        .participant(script.participant("a"))
        .start()
        .await
        .unwrap()
}

fn process() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Its end is proven by the opening: the next host runs the handler again, and says what happened.
#[test]
fn what_a_host_had_claimed_when_its_process_died_is_run_by_the_next_owner_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("claims.redb");
    for pattern in Pattern::ALL {
        let script = Script::new();
        script.rule(|call| if call.run == 1 { Say::After(LONG) } else { Say::Done });
        let first = process();
        let (tx, dtx) = first.block_on(async {
            let dtx = start(&path, &script).await;
            let one = steps(pattern, &["a"]).build().unwrap();
            let tx = within(dtx.submit(one)).await.unwrap().tx();
            eventually("its handler runs", async || script.runs().len() == 1).await;
            (tx, dtx)
        });
        // From here on nothing of it runs: the claim stays in the file, without an answer.
        drop(first);
        drop(dtx);
        // Every phase runs once and does not end; the second owner runs all of them again.
        script.rule(|_| Say::Done);
        process().block_on(async {
            let dtx = start(&path, &script).await;
            let outcome = within(dtx.attach(tx).await.finished()).await.unwrap();
            assert!(matches!(outcome, Outcome::Committed | Outcome::Dispatched), "{pattern}");
            within(dtx.shutdown(LONG)).await;
        });
        let claimed = script.runs()[0].phase;
        let again = script.phases(tx).into_iter().filter(|phase| *phase == claimed).count();
        // A one-phase commit runs two handlers, and the first of them did not end.
        let wanted = if pattern == Pattern::TwoPhaseCommit { 3 } else { 2 };
        assert_eq!(again, wanted, "{pattern}: at least once");
        assert_eq!(script.effects(tx), [(1, 0)], "{pattern}: the first run never ended");
    }
}
