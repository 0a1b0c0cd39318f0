use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::transaction::arbitrary;

fn parse(value: &Value) -> Result<Transaction, DefinitionError> {
    Transaction::from_json(value.to_string().as_bytes())
}

fn field(value: &Value) -> String {
    parse(value).expect_err("is wrong").field
}

fn one(pattern: &str, operation: Value) -> Value {
    let mut operation = operation;
    for (name, value) in [("participant", "payment"), ("action", "debit")] {
        operation[name] = json!(value);
    }
    json!({"pattern": pattern, "operations": [operation]})
}

#[test]
fn everything_can_be_said_in_json() {
    let text = r#"{
        "pattern": "saga", "namespace": "shop", "key": "order-1", "deadline_ms": 60000,
        "undo_of": "0191f6a0-7c1e-7000-8000-000000000001",
        "metadata": {"customer": "alice"},
        "modifiers": {"time_bounds": {"strategy": "progressive", "base_ms": {"execute": 1500},
                                      "on_expiry": "ask", "extensions_max": 2}},
        "operations": [
            {"name": "pay", "participant": "payment", "action": "debit", "action_version": 2,
             "payload": {"cents": 5, "text": "a \" b"},
             "retry": {"attempts_max": 3, "backoff_ms": 5, "backoff_ms_max": 10}, "region": "eu"},
            {"participant": "inventory", "action": "take", "payload_text": "two of them",
             "depends_on": ["pay"], "step": "pivot", "consistency": "strong"},
            {"participant": "inventory", "action": "take", "payload_base64": "/wA=",
             "depends_on": ["take"], "step": "retriable"}
        ]
    }"#;
    let transaction = Transaction::from_json(text.as_bytes()).expect("is right");
    let built = Transaction::builder(Pattern::Saga)
        .key_in("shop", "order-1")
        .deadline(Duration::from_secs(60))
        .undo_of("0191f6a0-7c1e-7000-8000-000000000001".parse().expect("an id"))
        .metadata("customer", "alice")
        .time_bounds(crate::modifier::TimeBounds {
            strategy: crate::modifier::ExpiryStrategy::Progressive,
            base: [(crate::pattern::Phase::Execute, Duration::from_millis(1500))].into(),
            on_expiry: Some(crate::modifier::OnExpiry::Ask),
            extensions_max: Some(2),
        })
        .operation(
            OperationDraft::new("payment", "debit")
                .name("pay")
                .version(2)
                .payload(r#"{"cents":5,"text":"a \" b"}"#)
                .retry(RetryPolicy { attempts_max: 3, backoff_ms: 5, backoff_ms_max: 10 })
                .region("eu"),
        )
        .operation(
            OperationDraft::new("inventory", "take")
                .payload("two of them")
                .depends_on(["pay"])
                .step(StepKind::Pivot),
        )
        .operation(
            OperationDraft::new("inventory", "take")
                .payload(&[255_u8, 0][..])
                .depends_on(["take"])
                .step(StepKind::Retriable),
        )
        .build()
        .expect("is right");
    assert_eq!(transaction, built);
    assert_eq!(transaction.operations()[2].name().as_str(), "take-2");
}

#[test]
fn the_modifiers_have_this_json() {
    let text = json!({
        "verification": {"when": {"elapsed_over_ms": 1500}, "amount": 7},
        "approval": {"timeout_ms": 3_600_000},
        "execute_after_ms": 250,
        "time_bounds": {"strategy": {"custom": "mine"}, "base_ms": {"prepare": 1},
                        "on_expiry": "cancel", "extensions_max": null},
    });
    let modifiers: Modifiers = serde_json::from_value(text.clone()).expect("is right");
    assert_eq!(modifiers.execute_after, Some(Duration::from_millis(250)));
    assert_eq!(modifiers.approval.as_ref().map(|a| a.timeout), Some(Duration::from_secs(3600)));
    assert_eq!(serde_json::to_value(&modifiers).expect("serialises"), text);
}

#[test]
fn what_is_of_the_wrong_form_is_reported_with_its_field() {
    assert_eq!(field(&json!([])), "transaction");
    assert_eq!(field(&json!({"operations": []})), "transaction");
    assert_eq!(field(&json!({"pattern": "4ps", "operations": []})), "pattern");
    assert_eq!(field(&json!({"pattern": "saga", "operations": {}})), "operations");
    assert_eq!(field(&one("saga", json!({"depends_on": [7]}))), "operations[0].depends_on[0]");
    assert_eq!(field(&one("saga", json!({"retry": {"tries": 7}}))), "operations[0].retry.tries");
    assert_eq!(field(&one("saga", json!({"pay-load": 7}))), "operations[0].pay-load");
    assert_eq!(
        field(&one("saga", json!({"payload": 1, "payload_text": ""}))),
        "operations[0].payload"
    );
    assert_eq!(field(&one("saga", json!({"payload_base64": "%"}))), "operations[0].payload_base64");
    let mut negative = one("saga", json!({}));
    negative["deadline_ms"] = json!(-1);
    assert_eq!(field(&negative), "deadline_ms");
    let mut lonely = one("saga", json!({}));
    lonely["namespace"] = json!("shop");
    assert_eq!(field(&lonely), "namespace");
    let mut trailing = one("saga", json!({})).to_string();
    trailing.push('}');
    assert!(Transaction::from_json(trailing.as_bytes()).is_err());
}

#[test]
fn a_payload_of_null_is_a_payload() {
    let given = parse(&one("saga", json!({"payload": null}))).expect("is right");
    assert_eq!(&given.operations()[0].payload()[..], b"null");
    let absent = parse(&one("saga", json!({}))).expect("is right");
    assert!(absent.operations()[0].payload().is_empty());
}

#[test]
fn white_space_in_a_payload_makes_no_other_transaction() {
    let text = |payload: &str| {
        let text = format!(
            r#"{{"pattern":"2pc","operations":[{{"participant":"p","action":"a","payload":{payload}}}]}}"#
        );
        Transaction::from_json(text.as_bytes()).expect("is right")
    };
    assert_eq!(
        text(r#"{"b":[1,"x \" y"],"a":"\\"}"#),
        text("{ \"b\" :\n[ 1, \"x \\\" y\" ],\t\"a\": \"\\\\\" }")
    );
    assert_ne!(text(r#"" ""#), text(r#""""#));
}

#[test]
fn both_ways_to_write_a_pattern_are_taken() {
    for (text, pattern) in [("0.5ps", Pattern::FireAndForget), ("15ps", Pattern::CriticalEventual)]
    {
        assert_eq!(parse(&one(text, json!({}))).expect("is right").pattern(), pattern);
    }
}

#[test]
fn text_over_the_limit_is_not_parsed() {
    let text = one("saga", json!({})).to_string();
    let limits = Limits { json_bytes_max: text.len(), ..Limits::DEFAULT };
    assert!(Transaction::from_json_within(text.as_bytes(), &limits).is_ok());
    let limits = Limits { json_bytes_max: text.len() - 1, ..Limits::DEFAULT };
    let error = Transaction::from_json_within(text.as_bytes(), &limits).expect_err("too long");
    assert!(matches!(error.problem, Problem::TooLarge { .. }));
}

#[test]
fn the_largest_transactions_fit_into_the_json_limit() {
    // Quotes double their size as text, other bytes grow by a third as base64.
    for byte in [b'"', 0, 0xFF] {
        let limits = Limits::DEFAULT;
        let mut builder = Transaction::builder(Pattern::TwoPhaseSaga);
        for index in 0..limits.operations_max {
            let size = limits.payload_bytes_total_max / limits.operations_max;
            let name = format!("{:x<64}", format!("o{index}"));
            let before = (0..index.min(limits.dependencies_max))
                .map(|other| format!("{:x<64}", format!("o{other}")));
            let mut draft = OperationDraft::new("p".repeat(64), "a".repeat(64))
                .name(name)
                .depends_on(before.collect::<Vec<_>>())
                .region("r".repeat(64));
            draft = draft.payload(vec![byte; size]);
            builder = builder.operation(draft);
        }
        let transaction = builder.build().expect("is at the limits");
        let text = serde_json::to_vec(&transaction).expect("serialises");
        assert!(text.len() <= limits.json_bytes_max, "{}", text.len());
        assert_eq!(Transaction::from_json(&text), Ok(transaction));
    }
}

proptest! {
    #[test]
    fn a_transaction_is_the_same_after_json(transaction in arbitrary::transaction()) {
        let text = serde_json::to_vec_pretty(&transaction).expect("serialises");
        let parsed = Transaction::from_json(&text);
        prop_assert_eq!(parsed.as_ref(), Ok(&transaction), "{}", String::from_utf8_lossy(&text));
        let plain: Transaction = serde_json::from_slice(&text).expect("deserialises");
        prop_assert_eq!(&plain, &transaction);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,200}") {
        let _ = Transaction::from_json(text.as_bytes());
    }

    #[test]
    fn no_change_of_a_valid_text_makes_the_parser_panic(
        transaction in arbitrary::transaction(), place in any::<usize>(), byte in any::<u8>(),
    ) {
        let mut text = serde_json::to_vec(&transaction).expect("serialises");
        let place = place % text.len();
        text[place] = byte;
        let _ = Transaction::from_json(&text);
    }

    #[test]
    fn compact_json_has_the_same_value(text in "[ \\t\\n\\[\\]{}:,\"\\\\a1]{0,12}") {
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            let short = compact(&text);
            prop_assert!(short.len() <= text.len());
            prop_assert_eq!(serde_json::from_str::<Value>(&short).expect("is JSON"), value);
        }
    }
}
