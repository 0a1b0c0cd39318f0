//! Several messages as one: the form of the brokers ([`WireMessage`]), one behind the other.
//!
//! A parcel begins with its version. Each message is the number of its headers (2 bytes), each
//! header with the length of its name (1 byte) and of its value (4 bytes), and its body with its
//! length (4 bytes). Numbers are big-endian.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use dtx_core::transport::{Envelope, WireError, WireLimits, WireMessage};
use thiserror::Error;

use super::settings::RegionalSettings;

/// The form that is written and read.
const VERSION: u8 = 1;

/// A parcel that cannot be read. Sent again it stays so.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum ParcelError {
    /// It is of another version, or no parcel.
    #[error("it is not of version 1")]
    Version,
    /// It ends in the middle of a message.
    #[error("it ends in the middle of a message")]
    Cut,
    /// More messages than a parcel may have.
    #[error("it has more than {0} messages, the setting parcel_messages_max")]
    TooMany(usize),
}

/// A parcel that is filled.
struct Parcel {
    bytes: BytesMut,
    /// Which messages are in it.
    indexes: Vec<usize>,
}

impl Parcel {
    fn new() -> Self {
        let mut bytes = BytesMut::new();
        bytes.put_u8(VERSION);
        Self { bytes, indexes: Vec::new() }
    }
}

/// What goes to another region.
pub(super) enum Packed {
    /// One message as it is.
    Alone(usize),
    /// Several, and the payload of their parcel.
    Together(Vec<usize>, Bytes),
}

/// Packs messages, given with their indexes, into as few parcels as their order allows.
pub(super) fn pack<'a>(
    messages: impl IntoIterator<Item = (usize, &'a Envelope)>,
    settings: &RegionalSettings,
) -> Vec<Packed> {
    let (mut packed, mut open) = (Vec::new(), Parcel::new());
    for (index, message) in messages {
        let bytes = encode(&WireMessage::encode(message));
        if bytes.len() > settings.parcel_bytes_max {
            packed.push(Packed::Alone(index));
            continue;
        }
        let is_full = open.indexes.len() == settings.parcel_messages_max
            || open.bytes.len() - 1 + bytes.len() > settings.parcel_bytes_max;
        if is_full {
            close(std::mem::replace(&mut open, Parcel::new()), &mut packed);
        }
        open.indexes.push(index);
        open.bytes.put(bytes);
    }
    close(open, &mut packed);
    packed
}

fn close(parcel: Parcel, packed: &mut Vec<Packed>) {
    match parcel.indexes[..] {
        [] => {}
        [index] => packed.push(Packed::Alone(index)),
        _ => packed.push(Packed::Together(parcel.indexes, parcel.bytes.freeze())),
    }
}

fn encode(message: &WireMessage) -> BytesMut {
    let mut bytes = BytesMut::new();
    // The wire has two dozen headers with short names, and bounds their values.
    bytes.put_u16(message.headers.len() as u16);
    for (name, value) in message.headers.iter() {
        bytes.put_u8(name.len() as u8);
        bytes.put_slice(name.as_bytes());
        bytes.put_u32(value.len() as u32);
        bytes.put_slice(value.as_bytes());
    }
    bytes.put_u32(message.body.len() as u32);
    bytes.put_slice(&message.body);
    bytes
}

/// The messages of a parcel, and what is wrong with those that cannot be read: they keep none of the
/// others. `limits` is what each of them may have.
pub(super) fn unpack(
    mut payload: Bytes,
    settings: &RegionalSettings,
    limits: &WireLimits,
) -> Result<(Vec<Envelope>, Vec<WireError>), ParcelError> {
    if payload.try_get_u8() != Ok(VERSION) {
        return Err(ParcelError::Version);
    }
    let (mut messages, mut unread) = (Vec::new(), Vec::new());
    while payload.has_remaining() {
        if messages.len() + unread.len() == settings.parcel_messages_max {
            return Err(ParcelError::TooMany(settings.parcel_messages_max));
        }
        match decode(&mut payload, limits)? {
            Ok(message) => messages.push(message),
            Err(error) => unread.push(error),
        }
    }
    Ok((messages, unread))
}

fn decode(
    payload: &mut Bytes,
    limits: &WireLimits,
) -> Result<Result<Envelope, WireError>, ParcelError> {
    let count = payload.try_get_u16().map_err(|_| ParcelError::Cut)?;
    let mut headers = Vec::new();
    for _ in 0..count {
        let length = payload.try_get_u8().map_err(|_| ParcelError::Cut)?;
        let name = take(payload, usize::from(length))?;
        let length = payload.try_get_u32().map_err(|_| ParcelError::Cut)?;
        headers.push((name, take(payload, length as usize)?));
    }
    let length = payload.try_get_u32().map_err(|_| ParcelError::Cut)?;
    let body = take(payload, length as usize)?;
    // Names of headers that are no text are none of ours, as unknown ones are.
    let headers = headers.iter().filter_map(|(name, value)| {
        std::str::from_utf8(name).ok().map(|name| (name, value.as_ref()))
    });
    Ok(WireMessage::decode(headers, body, limits))
}

fn take(payload: &mut Bytes, length: usize) -> Result<Bytes, ParcelError> {
    if payload.remaining() < length {
        return Err(ParcelError::Cut);
    }
    Ok(payload.split_to(length))
}

#[cfg(test)]
mod tests {
    use dtx_core::name::{ActionName, ParticipantName};

    use super::*;
    use crate::dispatch::dispatch;

    fn messages() -> Vec<Envelope> {
        let to = ParticipantName::new("stock").expect("a name");
        let action = ActionName::new("count").expect("a name");
        (0..3).map(|n| dispatch(&to, &action, Bytes::from(vec![n; usize::from(n) * 5]))).collect()
    }

    fn packed(messages: &[Envelope]) -> Bytes {
        let packed = pack(messages.iter().enumerate(), &RegionalSettings::default());
        let [Packed::Together(indexes, payload)] = &packed[..] else { panic!("not one parcel") };
        assert_eq!(*indexes, [0, 1, 2]);
        payload.clone()
    }

    fn read(payload: Bytes) -> Result<(Vec<Envelope>, Vec<WireError>), ParcelError> {
        unpack(payload, &RegionalSettings::default(), &WireLimits::default())
    }

    #[test]
    fn a_parcel_that_ends_too_early_has_fewer_messages_or_is_cut() {
        let messages = messages();
        let whole = packed(&messages);
        let mut counts = Vec::new();
        for end in 0..=whole.len() {
            match read(whole.slice(..end)) {
                Ok((found, unread)) => {
                    assert_eq!((&found[..], &unread[..]), (&messages[..found.len()], &[][..]));
                    counts.push(found.len());
                }
                Err(error) => {
                    let expected = if end == 0 { ParcelError::Version } else { ParcelError::Cut };
                    assert_eq!(error, expected, "{end}");
                }
            }
        }
        assert_eq!(counts, [0, 1, 2, 3]);
    }

    #[test]
    fn whatever_byte_is_wrong_it_is_read_or_refused() {
        let whole = packed(&messages());
        let mut refused = 0;
        for at in 0..whole.len() {
            for wrong in [0, 1, 127, 255] {
                let mut bytes = whole.to_vec();
                bytes[at] ^= wrong;
                let is_whole = read(bytes.into()).is_ok_and(|(_, unread)| unread.is_empty());
                refused += usize::from(!is_whole);
            }
        }
        assert!(refused > whole.len() / 2, "{refused} of {}", whole.len());
    }

    #[test]
    fn a_body_past_the_limit_is_not_read_and_the_others_are() {
        let messages = messages();
        let whole = packed(&messages);
        let limits = |body_bytes_max| WireLimits { body_bytes_max, ..WireLimits::default() };
        let settings = RegionalSettings::default();
        let all = unpack(whole.clone(), &settings, &limits(10));
        assert_eq!(all, Ok((messages.clone(), Vec::new())));
        let (found, unread) = unpack(whole, &settings, &limits(9)).expect("a parcel");
        assert_eq!(found, messages[..2], "the last one has 10 bytes");
        assert!(
            matches!(unread[..], [WireError::TooLarge { bytes: 10, max: 9, .. }]),
            "{unread:?}"
        );
    }
}
