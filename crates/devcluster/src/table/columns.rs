//! The columns of built-in kinds, read once from a table.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Value, json};

const TEXT: &str = include_str!("columns-1.36.tsv");

static COLUMNS: LazyLock<Columns> = LazyLock::new(|| parse(TEXT));

struct Columns {
    kinds: HashMap<&'static str, Vec<Value>>,
    texts: HashMap<&'static str, String>,
}

/// Column definitions of a built-in kind (`core/v1.Pod`), `None` for one that has only name and creation time.
pub fn of(shape: &str) -> Option<&'static Vec<Value>> {
    COLUMNS.kinds.get(shape)
}

/// Columns of kinds without any of their own.
pub fn default() -> &'static Vec<Value> {
    &COLUMNS.kinds["default"]
}

/// A description that several kinds share: `name` or `created`.
pub fn shared(name: &str) -> &'static str {
    &COLUMNS.texts[name]
}

/// One column definition.
pub fn definition(name: &str, kind: &str, format: &str, priority: i64, description: &str) -> Value {
    json!({ "name": name, "type": kind, "format": format, "description": description, "priority": priority })
}

fn parse(text: &'static str) -> Columns {
    let mut columns = Columns {
        kinds: HashMap::new(),
        texts: HashMap::new(),
    };
    let mut kind = "";
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&'static str> = line.split('\t').collect();
        match words[..] {
            ["define", name, text] => drop(columns.texts.insert(name, text.replace("\\n", "\n"))),
            ["kind", name] => {
                kind = name;
                columns.kinds.insert(kind, Vec::new());
            }
            [name, type_name, format, priority, description] => {
                let description = match description.strip_prefix('@') {
                    Some(shared) => columns.texts[shared].clone(),
                    None => description.replace("\\n", "\n"),
                };
                let format = if format == "-" { "" } else { format };
                let priority = i64::from(priority == "1");
                let column = definition(name, type_name, format, priority, &description);
                columns.kinds.entry(kind).or_default().push(column);
            }
            _ => unreachable!("the table of columns has a line that is neither a kind nor a column: {line}"),
        }
    }
    columns
}
