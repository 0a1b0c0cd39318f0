use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{WireError, WireHeaders, WireLimits, WireMessage};
use crate::{
    answer::{Done, NotDone, PhaseAnswer, Reason, Refusal},
    ids::{AcceptSequence, Epoch, HolderId, OperationIndex, ShardId, TxId},
    name::{ActionName, OperationName, ParticipantName},
    pattern::{Pattern, Phase},
    store::Verdict,
    transport::{
        Body, Command, DependencyOutput, Envelope, Headers, Inquiry, InquiryAnswer, Reply,
        TraceContext,
    },
};

fn command() -> Command {
    Command {
        tx: TxId::from_bytes([1; 16]),
        operation: OperationIndex(2),
        phase: Phase::Reserve,
        pattern: Pattern::CriticalEventual,
        participant: ParticipantName::new("payment").expect("a name"),
        action: ActionName::new("charge").expect("a name"),
        action_version: 3,
        attempt: 4,
        shard: ShardId(5),
        epoch: Epoch(6),
        sequence: AcceptSequence { epoch: Epoch(6), number: 7 },
        watermark: AcceptSequence { epoch: Epoch(5), number: 8 },
        deadline: Some(Duration::from_millis(1_500)),
        ttl: Some(Duration::from_nanos(1)),
        one_phase: true,
        reply: false,
        payload: Bytes::from_static(b"{\"amount\": 1}\0\xff"),
        inputs: vec![DependencyOutput {
            operation: OperationName::new("reserve").expect("a name"),
            output: Bytes::from_static(b"\xfe,:"),
        }],
    }
}

fn a_command() -> Envelope {
    let metadata = vec![("kunde".to_owned(), "Zoë \u{1F600}".to_owned())];
    let trace = TraceContext { parent: "00-ab-cd-01".into(), state: Some("a=b".into()) };
    let headers = Some(Arc::new(Headers { metadata, trace: Some(trace) }));
    Envelope { body: Body::Command(Arc::new(command())), headers }
}

fn read(message: &WireMessage) -> Result<Envelope, WireError> {
    read_within(message, &WireLimits::default())
}

fn read_within(message: &WireMessage, limits: &WireLimits) -> Result<Envelope, WireError> {
    let headers = message.headers.iter().map(|(name, value)| (name, value.as_bytes()));
    WireMessage::decode(headers, message.body.clone(), limits)
}

/// The message with one header changed, taken away, or given twice.
fn with(header: &'static str, value: Option<&str>) -> WireMessage {
    let WireMessage { headers: all, body } = WireMessage::encode(&a_command());
    let mut headers = WireHeaders::default();
    all.iter().filter(|(name, _)| *name != header).for_each(|(n, v)| headers.add(n, v));
    value.into_iter().for_each(|value| headers.add(header, value));
    WireMessage { headers, body }
}

#[test]
fn a_command_is_headers_that_people_can_read_and_the_bytes_of_the_user() {
    let message = WireMessage::encode(&a_command());
    let expected = [
        ("dtx-version", "1"),
        ("dtx-kind", "command"),
        ("dtx-tx", "01010101-0101-0101-0101-010101010101"),
        ("dtx-operation", "2"),
        ("dtx-participant", "payment"),
        ("dtx-pattern", "15ps"),
        ("dtx-phase", "reserve"),
        ("dtx-attempt", "4"),
        ("dtx-shard", "5"),
        ("dtx-epoch", "6"),
        ("dtx-action", "charge"),
        ("dtx-action-version", "3"),
        ("dtx-sequence", "6.7"),
        ("dtx-watermark", "5.8"),
        ("dtx-deadline-ns", "1500000000"),
        ("dtx-ttl-ns", "1"),
        ("dtx-one-phase", "true"),
        ("dtx-no-reply", "true"),
        ("dtx-inputs", "reserve:/iw6"),
        ("dtx-metadata", r#"[["kunde","Zo\u00eb \ud83d\ude00"]]"#),
        ("traceparent", "00-ab-cd-01"),
        ("tracestate", "a=b"),
    ];
    assert_eq!(message.headers.iter().collect::<Vec<_>>(), expected);
    assert_eq!(message.body, command().payload);
    assert_eq!(read(&message), Ok(a_command()));
}

#[test]
fn each_kind_says_no_more_than_it_has() {
    let reply = command().reply(Err(NotDone::Refused(Refusal::Expired)));
    let message = WireMessage::encode(&Envelope::new(Body::Reply(reply)));
    let value = |name| message.headers.iter().find(|h| h.0 == name).map(|h| h.1);
    assert_eq!(value("dtx-answer"), Some("refused"));
    assert_eq!(value("dtx-refusal"), Some("expired"));
    assert_eq!(value("dtx-reason"), None);
    assert_eq!(message.headers.len(), 11);
    assert!(message.body.is_empty());
}

#[test]
fn headers_of_others_are_ignored_and_a_trace_of_another_hop_is_taken() {
    let mut message = with("traceparent", Some("00-ff-ff-01"));
    message.headers.add("x-request-id", "a");
    message.headers.add("x-request-id", "b");
    let envelope = read(&message).expect("a message");
    let trace = envelope.headers.as_ref().and_then(|headers| headers.trace.clone());
    assert_eq!(trace.map(|trace| trace.parent).as_deref(), Some("00-ff-ff-01"));
}

#[test]
fn the_limits_hold_at_the_last_byte() {
    let message = WireMessage::encode(&a_command());
    let headers: usize = message.headers.iter().map(|(n, v)| n.len() + v.len()).sum();
    let exact = WireLimits { headers_bytes_max: headers, body_bytes_max: message.body.len() };
    assert_eq!(read_within(&message, &exact), Ok(a_command()));
    let less = WireLimits { headers_bytes_max: headers - 1, ..exact };
    let too_large = |part, bytes| Err(WireError::TooLarge { part, bytes, max: bytes - 1 });
    assert_eq!(read_within(&message, &less), too_large("headers", headers));
    let less = WireLimits { body_bytes_max: message.body.len() - 1, ..exact };
    assert_eq!(read_within(&message, &less), too_large("body", message.body.len()));
}

#[test]
fn what_is_missing_wrong_or_doubled_is_named() {
    assert_eq!(read(&with("dtx-version", None)), Err(WireError::Version));
    assert_eq!(read(&with("dtx-version", Some("2"))), Err(WireError::Version));
    let message = WireMessage::encode(&a_command());
    for (header, _) in message.headers.iter().skip(1).take(13) {
        assert_eq!(read(&with(header, None)), Err(WireError::Missing { header }));
        let value = read(&with(header, Some("no value of anything!"))).expect_err(header);
        assert!(matches!(value, WireError::Value { header: named, .. } if named == header));
        let mut twice = WireMessage::encode(&a_command());
        twice.headers.add(header, "1");
        assert_eq!(read(&twice), Err(WireError::Twice { header }));
    }
    for (header, value) in [
        ("dtx-shard", "65536"),
        ("dtx-shard", "-1"),
        ("dtx-shard", "+1"),
        ("dtx-shard", "01"),
        ("dtx-shard", ""),
        ("dtx-epoch", "18446744073709551616"),
        ("dtx-sequence", "1"),
        ("dtx-deadline-ns", "1e9"),
        ("dtx-deadline-ns", "99999999999999999999999999999999"),
        ("dtx-one-phase", "false"),
        ("dtx-participant", "Payment"),
        ("dtx-inputs", "reserve"),
        ("dtx-inputs", "reserve:?"),
        ("dtx-metadata", "{}"),
        ("dtx-metadata", "caf\u{e9}"),
        ("traceparent", "a\nb"),
    ] {
        let error = read(&with(header, Some(value))).expect_err(value);
        assert!(matches!(error, WireError::Value { header: named, .. } if named == header));
        assert!(value.len() < 4 || !error.to_string().contains(value), "{error}");
    }
}

#[test]
fn no_bytes_make_the_reader_panic() {
    proptest!(|(
        which in 0..22_usize,
        value in vec(any::<u8>(), 0..40),
        body in vec(any::<u8>(), 0..8),
    )| {
        let message = WireMessage::encode(&a_command());
        let headers = message.headers.iter().enumerate().map(|(i, (name, text))| {
            (name, if i == which { &value[..] } else { text.as_bytes() })
        });
        let _ = WireMessage::decode(headers, body.into(), &WireLimits::default());
    });
}

fn tx() -> impl Strategy<Value = TxId> {
    any::<[u8; 16]>().prop_map(TxId::from_bytes)
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn time() -> impl Strategy<Value = Duration> {
    (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(s, n)| Duration::new(s, n))
}

fn sequences() -> impl Strategy<Value = AcceptSequence> {
    any::<(u64, u64)>().prop_map(|(e, number)| AcceptSequence { epoch: Epoch(e), number })
}

fn participant() -> impl Strategy<Value = ParticipantName> {
    "[a-z0-9][a-z0-9_-]{0,63}".prop_map(|name| ParticipantName::new(name).expect("a name"))
}

fn inputs() -> impl Strategy<Value = Vec<DependencyOutput>> {
    let name = "[a-z0-9][a-z0-9_-]{0,63}".prop_map(|n| OperationName::new(n).expect("a name"));
    let input =
        (name, bytes()).prop_map(|(operation, output)| DependencyOutput { operation, output });
    vec(input, 0..4)
}

fn commands() -> impl Strategy<Value = Command> {
    let who = (tx(), any::<u16>(), select(&Phase::ALL[..]), select(&Pattern::ALL[..]));
    let what = (participant(), "[a-z0-9]{1,64}", any::<(u32, u32, u16, u64)>());
    let order = (sequences(), sequences(), option::of(time()), option::of(time()));
    let rest = (any::<bool>(), any::<bool>(), bytes(), inputs());
    (who, what, order, rest).prop_map(|(who, what, order, rest)| {
        let (action_version, attempt, shard, epoch) = what.2;
        Command {
            tx: who.0,
            operation: OperationIndex(who.1),
            phase: who.2,
            pattern: who.3,
            participant: what.0,
            action: ActionName::new(what.1).expect("a name"),
            action_version,
            attempt,
            shard: ShardId(shard),
            epoch: Epoch(epoch),
            sequence: order.0,
            watermark: order.1,
            deadline: order.2,
            ttl: order.3,
            one_phase: rest.0,
            reply: rest.1,
            payload: rest.2,
            inputs: rest.3,
        }
    })
}

fn answers() -> impl Strategy<Value = PhaseAnswer> {
    let reason = || any::<String>().prop_map(Reason::new);
    let refusals = vec![Refusal::Undone, Refusal::Executed, Refusal::Expired];
    prop_oneof![
        (bytes(), any::<bool>(), any::<bool>())
            .prop_map(|(output, read_only, reversed)| Ok(Done { output, read_only, reversed })),
        reason().prop_map(|reason| Err(NotDone::Rejected(reason))),
        reason().prop_map(|reason| Err(NotDone::Unknown(reason))),
        select(refusals).prop_map(|refusal| Err(NotDone::Refused(refusal))),
    ]
}

fn bodies() -> impl Strategy<Value = Body> {
    let verdicts = vec![Verdict::Completed, Verdict::Turned, Verdict::Commit, Verdict::Abort];
    let inquiry = (tx(), select(&Pattern::ALL[..]), any::<u16>(), participant(), any::<u128>());
    let answer = (tx(), any::<u16>(), participant(), any::<u128>(), option::of(select(verdicts)));
    prop_oneof![
        commands().prop_map(|command| Body::Command(Arc::new(command))),
        (commands(), answers()).prop_map(|(command, answer)| Body::Reply(command.reply(answer))),
        inquiry.prop_map(|(tx, pattern, operation, participant, host)| {
            let (operation, host) = (OperationIndex(operation), HolderId(host));
            Body::Inquiry(Inquiry { tx, pattern, operation, participant, host })
        }),
        (answer, time()).prop_map(|((tx, operation, participant, host, verdict), retry_after)| {
            let (operation, host) = (OperationIndex(operation), HolderId(host));
            Body::InquiryAnswer(InquiryAnswer {
                tx,
                operation,
                participant,
                host,
                verdict,
                retry_after,
            })
        }),
    ]
}

fn headers() -> impl Strategy<Value = Option<Arc<Headers>>> {
    let plain = || "[!-~]([ -~]{0,20}[!-~])?";
    let trace =
        (plain(), option::of(plain())).prop_map(|(parent, state)| TraceContext { parent, state });
    let metadata = vec((any::<String>(), any::<String>()), 0..4);
    option::of(
        (metadata, option::of(trace))
            .prop_map(|(metadata, trace)| Arc::new(Headers { metadata, trace })),
    )
}

proptest! {
    #[test]
    fn what_was_written_is_read((body, headers) in (bodies(), headers())) {
        let envelope = Envelope { body, headers };
        let message = WireMessage::encode(&envelope);
        for (name, value) in message.headers.iter() {
            prop_assert!(value.bytes().all(|b| (b' '..=b'~').contains(&b)), "{name}: {value:?}");
        }
        prop_assert_eq!(read(&message), Ok(envelope));
    }
}

#[test]
fn a_trace_that_no_header_can_carry_stays_among_the_metadata() {
    let metadata = vec![("traceparent".to_owned(), "\u{e9}".to_owned())];
    let trace = Some(TraceContext { parent: "\u{e9}".into(), state: None });
    let headers = Headers { metadata: metadata.clone(), trace };
    let reply: Reply = command().reply(Ok(Done::default()));
    let envelope = Envelope { body: Body::Reply(reply), headers: Some(Arc::new(headers)) };
    let read = read(&WireMessage::encode(&envelope)).expect("a message");
    assert_eq!(read.headers.as_deref(), Some(&Headers { metadata, trace: None }));
}
