//! The end of a thread, and how heaps are told of it.

use super::{ENDED, ENDS, ThreadRecord, close, records::words_counts};
use crate::{Core, HeapConfig, front_end};
use core::{ffi::c_void, ptr::NonNull};
use strata_os::{ExitKey, keeps_to_memory_calls, process_id, thread_id};
use strata_sync::{
    atomic::{AtomicU32, Ordering},
    owned::Token,
    thread_block::{self, Slot},
};

/// The key whose destructor tells that a thread ends, plus one; 0 before there is one.
static EXIT_KEY: AtomicU32 = AtomicU32::new(0);

/// Has the end of this thread told to the heaps. False where that cannot be.
pub(super) fn watch_this_thread() -> bool {
    let key = match EXIT_KEY.load(Ordering::Acquire) {
        0 => {
            let Some(key) = ExitKey::create(thread_ends) else { return false };
            let bits = key.to_bits() + 1;
            // Two threads may make a key at once: the second stays unused.
            match EXIT_KEY.compare_exchange(0, bits, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => key,
                // SAFETY: the bits are another thread's key, plus one.
                Err(other) => unsafe { ExitKey::from_bits(other - 1) },
            }
        }
        // SAFETY: the bits are a key's, plus one.
        bits => unsafe { ExitKey::from_bits(bits - 1) },
    };
    key.set(core::ptr::dangling_mut())
}

/// This thread ends: closes its common paths and has each heap take its record and cache back.
unsafe extern "C" fn thread_ends(_: *mut c_void) {
    let block = thread_block::block();
    block.state.store(block.state.load(Ordering::Relaxed) | ENDED, Ordering::Relaxed);
    let _ends = ENDS.lock();
    for slot in [Slot::FIRST, Slot::SECOND] {
        if slot == Slot::SECOND && strata_os::rseq::glibc_area().is_none() {
            // Our own rseq area stands there.
            continue;
        }
        // SAFETY: the words are this thread's own.
        let words = unsafe { &*thread_block::words(slot) };
        let Some(record) =
            NonNull::new(words.record.load(Ordering::Relaxed).cast::<ThreadRecord>())
        else {
            continue;
        };
        // SAFETY: the record is this thread's; a heap that ended has taken it out of the words under `ENDS`.
        let &ThreadRecord { core, end, .. } = unsafe { record.as_ref() };
        if let Some(end) = end {
            // SAFETY: the record names its own heap, which stands, since `ENDS` is held.
            unsafe { end(core, record) };
        }
    }
    front_end::unregister_own();
}

/// # Safety
///
/// `core` points to the core of this configuration that `record`, this thread's, belongs to.
pub(super) unsafe fn end_thread<C: HeapConfig>(core: *const c_void, record: NonNull<ThreadRecord>) {
    // SAFETY: the core stands as long as a thread has a record of it, as this one has.
    let core = unsafe { Core::<C>::of_raw(core) };
    // A process whose main thread left by `pthread_exit` ends with the last of its threads, and would not while the
    // heap has one.
    if !keeps_to_memory_calls() && thread_id() == process_id() {
        core.give_up_thread();
    }
    // SAFETY: the record is this thread's and linked.
    let ThreadRecord { words, cache, shard, .. } = unsafe { record.as_ref() };
    let (words, cache) = (*words, cache.swap(core::ptr::null_mut(), Ordering::Relaxed));
    // SAFETY: null, or a shard of this heap, which stays.
    if let Some(shard) = unsafe { shard.as_ref() } {
        // SAFETY: the record had it since this thread was given the shard. What the thread may allocate still, in the
        // handler of a signal, makes it the owner once more at most, as one that vanished is.
        unsafe { shard.remove_user(Token::here()) };
    }
    // SAFETY: the words are this thread's, which has not ended yet.
    let words = unsafe { &*words };
    core.end_cache(cache);
    let mut records = core.threads.records.lock();
    let (allocated, deallocated) = words_counts(words);
    core.threads.past_allocated.fetch_add(allocated, Ordering::Relaxed);
    core.threads.past_deallocated.fetch_add(deallocated, Ordering::Relaxed);
    let ended = core.threads.ended.load(Ordering::Relaxed);
    core.threads.ended.store(ended + 1, Ordering::Relaxed);
    close(words);
    records.remove(record);
    drop(records);
    // SAFETY: the record came from this pool and is in no list.
    unsafe { core.threads.record_pool.deallocate(record) };
}
