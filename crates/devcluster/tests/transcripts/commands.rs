//! Compares what kubectl prints with what a recording says it printed.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use regex::Regex;
use serde_json::Value;

use super::kubectl::Kubectl;
use super::normalise;

/// Runs a step of a recording until what it waits for is printed; returns what differs.
pub async fn step(kubectl: &Kubectl, step: &Value) -> Vec<String> {
    let until = step["poll"]["until_stdout"]
        .as_str()
        .map(|pattern| Regex::new(pattern).unwrap());
    let limit = Duration::from_secs(step["poll"]["seconds"].as_u64().unwrap_or(0) * 3);
    let start = Instant::now();
    // The first word is the program's name.
    let words: Vec<&str> = step["command"]
        .as_array()
        .unwrap()
        .iter()
        .skip(1)
        .filter_map(Value::as_str)
        .collect();
    let printed = loop {
        let printed = kubectl.run(&words, step["stdin"].as_str().unwrap_or_default()).await;
        let done = until.as_ref().is_none_or(|pattern| pattern.is_match(&printed.stdout));
        if done || start.elapsed() > limit {
            break printed;
        }
    };
    let mut found = Vec::new();
    if step["exit"] != printed.exit {
        found.push(format!("exit: expected {}, found {}", step["exit"], printed.exit));
    }
    for (name, printed) in [("stdout", &printed.stdout), ("stderr", &printed.stderr)] {
        let (expected, printed) = (text(step[name].as_str().unwrap_or_default()), text(printed));
        if expected != printed {
            found.push(format!(
                "{name}:\n      expected {expected:?}\n      found    {printed:?}"
            ));
        }
    }
    found
}

/// What kubectl prints, without what varies.
fn text(text: &str) -> String {
    static VARYING: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
        [
            // The log of kubectl itself, as of a watch that it ended early.
            (r"(?m)^[IWE]\d{4} .*\n?", ""),
            (r"\b(\d+[smhdy])+\b", "<age>"),
            (r#"((?i:resource ?version):\s+)"?\d+"?"#, "$1<n>"),
            (r"(?m)[ \t]+$", ""),
            (r"[ \t]+", " "),
            // The recorded server is OpenShift's build.
            (
                r" ConfigMapName: openshift-service-ca.crt\n ConfigMapOptional: <nil>\n",
                "",
            ),
            (r"-{2,}", "--"),
            (r"eyJ[\w-]+\.[\w-]+\.[\w-]+", "<token>"),
            (r"JTI=<uuid>|<credential-id>", "<credential-id>"),
        ]
        .into_iter()
        .map(|(pattern, with)| (Regex::new(pattern).unwrap(), with))
        .collect()
    });
    VARYING.iter().fold(normalise::text(text), |text, (pattern, with)| {
        pattern.replace_all(&text, *with).into_owned()
    })
}
