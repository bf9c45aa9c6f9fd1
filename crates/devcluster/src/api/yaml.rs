//! YAML as Kubernetes reads it: the first document, with the booleans of YAML 1.1.

use serde_json::Value;

use crate::status::{Outcome, Status};

/// Parses the first document of a body; JSON is YAML.
///
/// # Errors
/// 400 with what is wrong and where.
pub fn parse(body: &[u8]) -> Outcome<Value> {
    let text = std::str::from_utf8(body).map_err(|_| refused("the body is not UTF-8"))?;
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    let first = first_document(text);
    match serde_saphyr::from_str::<Value>(first) {
        Ok(value) => Ok(value),
        Err(error) => Err(refused(&in_known_words(&error.to_string()))),
    }
}

fn refused(why: &str) -> Status {
    Status::bad_request(format!(
        "error decoding YAML: error converting YAML to JSON: yaml: {why}"
    ))
}

/// The first line of an error; the commonest one in the words that users find when they search for it.
fn in_known_words(error: &str) -> String {
    let first = error.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let place = first.split_once(" column").map(|(line, _)| line);
    match place {
        Some(line) if first.contains("unclosed bracket '['") => format!("{line}: did not find expected ',' or ']'"),
        _ => first.to_string(),
    }
}

fn first_document(text: &str) -> &str {
    let body = text.strip_prefix("---\n").unwrap_or(text);
    body.find("\n---").map_or(body, |end| &body[..=end])
}
