use super::{by_mincore, by_pagemap_scan, hugepages_by_smaps, mapping_of_line, of_pages};
use crate::{
    AddressRange, Advice, PageScan, PageSource, Purpose, Release, ReserveRequest, SystemPages,
};
use core::ptr;

const PAGES: SystemPages = SystemPages::new();
const MIB: usize = 1 << 20;

fn committed(bytes: usize) -> AddressRange {
    let wish = ReserveRequest { bytes, align: 2 * MIB, purpose: Purpose::Heap };
    let range = PAGES.reserve(wish).expect("address space").range;
    PAGES.commit(range).expect("committed");
    range
}

fn touch(address: usize) {
    let place = ptr::with_exposed_provenance_mut::<u8>(address);
    // SAFETY: committed by the test, which has it for itself.
    unsafe { place.write_volatile(1) }
}

fn give_back(range: AddressRange) {
    // SAFETY: each test has its range for itself and is done with it.
    unsafe { PAGES.unreserve(range) }.expect("it was ours");
}

#[test]
fn every_second_page_is_counted_by_either_way() {
    let range = committed(16 * MIB);
    let _ = PAGES.advise(range, Advice::NoHugepage);
    // More regions than one scan answers with, more pages than one mincore call is asked about.
    let touched = (range.start..range.end()).step_by(2 * 4096).map(touch).count();
    let expected = touched * crate::kernel_page_bytes().min(8192);
    assert_eq!(by_mincore(range).expect("mincore").resident_bytes, expected);
    if let Ok(scanned) = by_pagemap_scan(&PageScan::open(), range) {
        assert_eq!(scanned.resident_bytes, expected);
        assert_eq!(scanned.hugepage_bytes, 0);
    }
    give_back(range);
}

#[test]
fn pages_that_were_only_read_are_not_resident_for_the_scan() {
    let range = committed(MIB);
    let place = ptr::with_exposed_provenance::<u8>(range.start);
    // SAFETY: committed by the test, which has it for itself.
    assert_eq!(unsafe { place.read_volatile() }, 0);
    if let Ok(scanned) = by_pagemap_scan(&PageScan::open(), range) {
        assert_eq!(scanned.resident_bytes, 0);
    }
    give_back(range);
}

#[test]
fn smaps_and_the_scan_agree_on_hugepages() {
    let range = committed(8 * MIB);
    let _ = PAGES.advise(range, Advice::Hugepage);
    PAGES.advise(range, Advice::PopulateWrite).expect("populated");
    let by_smaps = hugepages_by_smaps(range).expect("smaps");
    if let Ok(scanned) = by_pagemap_scan(&PageScan::open(), range) {
        assert_eq!(scanned.resident_bytes, 8 * MIB);
        assert_eq!(scanned.hugepage_bytes, by_smaps);
    }
    let half = AddressRange::new(range.start, 4 * MIB);
    assert_eq!(hugepages_by_smaps(half).expect("smaps"), by_smaps.min(4 * MIB));
    // SAFETY: nothing in it is needed.
    unsafe { PAGES.release(half, Release::Forced) }.expect("released");
    assert_eq!(by_mincore(half).expect("mincore").resident_bytes, 0);
    give_back(range);
}

#[test]
fn lines_that_begin_a_mapping_are_told_from_the_others() {
    let line = b"7f12c000-7f12e000 rw-p 00000000 00:00 0    [heap]";
    assert_eq!(mapping_of_line(line), Some(AddressRange::new(0x7f12_c000, 0x2000)));
    assert_eq!(mapping_of_line(b"AnonHugePages:         0 kB"), None);
    assert_eq!(mapping_of_line(b""), None);
    assert_eq!(mapping_of_line(b"VmFlags: rd wr mr mw me ac sd"), None);
}

#[test]
fn of_each_page_it_is_known_whether_it_is_in_memory() {
    let page = crate::kernel_page_bytes();
    let range = committed(8 * page);
    let _ = PAGES.advise(range, Advice::NoHugepage);
    for touched in [1, 4, 5] {
        touch(range.start + touched * page);
    }
    // Linux before 6.7 does not tell.
    if let Ok(pages) = of_pages(&PageScan::open(), range) {
        assert_eq!(pages.count(), 8);
        for page in 0..8 {
            assert_eq!(pages.is_present(page), [1, 4, 5].contains(&page), "{page}");
        }
        assert!(!pages.is_hugepage());
    }
    give_back(range);
}

#[test]
fn a_hugepage_is_known_as_one() {
    let range = committed(2 * MIB);
    let _ = PAGES.advise(range, Advice::Hugepage);
    PAGES.advise(range, Advice::PopulateWrite).expect("populated");
    if let Ok(pages) = of_pages(&PageScan::open(), range) {
        assert!((0..pages.count()).all(|page| pages.is_present(page)));
        let scanned = by_pagemap_scan(&PageScan::open(), range).expect("it told just now");
        assert_eq!(pages.is_hugepage(), scanned.hugepage_bytes == 2 * MIB);
    }
    give_back(range);
}
