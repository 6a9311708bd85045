use super::SimulatedPages;
use crate::{
    AddressRange, Advice, CallKind, MapError, PageSource, Purpose, Release, ReserveRequest, ThpMode,
};

const MIB: usize = 1 << 20;

fn reserve(pages: &SimulatedPages, bytes: usize) -> AddressRange {
    let wish = ReserveRequest { bytes, align: 4096, purpose: Purpose::Heap };
    pages.reserve(wish).expect("there is room").range
}

fn committed(pages: &SimulatedPages, bytes: usize) -> AddressRange {
    let range = reserve(pages, bytes);
    assert_eq!(pages.commit(range), Ok(true));
    range
}

fn release(pages: &SimulatedPages, range: AddressRange, how: Release) {
    // SAFETY: nothing stands in simulated pages.
    unsafe { pages.release(range, how) }.expect("released");
}

const fn part(range: AddressRange, offset: usize, bytes: usize) -> AddressRange {
    AddressRange::new(range.start + offset, bytes)
}

#[test]
fn a_terabyte_is_one_segment_and_ranges_are_distinct_hugepages() {
    let pages = SimulatedPages::new();
    let first = committed(&pages, 1 << 40);
    let second = reserve(&pages, 4096);
    let third = reserve(&pages, 4096);
    assert!(first.end() <= second.start && second.end() <= third.start);
    assert!([first, second, third].iter().all(|range| range.start % (2 * MIB) == 0));
    assert_eq!(pages.segments(), 3);
    assert!(third.end() < 1 << pages.address_bits());
    assert_eq!(pages.residency(first).expect("it tells").hugepage_bytes, 1 << 40);
}

#[test]
fn the_figures_follow_every_step() {
    let pages = SimulatedPages::new();
    let range = committed(&pages, 8 * MIB);
    release(&pages, part(range, 0, 2 * MIB), Release::Forced);
    release(&pages, part(range, 2 * MIB, MIB), Release::Lazy);
    let figures = pages.figures();
    assert_eq!((figures.reserved_bytes, figures.committed_bytes), (8 * MIB, 8 * MIB));
    assert_eq!((figures.resident_bytes, figures.released_bytes), (6 * MIB, 2 * MIB));
    assert_eq!(figures.lazily_released_bytes, MIB);
    pages.reclaim_lazy(range);
    assert_eq!(pages.figures().resident_bytes, 5 * MIB);
    assert_eq!(pages.touch(part(range, 0, 4 * MIB)), 3 * MIB);
    // SAFETY: nothing stands in simulated pages.
    unsafe { pages.decommit(part(range, 0, MIB)) }.expect("decommitted");
    // SAFETY: nothing stands in simulated pages.
    unsafe { pages.unreserve(part(range, 0, 3 * MIB)) }.expect("unreserved");
    let figures = pages.figures();
    assert_eq!((figures.reserved_bytes, figures.resident_bytes), (5 * MIB, 5 * MIB));
    assert_eq!((figures.peak_resident_bytes, figures.refaulted_bytes), (8 * MIB, 3 << 20));
    assert_eq!(figures.reserved_for(Purpose::Heap), 5 * MIB);
    assert_eq!(figures.calls(CallKind::Release), 2);
}

#[test]
fn a_hugepage_released_in_part_is_none_until_collapsed() {
    let pages = SimulatedPages::new();
    let range = committed(&pages, 4 * MIB);
    let hugepage_bytes = || pages.residency(range).expect("it tells").hugepage_bytes;
    release(&pages, part(range, MIB, 4096), Release::Forced);
    pages.touch(range);
    assert_eq!(hugepage_bytes(), 2 * MIB);
    pages.advise(range, Advice::Collapse).expect("collapsed");
    assert_eq!(hugepage_bytes(), 4 * MIB);
    release(&pages, part(range, 0, 2 * MIB), Release::Forced);
    assert_eq!(hugepage_bytes(), 2 * MIB);
    pages.touch(range);
    assert_eq!(hugepage_bytes(), 4 * MIB);
}

#[test]
fn the_mode_and_the_advice_decide_on_hugepages() {
    for (mode, unadvised, advised) in [
        (ThpMode::Always, 2 * MIB, 2 * MIB),
        (ThpMode::Madvise, 0, 2 * MIB),
        (ThpMode::Never, 0, 0),
    ] {
        let pages = SimulatedPages::new().with_thp_mode(mode);
        let range = committed(&pages, 2 * MIB);
        let hugepage_bytes = || pages.residency(range).expect("it tells").hugepage_bytes;
        assert_eq!(hugepage_bytes(), unadvised);
        pages.advise(range, Advice::Hugepage).expect("advised");
        assert_eq!(hugepage_bytes(), advised);
        pages.advise(range, Advice::NoHugepage).expect("advised");
        assert_eq!(hugepage_bytes(), 0);
    }
}

#[test]
fn the_limit_is_on_what_is_reserved_at_a_time() {
    let pages = SimulatedPages::new().with_limit(4 * MIB);
    let range = reserve(&pages, 4 * MIB);
    let wish = ReserveRequest { bytes: 4096, align: 4096, purpose: Purpose::Metadata };
    assert_eq!(pages.reserve(wish).err(), Some(MapError::new(4096, libc::ENOMEM)));
    // SAFETY: nothing stands in simulated pages.
    unsafe { pages.unreserve(range) }.expect("unreserved");
    assert!(pages.reserve(wish).is_ok());
}

#[test]
fn address_space_that_was_given_back_is_used_again_when_no_other_is_left() {
    let pages = SimulatedPages::new().with_address_bits(32);
    let half = reserve(&pages, 1 << 31);
    let rest = reserve(&pages, (1 << 32) - (1 << 31) - (1 << 29));
    let wish = ReserveRequest { bytes: 1 << 30, align: 4096, purpose: Purpose::Heap };
    assert!(pages.reserve(wish).is_err());
    // SAFETY: nothing stands in simulated pages.
    unsafe { pages.unreserve(half) }.expect("unreserved");
    assert_eq!(pages.reserve(wish).map(|had| had.range.start).ok(), Some(half.start));
    assert!(rest.end() <= 1 << 32);
}

#[test]
fn the_log_has_each_call_with_the_books_after_it() {
    let pages = SimulatedPages::new().with_log();
    let range = committed(&pages, 2 * MIB);
    release(&pages, range, Release::Forced);
    let log = pages.take_log();
    let kinds = [CallKind::Reserve, CallKind::Commit, CallKind::Release];
    assert!(log.iter().map(|call| call.kind).eq(kinds));
    let resident = [0, 2 * MIB, 0];
    assert!(log.iter().map(|call| call.figures.resident_bytes).eq(resident));
    assert!(log.iter().all(|call| call.range == range));
    assert!(pages.take_log().is_empty());
}

#[test]
#[should_panic(expected = "not all of it is committed")]
fn release_of_what_is_not_committed_is_misuse() {
    let pages = SimulatedPages::new();
    let range = reserve(&pages, 4 * MIB);
    pages.commit(part(range, 0, 2 * MIB)).expect("committed");
    release(&pages, range, Release::Forced);
}

#[test]
#[should_panic(expected = "a part of it has been and was not released")]
fn commit_of_what_is_committed_is_misuse() {
    let pages = SimulatedPages::new();
    let range = committed(&pages, 2 * MIB);
    let _ = pages.commit(part(range, MIB, MIB));
}

#[test]
#[should_panic(expected = "not all reserved")]
fn unreserving_twice_is_misuse() {
    let pages = SimulatedPages::new();
    let range = reserve(&pages, 2 * MIB);
    for _ in 0..2 {
        // SAFETY: nothing stands in simulated pages.
        let _ = unsafe { pages.unreserve(range) };
    }
}

#[test]
#[should_panic(expected = "whole pages of 65536 bytes")]
fn parts_of_pages_are_misuse() {
    let pages = SimulatedPages::new().with_page_bytes(65536);
    let range = reserve(&pages, 2 * MIB);
    let _ = pages.commit(part(range, 4096, 65536));
}
