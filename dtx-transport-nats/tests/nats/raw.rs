//! The server as anybody sees it, beside the transport.

use std::{path::Path, sync::Mutex, time::Duration};

use async_nats::{Client, Message, Subscriber};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::timeout;

/// How long anything may take that must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A client of its own.
pub(crate) async fn client(url: &str) -> Client {
    async_nats::connect(url).await.expect("the server is there")
}

/// Asks JetStream.
pub(crate) async fn ask(client: &Client, subject: &str, request: Value) -> Value {
    let body = serde_json::to_vec(&request).expect("it is JSON");
    let answer = client.request(format!("$JS.API.{subject}"), body.into()).await.expect("answered");
    serde_json::from_slice(&answer.payload).expect("it is JSON")
}

/// How many messages a stream has.
pub(crate) async fn messages(client: &Client, stream: &str) -> u64 {
    let info = ask(client, &format!("STREAM.INFO.{stream}"), json!({})).await;
    info["state"]["messages"].as_u64().unwrap_or_else(|| panic!("no stream: {info}"))
}

/// Waits until the group `workers` of the participant `payment` owes a stream nothing.
pub(crate) async fn settled(client: &Client, stream: &str) {
    let end = tokio::time::Instant::now() + DEADLINE;
    let subject = format!("CONSUMER.INFO.{stream}.workers@payment");
    while ask(client, &subject, json!({})).await["num_ack_pending"] != 0 {
        assert!(tokio::time::Instant::now() < end, "{stream} will deliver again");
    }
}

/// The next message.
pub(crate) async fn next(subscriber: &mut Subscriber) -> Message {
    timeout(DEADLINE, subscriber.next()).await.expect("one comes").expect("it is open")
}

/// The value of a header, or nothing.
pub(crate) fn header<'a>(message: &'a Message, name: &str) -> &'a str {
    let headers = message.headers.as_ref().expect("it has headers");
    headers.get(name).map(|value| value.as_str()).unwrap_or_default()
}

/// Removes the streams of test processes that are gone, once.
pub(crate) async fn sweep(url: &str) {
    static SWEPT: Mutex<bool> = Mutex::new(false);
    if std::mem::replace(&mut *SWEPT.lock().expect("no panic"), true) {
        return;
    }
    let client = client(url).await;
    let listed = ask(&client, "STREAM.NAMES", json!({})).await;
    let names = listed["streams"].as_array().cloned().unwrap_or_default();
    for name in names.iter().filter_map(Value::as_str) {
        let process = name.strip_prefix("DTX_t").and_then(|rest| rest.split('-').next());
        let process = process.and_then(|process| u32::from_str_radix(process, 16).ok());
        let Some(process) = process else { continue };
        if !Path::new("/proc").join(process.to_string()).exists() {
            ask(&client, &format!("STREAM.DELETE.{name}"), json!({})).await;
        }
    }
}
