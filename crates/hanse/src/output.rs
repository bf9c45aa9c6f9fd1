//! What commands print: text for people, JSON for machines.

use std::io::{self, IsTerminal, Write};

use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;

/// The form of a command's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// Prints a document as JSON, or what `text` makes of it.
pub fn print<T: Serialize>(format: Format, document: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
    let text = match format {
        Format::Json => serde_json::to_string_pretty(document)?,
        Format::Text => text(document),
    };
    write(&text)
}

/// Writes lines to the standard output. Whoever reads it may have seen enough and closed it, as `head` does: that is no error.
pub fn write(text: &str) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    match writeln!(output, "{}", text.trim_end()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("the answer could not be written")
        }
        _ => Ok(()),
    }
}

/// Whether to show progress: on a terminal, in text form, unless colours are unwanted.
pub fn interactive(format: Format) -> bool {
    format == Format::Text && std::io::stderr().is_terminal()
}

/// Rows as columns, the first row as heading.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}   "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up() {
        let rows = vec![
            vec!["NAME".into(), "STATE".into()],
            vec!["object-detection".into(), "ready".into()],
        ];
        assert_eq!(
            super::table(&rows),
            "NAME               STATE\nobject-detection   ready\n"
        );
    }
}
