//! Traces that are whole, cut off, corrupt, or come from a program that was running already.

use std::fs;
use std::path::Path;

use strata_replay::{
    Layer, PageHeapKind, PageSizeKind, ReleasePolicy, Settings, ThreadKind, patterns::PATTERNS,
    read_trace, replay,
};
use strata_trace::{Encoder, Event};

const ALL_SIZES: [PageSizeKind; 4] =
    [PageSizeKind::Four, PageSizeKind::Eight, PageSizeKind::ThirtyTwo, PageSizeKind::TwoFiftySix];

fn trace_of(events: &[Event]) -> Vec<u8> {
    let mut trace = Encoder::header(0).as_slice().to_vec();
    let mut encoder = Encoder::new();
    for &event in events {
        trace.extend_from_slice(encoder.encode(event).as_slice());
    }
    trace
}

/// So many bytes a second, and nothing for being idle.
fn at_a_rate(rate: u64) -> ReleasePolicy {
    ReleasePolicy { rate, ..ReleasePolicy::NOTHING }
}

#[test]
fn the_same_trace_comes_out_the_same() {
    let trace = PATTERNS[3].trace();
    let settings = Settings { cpus: 4, thread: ThreadKind::Always, ..Settings::default() };
    let [one, other] = [(); 2].map(|()| replay(&trace, settings).expect("a trace"));
    assert_eq!(one.moments, other.moments);
}

#[test]
fn a_trace_runs_through_every_page_size_and_both_page_heaps() {
    let trace = PATTERNS[9].trace();
    for page_size in ALL_SIZES {
        for page_heap in [PageHeapKind::Temeraire, PageHeapKind::Legacy] {
            let settings = Settings { page_size, page_heap, cpus: 2, ..Settings::default() };
            let replayed = replay(&trace, settings).expect("a trace");
            assert!(replayed.is_complete && replayed.refused == 0, "{settings}");
            let last = replayed.moments.last().expect("a moment");
            assert_eq!(last.live_bytes, 0, "{settings}");
            assert_eq!(last.in_layer(Layer::Rounding), 0, "{settings}");
        }
    }
}

#[test]
fn a_trace_that_was_cut_off_is_replayed_up_to_there() {
    let trace = PATTERNS[5].trace();
    let whole = replay(&trace, Settings::default()).expect("a trace");
    let half = replay(&trace[..trace.len() / 2], Settings::default()).expect("a trace");
    assert!(!half.is_complete && half.corrupt.is_none());
    assert!(half.events > 0 && half.events < whole.events);
}

#[test]
fn a_corrupt_trace_is_replayed_up_to_the_error() {
    let mut trace = trace_of(&[Event::Allocate { address: 8, size: 8, align: 1 }]);
    let at = trace.len();
    trace.extend_from_slice(&[7, 1, 2, 3]);
    let replayed = replay(&trace, Settings::default()).expect("a header");
    assert_eq!(replayed.allocations, 1);
    assert_eq!(
        replayed.corrupt.map(|error| error.to_string()),
        Some(format!("corrupt at byte {at}"))
    );
}

#[test]
fn blocks_from_before_the_recording_and_frees_that_were_lost_are_counted() {
    let allocate = |size| Event::Allocate { address: 64, size, align: 1 };
    let trace = trace_of(&[
        Event::Deallocate { address: 4096 },
        Event::Reallocate { old: 8192, address: 32, size: 10 },
        allocate(100),
        allocate(50),
    ]);
    let replayed = replay(&trace, Settings::default()).expect("a trace");
    assert_eq!((replayed.unknown_frees, replayed.lost_frees), (2, 1));
    assert_eq!(replayed.moments.last().map(|moment| moment.live_bytes), Some(60));
}

#[test]
fn sizes_and_alignments_that_nobody_can_serve_are_refused() {
    let event = |size, align| Event::Allocate { address: 64, size, align };
    let trace = trace_of(&[event(u64::MAX >> 3, 1), event(1, 1 << 63), event(1, 1 << 30)]);
    for page_heap in [PageHeapKind::Temeraire, PageHeapKind::Legacy] {
        let settings = Settings { page_heap, ..Settings::default() };
        let replayed = replay(&trace, settings).expect("a trace");
        assert_eq!((replayed.allocations, replayed.refused), (3, 2), "{settings}");
    }
}

#[test]
fn a_rate_brings_memory_back_while_time_passes() {
    let events = [
        Event::Allocate { address: 64, size: 64 << 20, align: 1 },
        Event::Deallocate { address: 64 },
        Event::Time { microseconds: 100_000_000 },
    ];
    for page_heap in [PageHeapKind::Temeraire, PageHeapKind::Legacy] {
        let left = [ReleasePolicy::NOTHING, at_a_rate(1 << 20)].map(|policy| {
            let settings = Settings { page_heap, policy, ..Settings::default() };
            let replayed = replay(&trace_of(&events), settings).expect("a trace");
            let last = replayed.moments.last().expect("a moment");
            assert_eq!(last.backed_bytes + last.released_bytes, 64 << 20, "{page_heap:?}");
            last.backed_bytes
        });
        assert!(left[0] > 0 && left[1] < 1 << 20, "{page_heap:?}: {left:?}");
    }
}

#[test]
fn centuries_pass_in_no_time() {
    let trace = trace_of(&[Event::Time { microseconds: u64::MAX >> 3 }]);
    for thread in [ThreadKind::Auto, ThreadKind::Always] {
        assert!(replay(&trace, Settings { thread, ..Settings::default() }).is_ok());
    }
}

#[test]
fn a_compressed_trace_is_made_whole_and_one_that_was_cut_off_as_far_as_it_goes() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces/git.trace.gz");
    let whole = read_trace(&file).expect("a trace");
    assert!(replay(&whole, Settings::default()).expect("a trace").is_complete);
    let compressed = fs::read(&file).expect("it is there");
    let half = Path::new(env!("CARGO_TARGET_TMPDIR")).join("half.trace.gz");
    fs::write(&half, &compressed[..compressed.len() / 2]).expect("room");
    let half = read_trace(&half).expect("a part of a trace");
    assert!(whole.starts_with(&half) && half.len() > 1000);
}

#[test]
fn time_that_is_stretched_lets_more_go_back() {
    let events = [
        Event::Allocate { address: 64, size: 64 << 20, align: 1 },
        Event::Deallocate { address: 64 },
        Event::Time { microseconds: 2_000_000 },
    ];
    let left = [1, 50].map(|stretch| {
        let policy = at_a_rate(1 << 20);
        let settings = Settings { policy, stretch, ..Settings::default() };
        let replayed = replay(&trace_of(&events), settings).expect("a trace");
        replayed.moments.last().expect("a moment").backed_bytes
    });
    assert!(left[0] >= 16 << 20 && left[1] < 1 << 20, "{left:?}");
}
