//! What transfer costs.

use std::collections::BTreeMap;

use dtx_core::name::RegionName;

use crate::model::{LoadError, load::lines, map::region};

/// Where bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination<'a> {
    /// Another region of the same provider.
    Region(&'a str),
    /// Out of the provider.
    Internet,
}

/// Prices of transfer out of a region, in US dollars for 10^9 bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prices {
    /// By source; no destination is the internet.
    cells: BTreeMap<RegionName, BTreeMap<Option<RegionName>, f64>>,
}

impl Prices {
    /// Reads a file with the columns `src`, `dst` (a region, or `internet`) and `usd_per_gb`.
    ///
    /// # Errors
    /// [`LoadError`], which names line and field.
    pub fn load(text: &str) -> Result<Self, LoadError> {
        let mut cells: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        lines(text, &["src", "dst", "usd_per_gb"], |line| {
            let from = region(line, 0)?.name;
            let to = match line.text(1) {
                "internet" => None,
                _ => Some(region(line, 1)?.name),
            };
            let price = line.number(2)?;
            let pair = format!("{} to {}", line.text(0), line.text(1));
            if cells.entry(from).or_default().insert(to, price).is_some() {
                return Err(LoadError::Twice { line: line.number, pair });
            }
            Ok(())
        })?;
        Ok(Self { cells })
    }

    /// The price; zero inside a region, `None` where it is not known.
    pub fn usd_per_gb(&self, from: &str, to: Destination<'_>) -> Option<f64> {
        let from = RegionName::new(from).ok()?;
        let to = match to {
            Destination::Internet => None,
            Destination::Region(to) => Some(RegionName::new(to).ok()?),
        };
        if to.as_ref() == Some(&from) {
            return Some(0.0);
        }
        self.cells.get(&from)?.get(&to).copied()
    }

    /// What so many bytes cost, in US dollars.
    pub fn usd(&self, from: &str, to: Destination<'_>, bytes: u64) -> Option<f64> {
        self.usd_per_gb(from, to).map(|price| price * bytes as f64 / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_belongs_to_a_direction() {
        let text = "src,dst,usd_per_gb\naws/a,internet,0.09\naws/a,aws/b,0.02\n";
        let prices = Prices::load(text).expect("loads");
        assert_eq!(prices.usd_per_gb("a", Destination::Internet), Some(0.09));
        assert_eq!(prices.usd("a", Destination::Region("b"), 2_000_000_000), Some(0.04));
        assert_eq!(prices.usd_per_gb("b", Destination::Region("a")), None);
        assert_eq!(prices.usd_per_gb("a", Destination::Region("a")), Some(0.0));
        assert!(Prices::load("src,dst,usd_per_gb\naws/a,b,1\n").is_err());
    }
}
