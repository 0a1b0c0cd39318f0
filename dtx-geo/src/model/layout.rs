//! Regions on a plane, for drawings.

use crate::model::RttMap;

/// Rounds after which a direction is taken as found.
const ROUNDS: usize = 500;

/// A place on a plane for each region, so that those that are near to each other by round trip are
/// near on the plane: classical multidimensional scaling of the shortest ways. Round trips fit no
/// plane, so distances on it are not to scale. The same map gives the same places; a region that
/// is not reached lies in the middle.
pub fn layout(map: &RttMap) -> Vec<[f64; 2]> {
    let closed = map.closure();
    let count = map.regions().len();
    let cell = |from: usize, to: usize| {
        let way = |a, b| closed.rtt(a, b).map(|rtt| rtt.value.as_secs_f64() * 1e3);
        let ways = [way(from, to), way(to, from)];
        let known = ways.iter().flatten().count().max(1) as f64;
        if from == to { 0.0 } else { ways.iter().flatten().sum::<f64>() / known }
    };
    // Squares, centred, so that the products of places remain.
    let squares: Vec<Vec<f64>> =
        (0..count).map(|a| (0..count).map(|b| cell(a, b).powi(2)).collect()).collect();
    let means: Vec<f64> =
        squares.iter().map(|row| row.iter().sum::<f64>() / count as f64).collect();
    let mean = means.iter().sum::<f64>() / count.max(1) as f64;
    let mut products: Vec<Vec<f64>> = (0..count)
        .map(|a| (0..count).map(|b| (means[a] + means[b] - mean - squares[a][b]) / 2.0).collect())
        .collect();
    let mut places = vec![[0.0; 2]; count];
    for axis in 0..2 {
        let (value, direction) = longest(&products);
        let length = value.max(0.0).sqrt();
        for (a, place) in places.iter_mut().enumerate() {
            place[axis] = direction[a] * length;
            for b in 0..count {
                products[a][b] -= value * direction[a] * direction[b];
            }
        }
    }
    places
}

/// The direction in which a symmetric matrix is longest upwards, and how long it is there, by
/// repeated multiplication. Of both signs that with the first region on the right is taken.
fn longest(matrix: &[Vec<f64>]) -> (f64, Vec<f64>) {
    let count = matrix.len();
    let norm = |of: &[f64]| of.iter().map(|x| x * x).sum::<f64>().sqrt();
    // Negative directions are shifted below zero length, so that they are never the longest.
    let shift =
        matrix.iter().map(|row| row.iter().map(|x| x.abs()).sum::<f64>()).fold(0.0, f64::max);
    let mut direction: Vec<f64> = (0..count).map(|at| 1.0 + at as f64 / count as f64).collect();
    for _ in 0..ROUNDS {
        let next: Vec<f64> = matrix
            .iter()
            .zip(&direction)
            .map(|(row, own)| {
                row.iter().zip(&direction).map(|(x, y)| x * y).sum::<f64>() + shift * own
            })
            .collect();
        let length = norm(&next);
        if length == 0.0 {
            return (0.0, vec![0.0; count]);
        }
        direction = next.into_iter().map(|x| x / length).collect();
    }
    let product = |row: &Vec<f64>| row.iter().zip(&direction).map(|(x, y)| x * y).sum::<f64>();
    let value = matrix.iter().zip(&direction).map(|(row, own)| product(row) * own).sum();
    if direction.first().is_some_and(|first| *first < 0.0) {
        direction.iter_mut().for_each(|x| *x = -*x);
    }
    (value, direction)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dtx_core::name::RegionName;

    use super::*;
    use crate::model::{Provider, Shipped};

    fn distance(places: &[[f64; 2]], a: usize, b: usize) -> f64 {
        (places[a][0] - places[b][0]).hypot(places[a][1] - places[b][1])
    }

    #[test]
    fn what_fits_a_plane_is_laid_out_to_scale() {
        let at: [(f64, f64); 5] =
            [(0.0, 0.0), (30.0, 0.0), (30.0, 40.0), (0.0, 40.0), (90.0, 10.0)];
        let names = (0..5).map(|i| RegionName::new(format!("r{i}")).expect("a name"));
        let of = |name: &RegionName| at[usize::from(name.as_str().as_bytes()[1] - b'0')];
        let map = RttMap::from_measured(names.collect(), |from, to| {
            let ((ax, ay), (bx, by)) = (of(from), of(to));
            Some(Duration::from_secs_f64((ax - bx).hypot(ay - by) / 1e3))
        });
        let places = layout(&map);
        for a in 0..5 {
            for b in 0..5 {
                let wanted = (at[a].0 - at[b].0).hypot(at[a].1 - at[b].1);
                assert!((distance(&places, a, b) - wanted).abs() < 0.1, "{a} {b} {places:?}");
            }
        }
    }

    #[test]
    fn shipped_maps_keep_neighbours_together_and_are_laid_out_the_same_each_time() {
        for provider in Provider::ALL {
            let map = Shipped::rtt(provider);
            let places = layout(&map);
            assert_eq!(places, layout(&map));
            assert!(places.iter().flatten().all(|x| x.is_finite()), "{provider}");
        }
        let map = Shipped::rtt(Provider::Aws);
        let places = layout(&map);
        let at = |name: &str| map.index(name).expect("it is shipped");
        let far = |a, b| distance(&places, at(a), at(b));
        assert!(far("eu-west-1", "eu-central-1") < far("eu-west-1", "us-east-1"));
        assert!(far("us-east-1", "us-east-2") < far("us-east-1", "ap-southeast-2"));
    }

    #[test]
    fn one_region_and_none_have_a_place() {
        let one = RttMap::from_measured(vec![RegionName::new("a").expect("a name")], |_, _| {
            Some(Duration::ZERO)
        });
        assert_eq!(layout(&one), [[0.0, 0.0]]);
        assert!(layout(&RttMap::from_measured(Vec::new(), |_, _| None)).is_empty());
    }
}
