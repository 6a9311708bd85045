//! `strata replay`: a trace through the layers, over address space that does not exist.

use clap::Args;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use strata_replay::{
    PageHeapKind, PageSizeKind, Replayed, Settings, page, patterns, read_trace, replay,
};

/// Replay a trace through Strata's layers without its program
///
/// Pages are simulated and time is the trace's own: minutes of a program take seconds. Prints means over the trace; with
/// --html also curves over time. Where an option has several values, or with --compare, every combination is replayed and
/// stands in a line of its own.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// What `strata record` wrote, as it is or compressed by gzip; or the name of a pattern (--patterns)
    #[arg(value_name = "FILE", required_unless_present = "patterns")]
    file: Option<PathBuf>,

    /// Tell which patterns there are: traces that are made, not recorded
    #[arg(long)]
    patterns: bool,

    /// Where spans of pages come from
    #[arg(long, value_name = "NAME", value_enum, value_delimiter = ',')]
    page_heap: Vec<PageHeapKind>,

    /// The size of a page
    #[arg(long, value_name = "SIZE", value_enum, value_delimiter = ',')]
    page_size: Vec<PageSizeKind>,

    /// Bytes that go back to the kernel in a second, as in 0, 512k, 8m or 1g
    #[arg(long, value_name = "BYTES", value_delimiter = ',', value_parser = bytes)]
    release_rate: Vec<u64>,

    /// CPUs over which the trace's threads are spread
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    cpus: u32,

    /// Let the trace's time pass so many times slower
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    stretch: u64,

    /// Set side by side what is not said: both page heaps, with and without memory going back
    #[arg(long)]
    compare: bool,

    /// Write a page with curves over time
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Replays, and says what came of it.
pub(crate) fn perform(options: &Options) -> ExitCode {
    if options.patterns {
        patterns::PATTERNS
            .iter()
            .for_each(|pattern| println!("{:<12} {}", pattern.name, pattern.about));
        return ExitCode::SUCCESS;
    }
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("strata: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let file = options.file.clone().unwrap_or_default();
    let trace = read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let replays: Result<Vec<Replayed>, _> =
        options.settings().into_iter().map(|settings| replay(&trace, settings)).collect();
    let replays = replays.map_err(|error| format!("{}: {error}", file.display()))?;
    print!("{}", table(&replays));
    if let Some(first) = replays.first() {
        tell(first);
    }
    if let Some(html) = &options.html {
        let page = page::render(&file.display().to_string(), &replays);
        fs::write(html, page).map_err(|error| format!("{}: {error}", html.display()))?;
    }
    Ok(())
}

/// A file, or else the pattern of that name.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let read = read_trace(file);
    let pattern = patterns::PATTERNS.iter().find(|pattern| file.as_os_str() == pattern.name);
    match (read, pattern) {
        (Err(_), Some(pattern)) => Ok(pattern.trace()),
        (read, _) => read,
    }
}

impl Options {
    /// Every combination of what was asked for.
    fn settings(&self) -> Vec<Settings> {
        let default = Settings::default();
        let page_heaps =
            or(&self.page_heap, &[PageHeapKind::Temeraire, PageHeapKind::Legacy], self.compare);
        let page_sizes = or(&self.page_size, &[default.page_size], false);
        let release_rates = or(&self.release_rate, &[0, 8 << 20], self.compare);
        let mut all = Vec::new();
        for &page_heap in &page_heaps {
            for &page_size in &page_sizes {
                for &release_rate in &release_rates {
                    let (cpus, stretch) = (self.cpus, self.stretch);
                    all.push(Settings { page_heap, page_size, release_rate, cpus, stretch });
                }
            }
        }
        all
    }
}

/// What was asked for; else the first of what there is, or all of it.
fn or<T: Copy>(asked: &[T], there: &[T], all: bool) -> Vec<T> {
    match asked {
        [] if all => there.to_vec(),
        [] => there.iter().take(1).copied().collect(),
        asked => asked.to_vec(),
    }
}

fn table(replays: &[Replayed]) -> String {
    let names = replays.iter().map(|replay| replay.settings.to_string());
    let names: Vec<String> = names.collect();
    let first = names.iter().map(String::len).max().unwrap_or(0);
    let mut text = " ".repeat(first);
    page::FIGURES.iter().for_each(|(name, _)| text.push_str(&format!("  {name}")));
    text.push('\n');
    for (replay, name) in replays.iter().zip(&names) {
        text.push_str(&format!("{name:<first$}"));
        let averages = replay.averages();
        for (name, figure) in page::FIGURES {
            text.push_str(&format!("  {:>width$}", figure(&averages), width = name.len()));
        }
        text.push('\n');
    }
    text
}

/// What there is to know of the trace itself.
fn tell(replay: &Replayed) {
    let last_us = replay.moments.last().map_or(0, |moment| moment.at_us);
    println!(
        "{} events, {} blocks, {:.1} s",
        replay.events,
        replay.allocations,
        last_us as f64 / 1e6
    );
    let count = |number: u64, what: &str| {
        if number > 0 {
            println!("{number} {what}");
        }
    };
    count(replay.unknown_frees, "frees of blocks from before the recording");
    count(replay.lost_frees, "blocks whose free the trace lost");
    count(replay.refused, "requests that no heap could serve");
    match replay.corrupt {
        Some(error) => println!("{error}; what stands before was replayed"),
        None if !replay.is_complete => {
            println!("the trace was cut off; what there is was replayed")
        }
        None => {}
    }
}

/// Bytes, with k, m or g for powers of 1024.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G']);
    let shift = match text.get(digits.len()..) {
        Some("") => 0,
        Some("k" | "K") => 10,
        Some("m" | "M") => 20,
        Some("g" | "G") => 30,
        _ => return Err("a number, and at most one of k, m and g".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "a number of bytes, as in 8m".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "too large".to_owned())
}

#[cfg(test)]
mod tests;
