//! Messages that no client with a notion of text writes: the protocol of the broker by hand.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use crate::support::{DEADLINE, brokers};

/// A header: its name is bytes here.
pub(crate) type RawHeader<'a> = (&'a [u8], &'a [u8]);

/// The check sum that batches of records have (Castagnoli).
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// A small number as records have it: zigzag, seven bits a byte.
fn varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    varint(out, bytes.len() as i64);
    out.extend(bytes);
}

/// One record without a key: attributes, deltas of time and offset, key, value, headers.
fn record(headers: &[RawHeader<'_>], body: &[u8]) -> Vec<u8> {
    let mut record = vec![0, 0, 0];
    varint(&mut record, -1);
    sized(&mut record, body);
    varint(&mut record, headers.len() as i64);
    for (name, value) in headers {
        sized(&mut record, name);
        sized(&mut record, value);
    }
    let mut all = Vec::new();
    sized(&mut all, &record);
    all
}

/// A batch of one record, in the format with magic 2.
fn batch(record: &[u8]) -> Vec<u8> {
    let mut checked = vec![0; 2 + 4 + 8 + 8];
    // No producer's id, epoch and sequence.
    checked.extend([0xFF; 8 + 2 + 4]);
    checked.extend(1_i32.to_be_bytes());
    checked.extend(record);
    let mut after = vec![0xFF; 4];
    after.push(2);
    after.extend(crc32c(&checked).to_be_bytes());
    after.extend(checked);
    let mut batch = vec![0; 8];
    batch.extend((after.len() as i32).to_be_bytes());
    batch.extend(after);
    batch
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as i16).to_be_bytes());
    out.extend(text.as_bytes());
}

/// Writes one message to the first partition of a topic, by a `Produce` request of version 3.
pub(crate) fn produce(topic: &str, headers: &[RawHeader<'_>], body: &[u8]) {
    let batch = batch(&record(headers, body));
    let mut request = vec![0, 0, 0, 3, 0, 0, 0, 1];
    text(&mut request, "by-hand");
    // No transaction, all replicas, and how long the broker may take.
    request.extend([0xFF, 0xFF, 0xFF, 0xFF]);
    request.extend((DEADLINE.as_millis() as i32).to_be_bytes());
    request.extend(1_i32.to_be_bytes());
    text(&mut request, topic);
    request.extend(1_i32.to_be_bytes());
    request.extend(0_i32.to_be_bytes());
    request.extend((batch.len() as i32).to_be_bytes());
    request.extend(batch);
    let mut broker = TcpStream::connect(brokers()).expect("it connects");
    broker.set_read_timeout(Some(DEADLINE)).expect("it is set");
    broker.write_all(&(request.len() as i32).to_be_bytes()).expect("it is sent");
    broker.write_all(&request).expect("it is sent");
    let mut size = [0; 4];
    broker.read_exact(&mut size).expect("it answers");
    let mut answer = vec![0; i32::from_be_bytes(size) as usize];
    broker.read_exact(&mut answer).expect("it answers");
    // Correlation, one topic and its name, one partition and its number, then the error.
    let error = &answer[4 + 4 + 2 + topic.len() + 4 + 4..][..2];
    assert_eq!(error, [0, 0], "the broker has taken it: {answer:?}");
}
