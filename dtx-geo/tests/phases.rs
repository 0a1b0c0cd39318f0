//! What latency-aware phases promise over the shipped maps, beside what others do.

use dtx_geo::sim::{PhaseComparison, PhaseOutcome, PhaseRow, Way, compare_phases};

fn print(row: &PhaseRow) {
    println!(
        "{} {} participants, relayed {}, jitter {} ms; fixed delays save at most {:.2} %, anybody {:.2} %",
        row.provider,
        row.participants,
        row.relayed,
        row.jitter_ms,
        row.fixed_max * 100.0,
        row.any_max * 100.0
    );
    for (way, found) in &row.ways {
        let PhaseOutcome { lock_ms, saving_share, over_bound_p50, added_p50, .. } = found;
        println!(
            "  {way:>14}: lock {lock_ms:6.1} ms, saving {:6.2} %, p50 {over_bound_p50:.4}x, added \
             {:.3} % / {:.3} % (worst {:.2} %), spread {:.2} ms, spurious {:.4} %, detection {:.2}",
            saving_share * 100.0,
            added_p50 * 100.0,
            found.added_p99 * 100.0,
            found.worst_added_p99 * 100.0,
            found.spread_p50_ms,
            found.spurious_share * 100.0,
            found.detection,
        );
    }
}

#[test]
fn phases_keep_their_promises() {
    let found: PhaseComparison = compare_phases(1);
    found.rows.iter().for_each(print);
    for place in &found.places {
        println!("{place:?}");
    }
    assert_eq!(found.broken(), Vec::<String>::new());
    for row in &found.rows {
        let (locks, point) = (&row.ways[&Way::Locks], &row.ways[&Way::PointEstimate]);
        assert!(locks.added_p50 < point.added_p50, "{row:?}");
        assert!(locks.added_p99 <= point.added_p99, "{row:?}");
        assert!(locks.worst_added_p99 < point.worst_added_p99, "{row:?}");
        // What does not see the future stays below what that can save.
        for way in [Way::PointEstimate, Way::Locks, Way::Neutral] {
            assert!(row.ways[&way].saving_share <= row.any_max, "{way} {row:?}");
        }
        assert!(row.fixed_max <= row.any_max && row.any_max <= 1.0, "{row:?}");
        // With so much jitter nobody reaches the 95 % that are wanted without it.
        assert!(row.jitter_ms < 20 || row.any_max < 0.95, "{row:?}");
        assert!(row.jitter_ms < 10 || row.fixed_max < 0.95, "{row:?}");
        let neutral = &row.ways[&Way::Neutral];
        assert!(neutral.added_p50 <= 0.001 && neutral.added_p99 <= 0.01, "{row:?}");
    }
}
