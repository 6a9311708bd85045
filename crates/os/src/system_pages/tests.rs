use super::{SystemPages, TRIES, mapped_anew};
use crate::{
    AddressRange, Advice, MapError, PageSource, Purpose, Release, ReserveRequest, errno,
    kernel_page_bytes, refuse_calls, set_errno,
};
use core::ptr;

const PAGES: SystemPages = SystemPages::new();
const MIB: usize = 1 << 20;

fn reserve(bytes: usize, align: usize) -> AddressRange {
    let had = PAGES
        .reserve(ReserveRequest { bytes, align, purpose: Purpose::Heap })
        .expect("address space");
    assert!(had.zeroed && !had.committed && had.range.bytes >= bytes);
    had.range
}

fn give_back(range: AddressRange) {
    // SAFETY: each test has its range for itself and is done with it.
    unsafe { PAGES.unreserve(range) }.expect("it was ours");
}

fn byte(address: usize) -> *mut u8 {
    ptr::with_exposed_provenance_mut(address)
}

fn write(address: usize, value: u8) {
    // SAFETY: the test committed the place, and has it for itself.
    unsafe { byte(address).write_volatile(value) }
}

fn read(address: usize) -> u8 {
    // SAFETY: the test committed the place, and has it for itself.
    unsafe { byte(address).read_volatile() }
}

#[test]
fn every_alignment_is_kept_and_ranges_are_exact() {
    for shift in 12..=30 {
        let range = reserve(3 * kernel_page_bytes(), 1 << shift);
        assert_eq!(range.start % (1 << shift), 0);
        give_back(range);
    }
}

#[test]
fn what_is_released_by_force_reads_as_zero_and_is_not_resident() {
    let range = reserve(4 * MIB, 2 * MIB);
    assert_eq!(PAGES.commit(range), Ok(true));
    for address in (range.start..range.end()).step_by(4096) {
        assert_eq!(read(address), 0);
        write(address, 7);
    }
    assert_eq!(PAGES.residency(range).expect("it tells").resident_bytes, 4 * MIB);
    // SAFETY: nothing in it is needed.
    unsafe { PAGES.release(range, Release::Forced) }.expect("released");
    assert_eq!(PAGES.residency(range).expect("it tells").resident_bytes, 0);
    assert_eq!(read(range.start), 0);
    give_back(range);
}

#[test]
fn what_is_decommitted_can_be_committed_again_and_is_zero() {
    let range = reserve(MIB, kernel_page_bytes());
    PAGES.commit(range).expect("committed");
    write(range.start, 9);
    // SAFETY: nothing in it is needed.
    unsafe { PAGES.decommit(range) }.expect("decommitted");
    assert_eq!(PAGES.residency(range).expect("it tells").resident_bytes, 0);
    assert_eq!(PAGES.commit(range), Ok(true));
    assert_eq!(read(range.start), 0);
    give_back(range);
}

#[test]
fn what_is_marked_as_a_guard_cannot_be_read_and_is_zero_afterwards() {
    let range = reserve(1 << 20, 1 << 20);
    PAGES.commit(range).expect("committed");
    let page = PAGES.page_bytes();
    for at in (0..range.bytes).step_by(page) {
        write(range.start + at, 7);
    }
    let guard = AddressRange::new(range.start + page, 2 * page);
    let can_be_read = |address| crate::read_own_memory(address, &mut [0]).is_ok();
    // SAFETY: nobody else knows the range.
    let is_marked = unsafe { PAGES.mark_guard(guard) }.is_ok();
    assert_eq!(can_be_read(guard.start), !is_marked);
    assert_eq!(can_be_read(guard.end() - 8), !is_marked);
    assert!(can_be_read(range.start) && can_be_read(guard.end()), "what stands beside it");
    if is_marked {
        if let Ok(pages) = PAGES.kernel_pages(&crate::PageScan::open(), range) {
            let present = [0, 1, 2, 3].map(|page| pages.is_present(page));
            assert_eq!(present, [true, false, false, true]);
        }
        PAGES.unmark_guard(range).expect("unmarked");
        assert_eq!([read(guard.start), read(guard.end() - 1)], [0, 0]);
    }
    assert_eq!([read(range.start), read(guard.end())], [7, 7]);
    give_back(range);
}

#[test]
fn locked_pages_are_released_by_force_but_not_lazily() {
    let page = kernel_page_bytes();
    let range = reserve(page, page);
    PAGES.commit(range).expect("committed");
    // SAFETY: locks a page of our own.
    let locked = unsafe { libc::mlock(byte(range.start).cast(), page) } == 0;
    write(range.start, 1);
    if locked {
        // SAFETY: nothing in it is needed.
        let lazily = unsafe { PAGES.release(range, Release::Lazy) };
        assert_eq!(lazily, Err(MapError::new(page, libc::EINVAL)));
    }
    // SAFETY: nothing in it is needed.
    unsafe { PAGES.release(range, Release::Forced) }.expect("released");
    assert_eq!(read(range.start), 0);
    give_back(range);
}

#[test]
fn advice_is_taken_or_refused_but_changes_no_byte() {
    let range = reserve(4 * MIB, 2 * MIB);
    PAGES.commit(range).expect("committed");
    PAGES.advise(range, Advice::PopulateWrite).expect("Linux 5.14");
    assert_eq!(PAGES.residency(range).expect("it tells").resident_bytes, 4 * MIB);
    write(range.start, 3);
    for advice in [Advice::NoHugepage, Advice::Cold, Advice::Hugepage] {
        let _ = PAGES.advise(range, advice);
    }
    if PAGES.advise(range, Advice::Collapse).is_ok() {
        assert_eq!(PAGES.residency(range).expect("it tells").hugepage_bytes, 4 * MIB);
    }
    assert_eq!(read(range.start), 3);
    assert_eq!(TRIES, 3);
    give_back(range);
}

#[test]
fn impossible_wishes_are_errors_and_errno_stays() {
    set_errno(55);
    let wish = |bytes, align| {
        PAGES.reserve(ReserveRequest { bytes, align, purpose: Purpose::Heap }).map(|_| ())
    };
    let top = usize::MAX - (kernel_page_bytes() - 1);
    assert_eq!(wish(top, 4096), Err(MapError::new(top, libc::ENOMEM)));
    assert_eq!(wish(1 << 46, 1 << 47).map_err(|error| error.errno), Err(libc::ENOMEM));
    assert_eq!(wish(0, 4096), Err(MapError::new(0, libc::EINVAL)));
    assert_eq!(wish(4097, 4096), Err(MapError::new(4097, libc::EINVAL)));
    assert_eq!(wish(1 << 16, 3 << 14), Err(MapError::new(1 << 16, libc::EINVAL)));
    let odd = AddressRange::new(4097, 4096);
    assert_eq!(PAGES.commit(odd), Err(MapError::new(4096, libc::EINVAL)));
    assert_eq!(errno(), 55);
}

#[test]
fn a_mapping_carries_the_name_of_its_purpose_where_the_kernel_has_names() {
    let page = kernel_page_bytes();
    let wish = ReserveRequest { bytes: 16 * page, align: page, purpose: Purpose::Metadata };
    let range = PAGES.reserve(wish).expect("address space").range;
    let maps = std::fs::read_to_string("/proc/self/maps").expect("proc");
    let has_names = maps.contains("[anon:strata");
    assert!(!has_names || maps.contains("[anon:strata metadata]"), "{maps}");
    give_back(range);
}

/// A range of which the first and the last quarter are written to, so that what lies between them is one part of several.
fn half_committed() -> (AddressRange, AddressRange) {
    let range = reserve(8 * MIB, 2 * MIB);
    let (first, last) = (range.start, range.end() - 2 * MIB);
    for start in [first, last] {
        assert_eq!(PAGES.commit(AddressRange::new(start, 2 * MIB)), Ok(true));
        write(start, 7);
        write(start + 2 * MIB - 1, 7);
    }
    (range, AddressRange::new(range.start + 2 * MIB, 4 * MIB))
}

#[test]
fn where_the_kernel_refuses_to_change_access_memory_is_mapped_anew() {
    let (range, middle) = half_committed();
    // A filter is the thread's that asks for it.
    let refused = std::thread::spawn(move || {
        if refuse_calls(&[libc::SYS_mprotect], libc::EPERM).is_err() {
            return false;
        }
        let before = mapped_anew();
        set_errno(42);
        assert_eq!(PAGES.commit(middle), Ok(true));
        assert_eq!(errno(), 42);
        assert!(mapped_anew() > before);
        true
    });
    if !refused.join().expect("memory is had") {
        std::println!("left out: no seccomp filters");
        return give_back(range);
    }
    for address in (middle.start..middle.end()).step_by(4096) {
        assert_eq!(read(address), 0);
        write(address, 1);
    }
    for start in [range.start, middle.end()] {
        assert_eq!(
            (read(start), read(start + 2 * MIB - 1)),
            (7, 7),
            "its neighbours are as they were"
        );
    }
    give_back(range);
}

#[test]
fn a_hole_is_closed_and_what_stands_there_is_left_alone() {
    let (range, middle) = half_committed();
    super::close_hole(range, libc::PROT_NONE);
    assert_eq!(read(range.start), 7);
    // SAFETY: it is the test's alone.
    unsafe { PAGES.unreserve(middle) }.expect("it was ours");
    super::close_hole(middle, libc::PROT_NONE);
    assert_eq!(PAGES.commit(middle), Ok(true));
    write(middle.start, 1);
    assert_eq!((read(range.start), read(middle.end())), (7, 7));
    give_back(range);
}
