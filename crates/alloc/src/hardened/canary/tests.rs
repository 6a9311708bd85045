use super::super::zeroes::{self, SHORT_SLOT, clear, clear_short_slot};
use super::*;
use std::os::unix::fs::FileExt;

const SECRET: Secret = Secret::of(0x9e37_79b9_7f4a_7c15, 42);

#[repr(align(16))]
struct Place([u8; 64]);

#[test]
fn every_byte_behind_the_block_is_watched_where_eight_are() {
    for size in 0..=56 {
        for bytes in [(size + 8_usize).next_multiple_of(8), 64] {
            let mut slot = Place([0xaa; 64]);
            let start = Address::of(&raw mut slot);
            let canary = Canary::of(start, &SECRET);
            // SAFETY: the place is ours, and 64 bytes long.
            unsafe { canary.write(start, bytes, size) };
            assert!(slot.0[..size].iter().all(|&byte| byte == 0xaa), "the block stays");
            // SAFETY: the place is ours, and 64 bytes long.
            assert!(unsafe { canary.is_whole(start, bytes, size) }, "{size} of {bytes}");
            for at in (size..size + 8).chain(bytes - 8..bytes) {
                let old = slot.0[at];
                slot.0[at] = if old == 0 { 1 } else { 0 };
                // SAFETY: the place is ours, and 64 bytes long.
                assert!(!unsafe { canary.is_whole(start, bytes, size) }, "{at}, {size} of {bytes}");
                slot.0[at] = old;
            }
        }
    }
}

#[test]
fn a_string_that_is_not_ended_is_read_one_byte_too_far() {
    for size in 0..=56 {
        for bytes in [(size + 8_usize).next_multiple_of(8), 64] {
            let mut slot = Place([0xaa; 64]);
            let start = Address::of(&raw mut slot);
            let canary = Canary::of(start, &SECRET);
            // SAFETY: the place is ours, and 64 bytes long.
            unsafe { canary.write(start, bytes, size) };
            let length = slot.0.iter().position(|&byte| byte == 0);
            assert_eq!(length, Some(size + 1), "{size} of {bytes}");
            // SAFETY: the place is ours, and 64 bytes long.
            let is_whole = unsafe { canary.is_end_whole(start, bytes) };
            assert!(is_whole, "a neighbour, who does not know the size: {size} of {bytes}");
            let old = slot.0[bytes - 1];
            slot.0[bytes - 1] = old ^ 1;
            // SAFETY: the place is ours, and 64 bytes long.
            let is_whole = unsafe { canary.is_end_whole(start, bytes) };
            assert!(!is_whole && slot.0[bytes - 1] != old, "{size} of {bytes}");
        }
    }
}

#[test]
fn a_byte_in_a_free_slot_is_seen() {
    // Canaries with each value of each byte come up.
    for secret in 0..2000 {
        let mut slot = Place([0; 64]);
        let start = Address::of(&raw mut slot);
        let canary = Canary::of(start, &Secret::of(0x9e37_79b9_7f4a_7c15, secret));
        // SAFETY: the place is ours, and 64 bytes long.
        unsafe { canary.write(start, 64, 56) };
        // SAFETY: the place is ours, and 64 bytes long.
        assert!(unsafe { canary.is_untouched(start, 64) });
        for at in 0..64 {
            // Neither the zero that ends a string, nor what the canary has there.
            let other = canary.0[at % 8] ^ 2;
            let old = core::mem::replace(&mut slot.0[at], other);
            // SAFETY: the place is ours, and 64 bytes long.
            let some = unsafe { canary.is_untouched(start, 64) };
            // SAFETY: the place is ours, and 64 bytes long.
            let whole = unsafe { canary.is_untouched_whole(start, 64) };
            assert!(!some && !whole, "{other} at {at} of {canary:?}");
            slot.0[at] = old;
        }
    }
}

#[repr(align(16))]
struct Words([u64; 51]);

#[test]
fn a_slot_of_any_length_is_cleared_to_its_canary_and_looked_through_as_far() {
    zeroes::begin();
    for bytes in (8..=400).step_by(8) {
        let content = bytes - Canary::BYTES;
        let mut words = Words([0x5a5a_5a5a_5a5a_5a5a_u64; 51]);
        let start = Address::of(words.0.as_mut_ptr().cast::<u8>());
        let is_short = bytes <= SHORT_SLOT && (bytes == 8 || bytes % 16 == 0);
        let canary = Canary::of(start, &SECRET);
        // SAFETY: the words are ours, and longer than the slot.
        unsafe { canary.write(start, bytes, content) };
        if is_short {
            // SAFETY: the words are ours, and longer than the slot.
            unsafe { clear_short_slot(start, bytes) };
        } else {
            // SAFETY: the words are ours, and longer than the slot.
            unsafe { clear(start, content) };
        }
        let is_untouched = || {
            // SAFETY: the words are ours, and longer than the slot.
            let some = unsafe { canary.is_untouched(start, bytes) };
            // SAFETY: the words are ours, and longer than the slot.
            let short = !is_short || unsafe { canary.is_short_untouched(start, bytes) };
            assert!(!is_short || short == some, "{bytes}");
            some
        };
        assert!(is_untouched(), "{bytes}");
        let behind = start.add(bytes).pointer().cast::<u64>();
        // SAFETY: the words are ours, and longer than the slot.
        assert_eq!(unsafe { behind.read() }, 0x5a5a_5a5a_5a5a_5a5a, "{bytes}");
        for at in 0..bytes {
            let byte = start.add(at).pointer();
            // SAFETY: the words are ours, and longer than the slot.
            let old = unsafe { byte.read() };
            // SAFETY: the words are ours, and longer than the slot.
            unsafe { byte.write(old ^ 0x10) };
            assert!(!is_untouched(), "{at} of {bytes}");
            // SAFETY: the words are ours, and longer than the slot.
            unsafe { byte.write(old) };
        }
    }
}

/// How many kernel pages have memory of their own, which the page of zeroes that is everybody's is not; none where the
/// kernel does not tell.
fn pages_with_memory(start: usize, bytes: usize) -> Option<usize> {
    const EXCLUSIVE: u64 = 1 << 56;
    let mut words = std::vec![0; bytes / 4096 * 8];
    let file = std::fs::File::open("/proc/self/pagemap").ok()?;
    file.read_exact_at(&mut words, start as u64 / 4096 * 8).ok()?;
    let words = words.chunks_exact(8).filter_map(|word| word.try_into().ok());
    Some(words.filter(|&word| u64::from_ne_bytes(word) & EXCLUSIVE != 0).count())
}

#[test]
fn pages_of_a_long_slot_that_nobody_wrote_to_stay_without_memory() {
    const BYTES: usize = 1 << 20;
    zeroes::begin();
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping, wherever there is room.
    let mapping = unsafe { libc::mmap(core::ptr::null_mut(), BYTES, access, private, -1, 0) };
    // SAFETY: the mapping was just made, and is as long.
    let advice = unsafe { libc::madvise(mapping, BYTES, libc::MADV_NOHUGEPAGE) };
    assert!(mapping != libc::MAP_FAILED && advice == 0);
    let start = Address::of(mapping.cast::<u8>());
    if pages_with_memory(start.value(), BYTES) != Some(0) {
        return;
    }
    for at in [0, 5 * 4096 + 8, 77 * 4096 + 2048, BYTES - 16] {
        // SAFETY: the mapping is ours, and as long.
        unsafe { start.add(at).pointer().write(1) };
        // SAFETY: the mapping is ours, and as long.
        unsafe { clear(start, BYTES) };
        // SAFETY: the mapping is ours, and as long.
        assert!(unsafe { zeroes::is_zero(start, BYTES) }, "written at {at}");
    }
    let pages = pages_with_memory(start.value(), BYTES);
    // SAFETY: the mapping is ours, and nothing of it is used any more.
    unsafe { libc::munmap(mapping, BYTES) };
    assert_eq!(pages, Some(4), "a page for each write");
}

#[test]
fn a_long_slot_is_cleared_wherever_it_was_written() {
    zeroes::begin();
    let mut words = std::vec![0_u64; 5_003];
    let start = Address::of(words.as_mut_ptr().cast::<u8>());
    let bytes = words.len() * 8;
    let word = |at: usize| start.add(at * 8).pointer().cast::<u64>();
    let write = |at: usize| {
        // SAFETY: the words are ours, and there are more.
        unsafe { word(at).write(1 << (at % 64)) }
    };
    let is_all_zero = || {
        (0..bytes / 8).all(|at| {
            // SAFETY: the words are ours, and there are as many.
            let found = unsafe { word(at).read() };
            found == 0
        })
    };
    for step in [1, 31, 32, 33, 511, 512, 513, 1_000, 4_999] {
        for first in [0, 31, 32, 511, 512, 4_096, 5_001] {
            (first..bytes / 8 - 1).step_by(step).for_each(write);
            // SAFETY: the words are ours, and there are as many.
            unsafe { clear(start, bytes - 8) };
            assert!(is_all_zero(), "every {step}th word from {first} on");
        }
    }
    write(bytes / 8 - 1);
    // SAFETY: the words are ours, and there are as many.
    unsafe { clear(start, bytes - 8) };
    assert!(!is_all_zero(), "the word behind stays as it is");
}
