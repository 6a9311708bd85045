//! The words that every thread has to itself, without a call.
//!
//! `malloc` and `free` count bytes per thread, and the counter must cost next to nothing.
//! Stable Rust's `thread_local!` in a shared object is a call for every access, so the words are
//! declared here: one 128-byte block of static thread-local storage, which is all that a shared
//! object with Strata in it takes of the space that the loader keeps for such blocks.
//!
//! # Layout
//!
//! | bytes | what |
//! |---|---|
//! | 0..16 | words common to all heaps: [`ThreadBlock::state`], [`ThreadBlock::reentry`], [`ThreadBlock::spare`] |
//! | 16..40 | three words that are always zero |
//! | 40..80 | the first slot |
//! | 80..120 | the second slot |
//! | 96..128 | instead of the second slot: the thread's restartable-sequence area where libc registers none |
//!
//! A *slot* is the [`SlotWords`] of one heap. A heap that was given no slot uses
//! [`Slot::UNBOUND`], the block's beginning read as a slot: there the two limits and the record
//! are the zero words, so that every call compares against a limit of 0 and takes the slow path,
//! and no fast path asks whether there is a slot at all. A new thread's block is all zero, which
//! makes its limits 0 and sends it to the slow path too.
//!
//! # Who may touch it
//!
//! Only the thread itself writes its words, and only to [`SlotWords`] may others look, through a
//! pointer that the thread made known and takes back before it ends. The block is gone with its
//! thread; destructors that run as the thread ends still see it.
//!
//! # How it is reached
//!
//! On x86-64 the block is a symbol with hidden visibility, so that two shared objects with
//! Strata in them have a block each, in the initial-exec model: its distance from the thread
//! pointer is one load from the global offset table, and a word of it one access relative to
//! `fs`. In a release build of a shared object, adding to a counter, comparing it with its limit and
//! writing it back, `Slot::FIRST` known, is this and nothing else:
//!
//! ```text
//! mov rax, [rip + <entry of the global offset table>]   ; R_X86_64_TPOFF64, filled by the loader
//! add rax, 40
//! add rcx, fs:[rax]                                      ; allocated_with
//! cmp rcx, fs:[rax + 16]                                 ; is_above_allocated_limit
//! ja  <the caller's slow path>
//! mov fs:[rax], rcx                                      ; set_allocated
//! ```
//!
//! In an executable the linker turns the first load into a constant (`mov rbx, -192`). A slot
//! known only as the program runs costs the same `add`, with a register. [`block`] adds a load of
//! the thread pointer. The object carries the `STATIC_TLS` flag and can be loaded by `dlopen` for
//! as long as the loader has 128 bytes of its reserve left.
//!
//! Elsewhere there is a portable variant: see the crate's source, `thread_block/portable.rs`.
//! Under `--cfg strata_loom` the block belongs to the thread of the system; loom runs all threads
//! of a model on one, so that they share it. What a model is about must not rest on these words.
//!
//! # Example
//!
//! ```
//! use strata_sync::thread_block::{self, Slot};
//!
//! let allocated = thread_block::allocated_with(Slot::FIRST, 48);
//! assert_eq!(allocated, 48);
//! // A new thread: the slow path.
//! assert!(thread_block::is_above_allocated_limit(Slot::FIRST, allocated));
//! thread_block::set_allocated(Slot::FIRST, allocated);
//! assert_eq!(thread_block::allocated_with(Slot::FIRST, 16), 64);
//! ```

use core::marker::PhantomData;
use core::mem::offset_of;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use static_assertions::const_assert_eq;

#[cfg(strata_loom)]
mod modelled;
#[cfg(all(not(strata_loom), any(test, not(target_arch = "x86_64"))))]
mod portable;
#[cfg(all(not(strata_loom), target_arch = "x86_64"))]
mod x86_64;

#[cfg(strata_loom)]
use modelled as variant;
#[cfg(all(not(strata_loom), not(target_arch = "x86_64")))]
use portable as variant;
#[cfg(all(not(strata_loom), target_arch = "x86_64"))]
use x86_64 as variant;

/// Bytes of a block.
pub const BLOCK_BYTES: usize = 128;

/// Where in the block a thread's restartable-sequence area stands that Strata registers itself:
/// 32 bytes, aligned to 32, which end the block and overlap the second slot.
pub const RSEQ_AREA_OFFSET: usize = 96;

/// One heap's words of one thread.
///
/// They are `core`'s atomics under loom as well: a word that one thread alone writes has no
/// interleaving worth exploring.
#[derive(Debug)]
#[repr(C)]
pub struct SlotWords {
    /// Bytes that the thread allocated, ever. Written by the thread, read by anybody.
    pub allocated: AtomicU64,
    /// Bytes that the thread freed, ever. Written by the thread, read by anybody.
    pub deallocated: AtomicU64,
    /// An allocation that would lift `allocated` above it takes the slow path; 0 sends every one
    /// there. Written and read by the thread.
    pub allocated_limit: AtomicU64,
    /// The same for `deallocated`.
    pub deallocated_limit: AtomicU64,
    /// The heap's record of the thread, null while there is none. Written and read by the thread.
    pub record: AtomicPtr<()>,
}

/// The words of one thread.
///
/// It cannot be sent to another thread, nor shared with one: it ends with its own.
#[repr(C, align(64))]
pub struct ThreadBlock {
    /// What the thread has been made ready for; the layer above gives the bits their meaning.
    pub state: AtomicU32,
    /// How deep the thread is inside calls that must not be entered again.
    pub reentry: AtomicU32,
    /// Unused, and zero.
    pub spare: AtomicU64,
    /// Limits and record of the slot of a heap without a slot.
    zero: [u64; 3],
    first: SlotWords,
    /// The second slot and what the kernel writes; reached through pointers alone.
    tail: [AtomicU64; 6],
    not_shared: PhantomData<*mut ()>,
}

const_assert_eq!(size_of::<SlotWords>(), 40);
const_assert_eq!(offset_of!(SlotWords, allocated), 0);
const_assert_eq!(offset_of!(SlotWords, deallocated), 8);
const_assert_eq!(offset_of!(SlotWords, allocated_limit), 16);
const_assert_eq!(offset_of!(SlotWords, deallocated_limit), 24);
const_assert_eq!(offset_of!(SlotWords, record), 32);
const_assert_eq!(size_of::<ThreadBlock>(), BLOCK_BYTES);
const_assert_eq!(align_of::<ThreadBlock>(), 64);
const_assert_eq!(offset_of!(ThreadBlock, state), 0);
const_assert_eq!(offset_of!(ThreadBlock, reentry), 4);
const_assert_eq!(offset_of!(ThreadBlock, spare), 8);
const_assert_eq!(offset_of!(ThreadBlock, zero), 16);
const_assert_eq!(offset_of!(ThreadBlock, first), Slot::FIRST.byte_offset());
const_assert_eq!(offset_of!(ThreadBlock, tail), Slot::SECOND.byte_offset());
const_assert_eq!(RSEQ_AREA_OFFSET % 32, 0);

/// Which words of the block are a heap's: their distance from its beginning, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Slot(usize);

impl Slot {
    /// No slot: limits and record are zero for ever. Never written through.
    pub const UNBOUND: Self = Self(0);
    /// The first slot.
    pub const FIRST: Self = Self(40);
    /// The second slot, which exists where libc has a restartable-sequence area of its own.
    pub const SECOND: Self = Self(80);

    /// Its distance from the block's beginning, in bytes.
    #[inline(always)]
    pub const fn byte_offset(self) -> usize {
        self.0
    }

    /// The slot that stands there, as [`byte_offset`](Self::byte_offset) told it.
    pub const fn from_byte_offset(offset: usize) -> Option<Self> {
        match offset {
            0 => Some(Self::UNBOUND),
            40 => Some(Self::FIRST),
            80 => Some(Self::SECOND),
            _ => None,
        }
    }
}

/// A place for a slot, which threads may read while one writes. All zero bits are [`Slot::UNBOUND`].
#[derive(Debug)]
#[repr(transparent)]
pub struct AtomicSlot(AtomicUsize);

impl AtomicSlot {
    /// [`Slot::UNBOUND`] stands in it.
    pub const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// What stands in it.
    #[inline(always)]
    pub fn load(&self) -> Slot {
        // Relaxed: a slot publishes nothing, and a thread that sees an old one takes its slow path.
        Slot(self.0.load(Ordering::Relaxed))
    }

    /// Puts `slot` into it.
    pub fn store(&self, slot: Slot) {
        self.0.store(slot.0, Ordering::Relaxed);
    }
}

impl Default for AtomicSlot {
    fn default() -> Self {
        Self::new()
    }
}

/// The calling thread's block.
///
/// Three instructions; the portable variant makes a block on a thread's first call. Valid for as
/// long as the thread runs, which is as long as the reference can be used.
#[inline(always)]
pub fn block() -> &'static ThreadBlock {
    // SAFETY: the variant answers with the calling thread's own block, zeroed when the thread
    // began and there until it ends. The type keeps the reference on this thread, and all fields
    // are atomics or never written.
    unsafe { &*variant::block() }
}

/// The calling thread's words of `slot`.
///
/// Others may read through the pointer until the thread ends. Through [`Slot::UNBOUND`] nobody
/// writes.
#[inline(always)]
pub fn words(slot: Slot) -> *const SlotWords {
    variant::block().wrapping_byte_add(slot.byte_offset()).cast()
}

/// The beginning of the calling thread's own restartable-sequence area: 32 bytes, aligned to 32,
/// zero until somebody registers it.
#[inline(always)]
pub fn rseq_area() -> *mut u8 {
    variant::block().cast::<u8>().wrapping_add(RSEQ_AREA_OFFSET).cast_mut()
}

/// `allocated` of the calling thread's `slot` and `bytes` more; meaningless for [`Slot::UNBOUND`].
#[inline(always)]
pub fn allocated_with(slot: Slot, bytes: u64) -> u64 {
    variant::allocated_with(slot, bytes)
}

/// Whether `sum` is above `allocated_limit` of the calling thread's `slot`: always for
/// [`Slot::UNBOUND`], if it is not 0.
///
/// A comparison with memory and a jump, which a tuple of both words cannot be: what is handed out of
/// assembly is a register each.
#[inline(always)]
pub fn is_above_allocated_limit(slot: Slot, sum: u64) -> bool {
    variant::is_above_allocated_limit(slot, sum)
}

/// `deallocated` of the calling thread's `slot` and `bytes` more; meaningless for [`Slot::UNBOUND`].
#[inline(always)]
pub fn deallocated_with(slot: Slot, bytes: u64) -> u64 {
    variant::deallocated_with(slot, bytes)
}

/// Whether `sum` is above `deallocated_limit` of the calling thread's `slot`, as
/// [`is_above_allocated_limit`].
#[inline(always)]
pub fn is_above_deallocated_limit(slot: Slot, sum: u64) -> bool {
    variant::is_above_deallocated_limit(slot, sum)
}

/// Sets `allocated` of the calling thread's `slot`, which is not [`Slot::UNBOUND`].
#[inline(always)]
pub fn set_allocated(slot: Slot, bytes: u64) {
    debug_assert!(slot != Slot::UNBOUND, "nobody writes through the slot that is none");
    variant::set_allocated(slot, bytes);
}

/// Sets `deallocated` of the calling thread's `slot`, which is not [`Slot::UNBOUND`].
#[inline(always)]
pub fn set_deallocated(slot: Slot, bytes: u64) {
    debug_assert!(slot != Slot::UNBOUND, "nobody writes through the slot that is none");
    variant::set_deallocated(slot, bytes);
}

/// Makes the variant usable in a child after `fork`; on x86-64 there is nothing to do.
///
/// # Safety
/// The process is a child after `fork` and has only the calling thread.
#[inline]
pub unsafe fn reset_after_fork() {
    #[cfg(all(not(strata_loom), not(target_arch = "x86_64")))]
    // SAFETY: the caller is alone in the child.
    unsafe {
        portable::reset_after_fork();
    }
}

/// The accessors for variants that reach the block by its address.
#[cfg(any(strata_loom, test, not(target_arch = "x86_64")))]
mod by_address;

#[cfg(all(test, not(strata_loom)))]
mod tests;
