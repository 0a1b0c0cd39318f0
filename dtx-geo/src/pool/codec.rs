//! Rows and messages as bytes.
//!
//! A region is kept as one row of totals, which changes with every write, one row per hold and
//! one per hold that went to another region. Each is three bytes, `0xD8`, the kind and the
//! version of the form, and then postcard. The same goes for messages. A reader checks the length
//! before it reads anything, and each number afterwards: what it lets through can be added up
//! over all regions.

use std::collections::BTreeMap;

use dtx_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::pool::{
    Body, Cells, Claim, Count, Digest, Hold, HoldId, Member, Message, Peer, Report, Route, Ward,
    Write,
};

/// The first byte of everything that is written here.
const MAGIC: u8 = 0xD8;
/// The version of all forms so far.
const VERSION: u8 = 1;
/// The most bytes of a message.
pub const MESSAGE_BYTES_MAX: usize = 256;
/// The most bytes of a row.
pub const ROW_BYTES_MAX: usize = 16 * 1024;
/// Every number of units and every total is below this, so that those of all regions can
/// be added.
pub const NUMBER_MAX: u64 = 1 << 58;

/// Every logical time is below this, so that there is a later one.
const STAMP_MAX: u64 = 1 << 63;

const TOTALS: u8 = 1;
const HOLD: u8 = 2;
const ROUTE: u8 = 3;
const MESSAGE: u8 = 4;

/// Bytes that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PoolCodecError {
    /// They are too many; nothing was read.
    #[error("{bytes} bytes are too many; {max} are the most")]
    TooLarge {
        /// How many there are.
        bytes: usize,
        /// How many may be.
        max: usize,
    },
    /// They do not begin as they should.
    #[error("the bytes are not of this kind")]
    Kind,
    /// The form is of a newer release, or damaged.
    #[error("form {0} is unknown to this release")]
    Version(u8),
    /// They are not what their form says.
    #[error("the bytes are not what their form says")]
    Form,
    /// A number is past its bound, or names a region that there is not.
    #[error("a number is past its bound")]
    Number,
    /// It is of a pool with other regions, or for another region.
    #[error("the message is for another pool or another region")]
    Elsewhere,
}

/// Names a row of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowName {
    /// All totals.
    Totals,
    /// A hold.
    Hold(HoldId),
    /// Where a hold is that went to another region.
    Route(HoldId),
}

impl RowName {
    /// Its key.
    pub fn key(self) -> Vec<u8> {
        let (letter, id) = match self {
            Self::Totals => return vec![b't'],
            Self::Hold(id) => (b'h', id),
            Self::Route(id) => (b'r', id),
        };
        let mut key = vec![letter];
        key.extend_from_slice(&id.0.to_be_bytes());
        key
    }

    /// The row with this key; none where no row of a region has it.
    pub fn of(key: &[u8]) -> Option<Self> {
        let (letter, id) = key.split_first()?;
        if *letter == b't' && id.is_empty() {
            return Some(Self::Totals);
        }
        let id = HoldId(u128::from_be_bytes(id.try_into().ok()?));
        match letter {
            b'h' => Some(Self::Hold(id)),
            b'r' => Some(Self::Route(id)),
            _ => None,
        }
    }
}

impl Write {
    /// Adds the names of the rows that it changes, but for the totals, which every write changes.
    pub fn add_rows(&self, rows: &mut std::collections::BTreeSet<RowName>) {
        match *self {
            Self::Hold(id, _) => {
                rows.insert(RowName::Hold(id));
            }
            Self::Routed(id, _) => {
                rows.insert(RowName::Route(id));
            }
            Self::Forget(id) => {
                rows.extend([RowName::Hold(id), RowName::Route(id)]);
            }
            _ => {}
        }
    }
}

/// Beside the totals, what whoever keeps the rows wants to find again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Says which pool it is, which regions it has in which order, and which of them this is.
    pub layout: u64,
    /// The incarnation of the region.
    pub incarnation: u32,
    /// The region's clock when the row was written.
    pub clock: Timestamp,
    /// Who wrote it.
    pub writer: u128,
    /// Which of the writer's writes it was.
    pub write: u64,
}

#[derive(Serialize, Deserialize)]
struct Totals {
    kept: Kept,
    run: u32,
    minted: u64,
    peers: Vec<Peer>,
    sold: u64,
    released: u64,
    reclaimed: u64,
    reclaimed_before: u64,
    buddy: u32,
    written_off: u64,
    wards: BTreeMap<Member, Ward>,
}

impl Cells {
    /// A row as it is now; `None` when there is none any more.
    pub fn row(&self, name: RowName, kept: Kept) -> Option<Vec<u8>> {
        match name {
            RowName::Totals => Some(encode(
                TOTALS,
                &Totals {
                    kept,
                    run: self.run,
                    minted: self.minted,
                    peers: self.peers.clone(),
                    sold: self.sold,
                    released: self.released,
                    reclaimed: self.reclaimed,
                    reclaimed_before: self.reclaimed_before,
                    buddy: self.buddy,
                    written_off: self.written_off,
                    wards: self.wards.clone(),
                },
            )),
            RowName::Hold(id) => self.holds.get(id).map(|hold| encode(HOLD, hold)),
            RowName::Route(id) => self.routed.get(&id).map(|route| encode(ROUTE, route)),
        }
    }

    /// Takes in what [`row`](Self::row) has made of the totals.
    ///
    /// # Errors
    /// [`PoolCodecError`]; nothing is taken in then.
    pub fn load_totals(&mut self, bytes: &[u8]) -> Result<Kept, PoolCodecError> {
        let totals: Totals = decode(TOTALS, ROW_BYTES_MAX, bytes)?;
        let count = self.peers.len();
        let numbers =
            [totals.minted, totals.sold, totals.released, totals.reclaimed, totals.written_off];
        let peers = totals
            .peers
            .iter()
            .flat_map(|peer| [peer.given, peer.received, peer.given_before, peer.received_before]);
        let wards = totals.wards.values().flat_map(|ward| {
            let Report { quota, spent, released } = ward.report;
            [quota, spent, released, ward.reclaimed, ward.reclaimed_before]
        });
        let members = totals.wards.keys().all(|member| member.index() < count);
        let before = totals.reclaimed_before <= totals.reclaimed;
        if totals.peers.len() != count || !members || !before {
            return Err(PoolCodecError::Number);
        }
        small(numbers.into_iter().chain(peers).chain(wards))?;
        self.run = totals.run;
        self.minted = totals.minted;
        self.peers = totals.peers;
        self.sold = totals.sold;
        self.released = totals.released;
        self.reclaimed = totals.reclaimed;
        self.reclaimed_before = totals.reclaimed_before;
        self.buddy = totals.buddy;
        self.written_off = totals.written_off;
        self.wards = totals.wards;
        Ok(totals.kept)
    }

    /// Takes in what [`row`](Self::row) has made of a hold or a route.
    ///
    /// # Errors
    /// [`PoolCodecError`]; nothing is taken in then.
    pub fn load_row(&mut self, name: RowName, bytes: &[u8]) -> Result<(), PoolCodecError> {
        let write = match name {
            RowName::Totals => return self.load_totals(bytes).map(drop),
            RowName::Hold(id) => {
                let hold: Hold = decode(HOLD, ROW_BYTES_MAX, bytes)?;
                small([hold.units])?;
                Write::Hold(id, hold)
            }
            RowName::Route(id) => {
                let route: Route = decode(ROUTE, ROW_BYTES_MAX, bytes)?;
                if route.at.index() >= self.peers.len() {
                    return Err(PoolCodecError::Number);
                }
                Write::Routed(id, route)
            }
        };
        self.apply(&write);
        Ok(())
    }
}

/// A message on its way: of which pool, from where and to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parcel {
    /// Says which pool it is, and which regions it has in which order.
    pub layout: u64,
    /// From where.
    pub from: Member,
    /// To where.
    pub to: Member,
    /// What it says.
    pub message: Message,
}

impl Parcel {
    /// As bytes; at most [`MESSAGE_BYTES_MAX`].
    pub fn encode(&self) -> Vec<u8> {
        encode(MESSAGE, self)
    }

    /// From bytes that came to region `own` of a pool with `count` regions.
    ///
    /// # Errors
    /// [`PoolCodecError`].
    pub fn decode(
        bytes: &[u8],
        layout: u64,
        own: Member,
        count: usize,
    ) -> Result<Self, PoolCodecError> {
        let parcel: Self = decode(MESSAGE, MESSAGE_BYTES_MAX, bytes)?;
        if parcel.layout != layout || parcel.to != own {
            return Err(PoolCodecError::Elsewhere);
        }
        if parcel.from.index() >= count || parcel.from == own {
            return Err(PoolCodecError::Number);
        }
        check(&parcel.message, count)?;
        Ok(parcel)
    }
}

fn check(message: &Message, count: usize) -> Result<(), PoolCodecError> {
    let Digest { free, rate, minted, seen, given } = message.digest;
    small([free, rate, minted, seen, given])?;
    let claim = |claim: Claim| {
        let is_good = claim.stamp < STAMP_MAX && usize::from(claim.region) < count;
        if is_good { Ok(()) } else { Err(PoolCodecError::Number) }
    };
    if message.stamp >= STAMP_MAX {
        return Err(PoolCodecError::Number);
    }
    match message.body {
        Body::Digest
        | Body::Forwarded { .. }
        | Body::Cancel { .. }
        | Body::Change { .. }
        | Body::Changed { .. } => Ok(()),
        Body::Pull { need, waiting, claim: of } => {
            small([need, waiting])?;
            of.map_or(Ok(()), claim)
        }
        Body::ClaimEnded { claim: of } => claim(of),
        Body::Forward { units, .. } => small([units]),
        Body::Collect { look } => small([look]),
        Body::Counted { look, count } => {
            let Count { version, incarnations, free, spendable, held, .. } = count;
            small([look, version, incarnations, free, spendable, held])?;
            small([count.given, count.received, count.minted])
        }
        Body::Renew { number, report: Report { quota, spent, released }, .. } => {
            small([number, quota, spent, released])
        }
        Body::Lease { number, spent, reclaimed, .. } => small([number, spent, reclaimed]),
    }
}

fn small(numbers: impl IntoIterator<Item = u64>) -> Result<(), PoolCodecError> {
    let mut numbers = numbers.into_iter();
    if numbers.all(|number| number < NUMBER_MAX) { Ok(()) } else { Err(PoolCodecError::Number) }
}

fn encode<T: Serialize>(kind: u8, value: &T) -> Vec<u8> {
    postcard::to_extend(value, vec![MAGIC, kind, VERSION])
        .expect("every sequence here knows its length")
}

fn decode<'a, T: Deserialize<'a>>(
    kind: u8,
    max: usize,
    bytes: &'a [u8],
) -> Result<T, PoolCodecError> {
    if bytes.len() > max {
        return Err(PoolCodecError::TooLarge { bytes: bytes.len(), max });
    }
    let [MAGIC, of, version, body @ ..] = bytes else { return Err(PoolCodecError::Kind) };
    if *of != kind {
        return Err(PoolCodecError::Kind);
    }
    if *version != VERSION {
        return Err(PoolCodecError::Version(*version));
    }
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        _ => Err(PoolCodecError::Form),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::pool::{Change, HoldState};

    const MOST: u64 = NUMBER_MAX - 1;

    fn parcel(body: Body) -> Parcel {
        let digest = Digest { free: MOST, rate: MOST, minted: MOST, seen: MOST, given: MOST };
        let message = Message { from: u32::MAX, to: u32::MAX, stamp: STAMP_MAX - 1, digest, body };
        Parcel { layout: u64::MAX, from: Member(63), to: Member(0), message }
    }

    /// One of each kind, with the greatest numbers.
    fn bodies() -> Vec<Body> {
        let (id, ttl) = (HoldId(u128::MAX), Duration::MAX);
        let claim = Claim { stamp: STAMP_MAX - 1, region: 63 };
        let count = Count {
            version: MOST,
            incarnation: u32::MAX,
            incarnations: MOST,
            free: MOST,
            spendable: MOST,
            held: MOST,
            given: MOST,
            received: MOST,
            minted: MOST,
        };
        let report = Report { quota: MOST, spent: MOST, released: MOST };
        vec![
            Body::Digest,
            Body::Pull { need: MOST, waiting: MOST, claim: Some(claim) },
            Body::ClaimEnded { claim },
            Body::Forward { id, units: MOST, ttl },
            Body::Forwarded { id, remaining: Some(ttl) },
            Body::Cancel { id },
            Body::Collect { look: MOST },
            Body::Counted { look: MOST, count },
            Body::Renew { run: u32::MAX, number: MOST, report, buddy: u32::MAX },
            Body::Lease { run: u32::MAX, number: MOST, spent: MOST, reclaimed: MOST },
            Body::Change { id, change: Change::Cancel },
            Body::Changed { id, state: Some(HoldState::Pinned) },
        ]
    }

    fn read(bytes: &[u8]) -> Result<Parcel, PoolCodecError> {
        Parcel::decode(bytes, u64::MAX, Member(0), 64)
    }

    #[test]
    fn every_message_is_read_as_it_was_written_and_fits() {
        for body in bodies() {
            let bytes = parcel(body).encode();
            assert!(bytes.len() <= MESSAGE_BYTES_MAX, "{} bytes: {body:?}", bytes.len());
            assert_eq!(read(&bytes), Ok(parcel(body)));
        }
    }

    #[test]
    fn the_form_of_the_first_release_is_read() {
        let message = Message {
            from: 1,
            to: 2,
            stamp: 3,
            digest: Digest { free: 4, rate: 5, minted: 6, seen: 7, given: 8 },
            body: Body::Changed { id: HoldId(9), state: Some(HoldState::Sold) },
        };
        let parcel = Parcel { layout: 10, from: Member(1), to: Member(0), message };
        let bytes = [0xD8, 4, 1, 10, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 9, 1, 2];
        assert_eq!(parcel.encode(), bytes);
        assert_eq!(Parcel::decode(&bytes, 10, Member(0), 2), Ok(parcel));
    }

    #[test]
    fn one_past_a_bound_is_not_read() {
        let large = Parcel::decode(&[MAGIC; MESSAGE_BYTES_MAX + 1], 0, Member(0), 64);
        assert_eq!(large, Err(PoolCodecError::TooLarge { bytes: 257, max: 256 }));
        let mut over = parcel(Body::Collect { look: NUMBER_MAX });
        assert_eq!(read(&over.encode()), Err(PoolCodecError::Number));
        over = parcel(Body::Digest);
        over.message.digest.given = NUMBER_MAX;
        assert_eq!(read(&over.encode()), Err(PoolCodecError::Number));
        over.message = Message { stamp: STAMP_MAX, ..parcel(Body::Digest).message };
        assert_eq!(read(&over.encode()), Err(PoolCodecError::Number));
        over = parcel(Body::ClaimEnded { claim: Claim { stamp: STAMP_MAX, region: 1 } });
        assert_eq!(read(&over.encode()), Err(PoolCodecError::Number));
        over = parcel(Body::ClaimEnded { claim: Claim { stamp: 1, region: 64 } });
        assert_eq!(read(&over.encode()), Err(PoolCodecError::Number));
        over = Parcel { from: Member(64), ..parcel(Body::Digest) };
        assert_eq!(read(&over.encode()), Err(PoolCodecError::Number));
        over = Parcel { to: Member(1), ..parcel(Body::Digest) };
        assert_eq!(read(&over.encode()), Err(PoolCodecError::Elsewhere));
        let mut bytes = parcel(Body::Digest).encode();
        bytes.push(0);
        assert_eq!(read(&bytes), Err(PoolCodecError::Form));
        bytes[2] = VERSION + 1;
        assert_eq!(read(&bytes), Err(PoolCodecError::Version(2)));
    }

    #[test]
    fn rows_are_read_as_they_were_written() {
        let mut cells = Cells::new(3);
        let clock = Timestamp::from_millis(5);
        let kept = Kept { layout: 1, incarnation: 2, clock, writer: 7, write: 8 };
        let peer =
            Peer { incarnation: 1, given: 2, received: 3, given_before: 4, ..Peer::default() };
        let hold = Hold {
            units: 2,
            created: Timestamp::from_millis(1),
            until: Timestamp::MAX,
            span: Duration::from_secs(1),
            extensions: 1,
            state: HoldState::Pinned,
        };
        let ward = Ward { incarnation: 1, reclaimed: 4, ..Ward::default() };
        let writes = [
            Write::Run(3),
            Write::Minted(40),
            Write::Peer(Member(1), peer),
            Write::Hold(HoldId(1), hold),
            Write::Routed(HoldId(2), Route { at: Member(2), pinned: true }),
            Write::Ended { sold: 5, released: 6 },
            Write::Reclaimed { total: 9, before: 4, buddy: 1 },
            Write::WrittenOff(2),
            Write::Ward(Member(2), ward),
        ];
        let mut names = std::collections::BTreeSet::from([RowName::Totals]);
        for write in &writes {
            cells.apply(write);
            write.add_rows(&mut names);
        }
        let mut read = Cells::new(3);
        for name in names {
            let row = cells.row(name, kept).expect("it is there");
            assert_eq!(RowName::of(&name.key()), Some(name));
            match name {
                RowName::Totals => assert_eq!(read.load_totals(&row), Ok(kept)),
                _ => read.load_row(name, &row).expect("it is good"),
            }
        }
        assert_eq!(read, cells);
        // Of a pool with other regions.
        let totals = cells.row(RowName::Totals, kept).expect("it is there");
        assert_eq!(Cells::new(2).load_totals(&totals), Err(PoolCodecError::Number));
        let route = cells.row(RowName::Route(HoldId(2)), kept).expect("it is there");
        let name = RowName::Route(HoldId(2));
        assert_eq!(Cells::new(2).load_row(name, &route), Err(PoolCodecError::Number));
        assert_eq!(
            Cells::new(3).load_row(RowName::Hold(HoldId(2)), &route),
            Err(PoolCodecError::Kind)
        );
        cells.apply(&Write::Forget(HoldId(1)));
        assert_eq!(cells.row(RowName::Hold(HoldId(1)), kept), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
            let mut framed = vec![MAGIC, MESSAGE, VERSION];
            framed.extend_from_slice(&bytes);
            let _ = read(&framed);
            framed[1] = TOTALS;
            let _ = Cells::new(3).load_totals(&framed);
            framed[1] = HOLD;
            let _ = Cells::new(3).load_row(RowName::Hold(HoldId(1)), &framed);
        }
    }
}
