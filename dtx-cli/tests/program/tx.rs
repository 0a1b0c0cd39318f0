//! `dtx tx`.

use dtx::RedbStore;
use serde_json::Value;

use crate::support::{Ran, dtx, example};

/// A store with the transactions of three examples, and its address.
struct Stored {
    folder: tempfile::TempDir,
    address: String,
}

impl Stored {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let address = format!("redb:{}", folder.path().join("a.redb").display());
        for name in ["3ps", "refused", "0.5ps"] {
            let ran = dtx(&["submit", &example(name), "--store", &address]);
            assert_eq!(ran.code, 0, "{ran:?}");
        }
        Self { folder, address }
    }

    fn tx(&self, arguments: &[&str]) -> Ran {
        dtx(&[&["tx"], arguments, &["--store", &self.address]].concat())
    }

    fn list(&self, arguments: &[&str]) -> Value {
        let ran = self.tx(&[&["list", "--json"], arguments].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.json()
    }
}

fn count(found: &Value) -> usize {
    found["transactions"].as_array().expect("an array").len()
}

#[test]
fn a_list_is_filtered_and_limited() {
    let stored = Stored::new();
    let all = stored.list(&[]);
    assert_eq!((count(&all), &all["more"], &all["records"]), (7, &false.into(), &"durable".into()));
    assert_eq!(count(&stored.list(&["--status", "committed"])), 1);
    assert_eq!(count(&stored.list(&["--status", "open"])), 0);
    assert_eq!(count(&stored.list(&["--pattern", "3ps"])), 2);
    assert_eq!(count(&stored.list(&["--namespace", "examples"])), 7);
    assert_eq!(count(&stored.list(&["--namespace", "others"])), 0);
    assert_eq!(count(&stored.list(&["--exceptions"])), 0);
    let (six, seven) = (stored.list(&["--limit", "6"]), stored.list(&["--limit", "7"]));
    assert_eq!((count(&six), &six["more"]), (6, &true.into()));
    assert_eq!((count(&seven), &seven["more"]), (7, &false.into()));
    let newest = &all["transactions"][0];
    assert_eq!((&newest["pattern"], &newest["outcome"]), (&"0.5ps".into(), &"dispatched".into()));
    let text = stored.tx(&["list", "--status", "dispatched"]).stdout;
    assert!(text.contains("examples/0.5ps") && text.contains("Durable records only"), "{text}");
}

#[test]
fn one_transaction_is_shown_with_its_timeline() {
    let stored = Stored::new();
    let shown = stored.tx(&["show", "examples/3ps", "--json"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    let found = shown.json();
    assert_eq!((&found["verdict"], &found["outcome"]), (&"commit".into(), &"committed".into()));
    assert_eq!(found["definition"]["operations"].as_array().map(Vec::len), Some(3));
    assert_eq!(found["definition"]["operations"][0]["payload_bytes"], 32);
    assert!(!shown.stdout.contains("alice"), "payloads are the users' own: {}", shown.stdout);
    let timeline = found["timeline"].as_array().expect("an array");
    let has = |wanted: Value| {
        let wanted = wanted.as_object().expect("an object");
        let found =
            timeline.iter().any(|moment| wanted.iter().all(|(name, value)| &moment[name] == value));
        assert!(found, "{wanted:?} is not in {timeline:#?}");
    };
    for phase in ["reserve", "validate", "execute"] {
        for participant in ["payment", "inventory", "shipping"] {
            has(serde_json::json!({"event": "answered", "phase": phase,
                "participant": participant, "answer": "done", "attempt": 1}));
        }
    }
    has(serde_json::json!({"event": "sent", "phase": "reserve", "attempt": 1}));
    has(serde_json::json!({"event": "decided", "what": "commit"}));
    has(serde_json::json!({"event": "told", "what": "committed"}));
    // The same by its id, for people.
    let id = found["tx"].as_str().expect("an id");
    let text = stored.tx(&["show", id]).stdout;
    for part in [id, "examples/3ps", "committed", "validate", "Durable records only"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let refused = stored.tx(&["show", "examples/refused-3ps", "--json"]).json();
    let timeline = refused["timeline"].as_array().expect("an array");
    let rejected = timeline.iter().find(|moment| moment["answer"] == "rejected");
    assert!(rejected.is_some_and(|moment| moment["what"].is_string()), "{timeline:#?}");
}

#[test]
fn an_unknown_transaction_is_code_3_and_no_store_is_an_error() {
    let stored = Stored::new();
    for id in ["0191f6a0-7c1e-7000-8000-000000000001", "examples/none", "none"] {
        let ran = stored.tx(&["show", id]);
        assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{ran:?}");
        assert!(ran.stderr.contains(&format!("no transaction {id:?}")), "{}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    }
    assert_eq!(stored.tx(&["show", "no name/x"]).code, 2);
    let missing = stored.folder.path().join("none.redb");
    let ran = dtx(&["tx", "list", "--store", &format!("redb:{}", missing.display())]);
    assert_eq!((ran.code, missing.exists()), (1, false), "{ran:?}");
}

#[tokio::test]
async fn a_store_is_looked_at_while_another_process_owns_it() {
    let stored = Stored::new();
    let owner = RedbStore::open(stored.folder.path().join("a.redb")).await.expect("it opens");
    assert_eq!(count(&stored.list(&[])), 7);
    assert_eq!(stored.tx(&["show", "examples/3ps"]).code, 0);
    owner.close().await.expect("the owner is not disturbed");
}
