//! Tables for people.

use comfy_table::{CellAlignment, Table, presets};
use dtx_shop::Report;

/// One run, one line for each number.
pub(crate) fn run_table(report: &Report) -> Table {
    let mut table = empty();
    let counts = [
        ("transactions", report.transactions),
        ("committed", report.committed),
        ("aborted", report.aborted),
        ("compensated", report.compensated),
        ("dispatched", report.dispatched),
        ("dead letters", report.dead_letters),
        ("needs attention", report.needs_attention),
        ("skipped rows", report.skipped_rows),
        ("recovered", report.recovered),
        ("sold units", report.sold_units),
        ("left units", report.left_units),
    ];
    table.set_header(["what", "value"]);
    let backends = format!("{} on {} over {}", report.pattern, report.store, report.transport);
    table.add_row(["run", &backends]);
    for (name, count) in counts {
        table.add_row([name.to_owned(), count.to_string()]);
    }
    if let Some(units) = report.smallest_refused_alone {
        table.add_row(["smallest refused alone".to_owned(), units.to_string()]);
    }
    let latency = &report.latency_ms;
    let writes = &report.durable_writes;
    for (name, value) in [
        ("orders per second", format!("{:.0}", report.throughput_tps)),
        ("latency p50 / p95 / p99", {
            format!("{:.1} / {:.1} / {:.1} ms", latency.p50, latency.p95, latency.p99)
        }),
        ("writes per order", {
            format!("{:.2} awaited, {:.2} lazy", writes.awaited_per_tx, writes.lazy_per_tx)
        }),
        ("messages per order", format!("{:.2}", report.messages_per_tx)),
        ("sound", verdict(report)),
    ] {
        table.add_row([name.to_owned(), value]);
    }
    align(&mut table);
    table
}

/// Many runs, one line for each.
pub(crate) fn comparison(runs: &[(f64, &Report)]) -> Table {
    let mut table = empty();
    table.set_header([
        "pattern",
        "faults",
        "committed",
        "aborted",
        "compensated",
        "dispatched",
        "dead",
        "tps",
        "p50 ms",
        "p99 ms",
        "awaited",
        "lazy",
        "messages",
        "sound",
    ]);
    for (fail, report) in runs {
        table.add_row([
            report.pattern.clone(),
            format!("{:.0} %", fail * 100.0),
            report.committed.to_string(),
            report.aborted.to_string(),
            report.compensated.to_string(),
            report.dispatched.to_string(),
            report.dead_letters.to_string(),
            format!("{:.0}", report.throughput_tps),
            format!("{:.1}", report.latency_ms.p50),
            format!("{:.1}", report.latency_ms.p99),
            format!("{:.2}", report.durable_writes.awaited_per_tx),
            format!("{:.2}", report.durable_writes.lazy_per_tx),
            format!("{:.2}", report.messages_per_tx),
            verdict(report),
        ]);
    }
    align(&mut table);
    table
}

fn empty() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table
}

/// Names on the left, numbers on the right.
fn align(table: &mut Table) {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// Yes, or everything that does not hold.
fn verdict(report: &Report) -> String {
    if report.is_sound() {
        return "yes".to_owned();
    }
    let found = &report.invariants;
    let mut broken = Vec::new();
    for (name, holds) in [
        ("money is not conserved", found.money_conserved),
        ("stock is not conserved", found.stock_conserved),
    ] {
        if !holds {
            broken.push(name.to_owned());
        }
    }
    for (name, count) in [
        ("oversold", found.oversold),
        ("double effects", found.double_effects),
        ("mixed outcomes", found.mixed_outcomes),
        ("leaked reservations", found.leaked_reservations),
        ("unfinished", found.unfinished),
        ("need attention", report.needs_attention),
    ] {
        if count > 0 {
            broken.push(format!("{count} {name}"));
        }
    }
    format!("NO: {}", broken.join(", "))
}

#[cfg(test)]
mod tests {
    use dtx_shop::Invariants;

    use super::*;

    #[test]
    fn what_does_not_hold_is_named() {
        let invariants = Invariants { money_conserved: true, oversold: 3, ..Invariants::default() };
        let report = Report { invariants, needs_attention: 1, ..Report::default() };
        let text = run_table(&report).to_string();
        assert!(
            text.contains("NO: stock is not conserved, 3 oversold, 1 need attention"),
            "{text}"
        );
        let invariants = Invariants { oversold: 0, stock_conserved: true, ..invariants };
        let report = Report { invariants, needs_attention: 0, ..report };
        assert!(comparison(&[(0.2, &report)]).to_string().contains("yes"));
    }
}
