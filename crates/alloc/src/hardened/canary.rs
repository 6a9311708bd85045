//! Bytes behind a block that nobody but the heap writes.

use super::zeroes::{is_short_slot_zero, is_zero};
use core::hint::cold_path;
use strata_span::Address;
use strata_sync::atomic::{AtomicU64, Ordering};

/// Free slots whose content is at most this long are looked through as a whole when they are handed out again; of
/// longer ones the first and the last half of it. (The sweep looks at all of it.)
pub(super) const CHECKED_WHOLE: usize = 8 << 10;

/// The canary of a slot: eight bytes, none of them zero, repeated from the block's end to the slot's, at the same places
/// of each word. So what is written first and what is written last agree where they overlap.
///
/// The second byte behind the block is zero, whatever the canary has there: who reads a string that is not ended
/// comes no further. The first is not, so that the commonest of all overflows, the end of a string, is seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Canary([u8; 8]);

/// What canaries are made with beside addresses. All zero bits are one of which no canary is made.
///
/// Two numbers, so that who reads one canary cannot make another slot's. Who reads two, of slots whose addresses he knows, has their quotient, but
/// for the bits that are [set](Self::ones): nearly all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Secret {
    /// Odd: slots with one canary would lie 2^64 bytes apart.
    factor: u64,
    sum: u64,
    /// A bit of each byte, so that none is zero. Beside the others, it takes no instruction to be had.
    ones: u64,
}

impl Secret {
    pub(super) const fn of(factor: u64, sum: u64) -> Self {
        Self { factor: factor | 1, sum, ones: 0x0101_0101_0101_0101 }
    }
}

impl Canary {
    /// The least that a slot has of it.
    pub(super) const BYTES: usize = 8;

    /// The canary of the slot at `start`.
    #[inline(always)]
    pub(super) fn of(start: Address, secret: &Secret) -> Self {
        let mixed = (start.value() as u64).wrapping_mul(secret.factor).wrapping_add(secret.sum);
        Self((mixed | secret.ones).to_le_bytes())
    }

    /// Writes it behind the `size` bytes of a block in a slot of `bytes` bytes: the first eight, and the slot's last.
    ///
    /// # Safety
    ///
    /// The slot at `start` is the caller's, `bytes` long, a multiple of 8, and at least 8 longer than `size`.
    #[inline(always)]
    pub(super) unsafe fn write(self, start: Address, bytes: usize, size: usize) {
        let (first, last) = (start.add(size), start.add(bytes - Self::BYTES));
        // SAFETY: the caller's promise: the slot goes on for 8 bytes, and they are aligned.
        unsafe { last.pointer().cast::<u64>().write(self.word_at(0)) };
        // SAFETY: the caller's promise: behind the block its slot goes on for 8 bytes, which need not be aligned here.
        unsafe { first.pointer().cast::<u64>().write_unaligned(self.first_word(size)) };
    }

    /// Writes the slot's last eight bytes anew.
    ///
    /// # Safety
    ///
    /// The slot at `start` is nobody's, and `bytes` long, a multiple of 8.
    pub(super) unsafe fn write_end(self, start: Address, bytes: usize) {
        // SAFETY: the caller's promise: the slot's last word is whole and aligned.
        unsafe { start.add(bytes - Self::BYTES).pointer().cast::<u64>().write(self.word_at(0)) };
    }

    /// Writes the slot's last eight bytes as [`write`](Self::write) had them for a block of `size` bytes, unless they
    /// changed since somebody read `found` there.
    ///
    /// # Safety
    ///
    /// The slot at `start` is readable and writable, `bytes` long, a multiple of 8, and at least 8 longer than `size`;
    /// others may write at the same time.
    pub(super) unsafe fn mend_end(self, start: Address, bytes: usize, size: usize, found: u64) {
        let last = start.add(bytes - Self::BYTES).pointer().cast::<u64>();
        // SAFETY: the caller's promise: the slot's last word is whole and aligned, and may be written.
        let last = unsafe { AtomicU64::from_ptr(last) };
        let whole = self.last_word(bytes, size);
        // A block that somebody else had there meanwhile has its own.
        let _ = last.compare_exchange(found, whole, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether it stands as [`write`](Self::write) wrote it.
    ///
    /// # Safety
    ///
    /// As for `write`; others may write at the same time, which is what is looked for.
    #[inline(always)]
    pub(super) unsafe fn is_whole(self, start: Address, bytes: usize, size: usize) -> bool {
        // SAFETY: the word lies in the slot, which is readable to its end.
        let first = unsafe { start.add(size).pointer().cast::<u64>().read_unaligned() };
        if first != self.first_word(size) {
            return false;
        }
        // SAFETY: the word lies in the slot, which is readable to its end.
        let last = unsafe { last_word(start, bytes) };
        let whole = self.word_at(0);
        last == whole
            || match bytes - Self::BYTES - size {
                // It is the same word.
                0 => true,
                // The zero is its first byte.
                1 => last == whole & !byte(0),
                _ => false,
            }
    }

    /// Whether the slot's last byte stands, which lies right before the next slot's block, however long its own is.
    ///
    /// # Safety
    ///
    /// As for [`is_end_whole`](Self::is_end_whole).
    pub(super) unsafe fn is_last_byte_whole(self, start: Address, bytes: usize) -> bool {
        // SAFETY: the slot is readable for `bytes` bytes, in which all that is read lies.
        (unsafe { last_word(start, bytes) } ^ self.word_at(0)) & byte(7) == 0
    }

    /// Whether the slot's last eight bytes stand, however long its block is.
    ///
    /// # Safety
    ///
    /// The slot is readable and `bytes` long, a multiple of 8; others may write at the same time.
    #[inline(always)]
    pub(super) unsafe fn is_end_whole(self, start: Address, bytes: usize) -> bool {
        // SAFETY: the slot is readable for `bytes` bytes, in which all that is read lies.
        self.may_end_with(unsafe { last_word(start, bytes) })
    }

    /// Whether the last eight bytes of a slot that is free stand: as they were written, or as zeroes, where the
    /// kernel's page went back while the span had no use for it.
    ///
    /// # Safety
    ///
    /// As for [`is_end_whole`](Self::is_end_whole).
    #[inline(always)]
    pub(super) unsafe fn is_free_end_whole(self, start: Address, bytes: usize) -> bool {
        // SAFETY: the slot is readable for `bytes` bytes, in which all that is read lies.
        let word = unsafe { last_word(start, bytes) };
        self.may_end_with(word) || word == 0
    }

    /// Whether a free slot is as it was left: zeroes, and its last eight bytes. Of a long slot both ends are looked at.
    ///
    /// # Safety
    ///
    /// As for [`is_end_whole`](Self::is_end_whole).
    #[inline(always)]
    pub(super) unsafe fn is_untouched(self, start: Address, bytes: usize) -> bool {
        let content = bytes - Self::BYTES;
        let part = if content > CHECKED_WHOLE { CHECKED_WHOLE / 2 } else { content };
        // SAFETY: the slot is readable for `bytes` bytes, in which all that is read lies.
        let begins_zero = unsafe { is_zero(start, part) };
        // SAFETY: the slot is readable for `bytes` bytes, in which all that is read lies.
        let ends_zero = part == content || unsafe { is_zero(start.add(content - part), part) };
        // SAFETY: the slot is readable for `bytes` bytes, in which all that is read lies.
        begins_zero && ends_zero && unsafe { self.is_free_end_whole(start, bytes) }
    }

    /// The same of a slot of 8 bytes or a multiple of 16, at most [`SHORT_SLOT`](super::zeroes::SHORT_SLOT), that
    /// begins at one of 16.
    ///
    /// # Safety
    ///
    /// As for [`is_end_whole`](Self::is_end_whole).
    #[inline(always)]
    pub(super) unsafe fn is_short_untouched(self, start: Address, bytes: usize) -> bool {
        // SAFETY: the slot is readable for `bytes` bytes, in which all that is read lies.
        let is_zero = unsafe { is_short_slot_zero(start, bytes) };
        // SAFETY: the slot is readable for `bytes` bytes, in which all that is read lies.
        is_zero && unsafe { self.is_free_end_whole(start, bytes) }
    }

    /// The same, of every slot all of it.
    ///
    /// # Safety
    ///
    /// As for [`is_end_whole`](Self::is_end_whole).
    pub(super) unsafe fn is_untouched_whole(self, start: Address, bytes: usize) -> bool {
        // SAFETY: the slot is readable for `bytes` bytes, in which all that is read lies.
        let is_zero = unsafe { is_zero(start, bytes - Self::BYTES) };
        // SAFETY: the slot is readable for `bytes` bytes, in which all that is read lies.
        is_zero && unsafe { self.is_free_end_whole(start, bytes) }
    }

    /// Whether a slot's last word is one that [`write`](Self::write) may have written, for whatever size.
    #[inline(always)]
    pub(super) fn may_end_with(self, word: u64) -> bool {
        let whole = self.word_at(0);
        if word == whole {
            return true;
        }
        cold_path();
        word == whole & !byte(1) || word == whole & !byte(0)
    }

    /// The last eight bytes of a slot of `bytes` bytes, of which a block has `size`.
    fn last_word(self, bytes: usize, size: usize) -> u64 {
        match bytes - Self::BYTES - size {
            0 => self.word_at(0) & !byte(1),
            1 => self.word_at(0) & !byte(0),
            _ => self.word_at(0),
        }
    }

    /// The eight bytes behind a block of `size` bytes.
    #[inline(always)]
    fn first_word(self, size: usize) -> u64 {
        self.word_at(size) & !byte(1)
    }

    /// The eight bytes that stand at `offset` bytes into a slot, but for the zero.
    #[inline(always)]
    fn word_at(self, offset: usize) -> u64 {
        let turn = (offset % Self::BYTES) as u32 * u8::BITS;
        u64::from_le_bytes(self.0).rotate_right(turn).to_le()
    }
}

/// All bits of the byte that stands at `place` in a word in memory.
const fn byte(place: u32) -> u64 {
    (0xff_u64 << (u8::BITS * place)).to_le()
}

/// The last eight bytes of a slot.
///
/// # Safety
///
/// The slot is readable and `bytes` long, a multiple of 8; others may write at the same time.
pub(super) unsafe fn last_word(start: Address, bytes: usize) -> u64 {
    let last = start.add(bytes - Canary::BYTES).pointer().cast::<u64>();
    // SAFETY: the slot is readable, and its length a multiple of 8: its last word is whole and aligned.
    unsafe { last.read_volatile() }
}

#[cfg(test)]
mod tests;
