//! The orders: a CSV file, read row by row. A row that cannot be read is reported and stops
//! nothing else.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
    path::Path,
};

use csv::{ByteRecord, ReaderBuilder, Trim};
use dtx::{resource::NAME_MAX, store::Scope, transaction::KEY_BYTES_MAX};
use thiserror::Error;

use crate::{hash, money};

/// The shipped orders.
const SHIPPED: &[u8] = include_bytes!("../../data/cdnow_orders.csv");

/// The name of the shipped orders.
const SHIPPED_NAME: &str = "data/cdnow_orders.csv";

/// The columns that a file of orders must have, in any order and among others.
const COLUMNS: [&str; 5] = ["order_id", "customer_id", "date", "quantity", "amount_usd"];

/// The most units of one order.
const QUANTITY_MAX: u64 = 1_000_000;

/// The most that the orders of one customer may come to, in cents: an account can hold twice
/// that.
const CUSTOMER_CENTS_MAX: u64 = 1 << 48;

/// The longest id of a customer, in bytes: it is a part of the name of an account.
const CUSTOMER_BYTES_MAX: usize = 60;

/// One order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its id, unique in its file.
    pub id: String,
    /// Who ordered.
    pub customer: String,
    /// The day, as `YYYY-MM-DD`.
    pub date: String,
    /// How many units.
    pub quantity: u64,
    /// What they cost, in cents. Nothing at all is valid.
    pub cents: u64,
}

/// A row that is no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// The file.
    pub file: String,
    /// The line in it, from 1.
    pub line: u64,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.reason)
    }
}

/// A file that holds no orders at all.
#[derive(Debug, Error)]
pub enum OrdersError {
    /// It cannot be read.
    #[error("{file} cannot be read")]
    Unreadable {
        /// The file.
        file: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Its first line does not name the columns.
    #[error(
        "{file}:1: there is no column {column}; the first line must name \
         order_id,customer_id,date,quantity,amount_usd"
    )]
    NoColumn {
        /// The file.
        file: String,
        /// The first column that is missing.
        column: &'static str,
    },
}

/// The orders of a file.
#[derive(Clone, Debug)]
pub struct Orders {
    /// Where they came from.
    pub file: String,
    /// The valid ones, in the order of the file.
    pub orders: Vec<Order>,
    /// The rows that were left out.
    pub bad_rows: Vec<BadRow>,
}

impl Orders {
    /// Reads a file.
    ///
    /// # Errors
    /// [`OrdersError`]; rows that are no orders are in `bad_rows` instead.
    pub fn read(path: &Path) -> Result<Self, OrdersError> {
        let file = path.display().to_string();
        let bytes = std::fs::read(path)
            .map_err(|source| OrdersError::Unreadable { file: file.clone(), source })?;
        Self::parse(&file, &bytes)
    }

    /// The orders that come with the program: real purchases of an online music shop.
    pub fn shipped() -> Self {
        Self::parse(SHIPPED_NAME, SHIPPED).expect("the shipped file names its columns")
    }

    /// Reads the content of a file.
    ///
    /// # Errors
    /// [`OrdersError::NoColumn`].
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, OrdersError> {
        let mut reader = ReaderBuilder::new().flexible(true).trim(Trim::All).from_reader(bytes);
        let unreadable = |error: csv::Error| OrdersError::Unreadable {
            file: file.to_owned(),
            source: std::io::Error::other(error),
        };
        let header = reader.byte_headers().map_err(unreadable)?.clone();
        let mut places = [0; COLUMNS.len()];
        for (place, column) in places.iter_mut().zip(COLUMNS) {
            let found = header.iter().position(|name| name == column.as_bytes());
            *place =
                found.ok_or_else(|| OrdersError::NoColumn { file: file.to_owned(), column })?;
        }
        let mut found = Self { file: file.to_owned(), orders: Vec::new(), bad_rows: Vec::new() };
        let mut seen = Seen::default();
        let mut record = ByteRecord::new();
        while reader.read_byte_record(&mut record).map_err(unreadable)? {
            let line = record.position().map_or(0, csv::Position::line);
            match order(&record, &places).and_then(|order| seen.admit(order)) {
                Ok(order) => found.orders.push(order),
                Err(reason) => {
                    found.bad_rows.push(BadRow { file: file.to_owned(), line, reason });
                }
            }
        }
        Ok(found)
    }

    /// Only the first `count` orders.
    #[must_use]
    pub fn first(mut self, count: usize) -> Self {
        self.orders.truncate(count);
        self
    }

    /// A number that is another one as soon as any order is another one.
    pub fn digest(&self) -> u64 {
        let parts = self.orders.iter().flat_map(|order| {
            let texts = [&order.id, &order.customer, &order.date];
            let texts = texts.map(|text| hash::stable(text.as_bytes()));
            texts.into_iter().chain([order.quantity, order.cents])
        });
        hash::fold(&parts.collect::<Vec<_>>())
    }

    /// How many units all orders take.
    pub fn units(&self) -> u64 {
        self.orders.iter().map(|order| order.quantity).sum()
    }

    /// What each customer pays for everything, in cents.
    pub fn cents_by_customer(&self) -> BTreeMap<&str, u64> {
        let mut cents = BTreeMap::new();
        for order in &self.orders {
            *cents.entry(order.customer.as_str()).or_default() += order.cents;
        }
        cents
    }

    /// How many orders each day has.
    pub fn orders_by_date(&self) -> BTreeMap<&str, u64> {
        let mut days = BTreeMap::new();
        for order in &self.orders {
            *days.entry(order.date.as_str()).or_default() += 1;
        }
        days
    }
}

/// What one row alone cannot know.
#[derive(Default)]
struct Seen {
    ids: HashSet<String>,
    cents: BTreeMap<String, u64>,
}

impl Seen {
    fn admit(&mut self, order: Order) -> Result<Order, String> {
        if self.ids.contains(&order.id) {
            return Err(format!("order_id {:?} is there already", order.id));
        }
        let cents = self.cents.entry(order.customer.clone()).or_default();
        if *cents + order.cents > CUSTOMER_CENTS_MAX {
            return Err(format!(
                "the orders of customer {:?} come to more than an account can hold",
                order.customer
            ));
        }
        *cents += order.cents;
        self.ids.insert(order.id.clone());
        Ok(order)
    }
}

fn order(record: &ByteRecord, places: &[usize; COLUMNS.len()]) -> Result<Order, String> {
    let mut fields = [""; COLUMNS.len()];
    for ((field, place), column) in fields.iter_mut().zip(places).zip(COLUMNS) {
        let bytes = record.get(*place).ok_or_else(|| format!("there is no {column}"))?;
        *field = std::str::from_utf8(bytes).map_err(|_| format!("{column} is no UTF-8"))?;
    }
    let [id, customer, date, quantity, amount] = fields;
    name("order_id", id, KEY_BYTES_MAX)?;
    name("customer_id", customer, CUSTOMER_BYTES_MAX)?;
    check_date(date)?;
    let units: u64 = quantity
        .parse()
        .map_err(|_| format!("quantity {quantity:?} is no whole number of units"))?;
    if !(1..=QUANTITY_MAX).contains(&units) {
        return Err(format!("quantity {quantity:?} is not 1 to {QUANTITY_MAX}"));
    }
    Ok(Order {
        id: id.to_owned(),
        customer: customer.to_owned(),
        date: date.to_owned(),
        quantity: units,
        cents: money::cents(amount)?,
    })
}

/// Names of orders and customers become parts of scopes.
fn name(column: &str, text: &str, bytes_max: usize) -> Result<(), String> {
    debug_assert!(bytes_max <= NAME_MAX);
    if text.is_empty() {
        return Err(format!("{column} is empty"));
    }
    if text.len() > bytes_max {
        return Err(format!("{column} has {} bytes; {bytes_max} are the most", text.len()));
    }
    if Scope::new(text).is_err() {
        return Err(format!("{column} {text:?} has a brace or a control character"));
    }
    Ok(())
}

fn check_date(text: &str) -> Result<(), String> {
    let parts: Vec<&str> = text.split('-').collect();
    let number = |part: &str, digits: usize| -> Option<u32> {
        let right = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        if right { part.parse().ok() } else { None }
    };
    let date = match parts[..] {
        [year, month, day] => number(year, 4).zip(number(month, 2)).zip(number(day, 2)),
        _ => None,
    };
    let is_there = |((year, month), day): ((u32, u32), u32)| {
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let long = BTreeSet::from([1, 3, 5, 7, 8, 10, 12]);
        let days = match month {
            2 if is_leap => 29,
            2 => 28,
            month if long.contains(&month) => 31,
            _ => 30,
        };
        (1..=12).contains(&month) && (1..=days).contains(&day)
    };
    if date.is_some_and(is_there) {
        Ok(())
    } else {
        Err(format!("date {text:?} is no day; write 1997-01-31"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "order_id,customer_id,date,quantity,amount_usd\n";

    fn parse(rows: &str) -> Orders {
        Orders::parse("a.csv", format!("{HEADER}{rows}").as_bytes()).expect("the header is right")
    }

    #[test]
    fn the_shipped_orders_are_all_valid() {
        let shipped = Orders::shipped();
        assert_eq!((shipped.orders.len(), shipped.bad_rows.len()), (6_919, 0));
        let first = &shipped.orders[0];
        assert_eq!((first.id.as_str(), first.quantity, first.cents), ("1", 2, 2_933));
        assert!(shipped.orders.iter().any(|order| order.cents == 0));
        assert_eq!(shipped.cents_by_customer().len(), 2_357);
        assert_eq!(shipped.orders_by_date().values().sum::<u64>(), 6_919);
    }

    #[test]
    fn a_bad_row_is_reported_with_its_line_and_stops_nothing() {
        let rows = "1,c,1997-01-01,2,1.00\n\
                    2,c,1997-02-29,2,1.00\n\
                    3,c,1997-01-01,0,1.00\n\
                    4,c,1997-01-01,2\n\
                    5,,1997-01-01,2,1.00\n\
                    6,c,1997-01-01,2,-1.00\n\
                    1,c,1997-01-01,9,1.00\n\
                    8,c,1997-01-01,1000001,1.00\n\
                    9,c{,1997-01-01,1,1.00\n\
                    10,c,1996-02-29,1,0\n";
        let orders = parse(rows);
        let ids: Vec<_> = orders.orders.iter().map(|order| order.id.as_str()).collect();
        assert_eq!(ids, ["1", "10"]);
        let lines: Vec<_> = orders.bad_rows.iter().map(|row| row.line).collect();
        assert_eq!(lines, [3, 4, 5, 6, 7, 8, 9, 10]);
        let first = orders.bad_rows[0].to_string();
        assert_eq!(first, "a.csv:3: date \"1997-02-29\" is no day; write 1997-01-31");
        assert_eq!(orders.bad_rows[5].reason, "order_id \"1\" is there already");
    }

    #[test]
    fn bytes_that_are_no_text_are_one_bad_row() {
        let mut bytes = HEADER.as_bytes().to_vec();
        bytes.extend_from_slice(b"\xFF,c,1997-01-01,1,1.00\n2,c,1997-01-01,1,1.00\n");
        let orders = Orders::parse("a.csv", &bytes).expect("the header is right");
        assert_eq!((orders.orders.len(), orders.bad_rows.len()), (1, 1));
    }

    #[test]
    fn columns_may_be_in_any_order_but_not_missing() {
        let text =
            "amount_usd,order_id,extra,quantity,date,customer_id\r\n1.50,a,x,3,1997-01-01,c\r\n";
        let orders = Orders::parse("a.csv", text.as_bytes()).expect("all columns are there");
        assert_eq!((orders.orders[0].cents, orders.orders[0].quantity), (150, 3));
        let error = Orders::parse("a.csv", b"order_id,date\n").expect_err("columns are missing");
        assert!(error.to_string().starts_with("a.csv:1: there is no column customer_id"));
        assert!(Orders::parse("a.csv", b"").is_err());
    }

    #[test]
    fn a_customer_may_spend_what_an_account_holds_and_not_a_cent_more() {
        let row = |id: u64, cents: u64| Order {
            id: id.to_string(),
            customer: "c".into(),
            date: "1997-01-01".into(),
            quantity: 1,
            cents,
        };
        let mut seen = Seen::default();
        assert!(seen.admit(row(1, CUSTOMER_CENTS_MAX)).is_ok());
        assert!(seen.admit(row(2, 0)).is_ok());
        assert!(seen.admit(row(3, 1)).is_err());
    }

    #[test]
    fn the_digest_sees_every_field() {
        let base = parse("1,c,1997-01-01,2,1.00\n");
        for other in [
            "2,c,1997-01-01,2,1.00",
            "1,d,1997-01-01,2,1.00",
            "1,c,1997-01-02,2,1.00",
            "1,c,1997-01-01,3,1.00",
            "1,c,1997-01-01,2,1.01",
        ] {
            assert_ne!(base.digest(), parse(other).digest(), "{other}");
        }
        assert_eq!(base.digest(), parse("1, c ,1997-01-01,2,1.0\n").digest());
    }
}
