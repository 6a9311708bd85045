//! Any architecture: a block found by a key of the C library's.
//!
//! A thread's first call takes a block from a list and sets the key to it; every other call asks
//! `pthread_getspecific`, a call of some ten instructions. The block goes back to the list when
//! the thread ends, in the last of the four rounds in which the C library calls destructors, so
//! that the destructors of others still find the words as they left them. Blocks are cut from
//! mappings of 64 KiB, which are never given back: they amount to what the most threads that
//! lived at once needed. A thread that calls after its last round gets a new block, which is lost.
//!
//! glibc keeps the values of a process's first 32 keys in the thread and calls `calloc` for later
//! ones. The key is made by the first call, which for an allocator comes before a program can
//! have made 32. Where key or mapping is not to be had, the process stops with one line: without
//! its words a thread can neither allocate nor say so.

use super::{BLOCK_BYTES, Slot, ThreadBlock, by_address};
use crate::{Mutex, Once};
use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering};
use strata_os::{ExitKey, PageSource, Purpose, ReserveRequest, SystemPages};

/// A mapping for 341 threads: 64 KiB is the largest page of a kernel that Strata runs on, and
/// what two thirds of it hold is more threads than most processes ever have.
const MAPPING_BYTES: usize = 64 * 1024;

/// How often the C library calls a destructor that sets its key again
/// (`PTHREAD_DESTRUCTOR_ITERATIONS`, 4 in glibc and musl).
const EXIT_ROUNDS: u32 = 4;

/// A block, and what the variant itself has to remember of it.
#[repr(C, align(64))]
struct Entry {
    block: ThreadBlock,
    /// The next entry of the list, while it is on the list.
    next: *mut Entry,
    /// Rounds of destructors that the thread has been through.
    exit_rounds: u32,
}

/// Entries that no thread has.
struct Entries {
    free: *mut Entry,
    /// What is left of the newest mapping: where it starts, and how many bytes.
    uncut: *mut Entry,
    uncut_bytes: usize,
}

// SAFETY: the entries on the list and the rest of the mapping belong to whoever has the value.
unsafe impl Send for Entries {}

/// Guards the list and the newest mapping. A leaf: nothing but the system is called under it.
static ENTRIES: Mutex<Entries> = Mutex::new(Entries::NONE);

static KEY_MADE: Once = Once::new();
/// `ExitKey::to_bits`; written once inside `KEY_MADE`, which publishes it.
static KEY: AtomicU32 = AtomicU32::new(0);

pub(super) fn block() -> *const ThreadBlock {
    let entry = key().get();
    if entry.is_null() { give_thread_an_entry().cast() } else { entry.cast::<ThreadBlock>() }
}

pub(super) fn count_allocated(slot: Slot, bytes: u64) -> bool {
    by_address::count_allocated(block(), slot, bytes)
}

pub(super) fn count_deallocated(slot: Slot, bytes: u64) -> bool {
    by_address::count_deallocated(block(), slot, bytes)
}

pub(super) fn count_allocated_in_first(bytes: u64) -> bool {
    count_allocated(Slot::FIRST, bytes)
}

pub(super) fn count_deallocated_in_first(bytes: u64) -> bool {
    count_deallocated(Slot::FIRST, bytes)
}

/// # Safety
/// As of [`super::reset_after_fork`].
#[cfg(not(target_arch = "x86_64"))]
pub(super) unsafe fn reset_after_fork() {
    // SAFETY: the caller is alone in the child, and what a vanished thread may have left half
    // done is put right in the next statement.
    let was_held = unsafe { ENTRIES.reset_after_fork() };
    if was_held {
        *ENTRIES.lock() = Entries::NONE;
    }
    // SAFETY: the caller is alone; a key whose maker had no time to say so is lost, and another
    // is made.
    unsafe { KEY_MADE.reset_after_fork() };
}

fn key() -> ExitKey {
    KEY_MADE.call_once(|| match ExitKey::create(thread_ends) {
        Some(key) => KEY.store(key.to_bits(), Ordering::Relaxed),
        None => strata_os::crash!("thread block: the process has no key left for it"),
    });
    // SAFETY: `call_once` has returned, so the number is what `to_bits` gave.
    unsafe { ExitKey::from_bits(KEY.load(Ordering::Relaxed)) }
}

#[cold]
#[inline(never)]
fn give_thread_an_entry() -> *mut Entry {
    let Some(entry) = ENTRIES.lock().take() else { no_memory() };
    // SAFETY: the entry is this thread's alone from here on, 192 bytes that are mapped; zero is
    // a valid value of each of its fields.
    unsafe { entry.write_bytes(0, 1) };
    if !key().set(entry.cast()) {
        no_memory();
    }
    entry
}

fn no_memory() -> ! {
    strata_os::crash!("thread block: no memory for the words of a thread")
}

/// The key's destructor: gives the entry back in the last round.
unsafe extern "C" fn thread_ends(value: *mut c_void) {
    let entry = value.cast::<Entry>();
    // SAFETY: the value is the entry that this thread was given, which it has until it is put
    // back below.
    let rounds = unsafe { &mut (*entry).exit_rounds };
    *rounds = rounds.wrapping_add(1);
    if *rounds < EXIT_ROUNDS && key().set(entry.cast()) {
        return;
    }
    // SAFETY: no round comes after this one, and the key is not set to the entry any more.
    unsafe { ENTRIES.lock().put(entry) };
}

impl Entries {
    const NONE: Self = Self { free: ptr::null_mut(), uncut: ptr::null_mut(), uncut_bytes: 0 };

    /// An entry that no thread has; its contents are left from before.
    fn take(&mut self) -> Option<*mut Entry> {
        if self.free.is_null() {
            return self.cut();
        }
        let entry = self.free;
        // SAFETY: what is on the list was put there by `put`, which wrote its link.
        self.free = unsafe { (*entry).next };
        Some(entry)
    }

    /// # Safety
    /// The entry came from `take`, and nobody uses it any more.
    unsafe fn put(&mut self, entry: *mut Entry) {
        // SAFETY: the caller gives up the entry, whose memory is never unmapped.
        unsafe { (*entry).next = self.free };
        self.free = entry;
    }

    fn cut(&mut self) -> Option<*mut Entry> {
        if self.uncut_bytes < size_of::<Entry>() {
            self.map()?;
        }
        let entry = self.uncut;
        self.uncut_bytes = self.uncut_bytes.checked_sub(size_of::<Entry>())?;
        self.uncut = entry.wrapping_add(1);
        Some(entry)
    }

    fn map(&mut self) -> Option<()> {
        let pages = SystemPages::new();
        let wish = ReserveRequest {
            bytes: MAPPING_BYTES,
            align: pages.page_bytes(),
            purpose: Purpose::Metadata,
        };
        let range = pages.reserve(wish).ok()?.range;
        pages.commit(range).ok()?;
        // The mapping's address is a number that the source exposed; `span`, where such casts
        // have their place, stands above this crate.
        self.uncut = ptr::with_exposed_provenance_mut(range.start);
        self.uncut_bytes = range.bytes;
        Some(())
    }
}

static_assertions::const_assert_eq!(core::mem::offset_of!(Entry, block), 0);
static_assertions::const_assert!(size_of::<Entry>() == BLOCK_BYTES + 64);
