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
//! | 0..16 | two counters that nobody may count with: what is below 0 stays so |
//! | 16..32 | words common to all heaps: [`ThreadBlock::state`], [`ThreadBlock::reentry`], [`ThreadBlock::underway`] |
//! | 32..40 | a word that is always zero |
//! | 40..80 | the first slot |
//! | 80..120 | the second slot |
//! | 96..128 | instead of the second slot: the thread's restartable-sequence area where libc registers none |
//!
//! A *slot* is the [`SlotWords`] of one heap: two [`Counter`]s, each of which is both a count and the question
//! whether the fast path is open. A heap that was given no slot uses [`Slot::UNBOUND`], the block's beginning read
//! as a slot: its counters are never opened and its record is zero, so that every call takes the slow path, and no
//! fast path asks whether there is a slot at all. A new thread's block is all zero, which is closed too.
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
//! `fs`. In a release build of a shared object, to count and to ask whether the fast path is open is this and nothing else:
//!
//! ```text
//! mov rax, [rip + <entry of the global offset table>]   ; R_X86_64_TPOFF64, filled by the loader
//! sub fs:[rax + rcx], rdx                                ; the slot in rcx: count_allocated
//! js  <the caller's slow path, which takes the count back>
//! ```
//!
//! In an executable the linker turns the first load into a constant (`mov rbx, -192`). [`block`] adds a load of
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
//! // A new thread: the fast path is closed, and what was counted is taken back.
//! assert!(thread_block::count_allocated(Slot::FIRST, 48));
//! // SAFETY: the words are this thread's, which goes on.
//! let words = unsafe { &*thread_block::words(Slot::FIRST) };
//! words.allocated.take_back(48);
//! words.allocated.open();
//! assert!(!thread_block::count_allocated(Slot::FIRST, 64));
//! assert_eq!(words.allocated.bytes(), 64);
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

/// Bytes that a thread allocated or freed, in one word with the question whether its fast path is open.
///
/// The word falls with each byte counted. An open counter was lifted by [`Counter::OPEN`] once, so that it is not
/// below 0; a closed one is at most 0, so that counting makes it negative. What was counted is the same in both,
/// modulo 2^62: lifting changes nothing there. All zero bits are a closed counter of nothing.
///
/// `core`'s atomic under loom as well: a word that one thread alone writes has no interleaving worth exploring.
#[derive(Debug)]
#[repr(transparent)]
pub struct Counter(AtomicU64);

impl Counter {
    /// By how much opening lifts the word: what may be counted before the slow path has to open it again.
    pub const OPEN: u64 = 1 << 62;

    /// What [`Self::is_near_end`] waits for, and [`Self::move_on`] is called with: half of what a counter can count.
    pub const STEP: u64 = Self::OPEN / 2;

    /// What keeps the upper bits of a closed counter: a word or-ed with it is closed and counts the same.
    pub const CLOSED: u64 = !(Self::OPEN - 1);

    /// A closed counter of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// What was counted, modulo 2^62 bytes. Anybody may ask, at any time.
    #[inline]
    pub fn bytes(&self) -> u64 {
        Self::bytes_of(self.0.load(Ordering::Relaxed))
    }

    /// What a counter with this word has counted.
    #[must_use]
    pub const fn bytes_of(word: u64) -> u64 {
        word.wrapping_neg() & (Self::OPEN - 1)
    }

    /// Whether the fast path is open. For the thread itself.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed).cast_signed() > 0
    }

    /// Opens the fast path, whether it is open or not. For the thread itself.
    pub fn open(&self) {
        self.0.store(Self::OPEN.wrapping_sub(self.bytes()), Ordering::Relaxed);
    }

    /// Closes it; what was counted stays. For the thread itself.
    pub fn close(&self) {
        self.0.store(self.0.load(Ordering::Relaxed) | Self::CLOSED, Ordering::Relaxed);
    }

    /// Whether it counted more than half of what it can count, open or closed. Who keeps the sum elsewhere adds
    /// [`Self::STEP`] there and lets the counter move on by as much. For the thread itself.
    #[inline]
    pub fn is_near_end(&self) -> bool {
        self.bytes() > Self::STEP
    }

    /// The same of a counter that has counted something, of which that is one bit.
    #[inline(always)]
    pub fn has_come_near_end(&self) -> bool {
        self.0.load(Ordering::Relaxed) & Self::STEP == 0
    }

    /// Whether it was open, and counted all that it could: [`Self::OPEN`] has to be added elsewhere, and it moves
    /// on by as much, which opens it again. Of a counter that was closed the answer means nothing. For the thread
    /// itself.
    #[inline]
    pub fn is_used_up(&self) -> bool {
        let word = self.0.load(Ordering::Relaxed).cast_signed();
        word <= 0 && word.unsigned_abs() < Self::STEP
    }

    /// Forgets `bytes` that were counted, since they are part of another sum now. For the thread itself. One
    /// instruction that no signal handler can cut in two.
    pub fn move_on(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts nothing from now on, and is closed. For the thread itself, or where it is at rest.
    pub fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Counts `bytes`, whether the fast path is open or not. For the thread itself; a signal handler of its own that
    /// counts between the load and the store is lost, as nowhere on the fast path.
    #[inline]
    pub fn count(&self, bytes: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(bytes), Ordering::Relaxed);
    }

    /// Counts `bytes` in a counter that is closed and stays so; says whether it [is near its
    /// end](Self::is_near_end), which is what the caller has to do something about. For the thread itself, as
    /// [`count`](Self::count).
    #[inline]
    pub fn count_closed(&self, bytes: u64) -> bool {
        let word = self.0.load(Ordering::Relaxed).wrapping_sub(bytes);
        self.0.store(word, Ordering::Relaxed);
        word.cast_signed() < -Self::STEP.cast_signed()
    }

    /// Takes `bytes` back that were counted. For the thread itself.
    #[inline]
    pub fn take_back(&self, bytes: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(bytes), Ordering::Relaxed);
    }

    /// Counts `bytes`; true if the fast path is closed, or just used up.
    #[cfg(any(strata_loom, test, not(target_arch = "x86_64")))]
    fn count_and_ask(&self, bytes: u64) -> bool {
        self.count(bytes);
        self.0.load(Ordering::Relaxed).cast_signed() < 0
    }
}

impl Default for Counter {
    fn default() -> Self {
        Self::new()
    }
}

/// One heap's words of one thread.
#[derive(Debug)]
#[repr(C)]
pub struct SlotWords {
    /// Bytes that the thread allocated, ever; open while its allocations may take the fast path. Written by the
    /// thread, read by anybody.
    pub allocated: Counter,
    /// The same for bytes that it freed.
    pub deallocated: Counter,
    /// Unused, and zero; in the slot that is none, the words common to all heaps.
    spare: [AtomicU64; 2],
    /// The heap's record of the thread, null while there is none. Written and read by the thread.
    pub record: AtomicPtr<()>,
}

/// The words of one thread.
///
/// It cannot be sent to another thread, nor shared with one: it ends with its own.
#[repr(C, align(64))]
pub struct ThreadBlock {
    /// Counters of the slot of a heap without a slot: counted with and taken back, never open.
    unbound: [Counter; 2],
    /// What the thread has been made ready for; the layer above gives the bits their meaning.
    pub state: AtomicU32,
    /// How deep the thread is inside calls that must not be entered again.
    pub reentry: AtomicU32,
    /// Steps that the thread is in with a heap's lock dropped: what a fork in a signal handler need not wait for. Written
    /// and read by the thread.
    pub underway: AtomicU64,
    /// The record of the slot of a heap without a slot.
    zero: u64,
    first: SlotWords,
    /// The second slot and what the kernel writes; reached through pointers alone.
    tail: [AtomicU64; 6],
    not_shared: PhantomData<*mut ()>,
}

const_assert_eq!(size_of::<SlotWords>(), 40);
const_assert_eq!(offset_of!(SlotWords, allocated), 0);
const_assert_eq!(offset_of!(SlotWords, deallocated), 8);
const_assert_eq!(offset_of!(SlotWords, record), 32);
const_assert_eq!(size_of::<ThreadBlock>(), BLOCK_BYTES);
const_assert_eq!(align_of::<ThreadBlock>(), 64);
const_assert_eq!(offset_of!(ThreadBlock, unbound), 0);
const_assert_eq!(offset_of!(ThreadBlock, state), 16);
const_assert_eq!(offset_of!(ThreadBlock, reentry), 20);
const_assert_eq!(offset_of!(ThreadBlock, underway), 24);
const_assert_eq!(offset_of!(ThreadBlock, zero), offset_of!(SlotWords, record));
const_assert_eq!(offset_of!(ThreadBlock, first), Slot::FIRST.byte_offset());
const_assert_eq!(offset_of!(ThreadBlock, tail), Slot::SECOND.byte_offset());
const_assert_eq!(RSEQ_AREA_OFFSET % 32, 0);

/// Which words of the block are a heap's: their distance from its beginning, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Slot(usize);

impl Slot {
    /// No slot: its counters are never open, its record is zero for ever.
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

impl ThreadBlock {
    /// The words of `slot`: what [`words`] answers, where the block is known already.
    #[inline(always)]
    pub fn words(&self, slot: Slot) -> *const SlotWords {
        core::ptr::from_ref(self).wrapping_byte_add(slot.byte_offset()).cast()
    }
}

/// The calling thread's words of `slot`.
///
/// Others may read through the pointer until the thread ends. Of [`Slot::UNBOUND`] nobody opens the counters or writes the
/// record.
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

/// Counts `bytes` as allocated in the calling thread's `slot`; true if its fast path is closed. Who is told so takes the
/// count back ([`Counter::take_back`]) and counts on its own.
///
/// One instruction that no signal handler can cut in two, and a jump.
#[inline(always)]
pub fn count_allocated(slot: Slot, bytes: u64) -> bool {
    variant::count_allocated(slot, bytes)
}

/// The same for bytes that were freed.
#[inline(always)]
pub fn count_deallocated(slot: Slot, bytes: u64) -> bool {
    variant::count_deallocated(slot, bytes)
}

/// [`count_allocated`] in [`Slot::FIRST`], which takes no register.
#[inline(always)]
pub fn count_allocated_in_first(bytes: u64) -> bool {
    variant::count_allocated_in_first(bytes)
}

/// [`count_deallocated`] in [`Slot::FIRST`], which takes no register.
#[inline(always)]
pub fn count_deallocated_in_first(bytes: u64) -> bool {
    variant::count_deallocated_in_first(bytes)
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
