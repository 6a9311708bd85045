//! Clearing bytes, and whether they are zero: what each call of a hardened heap does with what a slot holds.

use strata_span::Address;
#[cfg(target_arch = "x86_64")]
use strata_sync::atomic::Ordering;

/// A few bytes that are written and read at once.
type Piece = [u64; 2];

/// The same, where it is aligned: what is looked at then takes half the instructions.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct AlignedPiece(Piece);

/// What is cleared and looked at in pieces that may overlap, without a loop.
const FEW: usize = 128;

/// The longest slot that is.
pub(super) const SHORT_SLOT: usize = FEW + size_of::<Piece>();

/// What is longer is looked at before it is cleared: a block of which little was written costs a look at it, and its
/// other pages stay without memory. At half, blocks that are written to their ends take longer.
const READ_FIRST: usize = 16 << 10;

/// How much is looked at before what lies behind it, and up to where is cleared what begins with something else than
/// zeroes: a kernel page, or several of which each begins so.
const LOOK_BYTES: usize = 512;
const PAGE_BYTES: usize = 4 << 10;

/// Clears `bytes` bytes from `start`, both multiples of 8.
///
/// # Safety
///
/// They are the caller's.
#[inline(always)]
pub(super) unsafe fn clear(start: Address, bytes: usize) {
    if bytes <= FEW {
        // SAFETY: the bytes are the caller's to write, and there are as many.
        unsafe { clear_few(start, bytes) }
    } else if bytes <= READ_FIRST {
        // SAFETY: the bytes are the caller's to write, and there are as many.
        unsafe { start.pointer().write_bytes(0, bytes) }
    } else {
        // SAFETY: the bytes are the caller's to write, and there are as many.
        unsafe { clear_what_is_not_zero(start, bytes) }
    }
}

/// The same, of what is not zero already: of each page what lies behind its first bytes that are not, so that no part
/// but these is read and written both.
///
/// # Safety
///
/// As for [`clear`].
#[inline(never)]
#[unsafe(link_section = ".text_rarely")]
unsafe fn clear_what_is_not_zero(start: Address, bytes: usize) {
    // SAFETY: the bytes are the caller's, and those that are looked at lie among them.
    let is_zero_at = |offset| unsafe { is_zero(start.add(offset), LOOK_BYTES.min(bytes - offset)) };
    let page_end =
        |offset: usize| (start.value() + offset + 1).next_multiple_of(PAGE_BYTES) - start.value();
    let mut offset = 0;
    while offset < bytes {
        if is_zero_at(offset) {
            offset += LOOK_BYTES;
            continue;
        }
        let mut end = page_end(offset);
        while end < bytes && !is_zero_at(end) {
            end = page_end(end);
        }
        let end = end.min(bytes);
        // SAFETY: the bytes are the caller's to write, and end no later.
        unsafe { start.add(offset).pointer().write_bytes(0, end - offset) };
        offset = end;
    }
}

/// Clears all but the last eight bytes of a slot, without a call.
///
/// # Safety
///
/// The slot is the caller's, of 8 bytes or a multiple of 16, begins at one of 16, and has at most [`SHORT_SLOT`].
#[inline(always)]
pub(super) unsafe fn clear_short_slot(start: Address, bytes: usize) {
    let Some(whole) = bytes.checked_sub(size_of::<Piece>()) else { return };
    // SAFETY: the slot is the caller's to write, and goes on for 16 bytes.
    unsafe { start.add(whole).pointer().cast::<u64>().write(0) };
    if whole > 0 {
        at_both_ends(whole, |offset| {
            // SAFETY: the bytes are the caller's to write, and `at_both_ends` keeps each piece within them, at
            // multiples of 16.
            unsafe {
                start.add(offset).pointer().cast::<AlignedPiece>().write(AlignedPiece([0; 2]))
            }
        });
    }
}

/// Whether all but the last eight bytes of a slot are zero.
///
/// # Safety
///
/// The slot is readable, of 8 bytes or a multiple of 16, begins at one of 16, and has at most [`SHORT_SLOT`].
#[inline(always)]
pub(super) unsafe fn is_short_slot_zero(start: Address, bytes: usize) -> bool {
    let Some(whole) = bytes.checked_sub(size_of::<Piece>()) else { return true };
    // SAFETY: the slot is readable, and goes on for 16 bytes.
    let last = unsafe { start.add(whole).pointer().cast::<u64>().read() };
    if last != 0 {
        return false;
    }
    let mut sum = [0; 2];
    if whole > 0 {
        at_both_ends(whole, |offset| {
            // SAFETY: the bytes are readable, and `at_both_ends` keeps each piece within them, at multiples of 16.
            let AlignedPiece(piece) =
                unsafe { start.add(offset).pointer().cast::<AlignedPiece>().read() };
            sum = [sum[0] | piece[0], sum[1] | piece[1]];
        });
    }
    sum[0] | sum[1] == 0
}

/// Clears at most [`FEW`] bytes, without a call.
///
/// # Safety
///
/// They are the caller's.
#[inline(always)]
unsafe fn clear_few(start: Address, bytes: usize) {
    if bytes < size_of::<Piece>() {
        if bytes > 0 {
            // SAFETY: the bytes are the caller's to write, and there are as many.
            unsafe { start.pointer().cast::<u64>().write_unaligned(0) };
        }
        return;
    }
    at_both_ends(bytes, |offset| {
        // SAFETY: the bytes are the caller's to write, and `at_both_ends` keeps each piece within them.
        unsafe { start.add(offset).pointer().cast::<Piece>().write_unaligned([0; 2]) }
    });
}

/// Whether `bytes` bytes from `start`, both multiples of 8, are zero.
///
/// # Safety
///
/// They are readable.
#[inline(always)]
pub(super) unsafe fn is_zero(start: Address, bytes: usize) -> bool {
    if bytes <= FEW {
        // SAFETY: the bytes are readable, and there are as many.
        unsafe { are_few_zero(start, bytes) }
    } else {
        // SAFETY: the bytes are readable, and there are as many.
        unsafe { are_many_zero(start, bytes) }
    }
}

/// The same for at most [`FEW`].
///
/// # Safety
///
/// They are readable.
#[inline(always)]
unsafe fn are_few_zero(start: Address, bytes: usize) -> bool {
    if bytes < size_of::<Piece>() {
        // SAFETY: the bytes are readable, and there are as many.
        return bytes == 0 || unsafe { start.pointer().cast::<u64>().read_unaligned() == 0 };
    }
    let mut sum = [0; 2];
    at_both_ends(bytes, |offset| {
        // SAFETY: the bytes are readable, and `at_both_ends` keeps each piece within them.
        let piece = unsafe { start.add(offset).pointer().cast::<Piece>().read_unaligned() };
        sum = [sum[0] | piece[0], sum[1] | piece[1]];
    });
    sum[0] | sum[1] == 0
}

/// Calls `visit` with offsets of pieces that cover `bytes` bytes, 16 to [`FEW`] of them: as many from the beginning
/// as from the end.
#[inline(always)]
fn at_both_ends(bytes: usize, mut visit: impl FnMut(usize)) {
    const PIECE: usize = size_of::<Piece>();
    let end = bytes - PIECE;
    visit(0);
    visit(end);
    if bytes > 2 * PIECE {
        visit(PIECE);
        visit(end - PIECE);
        if bytes > 4 * PIECE {
            visit(2 * PIECE);
            visit(3 * PIECE);
            visit(end - 2 * PIECE);
            visit(end - 3 * PIECE);
        }
    }
}

/// The same as [`is_zero`] for more than [`FEW`]. The processor looks at as much at once as it can.
///
/// # Safety
///
/// They are readable.
#[inline(always)]
unsafe fn are_many_zero(start: Address, bytes: usize) -> bool {
    #[cfg(target_arch = "x86_64")]
    if wide::IS_WIDE.load(Ordering::Relaxed) {
        // SAFETY: the processor has such instructions, and the caller's promise is the same.
        return unsafe { wide::are_many_zero(start, bytes) };
    }
    // SAFETY: the caller's promise: the bytes are readable, and there are as many.
    unsafe { is_sum_zero(start, bytes) }
}

/// All of them are looked at, so that nothing has to be decided before the end; the last piece may overlap the one
/// before it.
///
/// # Safety
///
/// They are readable.
#[inline(always)]
unsafe fn is_sum_zero(start: Address, bytes: usize) -> bool {
    type Long = [u64; FEW / size_of::<u64>()];
    let mut sums = [0; FEW / size_of::<u64>()];
    let mut add = |offset: usize| {
        // SAFETY: the caller's promise: an offset leaves room for a piece; who writes there at the same time breaks
        // the rules, and is looked for.
        let piece = unsafe { start.add(offset).pointer().cast::<Long>().read_unaligned() };
        sums.iter_mut().zip(piece).for_each(|(sum, word)| *sum |= word);
    };
    let last = bytes - FEW;
    let mut offset = 0;
    while offset < last {
        add(offset);
        offset += FEW;
    }
    add(last);
    sums.iter().fold(0, |sum, word| sum | word) == 0
}

/// Finds out what the processor can. Before the first question about many bytes; later, they are answered all the same.
pub(super) fn begin() {
    #[cfg(target_arch = "x86_64")]
    wide::IS_WIDE.store(wide::is_there(), Ordering::Relaxed);
}

/// Words of 256 bits, which the x86-64 that all is compiled for does not have.
#[cfg(target_arch = "x86_64")]
mod wide {
    use super::{Address, is_sum_zero};
    use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
    use strata_sync::atomic::AtomicBool;

    /// Written by [`begin`](super::begin).
    pub(super) static IS_WIDE: AtomicBool = AtomicBool::new(false);

    /// Whether the processor has AVX2, and the kernel keeps its registers (Intel, *Software Developer's Manual*,
    /// volume 1, section 14.3).
    pub(super) fn is_there() -> bool {
        const XSAVE_AND_AVX: u32 = 1 << 27 | 1 << 28;
        const AVX2: u32 = 1 << 5;
        const XMM_AND_YMM: u64 = 6;
        if __cpuid(0).eax < 7 || __cpuid(1).ecx & XSAVE_AND_AVX != XSAVE_AND_AVX {
            return false;
        }
        // SAFETY: the processor has the instruction, as bit 27 says, and register 0 is always there.
        let kept = unsafe { _xgetbv(0) };
        kept & XMM_AND_YMM == XMM_AND_YMM && __cpuid_count(7, 0).ebx & AVX2 != 0
    }

    /// # Safety
    ///
    /// The processor has such words; the bytes are readable.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn are_many_zero(start: Address, bytes: usize) -> bool {
        // SAFETY: the bytes are readable, as the caller promises.
        unsafe { is_sum_zero(start, bytes) }
    }
}
