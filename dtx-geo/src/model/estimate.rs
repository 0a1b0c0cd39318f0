//! Round trips that nobody measured.

use std::time::Duration;

use crate::model::{Origin, Rtt, RttMap};

/// Kilometres that light in fibre covers in a millisecond.
const FIBRE_KM_PER_MS: f64 = 200.0;
/// A cable is no straight line: a fibre is about so many times longer than the great circle.
const DETOUR: f64 = 2.0;
const EARTH_RADIUS_KM: f64 = 6_371.0;

/// Fills in the unknown pairs of a map that other regions connect.
///
/// The triangles over a third region bound a round trip from both sides: not far below the
/// greatest difference of its two other sides, not far above the least sum. The estimate is their
/// geometric mean. Network coordinates (Vivaldi) need a rule of thumb on top and are wrong about
/// which region is nearest in a tenth to a third of all cases; this needs no iteration, is the
/// same each time, and says `Estimated` in the map.
pub(super) fn fill(map: &mut RttMap) {
    let known = map.clone();
    let count = map.regions().len();
    for from in 0..count {
        for to in (0..count).filter(|to| *to != from) {
            if known.rtt(from, to).is_none()
                && let Some(value) = between(&known, from, to)
            {
                map.set(from, to, Rtt { value, origin: Origin::Estimated });
            }
        }
    }
}

fn between(map: &RttMap, from: usize, to: usize) -> Option<Duration> {
    let (mut low, mut high) = (Duration::ZERO, None::<Duration>);
    for over in (0..map.regions().len()).filter(|over| *over != from && *over != to) {
        let (Some(first), Some(second)) = (map.rtt(from, over), map.rtt(over, to)) else {
            continue;
        };
        low = low.max(first.value.abs_diff(second.value));
        let sum = first.value + second.value;
        high = Some(high.map_or(sum, |high| high.min(sum)));
    }
    let high = high?;
    let low = low.min(high);
    Some(Duration::from_secs_f64((low.as_secs_f64() * high.as_secs_f64()).sqrt()).max(low))
}

/// The distance of two places on the earth, in kilometres; latitude and longitude in degrees.
pub fn great_circle_km(a: (f64, f64), b: (f64, f64)) -> f64 {
    let half = |from: f64, to: f64| ((to - from).to_radians() / 2.0).sin().powi(2);
    let (lat_a, lat_b) = (a.0.to_radians(), b.0.to_radians());
    let square = half(a.0, b.0) + lat_a.cos() * lat_b.cos() * half(a.1, b.1);
    2.0 * EARTH_RADIUS_KM * square.sqrt().min(1.0).asin()
}

/// A round trip from the distance alone, for a pair that nothing else is known of.
pub fn estimate_by_distance(km: f64) -> Rtt {
    let millis = (2.0 * DETOUR * km.max(0.0) / FIBRE_KM_PER_MS).min(3_600_000.0);
    Rtt { value: Duration::from_secs_f64(millis / 1e3), origin: Origin::Estimated }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Provider, Shipped};

    #[test]
    fn a_distance_is_that_of_the_great_circle() {
        let km = great_circle_km((53.3, -6.3), (35.7, 139.7)); // Dublin and Tokyo
        assert!((9_500.0..9_700.0).contains(&km), "{km}");
        let rtt = estimate_by_distance(km).value;
        assert!((180..200).contains(&rtt.as_millis()), "{rtt:?}");
    }

    /// Leaves each pair out, and estimates it from the others.
    #[test]
    fn the_estimate_is_near_what_was_measured() {
        for (provider, median_max, tenth_max) in [
            (Provider::Aws, 0.15, 0.45),
            (Provider::Gcp, 0.15, 0.45),
            (Provider::Azure, 0.15, 0.45),
            (Provider::Ibm, 0.25, 0.70),
        ] {
            let map = Shipped::rtt(provider).symmetric();
            let count = map.regions().len();
            let mut errors = Vec::new();
            for from in 0..count {
                for to in from + 1..count {
                    let real = map.rtt(from, to).expect("known").value.as_secs_f64();
                    let found = between(&map, from, to).expect("connected").as_secs_f64();
                    errors.push((found - real).abs() / real);
                }
            }
            errors.sort_by(f64::total_cmp);
            let median = errors[errors.len() / 2];
            let worst_tenth = errors[errors.len() * 9 / 10];
            println!("{provider}: median error {median:.3}, p90 {worst_tenth:.3}");
            assert!(median < median_max && worst_tenth < tenth_max, "{provider}");
        }
    }
}
