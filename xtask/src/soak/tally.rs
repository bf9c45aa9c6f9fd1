//! What a soak has done so far.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

/// The line of a test's output that says how much it did: `TALLY name=number …`.
const MARK: &str = "TALLY ";

#[derive(Debug, Default)]
struct Row {
    fault: &'static str,
    runs: u64,
    failed: u64,
    took: Duration,
    done: BTreeMap<String, u64>,
}

/// The tally, a row for each fault in the order of their first runs.
#[derive(Debug)]
pub struct Tally {
    /// The first seed.
    pub seed: u64,
    /// How long it took.
    pub seconds: u64,
    /// Whether it was ended before its time.
    pub interrupted: bool,
    rows: Vec<Row>,
}

impl Tally {
    /// An empty tally.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            seconds: 0,
            interrupted: false,
            rows: Vec::new(),
        }
    }

    /// Adds one run of the tests of a fault with what they printed.
    pub fn add(&mut self, fault: &'static str, failed: bool, took: Duration, output: &str) {
        let position = self.rows.iter().position(|row| row.fault == fault);
        let position = position.unwrap_or_else(|| {
            self.rows.push(Row {
                fault,
                ..Row::default()
            });
            self.rows.len() - 1
        });
        let row = &mut self.rows[position];
        row.runs += 1;
        row.failed += u64::from(failed);
        row.took += took;
        let counted = output
            .lines()
            .filter_map(|line| line.split_once(MARK))
            .flat_map(|(_, done)| done.split(' '));
        for (name, number) in counted.filter_map(|word| word.split_once('=')) {
            if let Ok(number) = number.parse::<u64>() {
                *row.done.entry(name.to_owned()).or_default() += number;
            }
        }
    }

    /// Runs that failed.
    pub fn failures(&self) -> u64 {
        self.rows.iter().map(|row| row.failed).sum()
    }

    /// As a table in Markdown.
    pub fn table(&self) -> String {
        let mut text = String::from("| fault | runs | failed | time | done |\n|---|---|---|---|---|\n");
        for row in &self.rows {
            let done: Vec<String> = row
                .done
                .iter()
                .map(|(name, number)| format!("{number} {}", name.replace('_', " ")))
                .collect();
            let (runs, failed, seconds) = (row.runs, row.failed, row.took.as_secs());
            let _ = writeln!(
                text,
                "| {} | {runs} | {failed} | {seconds} s | {} |",
                row.fault,
                done.join(", ")
            );
        }
        let _ = writeln!(
            text,
            "\nseed {}, {} s, {} failed",
            self.seed,
            self.seconds,
            self.failures()
        );
        text
    }

    /// As one JSON document.
    pub fn json(&self) -> Value {
        let faults: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "fault": row.fault, "runs": row.runs, "failed": row.failed, "seconds": row.took.as_secs(), "done": row.done,
                })
            })
            .collect();
        json!({
            "seed": self.seed, "seconds": self.seconds, "interrupted": self.interrupted, "failed": self.failures(),
            "faults": faults,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tests_say_they_did_is_added_up() {
        let mut tally = Tally::new(7);
        tally.add("kill", false, Duration::from_secs(2), "noise\nTALLY kills=3 rounds=2\n");
        tally.add(
            "kill",
            true,
            Duration::from_secs(3),
            "test x ... TALLY kills=4\nTALLY kills=1\n",
        );
        assert_eq!(tally.failures(), 1);
        let row = &tally.json()["faults"][0];
        assert_eq!(row["done"], json!({ "kills": 8, "rounds": 2 }));
        assert_eq!((&row["runs"], &row["seconds"]), (&json!(2), &json!(5)));
        assert!(
            tally.table().contains("| kill | 2 | 1 | 5 s | 8 kills, 2 rounds |"),
            "{}",
            tally.table()
        );
    }
}
