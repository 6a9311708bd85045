//! The first objects of a class, which are handed out so that neighbours in memory do not follow one another.
//!
//! Two threads that write to objects on one line of the processor's cache take that line from each other at each write,
//! a hundred times as slow as a write is otherwise; and it lasts, for what a thread frees it gets again, wherever it
//! runs by then. Such pairs come from one CPU's batch: one thread allocates a few objects in a row and hands them
//! to others, or several begin on the same CPU. Where a class has many objects out, whoever allocates them in a row is
//! going to walk over them in that order, and has them side by side.

use crate::untouched::LINE_BYTES;

/// While fewer objects of a class are out they are set apart: sixteen times what a CPU's first miss takes, so that a few
/// CPUs have their first batches so. At half as many that holds for half as many CPUs; at twice, a fifth of the first
/// five thousand objects that a program allocates in a row do not lie side by side.
pub(super) const FEW_OUT: u64 = 512;

/// Whether objects of `size` bytes share lines, while so many are out.
#[inline]
pub(super) const fn are_set_apart(size: usize, objects_out: u64) -> bool {
    size < LINE_BYTES && objects_out < FEW_OUT
}

/// Changes the order of objects that lie side by side: of 64 each is 16 or more away from the one before, and the first
/// eight are eight apart; of 32 it is eight, and the first four are. In place, since indices whose bits are reversed
/// come in pairs; what is beyond a power of two stays where it is.
#[inline(never)]
pub(super) fn set_apart(objects: &mut [*mut u8]) {
    let Some(bits) = objects.len().checked_ilog2() else { return };
    let count = 1_usize << bits;
    let mut reversed = 0;
    for index in 0..count {
        if index < reversed && reversed < objects.len() {
            objects.swap(index, reversed);
        }
        // What is carried upwards into the next index goes downwards in its mirror image.
        reversed ^= count - (count >> index.trailing_ones() >> 1);
    }
}

#[cfg(all(test, not(strata_loom)))]
mod tests;
