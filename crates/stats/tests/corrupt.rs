//! Reports that were cut, or changed on their way: what is wrong is named by its line, and nothing is believed that
//! was never printed.
//!
//! `STRATA_SEED` sets the seed, `STRATA_STRESS_SECONDS` how long the random part goes on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use core::time::Duration;
use std::time::Instant;
use strata_os::Seed;
use strata_stats::{ReportFault, parse, parse_whole};

/// One report of each form and page heap.
const REPORTS: [&str; 4] = [
    include_str!("forms/temeraire.tcmalloc.txt"),
    include_str!("forms/temeraire.tcmalloc-today.txt"),
    include_str!("forms/legacy.tcmalloc.txt"),
    include_str!("forms/legacy.tcmalloc-today.txt"),
];

#[test]
fn reports_as_they_were_written_are_whole() {
    for report in REPORTS {
        let read = parse_whole(report).unwrap();
        assert!(read.number("in_use_by_app").is_some());
    }
}

#[test]
fn a_report_that_ends_too_early_is_refused_and_the_missing_line_named() {
    for report in REPORTS {
        let lines: Vec<_> = report.lines().collect();
        for kept in (0..lines.len()).step_by(17).chain([lines.len() - 1]) {
            let cut = lines[..kept].join("\n");
            let error = parse_whole(&cut).expect_err("it is not whole");
            assert_eq!(error.line, cut.lines().count() + 1, "{kept} lines: {error}");
            assert!(matches!(error.fault, ReportFault::Truncated | ReportFault::NoSummary));
        }
        // Within a line: it is unknown then, or the last one that can be read.
        for end in (0..report.len()).step_by(1999).chain([report.len() - 1]) {
            let cut = &report[..end];
            let error = parse_whole(cut).expect_err("it is not whole");
            let last = cut.lines().count();
            assert!((last..=last + 1).contains(&error.line), "cut at {end}: {error}");
        }
    }
}

#[test]
fn each_kind_of_fault_is_told_apart() {
    let first = REPORTS[0];
    let fault = |text: &str| parse_whole(text).map(|_| ()).map_err(|error| error.fault);
    let changed = |from: &str, to: &str| {
        assert!(first.contains(from), "{from}");
        fault(&first.replacen(from, to, 1))
    };
    assert_eq!(changed("Bytes in use by", "Bites in use by"), Err(ReportFault::Unknown));
    assert_eq!(
        changed("Spans in use", "99999999999999999999 Spans in use"),
        Err(ReportFault::Unknown)
    );
    let spans = first.lines().find(|line| line.ends_with("Spans in use")).unwrap();
    let large = "MALLOC: 99999999999999999999 Spans in use";
    assert_eq!(changed(spans, large), Err(ReportFault::TooLarge));
    assert_eq!(changed("class   2 [", "class   7 ["), Err(ReportFault::OtherClass));
    let actual = first.lines().find(|line| line.contains("Actual memory used")).unwrap();
    let bytes = parse(actual).number("actual_mem_used").unwrap();
    let other = actual.replace(&bytes.to_string(), &(bytes + 1).to_string());
    assert_eq!(changed(actual, &other), Err(ReportFault::OtherSum));
    let mapped = first.lines().find(|line| line.starts_with("MmapSysAllocator")).unwrap();
    assert_eq!(changed(mapped, &mapped.replace(": ", ": 1")), Err(ReportFault::OtherMebibytes));
    let title = first.lines().find(|line| line.contains("# of donated hps")).unwrap();
    assert_eq!(changed(title, ""), Err(ReportFault::Untitled));
    assert_eq!(fault(""), Err(ReportFault::NoSummary));
    let error = parse_whole("MALLOC:\nwhat is this?\n").unwrap_err();
    assert_eq!(error.to_string(), "line 2: no line of a report looks like this");
}

/// A report, or mostly some lines of one, which are read faster.
fn random_report(random: &mut Seed) -> String {
    let whole = REPORTS[random.below(REPORTS.len())];
    if random.below(16) == 0 {
        return whole.to_owned();
    }
    let lines: Vec<_> = whole.lines().collect();
    let first = random.below(lines.len());
    let kept = lines[first..].iter().take(1 + random.below(20));
    kept.flat_map(|line| [line, "\n"]).collect()
}

/// One change: bytes overwritten, left out, repeated, or taken from elsewhere.
fn change(random: &mut Seed, text: &mut Vec<u8>) {
    let at = random.below(text.len().max(1));
    let length = (1 + random.below(60)).min(text.len().saturating_sub(at));
    match random.below(6) {
        0 => text.truncate(at),
        1 => drop(text.drain(at..at + length)),
        2 => {
            let again = text[at..at + length].to_vec();
            text.splice(at..at, again);
        }
        3 => {
            let from = random.below(text.len() - length + 1);
            let other = text[from..from + length].to_vec();
            text.splice(at..at + length, other);
        }
        4 => {
            text[at..at + length].fill(b"0123456789.,:<>={}[]()@- \n%~*+\xc3\xff"[random.below(31)])
        }
        _ => {
            if let Some(byte) = text.get_mut(at) {
                *byte = random.below(256) as u8;
            }
        }
    }
}

#[test]
fn no_change_of_a_report_makes_the_parser_stumble() {
    let seconds = std::env::var("STRATA_STRESS_SECONDS").ok().and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(1));
    let mut random = Seed::from_environment();
    let (mut rounds, mut believed) = (0u64, 0u64);
    while Instant::now() < end || rounds == 0 {
        let mut bytes = random_report(&mut random).into_bytes();
        for _ in 0..=random.below(4) {
            if !bytes.is_empty() {
                change(&mut random, &mut bytes);
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        let read = parse(&text);
        let all = read.all().map(|line| line.number_in_text);
        let unknown = read.unknown().map(|(line, _)| line);
        assert!(all.chain(unknown).all(|line| (1..=text.lines().count()).contains(&line)));
        match parse_whole(&text) {
            Ok(whole) => {
                assert_eq!(whole.unknown().count(), 0);
                believed += 1;
            }
            Err(error) => {
                assert!((1..=text.lines().count() + 1).contains(&error.line), "{error}");
            }
        }
        rounds += 1;
    }
    println!("{rounds} changed reports, {believed} of which may have been printed so");
}
