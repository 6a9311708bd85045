//! The figures that README shows.

use core::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::goals::ns;
use super::ratios::{MEANS, ratio};
use super::record::{Cell, Record};

const BEGIN: &str = "<!-- figures -->\n";
const END: &str = "<!-- /figures -->";

/// Replaces what stands between the two marks.
pub(crate) fn refill(readme: &Path, record: &Record) -> Result<()> {
    let text = fs::read_to_string(readme)?;
    let filled = refilled(&text, &figures(record))
        .with_context(|| format!("{} has no marks for the figures", readme.display()))?;
    fs::write(readme, filled).with_context(|| format!("writing {}", readme.display()))
}

fn refilled(text: &str, figures: &str) -> Option<String> {
    let (head, rest) = text.split_once(BEGIN)?;
    let (_, tail) = rest.split_once(END)?;
    Some(format!("{head}{BEGIN}{figures}{END}{tail}"))
}

/// A sentence about the run, and a table of medians.
fn figures(record: &Record) -> String {
    let Record { command, rounds, revision, machine, .. } = record;
    let mut text = format!("`{command}`, {rounds} rounds, revision {revision}; {machine}.\n\n");
    let names: Vec<&str> = record.entries.iter().map(|entry| entry.name.as_str()).collect();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "| time of an operation | {} |", names.join(" | "));
    let _ = writeln!(text, "|---|{}", "--:|".repeat(names.len()));
    for row in &record.rows {
        for part in row.parts() {
            let cells = record.entries.iter().map(|entry| {
                let time = |cell: &Cell| cell.time(part);
                if entry.name == entry.base {
                    let own = row.cell(&entry.name).and_then(time);
                    return own.map_or_else(|| "failed".to_owned(), |own| ns(own.median));
                }
                ratio(row, entry, &time)
                    .map_or_else(|| "failed".to_owned(), |ratio| format!("{:.2}", ratio.median))
            });
            let cells: Vec<String> = cells.collect();
            let _ = writeln!(text, "| {} | {} |", row.line(part), cells.join(" | "));
        }
    }
    for (what, mean) in MEANS {
        let what = match what {
            "peak" | "final" => format!("{what} resident set"),
            _ => what.to_owned(),
        };
        let means = record.entries.iter().map(|entry| {
            mean(record, &entry.name).map_or_else(String::new, |mean| format!("{mean:.2}"))
        });
        let means: Vec<String> = means.collect();
        let _ = writeln!(text, "| *{what}, geometric mean* | {} |", means.join(" | "));
    }
    text
}

#[cfg(test)]
mod tests;
