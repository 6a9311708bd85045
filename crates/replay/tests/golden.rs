//! How both page heaps do on every pattern, and on traces of real programs, with the policy that each has by
//! default, held against a table.
//!
//! The traces were written by `traces/record.sh`; their programs took a second or two, which is stretched to a
//! minute or two.
//!
//! `STRATA_GOLDEN=write cargo test -p strata-replay --test golden` writes the table anew; what changed is then for a
//! review to judge. Small changes pass: of coverage two points or a mebibyte, of overhead five hundredths.

use core::fmt::Write;
use std::{env, fs, path::Path};

use strata_replay::{Averages, PageHeapKind, Settings, patterns::PATTERNS, read_trace, replay};

const CPUS: u32 = 4;

/// How much slower time passes for recorded programs.
const STRETCH: u64 = 60;

/// How much may be free in a trace, in what the legacy heap has.
const MOST_OVERHEAD: f64 = 1.1;

/// Of `browser` the mean of so many traces counts, made with other draws: it consists of forty tabs, and by which of them are
/// closed first what is free in either page heap differs by a third.
const VARIANTS: u64 = 12;

struct Line {
    name: String,
    page_heap: &'static str,
    averages: Averages,
}

fn lines() -> Vec<Line> {
    let mut lines = Vec::new();
    for pattern in PATTERNS {
        lines.extend(both(pattern.name, &pattern.trace(), 1));
    }
    for (name, trace) in recorded() {
        lines.extend(both(&name, &trace, STRETCH));
    }
    lines
}

/// The traces of real programs, by name.
fn recorded() -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces");
    let files =
        fs::read_dir(directory).expect("the traces").map(|file| file.expect("a file").path());
    let mut traces = Vec::new();
    for file in files {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(".trace.gz") {
            traces.push((format!("{name}*"), read_trace(&file).expect("a trace")));
        }
    }
    traces.sort();
    traces
}

fn both(name: &str, trace: &[u8], stretch: u64) -> [Line; 2] {
    [("temeraire", PageHeapKind::Temeraire), ("legacy", PageHeapKind::Legacy)].map(
        |(page_heap, kind)| {
            let policy = kind.policy();
            let settings =
                Settings { page_heap: kind, policy, cpus: CPUS, stretch, ..Settings::default() };
            let replayed = replay(trace, settings).expect("a trace");
            assert!(replayed.is_complete && replayed.refused == 0, "{name}");
            Line { name: name.to_owned(), page_heap, averages: replayed.averages() }
        },
    )
}

fn table(lines: &[Line]) -> String {
    let mut text =
        "trace           page heap  live MiB  backed MiB  on hugepages %  page heap overhead  wanted again  refaulted MiB\n"
            .to_owned();
    for Line { name, page_heap, averages } in lines {
        let Averages {
            live_bytes,
            backed_bytes,
            page_heap_overhead,
            wanted_again,
            refaulted_bytes,
            ..
        } = averages;
        writeln!(
            text,
            "{name:<15} {page_heap:<9} {:>9.1} {:>11.1} {:>15.1} {:>19.3} {wanted_again:>13.3} {:>14.0}",
            live_bytes / 1048576.0,
            backed_bytes / 1048576.0,
            100.0 * averages.hugepage_coverage(),
            page_heap_overhead,
            *refaulted_bytes as f64 / 1048576.0,
        )
        .expect("a String");
    }
    text
}

/// MiB backed, coverage and overhead of a line of the table.
fn figures(line: &str) -> Option<[f64; 3]> {
    let mut figures = line.split_whitespace().skip(3).map(str::parse);
    Some([figures.next()?.ok()?, figures.next()?.ok()?, figures.next()?.ok()?])
}

fn are_near(now: [f64; 3], golden: [f64; 3]) -> bool {
    let [backed, coverage, overhead] = [0, 1, 2].map(|at| (now[at] - golden[at]).abs());
    let is_small = |points: f64| points <= 2.0 || points * golden[0] <= 100.0;
    backed <= golden[0] / 20.0 + 1.0 && is_small(coverage) && overhead <= 0.05
}

/// The mean overhead of both page heaps on the variants of a pattern.
fn overhead_of_variants(name: &str) -> [f64; 2] {
    let pattern = PATTERNS.iter().find(|pattern| pattern.name == name).expect("a pattern");
    let lines: Vec<Line> =
        (0..VARIANTS).flat_map(|number| both(name, &pattern.variant(number), 1)).collect();
    ["temeraire", "legacy"]
        .map(|page_heap| mean(&lines, page_heap, |averages| averages.page_heap_overhead))
}

/// The mean over all traces of a figure of one page heap.
fn mean(lines: &[Line], page_heap: &str, of: fn(&Averages) -> f64) -> f64 {
    let figures: Vec<f64> = lines
        .iter()
        .filter(|line| line.page_heap == page_heap)
        .map(|line| of(&line.averages))
        .collect();
    figures.iter().sum::<f64>() / figures.len() as f64
}

/// What the hugepage-aware page heap is for: three quarters of the free memory for as many faults, and less of all
/// memory on small pages; and it knows what is in memory.
fn check_goals(lines: &[Line]) {
    let of = |of: fn(&Averages) -> f64| {
        ["temeraire", "legacy"].map(|page_heap| mean(lines, page_heap, of))
    };
    let [temeraire, legacy] = of(|averages| averages.page_heap_overhead);
    let [wanted, _] = of(|averages| averages.wanted_again);
    println!("overhead: {temeraire:.3}, legacy {legacy:.3}, wanted again {wanted:.3}");
    // 0.604: other layers move it by hundredths.
    assert!(temeraire <= 0.65 * legacy, "{temeraire} {legacy}");
    for pair in lines.chunks_exact(2) {
        let name = pair[0].name.as_str();
        let [temeraire, legacy] = match name {
            "browser" => overhead_of_variants(name),
            _ => [0, 1].map(|kind| pair[kind].averages.page_heap_overhead),
        };
        // Of what is in use; a thousandth of that is a page or two.
        assert!(temeraire <= MOST_OVERHEAD * legacy + 0.001, "{name}: {temeraire} {legacy}");
    }
    let [temeraire, legacy] = of(|averages| averages.refaulted_bytes as f64 / 1048576.0);
    println!("faulted in again: {temeraire:.1} MiB, legacy {legacy:.1} MiB");
    // 0.99: of the pace, so of one trace whose heap swings by half within a second.
    assert!(temeraire <= 1.05 * legacy, "{temeraire} {legacy}");
    let [temeraire, legacy] = of(|averages| averages.small_page_bytes / 1048576.0);
    println!("not on hugepages: {temeraire:.1} MiB, legacy {legacy:.1} MiB");
    // 0.56: below 16 MiB neither heap asks for any.
    assert!(temeraire <= 0.58 * legacy, "{temeraire} {legacy}");
    for pair in lines.chunks_exact(2).filter(|pair| pair[0].averages.live_bytes > 16e6) {
        let [temeraire, legacy] = [0, 1].map(|kind| pair[kind].averages.small_page_bytes);
        // 0.49 at most.
        assert!(temeraire <= 0.52 * legacy, "{}: {temeraire} {legacy}", pair[0].name);
    }
    let [booked, backed] = [|a: &Averages| a.booked_bytes, |a: &Averages| a.backed_bytes];
    let [booked, backed] = [mean(lines, "temeraire", booked), mean(lines, "temeraire", backed)];
    println!("backed {:.1} MiB, by the books {:.1} MiB", backed / 1048576.0, booked / 1048576.0);
    assert!((backed..1.1 * backed).contains(&booked), "{backed} {booked}");
}

#[test]
fn both_page_heaps_do_as_well_as_the_table_says() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden.txt");
    let lines = lines();
    let now = table(&lines);
    println!("{now}");
    check_goals(&lines);
    if env::var_os("STRATA_GOLDEN").is_some_and(|wish| wish == "write") {
        return fs::write(file, now).expect("the table can be written");
    }
    let golden = fs::read_to_string(file).expect("the table");
    assert_eq!(now.lines().count(), golden.lines().count(), "other traces");
    for (now, golden) in now.lines().zip(golden.lines()).skip(1) {
        let names =
            |line: &str| line.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(names(now), names(golden));
        let near =
            figures(now).zip(figures(golden)).is_some_and(|(now, golden)| are_near(now, golden));
        assert!(near, "\n{golden}\nbecame\n{now}");
    }
}

#[test]
#[ignore = "it prints figures, and replays a dozen traces of each pattern"]
fn what_the_patterns_give_with_other_draws() {
    println!("pattern        free over in use   MiB faulted in again   MiB not on hugepages");
    println!("               (Temeraire, legacy, ratio)");
    for pattern in PATTERNS {
        let variants = (1..=VARIANTS).map(|number| pattern.variant(number));
        let lines: Vec<Line> = variants.flat_map(|trace| both(pattern.name, &trace, 1)).collect();
        print!("{:<12}", pattern.name);
        let figures: [fn(&Averages) -> f64; 3] = [
            |averages| averages.page_heap_overhead,
            |averages| averages.refaulted_bytes as f64 / 1048576.0,
            |averages| averages.small_page_bytes / 1048576.0,
        ];
        for (of, digits) in figures.into_iter().zip([3, 0, 1]) {
            let [temeraire, legacy] =
                ["temeraire", "legacy"].map(|page_heap| mean(&lines, page_heap, of));
            let ratio = temeraire / legacy;
            print!("  {temeraire:>6.digits$} {legacy:>6.digits$} {ratio:>5.2}");
        }
        println!();
        let free = |page_heap| mean(&lines, page_heap, |averages| averages.page_heap_overhead);
        let [temeraire, legacy] = ["temeraire", "legacy"].map(free);
        let name = pattern.name;
        assert!(temeraire <= MOST_OVERHEAD * legacy + 0.001, "{name}: {temeraire} {legacy}");
    }
}
