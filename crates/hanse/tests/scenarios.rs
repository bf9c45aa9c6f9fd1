//! The promise of `hanse up --once`: each scenario really moves the running service.

#![allow(clippy::unwrap_used, missing_docs)]

use std::process::Command;

use serde_json::Value;

const HANSE: &str = env!("CARGO_BIN_EXE_hanse");

fn once(arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("league");
    let output = Command::new(HANSE)
        .args(["up", "--once", "-o", "json", "--api-port", "0", "--data"])
        .arg(&data)
        .args(arguments)
        .output()
        .unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{stderr}\n{stdout}");
    assert_eq!(
        processes_that_mention(data.to_str().unwrap()),
        Vec::<String>::new(),
        "processes were left behind"
    );
    serde_json::from_str(&stdout).unwrap()
}

fn processes_that_mention(text: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(text))
        .collect()
}

fn assert_complete(report: &Value, scenario: &str) {
    assert_eq!(report["domains"].as_array().unwrap().len(), 4);
    assert_eq!(report["agreement"]["scenario"], scenario);
    assert_ne!(report["agreement"]["consumer"], report["agreement"]["provider"]);
    let steps = report["agreement"]["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 12, "{steps:?}");
    assert_eq!(report["service"]["answered"], true);
    assert_eq!(report["service"]["frames_lost"], 0);
    assert!(report["service"]["frames_after"].as_u64() > report["service"]["frames_before"].as_u64());
    assert!(
        report["service"]["longest_gap_ms"].as_u64().unwrap() <= 1000,
        "{}",
        report["service"]
    );
}

#[test]
fn a_whole_service_moves() {
    let report = once(&["--scenario", "whole"]);
    assert_complete(&report, "whole");
    assert!(report["service"]["endpoint"]["receiver"].is_string());
    assert_eq!(report["replicas"]["consumer"], 0);
}

#[test]
fn a_component_moves_and_the_rest_talks_to_it() {
    let report = once(&["--scenario", "component"]);
    assert_complete(&report, "component");
    assert!(
        report["service"]["endpoint"]["receiver"].is_null(),
        "only the component moved"
    );
    assert_eq!(
        (&report["replicas"]["consumer"], &report["replicas"]["provider"]),
        (&0.into(), &1.into())
    );
}

#[test]
fn replicas_move_and_the_others_stay() {
    let report = once(&["--scenario", "scale", "--replicas", "3", "--move", "2"]);
    assert_complete(&report, "scale");
    assert_eq!(
        (&report["replicas"]["consumer"], &report["replicas"]["provider"]),
        (&1.into(), &2.into())
    );
}
