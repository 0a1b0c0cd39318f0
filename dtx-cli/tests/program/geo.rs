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
fn round_trips_between_zones_are_those_that_were_measured_or_their_middle() {
    let ran = dtx(&["geo", "rtt", "--provider", "ibm", "--zones", "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let found = ran.json();
    assert_eq!(found["middle_ms"], 0.76);
    let regions = found["regions"].as_array().expect("regions");
    assert_eq!(regions.len(), 13);
    assert!(regions.iter().all(|region| region["origin"] == "measured"), "{found}");
    let south = regions.iter().find(|region| region["region"] == "us-south").expect("it is there");
    assert_eq!((&south["zones"], &south["to_most_ms"]), (&4.into(), &2.01.into()));
    let one = dtx(&["geo", "rtt", "--provider", "ibm", "--zones", "--from", "eu-de"]);
    let lines: Vec<_> = one.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{one:?}");
    assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["eu-de", "3", "0.68", "measured"]);
    let other = dtx(&["geo", "rtt", "--zones", "--from", "eu-west-1", "--json"]).json();
    let expected = serde_json::json!([
        {"region": "eu-west-1", "zones": null, "to_most_ms": 0.76, "origin": "middle"}
    ]);
    assert_eq!(other["regions"], expected);
    assert_eq!(dtx(&["geo", "rtt", "--zones", "--from", "nowhere"]).code, 2);
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

#[test]
fn simulated_phases_are_one_object_with_what_others_do() {
    let ran = dtx(&["geo", "sim", "phases", "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let found = ran.json();
    let rows = found["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 16);
    for way in ["eager", "ideal", "point_estimate", "locks", "neutral"] {
        assert!(rows.iter().all(|row| row["ways"][way]["saving_share"].is_f64()), "{way}");
    }
    for most in ["fixed_max", "any_max"] {
        assert!(rows.iter().all(|row| row[most].as_f64() <= Some(1.0)), "{most}");
    }
    assert_eq!(found["places"].as_array().map(Vec::len), Some(18));
}

#[test]
fn published_medians_stand_beside_simulated_ones() {
    let ran = dtx(&["geo", "sim", "fidelity"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(ran.stdout.lines().filter(|line| line.contains("2pl_paxos")).count(), 4);
    let found = dtx(&["geo", "sim", "fidelity", "--json"]).json();
    let rows = found.as_array().expect("rows");
    let count = |is: &dyn Fn(&serde_json::Value) -> bool| rows.iter().filter(|row| is(row)).count();
    assert_eq!((rows.len(), count(&|row| row["judged"] == true)), (32, 11));
    // Far off and not judged is no failure; plans have nothing to be off from.
    assert_eq!(count(&|row| row["off"].as_f64().is_some_and(|off| off > 0.1)), 4);
    assert_eq!(count(&|row| row["off"].is_null() && row["published_ms"].is_null()), 8);
    let own = ran.stdout.lines().filter(|line| line.starts_with(" dtx_2pc"));
    assert_eq!(own.count(), 8, "{ran:?}");
}

#[test]
fn replicas_are_placed_within_the_regions_that_are_given() {
    let ran = dtx(&["geo", "place", "--provider", "azure", "--replicas", "5", "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let found = ran.json();
    assert_eq!(found["regions"].as_array().map(Vec::len), Some(5));
    assert_eq!(found["gap"], 0.0);
    let within = ["--within", "eu-west-1", "--within", "sa-east-1", "--replicas", "1"];
    let demand = ["--demand", "us-west-2=1", "--demand", "eu-central-1=9.5"];
    let ran = dtx(&[&["geo", "place"], &within[..], &demand[..]].concat());
    assert_eq!(ran.stdout.lines().next(), Some("eu-west-1"), "{ran:?}");
    for wrong in [["--demand", "eu"], ["--demand", "x=1"], ["--within", "x"], ["--replicas", "0"]] {
        assert_eq!(dtx(&[&["geo", "place"], &wrong[..]].concat()).code, 2, "{wrong:?}");
    }
}

#[test]
fn plans_stand_beside_what_they_take_in_simulation() {
    let ran = dtx(&["geo", "sim", "plans", "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let found = ran.json();
    assert!(found[0]["mean_off"].as_f64().is_some_and(|off| off <= 0.03), "{found}");
    assert!(found[0]["pool"].as_u64().is_some_and(|pools| pools >= 30), "{found}");
    assert_eq!(found[0]["by_rounds"].as_array().map(Vec::len), Some(3), "{found}");
}

const PLAN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/plans/two-regions.json");

#[test]
fn a_plan_says_what_it_takes_and_what_the_others_would() {
    let ran = dtx(&["geo", "plan", PLAN, "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let found = ran.json();
    assert_eq!((&found["mode"], &found["kind"]), (&"StrongGlobal".into(), &"TwoPhase".into()));
    assert_eq!(found["served_by"], serde_json::json!(["us-east-1", "eu-west-1", "us-west-2"]));
    let delays = found["delays_ms"].as_array().expect("delays");
    let delays: Vec<f64> = delays.iter().filter_map(serde_json::Value::as_f64).collect();
    assert_eq!((delays.len(), delays.iter().copied().fold(f64::MAX, f64::min)), (3, 0.0));
    let number = |name: &str| found[name].as_f64().expect("a number");
    assert!(number("bound_ms") <= number("expected_ms"), "{found}");
    assert!(number("p50_ms") <= number("p99_ms"), "{found}");
    assert!((number("p50_ms") / number("expected_ms") - 1.0).abs() < 0.03, "{found}");
    let offers = found["offers"].as_array().expect("offers");
    assert_eq!(offers[0]["coordinator"], found["coordinator"]);
    let first = |by: &str| dtx(&["geo", "plan", PLAN, "--by", by, "--json"]).json();
    for (by, field) in [("money", "usd_per_million"), ("failure", "failure")] {
        let least =
            offers.iter().filter_map(|offer| offer[field].as_f64()).fold(f64::MAX, f64::min);
        assert_eq!(first(by)[field].as_f64(), Some(least), "{by}");
    }
    let text = dtx(&["geo", "plan", PLAN, "--explain"]).stdout;
    assert!(
        text.contains("33 % of the operations only read")
            && text.contains("asked after: ")
            && text.contains("sa-east-1"),
        "{text}"
    );
}

const POOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/plans/pools.json");
const MOVING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/plans/moving-homes.json");

#[test]
fn a_plan_of_pools_takes_units_in_one_region() {
    let ran = dtx(&["geo", "plan", POOLS, "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let found = ran.json();
    let here = "ap-northeast-1";
    assert_eq!((&found["kind"], &found["coordinator"]), (&"Pool".into(), &here.into()));
    assert_eq!(found["served_by"], serde_json::json!([here, here, here]));
    let alone = serde_json::json!({"regions": [here], "needed": 1});
    assert_eq!(found["durable"], serde_json::json!([alone, alone, null]));
    assert_eq!((&found["decision"], &found["remaster"]), (&().into(), &().into()));
    assert!(found["expected_ms"].as_f64().is_some_and(|ms| ms < 1.0), "{found}");
    // In another mode a part in one region is not enough; nor is it without the word.
    let folder = tempfile::tempdir().expect("it is made");
    let file = folder.path().join("plan.json");
    let good = std::fs::read_to_string(POOLS).expect("it is there");
    for (from, to) in [("StrongRegional", "StrongGlobal"), (r#" "pooled": true,"#, "")] {
        assert!(good.contains(from), "{from}");
        std::fs::write(&file, good.replace(from, to)).expect("it is written");
        let found = dtx(&["geo", "plan", file.to_str().expect("text"), "--json"]).json();
        let served = serde_json::json!(["us-east-1", "eu-west-1", "us-east-1"]);
        assert_eq!(found["kind"], "TwoPhase", "{found}");
        assert_eq!(found["served_by"][1], served[1], "{found}");
    }
    // Units go to no other part, so nothing is sent later.
    let drawn = folder.path().join("pools.svg");
    let ran = dtx(&["geo", "plan", POOLS, "--svg", drawn.to_str().expect("text")]);
    assert!(ran.stdout.starts_with("Pool in StrongRegional, coordinated from"), "{ran:?}");
    let found = words(&drawn);
    let wanted = "ap-northeast-1 (coordinator, serves, copy, client)";
    assert!(found.iter().any(|word| word == wanted), "{found:?}");
}

#[test]
fn rounds_are_waited_for() {
    let folder = tempfile::tempdir().expect("it is made");
    let file = folder.path().join("plan.json");
    let good = std::fs::read_to_string(PLAN).expect("it is there");
    let ms = |rounds: &str| {
        let text = good.replacen(r#""mode""#, &format!(r#"{rounds}"mode""#), 1);
        std::fs::write(&file, text).expect("it is written");
        let found = dtx(&["geo", "plan", file.to_str().expect("text"), "--json"]).json();
        (found["expected_ms"].as_f64().expect("a number"), found["p50_ms"].as_f64())
    };
    let (once, two) = (ms(r#""rounds": 1, "#), ms(r#""rounds": 2, "#));
    assert_eq!(ms(""), once);
    assert!(two.0 > once.0 * 1.2 && two.0 < once.0 * 2.0, "{once:?} {two:?}");
    assert!((two.1.expect("a number") / two.0 - 1.0).abs() < 0.03, "{two:?}");
}

#[test]
fn a_plan_says_when_moving_homes_pays() {
    let ran = dtx(&["geo", "plan", MOVING, "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let found = ran.json();
    let moved = &found["remaster"];
    assert_eq!((&moved["region"], &moved["kind"]), (&"us-east-1".into(), &"Local".into()));
    assert_eq!((&moved["operations"], &moved["break_even"]), (&[1].into(), &1.into()));
    let number = |name: &str| moved[name].as_f64().expect("a number");
    // 800 MB at 2 cents for each GB; the round trip between the homes.
    assert!((number("usd") - 0.016).abs() < 1e-9, "{moved}");
    assert!((number("takes_ms") - 72.5).abs() < 0.1, "{moved}");
    let saved = found["expected_ms"].as_f64().expect("a number") - number("expected_ms");
    assert!((number("saving_ms") - saved).abs() < 1e-6, "{found}");
    let text = dtx(&["geo", "plan", MOVING]).stdout;
    assert!(text.contains("moving the homes of operations 1 to us-east-1 first pays"), "{text}");
    assert!(text.contains("has paid for its time after 1"), "{text}");
    // For none it does not pay, and where it is not asked for nothing is said.
    let folder = tempfile::tempdir().expect("it is made");
    let file = folder.path().join("plan.json");
    let good = std::fs::read_to_string(MOVING).expect("it is there");
    for (to, says) in [(r#""repeats": 0,"#, true), ("", false)] {
        let text = good.replacen(r#""repeats": 10000,"#, to, 1);
        assert_ne!(text, good);
        std::fs::write(&file, text).expect("it is written");
        let file = file.to_str().expect("text");
        let found = dtx(&["geo", "plan", file, "--json"]).json();
        assert_eq!(found.get("remaster"), Some(&serde_json::Value::Null), "{found}");
        let text = dtx(&["geo", "plan", file, "--explain"]).stdout;
        assert_eq!(text.contains("moving homes does not pay for 0 of them"), says, "{text}");
        assert!(!dtx(&["geo", "plan", file]).stdout.contains("moving"));
    }
}

#[test]
fn a_mistake_in_a_plan_names_the_field() {
    let folder = tempfile::tempdir().expect("it is made");
    let file = folder.path().join("plan.json");
    let good = std::fs::read_to_string(PLAN).expect("it is there");
    for (from, to, says) in [
        (r#""aws""#, r#""moon""#, "provider: \"moon\" is no provider"),
        (r#""client": "sa-east-1""#, r#""client": "x""#, "client: aws has no region x"),
        (r#""bytes": 500"#, r#""size": 500"#, "operations[1].size: unknown field `size`"),
        (
            r#""home": "eu-west-1""#,
            r#""home": "mars""#,
            "operations[1].home: aws has no region mars",
        ),
        (r#""eu-west-1", "eu-central-1", "sa"#, r#""eu-central-1", "sa"#, "home of operation 1"),
        (r#""staleness_ms": 5000"#, r#""staleness_ms": -1"#, "operations[2].staleness_ms: -1"),
        (r#""mode""#, r#""risk": {"region": 2}, "mode""#, "risk.region: 2 is no probability"),
        (r#""mode": "StrongGlobal""#, r#""mode": "Weak""#, "mode: unknown variant `Weak`"),
        (r#""mode""#, r#""rounds": 4, "mode""#, "4 rounds: give 1 to 3"),
        (
            r#""home": "us-west-2""#,
            r#""pooled": true, "home": "us-west-2""#,
            "operation 2 takes units",
        ),
        (r#""mode""#, r#""repeats": -1, "mode""#, "repeats: invalid value"),
    ] {
        assert!(good.contains(from), "{from}");
        std::fs::write(&file, good.replacen(from, to, 1)).expect("it is written");
        let ran = dtx(&["geo", "plan", file.to_str().expect("text")]);
        assert_eq!(ran.code, 2, "{says}");
        assert!(ran.stderr.contains(says) && ran.stderr.contains("plan.json"), "{says}: {ran:?}");
    }
    assert_eq!(dtx(&["geo", "plan", "nowhere.json"]).code, 2);
}

/// The words of a drawing, which is well-formed.
fn words(file: &std::path::Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).expect("it was written");
    let read = roxmltree::Document::parse(&text).expect("well-formed");
    let found = read.descendants().filter(|node| node.tag_name().name() == "text");
    found.filter_map(|node| Some(node.text()?.trim().to_owned())).collect()
}

#[test]
fn plans_pools_and_phases_are_drawn_the_same_each_time() {
    let folder = tempfile::tempdir().expect("it is made");
    let [one, two] = ["one.svg", "two.svg"].map(|name| folder.path().join(name));
    let path = |file: &std::path::Path| file.to_str().expect("text").to_owned();
    let pools = ["geo", "sim", "pools", "--workload", "zipf"];
    let phases = ["geo", "sim", "phases"];
    for (command, wanted) in [
        (
            &["geo", "plan", PLAN][..],
            &["sa-east-1 (copy, client)", "us-east-2 (copy)", "11 ms"][..],
        ),
        (&pools, &["regional pools", "one global pool", "p99.9"]),
        (&phases, &["point estimate", "most, fixed delays", "% of eager"]),
    ] {
        // The phases take long: one run of them is enough.
        let files = if command == phases { &[&one][..] } else { &[&one, &two] };
        for file in files {
            let file = path(file);
            let ran = dtx(&[command, &["--svg", &file]].concat());
            assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{command:?}");
        }
        let found = words(&one);
        if files.len() == 2 {
            assert_eq!(std::fs::read(&one).expect("there"), std::fs::read(&two).expect("there"));
        }
        for word in wanted {
            assert!(found.iter().any(|found| found == word), "{word}: {found:?}");
        }
    }
    let nowhere = path(&folder.path().join("no/where.svg"));
    let ran = dtx(&["geo", "plan", PLAN, "--svg", &nowhere]);
    assert!(ran.code == 1 && ran.stderr.contains("cannot be written"), "{ran:?}");
}

#[test]
fn a_plan_says_where_what_is_durable_before_the_client_is_told() {
    let found = dtx(&["geo", "plan", PLAN, "--json"]).json();
    let first =
        serde_json::json!({"regions": ["us-east-1", "us-east-2", "us-west-2"], "needed": 2});
    assert_eq!(found["durable"][0], first, "{found}");
    assert_eq!(found["durable"][2], serde_json::Value::Null);
    assert_eq!(found["decision"]["regions"].as_array().map(Vec::len), Some(3));
    assert_eq!(found["decision"]["regions"][0], found["coordinator"]);
    let text = dtx(&["geo", "plan", PLAN, "--explain"]).stdout;
    let line = "told when operation 0 is durable in us-east-1 and 1 of us-east-2, us-west-2";
    assert!(text.lines().any(|found| found == line), "{text}");
    // Another mode asks for less, and says so.
    let folder = tempfile::tempdir().expect("it is made");
    let file = folder.path().join("plan.json");
    let good = std::fs::read_to_string(PLAN).expect("it is there");
    for (mode, first) in [("StrongRegional", "us-east-1"), ("EventualGlobal", "us-east-1")] {
        std::fs::write(&file, good.replace("StrongGlobal", mode)).expect("it is written");
        let found = dtx(&["geo", "plan", file.to_str().expect("text"), "--json"]).json();
        let alone = serde_json::json!({"regions": [first], "needed": 1});
        assert_eq!((&found["durable"][0], &found["mode"]), (&alone, &mode.into()), "{found}");
    }
}

#[test]
fn places_stand_beside_what_others_choose() {
    let ran = dtx(&["geo", "sim", "places", "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let found = ran.json();
    assert_eq!(found.as_array().map(Vec::len), Some(12));
    for way in ["nearest_region", "greedy", "iterative"] {
        assert!(found[1]["ways"][way]["mean"].as_f64().is_some_and(|mean| mean > 0.0), "{found}");
    }
    assert_eq!(dtx(&["geo", "sim", "places"]).stdout.lines().count(), 13);
}
