//! `dtx geo rtt --zones`.

use std::time::Duration;

use dtx::geo::model::{Provider, RttMap, Shipped};
use serde::Serialize;

use crate::{
    exit::{Exit, Failure},
    output,
};

/// What `dtx geo rtt --zones --json` prints.
#[derive(Debug, Serialize)]
struct ZonesReport {
    provider: &'static str,
    /// The middle of what was measured between two zones.
    middle_ms: f64,
    regions: Vec<RegionZones>,
}

/// The zones of one region.
#[derive(Debug, Serialize)]
struct RegionZones {
    region: String,
    zones: Option<usize>,
    to_most_ms: f64,
    /// Where that is known from: measured, or the middle of other regions.
    origin: &'static str,
}

/// Shows the round trip to most zones, of all regions or of one.
pub(super) fn zones(
    provider: Provider,
    map: &RttMap,
    only: Option<&str>,
    json: bool,
) -> Result<Exit, Failure> {
    let found = Shipped::zones(provider);
    let ms = |value: Duration| value.as_secs_f64() * 1e3;
    let names = map.regions().iter().map(|region| region.as_str());
    let regions = names.filter(|name| only.is_none_or(|only| only == *name)).map(|name| {
        let measured = found.of(name);
        RegionZones {
            region: name.to_owned(),
            zones: measured.map(|_| found.zones(name)),
            to_most_ms: ms(measured.unwrap_or_else(|| found.median())),
            origin: if measured.is_some() { "measured" } else { "middle" },
        }
    });
    let report = ZonesReport {
        provider: provider.name(),
        middle_ms: ms(found.median()),
        regions: regions.collect(),
    };
    if json {
        output::json(&report)?;
        return Ok(Exit::Sound);
    }
    let mut table = output::table(["REGION", "ZONES", "TO MOST MS", "KNOWN"]);
    for region in &report.regions {
        table.add_row([
            region.region.clone(),
            region.zones.map_or_else(String::new, |zones| zones.to_string()),
            format!("{:.2}", region.to_most_ms),
            region.origin.to_owned(),
        ]);
    }
    output::line(output::text_of(&table))?;
    output::line(format_args!("middle between two zones: {:.2} ms", report.middle_ms))?;
    Ok(Exit::Sound)
}
