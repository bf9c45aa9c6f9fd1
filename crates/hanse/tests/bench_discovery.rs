//! `hanse bench discovery` measures, and says so in one document.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use serde_json::Value;

fn bench(arguments: &[&str]) -> Result<Value, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_hanse"))
        .args(["bench", "discovery", "-o", "json"])
        .args(arguments)
        .output()
        .unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(serde_json::from_slice(&output.stdout).expect("exactly one document"))
}

#[test]
fn the_simulation_gives_the_same_figures_for_the_same_seed_and_a_plot() {
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("plot.svg");
    let arguments = [
        "--only=simulated",
        "--domains=20,90",
        "--seed=7",
        "--plot",
        plot.to_str().unwrap(),
    ];
    let document = bench(&arguments).unwrap();
    assert_eq!(document["seed"], 7);
    let simulated = document["simulated"].as_array().unwrap();
    let sizes: Vec<_> = simulated.iter().map(|size| size["domains"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [20, 90]);
    for size in simulated {
        assert_eq!(size["lost"], 0, "{size}");
        assert!(
            size["messages_per_record"].as_f64() > size["domains"].as_f64(),
            "{size}"
        );
        assert!((1..20).contains(&size["hops_p99"].as_u64().unwrap()), "{size}");
    }
    assert!(document["visible_ms"].is_null(), "it was not asked for");
    assert_eq!(bench(&arguments).unwrap(), document);
    let picture = std::fs::read_to_string(plot).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("polyline"), "{picture}");
}

#[test]
fn a_blob_is_fetched_though_a_holder_lies() {
    let document = bench(&["--only=blob"]).unwrap();
    assert!(document["blob_mbit_s"].as_f64() > Some(0.0), "{document}");
}

#[test]
fn what_can_not_be_measured_is_refused_with_the_reason() {
    let error = bench(&["--only=simulated", "--domains=100,20"]).unwrap_err();
    assert!(error.contains("--domains"), "{error}");
    let error = bench(&["--only=blob", "--plot=x.svg"]).unwrap_err();
    assert!(error.contains("--plot"), "{error}");
}

#[test]
fn agents_without_a_ledger_see_what_each_other_says() {
    let document = bench(&["--only=many", "--agents=4", "--rounds=2"]).unwrap();
    for path in [
        "/visible_50_ms/p99",
        "/update_50_ms/p99",
        "/withdrawal_50_ms/p99",
        "/offline_ms",
        "/removed_ms",
    ] {
        assert!(
            document.pointer(path).and_then(Value::as_u64) > Some(0),
            "{path}: {document}"
        );
    }
    assert_eq!(document["agents"], 4);
    assert!(document["rss_mb_swarm"].is_f64(), "{document}");
}
