use crate::{AddressRange, Advice, PageSource, Purpose, ReserveRequest, SystemPages};
use core::ptr;

const PAGES: SystemPages = SystemPages::new();
const MIB: usize = 1 << 20;

/// Two committed ranges of `bytes` bytes.
fn two_ranges(bytes: usize) -> (AddressRange, AddressRange) {
    let request = ReserveRequest { bytes: 2 * bytes, align: 2 * MIB, purpose: Purpose::Heap };
    let range = PAGES.reserve(request).expect("address space").range;
    PAGES.commit(range).expect("memory");
    (AddressRange::new(range.start, bytes), AddressRange::new(range.start + bytes, bytes))
}

fn memory(range: AddressRange) -> &'static mut [u8] {
    // SAFETY: the test committed the range, and uses it through one slice at a time.
    unsafe {
        core::slice::from_raw_parts_mut(ptr::with_exposed_provenance_mut(range.start), range.bytes)
    }
}

fn fill(range: AddressRange) {
    memory(range)
        .iter_mut()
        .enumerate()
        .for_each(|(index, byte)| *byte = (index / 4096 % 251) as u8 + 1);
}

fn is_filled(range: AddressRange) -> bool {
    memory(range).iter().enumerate().all(|(index, byte)| *byte == (index / 4096 % 251) as u8 + 1)
}

/// Moves all of `from`; none where this kernel does not.
fn relocate(from: AddressRange, to: AddressRange) -> Option<usize> {
    let (mut done, mut calls) = (0, 0);
    while done < from.bytes {
        let rest = AddressRange::new(from.start + done, from.bytes - done);
        // SAFETY: the test has both ranges for itself.
        match unsafe { PAGES.relocate(rest, to.start + done) } {
            Ok(bytes) => done += bytes,
            Err(error) if calls == 0 && matches!(error.errno, libc::ENOTTY | libc::EINVAL) => {
                return None;
            }
            Err(error) => panic!("{error}"),
        }
        calls += 1;
    }
    Some(calls)
}

#[test]
fn moved_memory_keeps_its_contents_and_leaves_zeroes_behind() {
    let (from, to) = two_ranges(6 * MIB);
    fill(from);
    memory(to).fill(99);
    if relocate(from, to).is_some() {
        assert!(is_filled(to));
        assert!(memory(from).iter().all(|byte| *byte == 0));
        // Both are as good as before: back again.
        fill(from);
        relocate(to, from);
        assert!(is_filled(from));
    }
}

#[test]
fn memory_of_several_mappings_moves_piece_by_piece() {
    let (from, to) = two_ranges(8 * MIB);
    // Advice of its own is a mapping of its own.
    PAGES
        .advise(AddressRange::new(from.start + 2 * MIB, 2 * MIB), Advice::NoHugepage)
        .expect("advised");
    fill(from);
    if let Some(calls) = relocate(from, to) {
        assert!(calls >= 3, "{calls}");
        assert!(is_filled(to));
    }
}

#[test]
fn a_move_to_an_impossible_place_fails_and_leaves_the_source_alone() {
    let (from, _) = two_ranges(4 * MIB);
    fill(from);
    // SAFETY: the kernel refuses a target that is no page.
    assert!(unsafe { PAGES.relocate(from, from.start + 1) }.is_err());
    assert!(is_filled(from));
}
