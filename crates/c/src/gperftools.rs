//! What `MallocExtension` of gperftools has and TCMalloc's has not, so that programs that were compiled with gperftools'
//! `malloc_extension_c.h` run: `include/strata/malloc_extension.h` says what each does.

use crate::heap::HEAP;
use crate::introspection::core;
use crate::malloc_extension::limit_in;
use core::ffi::{CStr, c_char, c_int, c_void};
use strata_alloc::{Config, LimitKind};
use strata_stats::with_snapshot;

/// Entries of a histogram of blocks.
const HISTOGRAM: usize = 64;

/// What gperftools' rate of 1 is taken for: as much a second as the default of `release_rate`.
const RATE_OF_ONE: f64 = Config::DEFAULT.release_rate as f64;

/// Whether what is noted of all spans adds up.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_VerifyAllMemory() -> c_int {
    c_int::from(HEAP.spans_are_sound())
}

/// Whether a block begins there; null counts as one.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_VerifyMallocMemory(pointer: *const c_void) -> c_int {
    verify(pointer)
}

/// The same: who asked for a block is not known.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_VerifyNewMemory(pointer: *const c_void) -> c_int {
    verify(pointer)
}

/// The same.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_VerifyArrayNewMemory(pointer: *const c_void) -> c_int {
    verify(pointer)
}

fn verify(pointer: *const c_void) -> c_int {
    c_int::from(pointer.is_null() || HEAP.is_block(pointer.cast()))
}

/// How many blocks the program has, their bytes, and how many of each size: entry `n` counts those whose size has
/// `n` binary digits. Answers 1, or 0 if there is no heap.
///
/// # Safety
///
/// `blocks` and `total` may be written, and so may 64 numbers at `histogram`.
#[unsafe(no_mangle)]
unsafe extern "C" fn MallocExtension_MallocMemoryStats(
    blocks: *mut c_int,
    total: *mut usize,
    histogram: *mut c_int,
) -> c_int {
    let Some(core) = core() else { return 0 };
    let mut sizes = [0u64; HISTOGRAM];
    let mut note = |bytes: u64, count: u64| {
        let digits = (u64::BITS - bytes.leading_zeros()) as usize;
        if let Some(entry) = sizes.get_mut(digits) {
            *entry = entry.saturating_add(count);
        }
        bytes.saturating_mul(count)
    };
    let small = with_snapshot(core, |snapshot| {
        let classes = snapshot.classes.iter();
        classes.map(|(_, class)| note(class.object_bytes, class.objects_in_use())).sum::<u64>()
    });
    let Some(mut bytes) = small else { return 0 };
    core.for_each_large_block(|range| {
        bytes = bytes.saturating_add(note(range.bytes as u64, 1));
    });
    let count = sizes.iter().fold(0, |sum: u64, count| sum.saturating_add(*count));
    let as_int = |count: u64| c_int::try_from(count).unwrap_or(c_int::MAX);
    // SAFETY: the program passes a place of this type, as gperftools' header declares it.
    unsafe { blocks.write(as_int(count)) };
    // SAFETY: so with this one.
    unsafe { total.write(usize::try_from(bytes).unwrap_or(usize::MAX)) };
    for (index, count) in sizes.into_iter().enumerate() {
        // SAFETY: the caller's promise: there is room for 64.
        let entry = unsafe { histogram.add(index) };
        // SAFETY: a place within the 64.
        unsafe { entry.write(as_int(count)) };
    }
    1
}

/// Sets what a name stands for: 1, or 0 if there is no such name, or it cannot be set.
///
/// # Safety
///
/// `name` is null or ends in a zero byte.
#[unsafe(no_mangle)]
unsafe extern "C" fn MallocExtension_SetNumericProperty(
    name: *const c_char,
    value: usize,
) -> c_int {
    if name.is_null() {
        return 0;
    }
    // SAFETY: the name is not null, and ends in a zero byte, as the caller promises.
    let name = unsafe { CStr::from_ptr(name) };
    c_int::from(match name.to_bytes() {
        b"tcmalloc.max_total_thread_cache_bytes" => {
            HEAP.set_max_total_thread_cache_bytes(value as u64)
        }
        b"tcmalloc.heap_limit_mb" => {
            HEAP.set_memory_limit(LimitKind::Hard, (value as u64).saturating_mul(1 << 20))
        }
        b"tcmalloc.desired_usage_limit_bytes" => {
            HEAP.set_memory_limit(LimitKind::Soft, limit_in(value))
        }
        _ => false,
    })
}

/// Gives free memory back, at least so many bytes if so much is free.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_ReleaseToSystem(bytes: usize) {
    HEAP.release(bytes);
}

/// Gives all free memory back that can go.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_ReleaseFreeMemory() {
    HEAP.release(usize::MAX);
}

/// How eager background work is, on gperftools' scale: 0 for none, 1 for usual.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_SetMemoryReleaseRate(rate: f64) {
    HEAP.set_background_enabled(rate > 0.0);
    // The conversion saturates, at 0 too. At that, nothing goes back by itself but whole hugepages that the page heap
    // has no use for.
    HEAP.set_release_rate((rate * RATE_OF_ONE) as usize);
}

/// What was set, on the same scale.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_GetMemoryReleaseRate() -> f64 {
    if HEAP.background_enabled() { HEAP.config().release_rate as f64 / RATE_OF_ONE } else { 0.0 }
}

/// Bytes of free objects that this thread's cache holds.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_GetThreadCacheSize() -> usize {
    usize::try_from(HEAP.own_cache_bytes()).unwrap_or(usize::MAX)
}

/// This thread will not allocate for a moment.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_MarkThreadTemporarilyIdle() {
    HEAP.mark_idle();
}
