//! `hanse bench ledger` measures, and says so in one document.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use serde_json::Value;

fn bench(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_hanse"))
        .args(["bench", "ledger", "-o", "json"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("exactly one document")
}

#[test]
fn every_part_gives_its_figure_on_a_small_scale() {
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("plot.svg");
    let csv = folder.path().join("latencies.csv");
    let document = bench(&[
        "--only=finality,sustained,one-dead,validators,million,rejoin,idle,plot",
        "--seconds=2",
        "--sustained-seconds=2",
        "--rate=5",
        "--fastest=1500",
        "--validators=1,4",
        "--agreements=2100",
        "--behind=60",
        "--heartbeats=30",
        "--loads=5,20",
        "--plot",
        plot.to_str().unwrap(),
        "--csv",
        csv.to_str().unwrap(),
    ]);
    for path in ["/finality_ms/p50", "/finality_ms/p99", "/one_dead_ms/p50", "/rejoin_ms"] {
        assert!(
            document.pointer(path).and_then(Value::as_u64) > Some(0),
            "{path}: {document}"
        );
    }
    assert!(document["sustained_tps"].as_f64() > Some(0.0), "{document}");
    assert_eq!(document["lost"], 0);
    assert!(document["million_ratio"].as_f64() > Some(0.0), "{document}");
    assert!(document["idle_bytes_per_hour"].is_u64(), "{document}");
    assert!(document["anvil_finality_ms"].is_null(), "it was not asked for");
    let sizes: Vec<_> = document["validators"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| point["n"].as_u64().unwrap())
        .collect();
    assert_eq!(sizes, [1, 4]);
    let picture = std::fs::read_to_string(plot).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("polyline"), "{picture}");
    let rows = std::fs::read_to_string(csv).unwrap();
    assert_eq!(rows.lines().filter(|row| row.starts_with("finality,")).count(), 10);
}

#[test]
fn what_makes_no_sense_is_refused() {
    for arguments in [["--seconds=0"], ["--validators=0"], ["--loads=5,5"], ["--only=plot"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_hanse"))
            .args(["bench", "ledger"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(!output.status.success());
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("error: --"),
            "{arguments:?}"
        );
    }
}
