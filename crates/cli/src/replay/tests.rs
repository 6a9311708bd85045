use super::{Options, bytes, milliseconds, or, table};
use clap::Parser;
use strata_replay::{
    PageHeapKind, PageSizeKind, ReleasePolicy, Settings, patterns::PATTERNS, replay,
};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

fn options(line: &str) -> Options {
    Line::try_parse_from(line.split_whitespace()).expect("it can be read").options
}

#[test]
fn bytes_are_read_with_their_unit() {
    assert_eq!(bytes("0"), Ok(0));
    assert_eq!(bytes("512k"), Ok(512 << 10));
    assert_eq!(bytes("8M"), Ok(8 << 20));
    for wrong in ["", "k", "1x", "-1", "1kk", "99999999999999g"] {
        assert!(bytes(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn times_are_read_with_their_unit() {
    assert_eq!(milliseconds("500ms"), Ok(500));
    assert_eq!(milliseconds("2s"), Ok(2000));
    assert_eq!(milliseconds("never"), Ok(u64::MAX));
    for wrong in ["", "2", "s", "-1s", "2m", "99999999999999999999s", "99999999999999999s"] {
        assert!(milliseconds(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_is_not_said_is_the_first_or_with_compare_all() {
    assert_eq!(or(&[], &[1, 2], false), [1]);
    assert_eq!(or(&[], &[1, 2], true), [1, 2]);
    assert_eq!(or(&[3], &[1, 2], true), [3]);
}

#[test]
fn every_combination_is_replayed() {
    let settings =
        options("replay f --page-size 4k,32k --page-heap legacy,temeraire --cpus 3").settings();
    assert_eq!(settings.len(), 4);
    let is_default =
        |settings: &Settings| settings.cpus == 3 && settings.policy == settings.page_heap.policy();
    assert!(settings.iter().all(is_default));
    assert_eq!(settings[0].page_heap, PageHeapKind::Legacy);
    assert_eq!(settings[1].page_size, PageSizeKind::ThirtyTwo);
    let compared = options("replay f --compare").settings();
    assert_eq!(compared.len(), 4);
    assert_eq!(compared[1].policy, ReleasePolicy::NOTHING);
    let rates = options("replay f --release-rate 0,8m --release-delay never,1s --thp never,always");
    let rates = rates.settings();
    assert_eq!(rates.len(), 8);
    assert_eq!((rates[1].policy.rate, rates[1].policy.delay_ms), (0, 1000));
    assert_eq!((rates[2].policy.rate, rates[2].policy.delay_ms), (8 << 20, ReleasePolicy::NEVER));
    assert_eq!(options("replay f").settings().len(), 1);
}

#[test]
fn the_table_has_a_line_for_each_replay_under_its_heading() {
    let trace = PATTERNS[10].trace();
    let settings = options("replay f --page-heap legacy,temeraire").settings();
    let replays: Vec<_> =
        settings.into_iter().map(|settings| replay(&trace, settings).expect("a trace")).collect();
    let text = table(&replays);
    let widths: Vec<usize> = text.lines().map(|line| line.chars().count()).collect();
    assert_eq!(widths.len(), 3);
    assert!(widths.iter().all(|&width| width == widths[0]), "{text}");
}
