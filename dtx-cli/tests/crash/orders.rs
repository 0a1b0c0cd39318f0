//! Real orders.

use std::{fmt::Write as _, fs, path::Path};

const SHIPPED: &str = include_str!("../../../data/cdnow_orders.csv");

/// The first orders of the shipped file, as `orders.csv` in a folder.
pub(crate) fn write_orders(folder: &Path, count: usize) {
    write_orders_to(folder, "orders.csv", count);
}

/// The first orders of the shipped file.
pub(crate) fn write_orders_to(folder: &Path, file: &str, count: usize) {
    let mut text = String::new();
    for line in SHIPPED.lines().take(count + 1) {
        writeln!(text, "{line}").expect("writing to a string never fails");
    }
    fs::write(folder.join(file), text).expect("the orders are written");
}
