//! What every page source of this crate keeps, and what the kernel's one keeps under limits.

use core::ptr;
use std::process::Command;
use strata_os::{
    AddressRange, Advice, FailingPages, PageSource, Purpose, Release, ReserveRequest,
    SimulatedPages, SystemPages,
};

const MIB: usize = 1 << 20;

fn wish(bytes: usize, align: usize) -> ReserveRequest {
    ReserveRequest { bytes, align, purpose: Purpose::Heap }
}

/// Fills or checks one byte a page, where there is memory.
fn each_page(source: &impl PageSource, range: AddressRange, mut act: impl FnMut(*mut u8)) {
    if source.touchable() {
        let pages = (range.start..range.end()).step_by(source.page_bytes());
        pages.for_each(|address| act(ptr::with_exposed_provenance_mut(address)));
    }
}

fn keeps_the_contract(source: &impl PageSource) {
    let had = source.reserve(wish(6 * MIB, 2 * MIB)).expect("address space");
    let range = had.range;
    assert!(range.bytes >= 6 * MIB && range.start.is_multiple_of(2 * MIB));
    assert!(range.end() <= 1 << source.address_bits());
    assert!(!had.committed && had.zeroed);
    let low = AddressRange::new(range.start, 4 * MIB);
    assert_eq!(source.commit(low), Ok(true));
    // SAFETY: committed, and this test's alone.
    each_page(source, low, |place| unsafe { place.write(1) });
    assert_eq!(source.residency(low).expect("it tells").resident_bytes, 4 * MIB);

    let middle = AddressRange::new(range.start + MIB, MIB);
    // SAFETY: nothing in it is needed.
    unsafe { source.release(middle, Release::Forced) }.expect("released");
    assert_eq!(source.residency(low).expect("it tells").resident_bytes, 3 * MIB);
    // SAFETY: committed, and this test's alone.
    each_page(source, middle, |place| assert_eq!(unsafe { place.read() }, 0));
    source.advise(middle, Advice::PopulateWrite).expect("populated");
    assert_eq!(source.residency(middle).expect("it tells").resident_bytes, MIB);

    // SAFETY: nothing in it is needed.
    unsafe { source.release(low, Release::Lazy) }.expect("released");
    // SAFETY: nobody uses it.
    unsafe { source.decommit(middle) }.expect("decommitted");
    assert_eq!(source.residency(middle).expect("it tells").resident_bytes, 0);
    assert_eq!(source.commit(middle), Ok(true));
    // SAFETY: committed, and this test's alone.
    each_page(source, middle, |place| assert_eq!(unsafe { place.read() }, 0));

    // SAFETY: nobody uses it any more.
    unsafe { source.unreserve(middle) }.expect("a part");
    let upper = AddressRange::new(middle.end(), range.end() - middle.end());
    // SAFETY: nobody uses it any more.
    unsafe { source.unreserve(upper) }.expect("another part");
    // SAFETY: nobody uses it any more.
    unsafe { source.unreserve(AddressRange::new(range.start, MIB)) }.expect("the last part");
}

#[test]
fn the_kernels_pages_keep_the_contract() {
    keeps_the_contract(&SystemPages::new());
}

#[test]
fn simulated_pages_keep_the_contract_and_end_empty() {
    let pages = SimulatedPages::new();
    keeps_the_contract(&pages);
    assert_eq!(pages.figures().reserved_bytes, 0);
    assert_eq!(pages.segments(), 0);
}

#[test]
fn failing_pages_that_are_not_armed_keep_the_contract() {
    keeps_the_contract(&FailingPages::new(SystemPages::new()));
}

#[test]
fn threads_get_ranges_that_nobody_else_has() {
    let seed: usize = std::env::var("STRATA_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    println!("STRATA_SEED={seed}");
    std::thread::scope(|scope| {
        for thread in 1..=8_u8 {
            scope.spawn(move || churn(seed.wrapping_mul(257) + usize::from(thread), thread));
        }
    });
}

fn churn(mut state: usize, mark: u8) {
    let pages = SystemPages::new();
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % below
    };
    let mut held: Vec<AddressRange> = Vec::new();
    for _ in 0..300 {
        if held.len() < 16 {
            let bytes = (1 + random(64)) * pages.page_bytes();
            let align = pages.page_bytes() << random(12);
            let range = pages.reserve(wish(bytes, align)).expect("address space").range;
            assert!(range.start.is_multiple_of(align));
            assert_eq!(pages.commit(range), Ok(true));
            each_page(&pages, range, |place| {
                // SAFETY: committed, and this thread's alone.
                assert_eq!(unsafe { place.read() }, 0);
                // SAFETY: committed, and this thread's alone.
                unsafe { place.write(mark) };
            });
            held.push(range);
        } else {
            let range = held.swap_remove(random(held.len()));
            // SAFETY: committed, and this thread's alone.
            each_page(&pages, range, |place| assert_eq!(unsafe { place.read() }, mark));
            // SAFETY: nobody uses it any more.
            unsafe { pages.unreserve(range) }.expect("it was ours");
        }
    }
}

/// Runs the ignored test `name` of this file in a process of its own, for it limits itself.
fn run_alone(name: &str) {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"])
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{output:?}");
}

/// Limits this process by `set`, for the type of setrlimit's first argument differs by C library.
fn limit(bytes: u64, set: impl FnOnce(*const libc::rlimit) -> i32) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    assert_eq!(set(&raw const limit), 0);
}

#[test]
#[ignore = "run by reserving_is_not_charged_but_committing_is"]
fn under_a_data_limit() {
    // SAFETY: the kernel reads the limit, and this process bears it.
    limit(256 << 20, |limit| unsafe { libc::setrlimit(libc::RLIMIT_DATA, limit) });
    let pages = SystemPages::new();
    let range = pages.reserve(wish(64 << 30, 2 * MIB)).expect("not charged").range;
    assert_eq!(pages.commit(AddressRange::new(range.start, 16 * MIB)), Ok(true));
    let too_much = AddressRange::new(range.start, 1 << 30);
    assert_eq!(pages.commit(too_much).map_err(|error| error.errno), Err(libc::ENOMEM));
    let more = AddressRange::new(range.start + 16 * MIB, 16 * MIB);
    assert_eq!(pages.commit(more), Ok(true));
}

#[test]
fn reserving_is_not_charged_but_committing_is() {
    run_alone("under_a_data_limit");
}

#[test]
#[ignore = "run by short_address_space_is_an_error_and_less_still_fits"]
fn under_an_address_space_limit() {
    let mapped = strata_os::process_memory().expect("proc").mapped_bytes as u64;
    // SAFETY: the kernel reads the limit, and this process bears it.
    limit(mapped + (64 << 20), |limit| unsafe { libc::setrlimit(libc::RLIMIT_AS, limit) });
    let pages = SystemPages::new();
    strata_os::set_errno(0);
    let refused = pages.reserve(wish(128 * MIB, 2 * MIB)).expect_err("more than there is");
    assert_eq!((refused.bytes, refused.errno), (128 * MIB, libc::ENOMEM));
    assert_eq!(strata_os::errno(), 0);
    // An alignment that needs more room than there is, unless it happens to be met.
    let _ = pages.reserve(wish(48 * MIB, 64 * MIB));
    assert!(pages.reserve(wish(8 * MIB, 4096)).is_ok());
}

#[test]
fn short_address_space_is_an_error_and_less_still_fits() {
    run_alone("under_an_address_space_limit");
}
