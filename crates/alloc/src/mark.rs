//! The mark in a freed block, by which a block that is handed out is known to be free.
//!
//! A heap that [marks](crate::HeapConfig::MARKS_FREE_BLOCKS) writes it into the first word of every block that is
//! freed: one store, which the processor need not wait for where the block is not in its caches. An allocation,
//! whose caller is about to use the block, compares the word and overwrites it. So a block that comes up a second
//! time, because it was freed twice, has lost the mark, and so has one that the program wrote into after it freed
//! it: only then, off the common path, is it asked which.
//!
//! Objects that nobody had yet have the mark, or begin with zeroes: where their spans come fresh from the kernel,
//! and where a kernel page of theirs went back. Those of classes up to [`LARGEST_MARKED`] get the mark when a CPU's
//! cache is filled with them, and so do larger ones where that takes many; in the others a line of zeroes passes.
//!
//! The word leads to the kernel's half of the address space, so that a program which follows it as a pointer faults.

use crate::{Core, HeapConfig};
use strata_central::{MiddleSource, is_untouched};
use strata_size_classes::{ObjectSource, PageSize, SizeClass};
use strata_sync::atomic::{AtomicU64, Ordering};

/// A word that fits an instruction, as a negative number of 32 bits.
pub(crate) const MARK: u64 = 0xc9e3_56d3_u32.cast_signed() as i64 as u64;

/// What is written over it where a block was in no CPU's cache.
pub(crate) const CLEARED: u64 = 0;

/// What an allocation of more than 1 KiB overwrites it with: not 0, so that a block of which nobody wrote the first
/// word is told from an object that nobody had.
pub(crate) const TAKEN: u64 = 1;

/// The same for the shortest path, from the size of the class, which is at hand there: 0 for less than 256 bytes,
/// of which every object is marked. (Programs that read what they never wrote are used to a 0.)
#[inline(always)]
pub(crate) const fn word_of_small(bytes: u64) -> u64 {
    bytes >> 8
}

/// What an allocation past the shortest path overwrites the mark with, in a block of so many bytes: the same.
pub(crate) const fn word_of_taken(bytes: usize) -> u64 {
    if bytes > 1 << 10 { TAKEN } else { word_of_small(bytes as u64) }
}

/// Objects from this size on have spans of one object, or a few: they are looked at when a CPU's cache has no room
/// for them. (Each such look goes through what the caches nearby have of the class.)
pub(crate) const LONG: usize = 8 << 10;

/// Whether frees look at blocks and addresses at all. `--cfg strata_unchecked` builds a library that does not, for
/// those who measure what it costs.
pub(crate) const LOOKS: bool = !cfg!(strata_unchecked);

/// Objects of classes up to this are marked before a CPU's cache has them, if nobody had them yet. At twice, a
/// program's first blocks of a class may cost it more kernel pages than they fill; at half, fewer blocks that the
/// program begins with a 0 are found out when they are handed out twice.
pub(crate) const LARGEST_MARKED: usize = 256;

/// Blocks of a class above this that come from the middle tier, past a thread's cache, keep what stands in their
/// first word: a write would take memory, under hugepages 2 MiB, for a page that the program may never touch.
pub(crate) const LARGEST_CLEARED: usize = 4096;

/// Objects up to this are marked ahead if a CPU's cache is filled with more of them than a kernel page holds: a
/// class of which the program has wanted some before is likely to be wanted whole. A page that is first read and
/// then written costs two faults (0.7 and 1.8 µs, where a write alone costs 1.5), and the first look at an object
/// without a mark is such a read. Larger ones have pages of their own, which the program may never touch.
const LARGEST_MARKED_WITH_MANY: usize = 4096;

/// What the kernel gives at a touch. Where that is more, some touches below are not needed.
const KERNEL_PAGE_BYTES: usize = 4096;

/// Whether objects of `bytes` that nobody had yet are marked when a CPU's cache is filled with `count` of them.
const fn is_marked_ahead(bytes: usize, count: usize) -> bool {
    bytes <= LARGEST_MARKED
        || bytes <= LARGEST_MARKED_WITH_MANY && count.saturating_mul(bytes) > KERNEL_PAGE_BYTES
}

/// Marks an object of `bytes` if nobody had it: if its first word is 0, and so is the rest of its line. Unless its
/// page `is_touched`, the look at the word is one that may write (5 ns), so that the kernel gives the page at once,
/// and not first zeroes to be read.
///
/// # Safety
///
/// The object is free, of a class, and the caller's alone.
pub(crate) unsafe fn set_if_new(object: *mut u8, bytes: usize, is_touched: bool) {
    if !is_touched {
        // SAFETY: objects are multiples of 8 bytes, and begin at such; this one is the caller's alone.
        let word = unsafe { AtomicU64::from_ptr(object.cast()) };
        let _ = word.compare_exchange(0, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
    // SAFETY: the object is the caller's alone, and as long as its class says.
    if unsafe { is_untouched(object, bytes) } {
        // SAFETY: the object is free, of a class, and the caller's alone.
        unsafe { set(object) };
    }
}

/// Whether a block has the mark.
///
/// # Safety
///
/// `block` is in memory of a heap's class: 8 bytes can be read there.
#[inline(always)]
pub(crate) unsafe fn is_set(block: *mut u8) -> bool {
    // SAFETY: 8 bytes can be read there, as the caller promises; they may begin anywhere if the pointer is not a block.
    LOOKS && unsafe { block.cast::<u64>().read_unaligned() == MARK }
}

/// Marks a block that is being freed.
///
/// # Safety
///
/// The block is the caller's, to its end, and of a class: so 8 bytes long.
#[inline(always)]
pub(crate) unsafe fn set(block: *mut u8) {
    // SAFETY: the block is of a class, so 8 bytes long, and between two owners: nobody else writes.
    unsafe { block.cast::<u64>().write_unaligned(MARK) };
}

/// Overwrites the mark of a block that is going to be handed out.
///
/// # Safety
///
/// The block is the caller's, and of a class: so 8 bytes long.
#[inline(always)]
pub(crate) unsafe fn clear(block: *mut u8, word: u64) {
    // SAFETY: the block is of a class, so 8 bytes long, and nobody else knows it.
    unsafe { block.cast::<u64>().write_unaligned(word) };
}

/// Clears the mark of a block that is going to be handed out, and writes nothing where there is none.
///
/// # Safety
///
/// As for [`clear`].
pub(crate) unsafe fn clear_if_set(block: *mut u8) {
    // SAFETY: a block of a class, which nobody else knows.
    if unsafe { is_set(block) } {
        // SAFETY: nobody else knows the block, whose first word is its mark.
        unsafe { clear(block, CLEARED) };
    }
}

/// Whether a block that is going to be handed out, and has no mark, may be an object that nobody had yet.
///
/// # Safety
///
/// As for [`clear`].
pub(crate) unsafe fn may_be_new<P: PageSize>(class: SizeClass, block: *mut u8) -> bool {
    let bytes = P::TABLE.size(class);
    // SAFETY: the block is of that class, and nobody else knows it.
    bytes > LARGEST_MARKED && unsafe { is_untouched(block, bytes) }
}

/// Where caches of threads bring their objects back to: in a heap that marks, with the mark, so that who frees one
/// of them again is told at once. (In such a cache a link stands in its place.)
#[derive(Debug)]
pub(crate) struct MarkingBack<'a, C: HeapConfig>(
    pub(crate) MiddleSource<'a, Core<C>, <C as HeapConfig>::PageHeap>,
);

// SAFETY: objects come from the middle tier and go there, as it promises; nothing unwinds.
unsafe impl<C: HeapConfig> ObjectSource for MarkingBack<'_, C> {
    fn take(&self, class: SizeClass, out: &mut [*mut u8]) -> usize {
        self.0.take(class, out)
    }

    unsafe fn give(&self, class: SizeClass, objects: &mut [*mut u8]) {
        if C::MARKS_FREE_BLOCKS && LOOKS {
            for &mut object in &mut *objects {
                // SAFETY: the caller gives the object up, which is of a class.
                unsafe { set(object) };
            }
        }
        // SAFETY: the objects are handed on as they came, each still in the slice once.
        unsafe { self.0.give(class, objects) };
    }
}

/// What a heap's middle tier has, for CPUs' caches: in a heap that marks, with the mark.
#[derive(Debug)]
pub(crate) struct Marking<'a, C: HeapConfig>(
    pub(crate) MiddleSource<'a, Core<C>, <C as HeapConfig>::PageHeap>,
);

// SAFETY: objects come from the middle tier and go there, as it promises; nothing unwinds.
unsafe impl<C: HeapConfig> ObjectSource for Marking<'_, C> {
    fn take(&self, class: SizeClass, out: &mut [*mut u8]) -> usize {
        let taken = self.0.take_telling(class, out);
        let bytes = C::Pages::TABLE.size(class);
        if C::MARKS_FREE_BLOCKS && LOOKS && is_marked_ahead(bytes, out.len()) {
            // What comes from the transfer cache was in a CPU's before: it has the mark, and its memory is not touched.
            let new = out.iter().take(taken.all).skip(taken.cached);
            let mut touched = None;
            for &object in new {
                let page = Some(object.addr() / KERNEL_PAGE_BYTES);
                // SAFETY: the object is free, of a class, and nobody else's.
                unsafe { set_if_new(object, bytes, touched == page) };
                touched = page;
            }
        }
        taken.all
    }

    unsafe fn give(&self, class: SizeClass, objects: &mut [*mut u8]) {
        // SAFETY: the objects are handed on as they came, each still in the slice once.
        unsafe { self.0.give(class, objects) };
    }
}
