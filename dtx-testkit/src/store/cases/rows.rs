//! The rows of participants.

use std::time::Duration;

use bytes::Bytes;
use dtx_core::{
    error::ErrorKind,
    ids::Version,
    store::{
        ParticipantStore, ROW_KEY_BYTES_MAX, RowChange, RowExpect, RowKey, RowSet, RowWriteResult,
        Scope, ScopeRead, ScopeRows, StoredRow,
    },
};

use crate::store::StoreHarness;

pub(super) fn scope(text: &str) -> Scope {
    Scope::new(text).expect("a valid scope")
}

pub(super) fn key(bytes: &[u8]) -> RowKey {
    RowKey(Bytes::copy_from_slice(bytes))
}

pub(super) fn change(name: &str, expect: RowExpect, value: Option<&str>) -> RowChange {
    let value = value.map(|value| Bytes::copy_from_slice(value.as_bytes()));
    RowChange { key: key(name.as_bytes()), expect, value }
}

pub(super) fn set(name: &str, changes: Vec<RowChange>) -> RowSet {
    RowSet { scope: scope(name), changes, unchanged: Vec::new(), not_after: None }
}

/// Makes a new row.
pub(super) fn make(name: &str, row: &str, value: &str) -> RowSet {
    set(name, vec![change(row, RowExpect::Absent, Some(value))])
}

pub(super) async fn read(store: &dyn ParticipantStore, name: &str, row: &str) -> Option<StoredRow> {
    let reads = [ScopeRead { scope: scope(name), keys: vec![key(row.as_bytes())] }];
    store.read(&reads).await.expect("read").remove(0).rows.remove(0)
}

pub(super) async fn write(store: &dyn ParticipantStore, set: RowSet) -> RowWriteResult {
    let mut results = store.write(&[set]).await;
    assert_eq!(results.len(), 1, "one result per set");
    results.remove(0)
}

pub(super) fn written(result: &RowWriteResult) {
    assert!(matches!(result, RowWriteResult::Written), "{result:?}");
}

fn at(row: &StoredRow) -> RowExpect {
    RowExpect::Version(row.version)
}

/// A row comes, changes with each version, and goes.
pub async fn rows_are_made_changed_and_deleted<H: StoreHarness>(harness: &mut H) {
    let store = harness.participants();
    assert_eq!(read(&*store, "bank/a", "r").await, None);
    written(&write(&*store, make("bank/a", "r", "one")).await);
    let first = read(&*store, "bank/a", "r").await.expect("made");
    assert_eq!((first.version, &first.value[..]), (Version(1), &b"one"[..]));
    let update = set("bank/a", vec![change("r", at(&first), Some("two"))]);
    written(&write(&*store, update).await);
    let second = read(&*store, "bank/a", "r").await.expect("changed");
    assert_eq!((second.version, &second.value[..]), (Version(2), &b"two"[..]));
    written(&write(&*store, set("bank/a", vec![change("r", at(&second), None)])).await);
    assert_eq!(read(&*store, "bank/a", "r").await, None);
    written(&write(&*store, set("bank/a", vec![change("r", RowExpect::Absent, None)])).await);
}

/// A row that is not what was expected is a conflict and stays.
pub async fn absent_and_version_are_checked<H: StoreHarness>(harness: &mut H) {
    let store = harness.participants();
    written(&write(&*store, make("s", "r", "one")).await);
    for (row, expect) in [
        ("r", RowExpect::Absent),
        ("r", RowExpect::Version(Version(0))),
        ("r", RowExpect::Version(Version(2))),
        ("other", RowExpect::Version(Version(1))),
    ] {
        for value in [Some("two"), None] {
            let result = write(&*store, set("s", vec![change(row, expect, value)])).await;
            assert!(matches!(result, RowWriteResult::Conflict), "{row} {expect:?}: {result:?}");
        }
    }
    let row = read(&*store, "s", "r").await.expect("still there");
    assert_eq!((row.version, &row.value[..]), (Version(1), &b"one"[..]));
}

/// A set applies only while the rows that it read and did not change are as they were.
pub async fn unchanged_rows_are_checked<H: StoreHarness>(harness: &mut H) {
    let store = harness.participants();
    written(&write(&*store, make("s", "guard", "g")).await);
    let guarded = |guard: &str, expect, row: &str| RowSet {
        unchanged: vec![(key(guard.as_bytes()), expect)],
        ..make("s", row, "v")
    };
    let first = RowExpect::Version(Version(1));
    written(&write(&*store, guarded("guard", first, "a")).await);
    written(&write(&*store, guarded("none", RowExpect::Absent, "b")).await);
    for (guard, expect) in
        [("guard", RowExpect::Absent), ("guard", RowExpect::Version(Version(2))), ("none", first)]
    {
        let result = write(&*store, guarded(guard, expect, "c")).await;
        assert!(matches!(result, RowWriteResult::Conflict), "{guard} {expect:?}: {result:?}");
    }
    assert_eq!(read(&*store, "s", "c").await, None);
    assert_eq!(read(&*store, "s", "guard").await.expect("there").version, Version(1));
}

/// `not_after` is checked with the write, on the store's clock.
pub async fn too_late_is_judged_by_the_stores_clock<H: StoreHarness>(harness: &mut H) {
    let store = harness.participants();
    let reads = [ScopeRead { scope: scope("s"), keys: Vec::new() }];
    let now = store.read(&reads).await.expect("read")[0].now;
    assert!(now <= harness.state().now().await.expect("now"), "one clock");
    let limit = Some(now + Duration::from_secs(5));
    written(&write(&*store, RowSet { not_after: limit, ..make("s", "a", "v") }).await);
    let soon = Some(now + Duration::from_millis(20));
    harness.pass(Duration::from_millis(21)).await;
    let late = write(&*store, RowSet { not_after: soon, ..make("s", "b", "v") }).await;
    assert!(matches!(late, RowWriteResult::TooLate), "{late:?}");
    assert_eq!(read(&*store, "s", "b").await, None);
}

/// One wrong row, at any place of the set, and none is written.
pub async fn a_set_is_all_or_nothing<H: StoreHarness>(harness: &mut H) {
    let store = harness.participants();
    written(&write(&*store, make("s", "taken", "v")).await);
    for place in 0..3 {
        let mut changes: Vec<_> =
            ["a", "b"].map(|row| change(row, RowExpect::Absent, Some("v"))).into();
        changes.insert(place, change("taken", RowExpect::Absent, Some("w")));
        let result = write(&*store, set("s", changes)).await;
        assert!(matches!(result, RowWriteResult::Conflict), "{result:?}");
        assert_eq!(read(&*store, "s", "a").await, None);
        assert_eq!(read(&*store, "s", "b").await, None);
    }
}

/// A later set of one call is evaluated after the earlier ones.
pub async fn sets_see_earlier_sets<H: StoreHarness>(harness: &mut H) {
    let store = harness.participants();
    let next = set("s", vec![change("r", RowExpect::Version(Version(1)), Some("two"))]);
    let results = store.write(&[make("s", "r", "one"), next, make("s", "r", "three")]).await;
    written(&results[0]);
    written(&results[1]);
    assert!(matches!(results[2], RowWriteResult::Conflict));
    assert_eq!(&read(&*store, "s", "r").await.expect("there").value[..], b"two");
}

/// Sets stand for themselves, and the results are in their order.
pub async fn a_conflict_does_not_stop_the_other_sets<H: StoreHarness>(harness: &mut H) {
    let store = harness.participants();
    written(&write(&*store, make("b", "r", "v")).await);
    let results =
        store.write(&[make("a", "r", "v"), make("b", "r", "v"), make("c", "r", "v")]).await;
    written(&results[0]);
    assert!(matches!(results[1], RowWriteResult::Conflict));
    written(&results[2]);
    assert!(store.write(&[]).await.is_empty());
}

/// A version that was read before a row was deleted never fits the row made after it.
pub async fn a_version_never_comes_back<H: StoreHarness>(harness: &mut H) {
    let store = harness.participants();
    let mut seen = Vec::new();
    for round in 0..4 {
        written(&write(&*store, make("s", "r", "v")).await);
        for _ in 0..round % 3 {
            let row = read(&*store, "s", "r").await.expect("there");
            seen.push(row.version);
            written(&write(&*store, set("s", vec![change("r", at(&row), Some("w"))])).await);
        }
        let row = read(&*store, "s", "r").await.expect("there");
        seen.push(row.version);
        written(&write(&*store, set("s", vec![change("r", at(&row), None)])).await);
    }
    let mut unique = seen.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique, seen, "no version twice, and always higher");
}

/// The same key in two scopes is two rows, also where one scope is the beginning of the other.
pub async fn scopes_do_not_share_keys<H: StoreHarness>(harness: &mut H) {
    let store = harness.participants();
    written(&write(&*store, make("s", "ab", "one")).await);
    written(&write(&*store, make("sa", "b", "two")).await);
    assert_eq!(&read(&*store, "s", "ab").await.expect("there").value[..], b"one");
    assert_eq!(&read(&*store, "sa", "b").await.expect("there").value[..], b"two");
    assert_eq!(read(&*store, "sa", "ab").await, None);
    let page = store.scan(&scope("s"), b"", None, 10).await.expect("scan");
    assert_eq!(page.items.len(), 1);
}

/// One answer per scope and per key, in the order of the request.
pub async fn reads_keep_their_order<H: StoreHarness>(harness: &mut H) {
    let store = harness.participants();
    written(&write(&*store, make("a", "x", "ax")).await);
    written(&write(&*store, make("b", "x", "bx")).await);
    let keys = |names: &[&str]| names.iter().map(|name| key(name.as_bytes())).collect();
    let reads = [
        ScopeRead { scope: scope("b"), keys: keys(&["none", "x"]) },
        ScopeRead { scope: scope("a"), keys: keys(&["x", "none", "x"]) },
        ScopeRead { scope: scope("c"), keys: keys(&["x"]) },
    ];
    let answers = store.read(&reads).await.expect("read");
    let values: Vec<Vec<_>> = answers
        .iter()
        .map(|scope| scope.rows.iter().map(|row| row.as_ref().map(|row| &row.value[..])).collect())
        .collect();
    let (ax, bx) = (Some(&b"ax"[..]), Some(&b"bx"[..]));
    assert_eq!(values, [vec![None, bx], vec![ax, None, ax], vec![None]]);
}

/// The same rows with the same versions, those that are not there included.
pub async fn a_durable_read_gives_what_a_read_gives<H: StoreHarness>(harness: &mut H) {
    let store = harness.participants();
    for (of, name, value) in [("a", "x", "ax"), ("a", "y", "ay"), ("b", "x", "bx")] {
        written(&write(&*store, make(of, name, value)).await);
    }
    let keys = |names: &[&str]| names.iter().map(|name| key(name.as_bytes())).collect();
    let reads = [
        ScopeRead { scope: scope("b"), keys: keys(&["x", "none", "y"]) },
        ScopeRead { scope: scope("c"), keys: keys(&["x"]) },
        ScopeRead { scope: scope("a"), keys: keys(&["y", "x", "y"]) },
    ];
    let rows = |answers: Vec<ScopeRows>| answers.into_iter().map(|a| a.rows).collect::<Vec<_>>();
    let plain = rows(store.read(&reads).await.expect("read"));
    assert_eq!(plain.iter().flatten().filter(|row| row.is_some()).count(), 4);
    assert_eq!(rows(store.read_durable(&reads).await.expect("read")), plain);
    assert!(store.read_durable(&[]).await.expect("read").is_empty());
}

/// Keys are ordered as bytes, and pages of every size together are the whole.
pub async fn a_scan_is_ordered_and_paged<H: StoreHarness>(harness: &mut H) {
    let store = harness.participants();
    let keys: [&[u8]; 7] = [&[0], &[0, 0], &[0, 0xFF], b"a", b"a\0", b"ab", &[0xFF, 0xFF]];
    for key in keys.iter().rev() {
        let mut set = make("s", "", "v");
        set.changes[0].key = self::key(key);
        written(&write(&*store, set).await);
    }
    written(&write(&*store, make("r", "a", "v")).await);
    written(&write(&*store, make("t", "a", "v")).await);
    for prefix in [&b""[..], &[0], b"a", &[0xFF], b"zz"] {
        let expected: Vec<_> =
            keys.into_iter().filter(|key| key.starts_with(prefix)).map(key).collect();
        for limit in 1..=8 {
            let (mut found, mut cursor) = (Vec::new(), None);
            loop {
                let page = store.scan(&scope("s"), prefix, cursor.as_ref(), limit).await;
                let page = page.expect("scan");
                assert!(page.items.len() <= limit);
                found.extend(page.items.into_iter().map(|(key, _)| key));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(found, expected, "{prefix:?} in pages of {limit}");
        }
    }
    let page = store.scan(&scope("s"), b"ab", None, 1).await.expect("scan");
    assert_eq!((page.items[0].1.version, &page.items[0].1.value[..]), (Version(1), &b"v"[..]));
}

/// Each scope once, in order, in pages of every size, as long as it has a row.
pub async fn scopes_are_ordered_and_paged<H: StoreHarness>(harness: &mut H) {
    let store = harness.participants();
    let names = ["bank", "bank/a", "bank/b", "shop", "shop/é"];
    for name in names {
        written(&write(&*store, make(name, "x", "v")).await);
        written(&write(&*store, make(name, "y", "v")).await);
    }
    written(&write(&*store, make("bank/gone", "x", "v")).await);
    let row = read(&*store, "bank/gone", "x").await.expect("there");
    written(&write(&*store, set("bank/gone", vec![change("x", at(&row), None)])).await);
    for prefix in ["", "bank", "bank/", "shop/é", "none"] {
        let expected: Vec<_> =
            names.into_iter().filter(|name| name.starts_with(prefix)).map(scope).collect();
        for limit in 1..=6 {
            let (mut found, mut cursor) = (Vec::new(), None);
            loop {
                let page = store.scopes(prefix, cursor.as_ref(), limit).await.expect("scopes");
                assert!(page.items.len() <= limit);
                found.extend(page.items);
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(found, expected, "{prefix:?} in pages of {limit}");
        }
    }
}

/// Sizes at the limit are taken; one past it is `Invalid` and changes nothing.
pub async fn limits_of_rows<H: StoreHarness>(harness: &mut H) {
    let store = harness.participants();
    let limits = store.info().limits.clone();
    let mut full = make("s", "", "v");
    full.changes[0].key = key(&[1; ROW_KEY_BYTES_MAX]);
    full.changes[0].value = Some(Bytes::from(vec![1; limits.value_bytes_max]));
    written(&write(&*store, full.clone()).await);
    let mut bad = vec![full.clone(), full, make("s", "", "v"), make("s", "twice", "v")];
    bad[0].changes[0].key = key(&[1; ROW_KEY_BYTES_MAX + 1]);
    bad[1].changes[0].key = key(b"large");
    bad[1].changes[0].value = Some(Bytes::from(vec![1; limits.value_bytes_max + 1]));
    let again = bad[3].changes[0].clone();
    bad[3].changes.push(again);
    for bad in bad {
        let result = write(&*store, bad).await;
        let RowWriteResult::Failed(error) = result else { panic!("taken: {result:?}") };
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    let page = store.scan(&scope("s"), b"", None, 10).await.expect("scan");
    assert_eq!(page.items.len(), 1);
    let many = |n: usize| -> Vec<_> { (0..n).map(|i| make("m", &format!("r{i}"), "v")).collect() };
    let refused = store.write(&many(limits.batch_writes_max + 1)).await;
    assert!(refused.iter().all(|result| matches!(result, RowWriteResult::Failed(_))));
    assert!(store.scan(&scope("m"), b"", None, 1).await.expect("scan").items.is_empty());
    store.write(&many(limits.batch_writes_max)).await.iter().for_each(written);
}

/// Writers that meet on one version of one row: exactly one of them wins.
pub async fn of_two_writers_of_one_row_one_wins<H: StoreHarness>(harness: &mut H) {
    let store = harness.participants();
    let mut racers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let store = store.clone();
        racers.spawn(async move { write(&*store, make("s", "r", &writer.to_string())).await });
    }
    let results = racers.join_all().await;
    let won = results.iter().filter(|result| matches!(result, RowWriteResult::Written));
    assert_eq!(won.count(), 1);
    assert_eq!(read(&*store, "s", "r").await.expect("made").version, Version(1));
}

/// Rows that are always written together are never seen apart.
pub async fn a_scope_is_read_at_one_moment<H: StoreHarness>(harness: &mut H) {
    let store = harness.participants();
    let both = |expect, value: &str| {
        set("s", ["a", "b"].map(|row| change(row, expect, Some(value))).into())
    };
    written(&write(&*store, both(RowExpect::Absent, "0")).await);
    let writing = store.clone();
    let writer = tokio::spawn(async move {
        for n in 1..100 {
            let at = read(&*writing, "s", "a").await.expect("there").version;
            written(&write(&*writing, both(RowExpect::Version(at), &n.to_string())).await);
            tokio::task::yield_now().await;
        }
    });
    let reads = [ScopeRead { scope: scope("s"), keys: vec![key(b"a"), key(b"b")] }];
    while !writer.is_finished() {
        let rows = store.read(&reads).await.expect("read").remove(0).rows;
        assert_eq!(rows[0].as_ref().map(|a| &a.value), rows[1].as_ref().map(|b| &b.value));
        tokio::task::yield_now().await;
    }
    writer.await.expect("no panic");
}
