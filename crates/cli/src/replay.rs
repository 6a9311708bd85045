//! `strata replay`: a trace through the layers, over address space that does not exist.

use clap::{ArgAction, Args};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use strata_replay::{
    PageHeapKind, PageSizeKind, ReleasePolicy, Replayed, Settings, ThpKind, ThreadKind, page,
    patterns, read_trace, replay,
};

/// Replay a trace through Strata's layers without its program
///
/// Pages are simulated and time is the trace's own: minutes of a program take seconds. Prints means over the trace;
/// with --html also curves over time. Where an option has several values, or with --compare, every combination is
/// replayed and stands in a line of its own. What is not said is as it is in a program: memory goes back at the
/// rate and after the delay that STRATA_CONF has if nobody changes it, and the kernel makes hugepages where it is
/// asked to.
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

    /// Bytes that go back to the kernel in a second, wanted of late or not, as in 0, 512k, 8m or 1g
    #[arg(long, value_name = "BYTES", value_delimiter = ',', value_parser = bytes)]
    release_rate: Vec<u64>,

    /// Time after which memory that nobody wanted goes back, as in 500ms, 2s or never
    #[arg(long, value_name = "TIME", value_delimiter = ',', value_parser = milliseconds)]
    release_delay: Vec<u64>,

    /// Whether kernel pages without a live object go back out of spans in use
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    release_inside_spans: bool,

    /// Who gives memory back
    #[arg(long, value_name = "WHO", value_enum, default_value_t = ThreadKind::Auto)]
    background_thread: ThreadKind,

    /// Where the kernel makes hugepages
    #[arg(long, value_name = "MODE", value_enum, value_delimiter = ',')]
    thp: Vec<ThpKind>,

    /// CPUs over which the trace's threads are spread
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    cpus: u32,

    /// Let the trace's time pass so many times slower
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    stretch: u64,

    /// Set side by side what is not said: both page heaps, with and without memory going back by itself
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
        let thps = or(&self.thp, &[default.thp], false);
        let (cpus, stretch, thread) = (self.cpus, self.stretch, self.background_thread);
        let mut all = Vec::new();
        for &page_heap in &page_heaps {
            for &page_size in &page_sizes {
                for &thp in &thps {
                    for policy in self.policies(page_heap) {
                        all.push(Settings {
                            page_heap,
                            page_size,
                            policy,
                            thread,
                            thp,
                            cpus,
                            stretch,
                        });
                    }
                }
            }
        }
        all
    }

    /// Every combination of rates and delays; with --compare and neither, also that nothing goes back.
    fn policies(&self, page_heap: PageHeapKind) -> Vec<ReleasePolicy> {
        let default =
            ReleasePolicy { inside_spans: self.release_inside_spans, ..page_heap.policy() };
        let nothing_said = self.release_rate.is_empty() && self.release_delay.is_empty();
        let mut all = Vec::new();
        for rate in or(&self.release_rate, &[default.rate], false) {
            for delay_ms in or(&self.release_delay, &[default.delay_ms], false) {
                all.push(ReleasePolicy { rate, delay_ms, ..default });
            }
        }
        if self.compare && nothing_said {
            all.push(ReleasePolicy::NOTHING);
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

/// Milliseconds: a number with ms or s, or never.
fn milliseconds(text: &str) -> Result<u64, String> {
    if text == "never" {
        return Ok(ReleasePolicy::NEVER);
    }
    let (digits, factor) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(digits), _) => (digits, 1),
        (None, Some(digits)) => (digits, 1000),
        (None, None) => return Err("a number with ms or s, or never".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "a time, as in 2s".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "too long".to_owned())
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
