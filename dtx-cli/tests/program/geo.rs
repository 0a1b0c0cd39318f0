//! `dtx geo`.

use crate::support::dtx;

#[test]
fn round_trips_say_where_they_are_known_from() {
    let ran = dtx(&["geo", "rtt", "--provider", "azure", "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let pairs = ran.json()["pairs"].as_array().cloned().expect("pairs");
    assert_eq!(pairs.len(), 48 * 47);
    assert_eq!(pairs.iter().filter(|pair| pair["origin"] == "reverse").count(), 2);
    let table = dtx(&["geo", "rtt", "--from", "sa-east-1"]);
    assert!(
        table.stdout.lines().nth(1).is_some_and(|line| line.contains("us-east-1")),
        "{table:?}"
    );
    let wrong = dtx(&["geo", "rtt", "--from", "nowhere"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("aws has no region nowhere: give one of"), "{wrong:?}");
}

#[test]
fn a_simulated_pool_is_one_object_with_what_others_do() {
    let ran = dtx(&["geo", "sim", "pools", "--workload", "zipf", "--seed", "1", "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let found = ran.json();
    for name in ["oversold", "false_sold_out", "stranded"] {
        assert_eq!(found[name], 0, "{found}");
    }
    for name in ["served_home_share", "p50_ms", "p99_ms"] {
        assert!(found[name].as_f64().is_some(), "{found}");
    }
    assert!(found["throughput"]["ratio"].as_f64().is_some_and(|ratio| ratio > 1.0), "{found}");
    assert_eq!(found["baselines"].as_object().map(serde_json::Map::len), Some(4), "{found}");
    let wrong = dtx(&["geo", "sim", "pools", "--workload", "none"]);
    assert_eq!(wrong.code, 2);
}
