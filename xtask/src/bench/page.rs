//! A record as a page that needs nothing beside it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use strata_workloads::Kind;

use super::goals::{self, Answer, Outcome, mib, ns};
use super::plot;
use super::ratios::{MEANS, ratio};
use super::record::{Cell, Record, Role, Row};
use super::spread::Spread;

/// Colours that are told apart on white and on black; the tenth is for what is only shown.
const COLOURS: [&str; 10] = [
    "#888888", "#d62728", "#ff7f0e", "#1f77b4", "#2ca02c", "#98d46b", "#9467bd", "#17a2b8",
    "#c59b00", "#b0a0a0",
];

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:75em;margin:2em auto;padding:0 1em}\
table{border-collapse:collapse;margin:1em 0;font-size:13px}td,th{padding:2px 8px;text-align:right;\
border-bottom:1px solid #8884;white-space:nowrap}td:first-child,th:first-child{text-align:left}\
.scroll{overflow-x:auto}svg{display:block}.strip{width:620px;height:26px}.lines{width:620px}\
text{font-size:11px;fill:currentColor}.grid{stroke:#8883}.one{stroke:#888}.range{stroke-width:2;opacity:.45}\
.line{fill:none;stroke-width:2}.missed{color:#d62728}.noise{color:#c59b00}.key{margin-right:1em}\
.key::before{content:'\\25CF ';}small{color:#888}";

pub(crate) fn write(file: &Path, record: &Record, answers: &[Answer]) -> Result<()> {
    fs::write(file, page(record, answers).into_string())
        .with_context(|| format!("writing {}", file.display()))
}

fn page(record: &Record, answers: &[Answer]) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { "Strata beside other allocators" }
                style { (PreEscaped(STYLE)) (PreEscaped(colours())) }
            }
            body {
                h1 { "Strata beside other allocators" }
                (about(record))
                (means(record))
                @if !answers.is_empty() { (reached(answers)) }
                (times(record))
                @for row in record.rows.iter().filter(|row| row.kind == Kind::Series) {
                    (series(record, row))
                }
                h2 { "Row by row" }
                @for row in &record.rows { (details(record, row)) }
            }
        }
    }
}

fn colours() -> String {
    let rule = |(number, colour): (usize, &&str)| {
        format!(
            ".c{number}{{fill:{colour}}}.s{number}{{stroke:{colour}}}.k{number}::before{{color:{colour}}}"
        )
    };
    COLOURS.iter().enumerate().map(rule).collect()
}

fn about(record: &Record) -> Markup {
    let Record { command, machine, revision, rounds, watched_rounds, idle_seconds, .. } = record;
    html! {
        p {
            code { (command) } ", revision " (revision) ", " (machine.to_string()) ". "
            (rounds) " rounds in turns, every run a process of its own, "
            (format!("{:.0}", record.minutes)) " minutes in all. Medians; in brackets the least and "
            "the largest. Single calls were timed in " (watched_rounds) " further rounds, of a "
            "quarter of the work; final RSS is what those occupied with every block freed after "
            (idle_seconds) " s of idling."
            @if record.scale_percent != 100 {
                " Every workload was cut to " (record.scale_percent) " %: what follows is a look, not a measurement."
            }
        }
        @for (name, reason) in &record.left_out { p { "Left out: " (name) ": " (reason) } }
    }
}

fn legend(record: &Record) -> Markup {
    html! {
        p {
            @for (number, entry) in record.entries.iter().enumerate() {
                span class={ "key k" (number % COLOURS.len()) } {
                    (entry.name)
                    @if entry.role == Role::Shown { " (not counted)" }
                }
            }
        }
    }
}

fn means(record: &Record) -> Markup {
    let first = record.entries.first().map_or("", |entry| entry.name.as_str());
    html! {
        h2 { "Geometric means" }
        p { "Over all rows, relative to " (first) "." }
        div class="scroll" { table {
            tr { th {} @for entry in &record.entries { th { (entry.name) } } }
            @for (what, mean) in MEANS {
                tr {
                    td { (what) }
                    @for entry in &record.entries {
                        td { @if let Some(mean) = mean(record, &entry.name) { (format!("{mean:.2}")) } }
                    }
                }
            }
        } }
    }
}

fn reached(answers: &[Answer]) -> Markup {
    html! {
        h2 { "What it must reach" }
        @for (goal, ours, of_goal) in goals::by_goal(answers) {
            @let count = of_goal.iter().filter(|a| a.result == Outcome::Reached).count();
            details {
                summary { b { (ours) } ": " (goal) ": " (count) " of " (of_goal.len()) " reached" }
                table {
                    tr { th { "row" } th { (ours) ", and what it is held against" } th { "above" } th {} }
                    @for answer in of_goal {
                        tr class=(class(answer.result)) {
                            td { (answer.line) }
                            td { (answer.figures) }
                            td { (format!("{:+.0} %", (answer.multiple - 1.0) * 100.0)) }
                            td { (answer.result.shown()) }
                        }
                    }
                }
            }
        }
    }
}

const fn class(result: Outcome) -> &'static str {
    match result {
        Outcome::Reached => "",
        Outcome::WithinNoise => "noise",
        Outcome::Missed => "missed",
    }
}

fn times(record: &Record) -> Markup {
    html! {
        h2 { "Time of an operation" }
        p {
            "Relative to each contender's base (" (record.entries.first().map_or("", |e| &e.base))
            "), on a logarithmic axis from 1/32 to 32; left is faster."
        }
        (legend(record))
        table {
            @for (row, part) in goals::timed_lines(record) {
                tr {
                    td { (row.line(part)) }
                    td { (plot::strip(&ratios(record, row, part))) }
                }
            }
        }
    }
}

fn ratios(record: &Record, row: &Row, part: &str) -> Vec<(usize, Spread)> {
    let time = |cell: &Cell| cell.time(part);
    let entries = record.entries.iter().enumerate().filter(|(_, entry)| entry.name != entry.base);
    let ratios = entries
        .filter_map(|(number, entry)| Some((number % COLOURS.len(), ratio(row, entry, &time)?)));
    ratios.collect()
}

fn series(record: &Record, row: &Row) -> Markup {
    let parts = row.parts();
    let values = |name: &str| -> Vec<Option<f64>> {
        let cell = row.cell(name);
        parts.iter().map(|part| Some(cell?.time(part)?.median)).collect()
    };
    let entries = record.entries.iter().enumerate();
    let figures: Vec<_> =
        entries.map(|(number, entry)| (number % COLOURS.len(), values(&entry.name))).collect();
    html! {
        h2 { (row.workload) ": " (row.operation) ", ns" }
        (legend(record))
        (plot::lines(&parts, &figures))
    }
}

/// All figures of a row, with Strata's time as a multiple of each contender's.
fn details(record: &Record, row: &Row) -> Markup {
    let ours: Vec<&str> = record.ours().map(|entry| entry.name.as_str()).collect();
    html! {
        details {
            summary { b { (row.workload) } " " small { (row.operation) } }
            div class="scroll" { table {
                tr {
                    th {}
                    @for part in row.parts() {
                        th { "time " (part) }
                        @for name in &ours { th { (name) " is × that" } }
                        th { "faults" }
                    }
                    th { "p50" } th { "p99" } th { "p99.9" } th { "longest" }
                    th { "peak RSS" } th { "in hugepages" } th { "final RSS" }
                }
                @for cell in &row.cells {
                    tr {
                        td { (cell.allocator) }
                        @if let Some(failure) = cell.failures.first() {
                            td colspan="20" class="missed" { (failure) }
                        } @else {
                            @for part in row.parts() { (of_part(row, cell, part, &ours)) }
                            @for calls in [&cell.p50, &cell.p99, &cell.p999, &cell.longest] {
                                td { @if let Some(calls) = Spread::of(calls.iter().copied()) { (ns(calls.median)) } }
                            }
                            td { (spread(cell.peak_rss(), mib)) }
                            td { @if let Some(share) = cell.hugepages() { (format!("{:.0} %", share.median)) } }
                            td { (spread(cell.final_rss(), mib)) }
                        }
                    }
                }
            } }
        }
    }
}

fn of_part(row: &Row, cell: &Cell, part: &str, ours: &[&str]) -> Markup {
    let time = cell.time(part);
    let multiple = |name: &str| Some(row.cell(name)?.time(part)?.median / cell.time(part)?.median);
    html! {
        td { (spread(time, ns)) }
        @for name in ours {
            td { @if let Some(multiple) = multiple(name) { (format!("{multiple:.2}")) } }
        }
        td { @if let Some(faults) = cell.faults(part) { (faults.median) } }
    }
}

fn spread(figure: Option<Spread>, shown: fn(f64) -> String) -> Markup {
    html! {
        @if let Some(Spread { median, min, max }) = figure {
            (shown(median)) " " small { "(" (shown(min)) "–" (shown(max)) ")" }
        }
    }
}

#[cfg(test)]
mod tests;
