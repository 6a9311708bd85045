//! TCMalloc's `MallocExtension`, as functions of C: `include/strata/malloc_extension.h` says what each does.
//!
//! Functions that set something answer 1 if that was done, else 0. What belongs to profiles and guarded allocations is not
//! here, since there are none.

use crate::heap::{ANY_ALIGN, HEAP, Program};
use crate::introspection::core;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::fmt;
use strata_alloc::{Core, FrontEnd, LimitKind, Ownership, PageHeapChoice};
use strata_page_heap::MemoryLimits;
use strata_stats::{
    BoundedText, Dialect, PROPERTIES, PageHeapKind, Property, Snapshot, report, with_snapshot,
};
use strata_sync::atomic::AtomicBool;
use strata_temeraire::SkipIntervals;

/// What is called with a piece of a report.
type WriteText = extern "C" fn(context: *mut c_void, text: *const c_char, length: usize);

/// What is called with a property.
type VisitProperty = extern "C" fn(context: *mut c_void, name: *const c_char, value: usize);

/// What is called with a span.
type VisitSpan =
    extern "C" fn(context: *mut c_void, start: *const c_void, bytes: usize, object_bytes: usize);

/// The kinds of limits: TCMalloc's numbers.
const SOFT_LIMIT: c_int = 0;
const HARD_LIMIT: c_int = 1;

/// TCMalloc's numbers for whose memory something is; 0 would be "unknown".
const OWNED: c_int = 1;
const NOT_OWNED: c_int = 2;

/// The longest name of a property, its zero included, is shorter.
const NAME_BYTES: usize = 96;

/// Writes the report into `buffer`, whole lines and a zero byte; says how many bytes all of it has, without the zero.
///
/// # Safety
///
/// `buffer` has `size` bytes that may be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn MallocExtension_GetStats(buffer: *mut c_char, size: usize) -> usize {
    // gperftools' header has an int there, whose upper half is whatever was in the register.
    let size = size & u32::MAX as usize;
    // SAFETY: the program passes a buffer of so many bytes.
    unsafe { stats_into(Dialect::TcmallocText, buffer, size) }
}

/// The same in the form of that name; 0 if there is no such form.
///
/// # Safety
///
/// `form` ends in a zero byte, and `buffer` has `size` bytes that may be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn MallocExtension_GetStatsAs(
    form: *const c_char,
    buffer: *mut c_char,
    size: usize,
) -> usize {
    // SAFETY: the program passes a string of C, which ends in a zero byte.
    let dialect = unsafe { dialect_of(form) };
    // SAFETY: the program passes a buffer of so many bytes.
    dialect.map_or(0, |dialect| unsafe { stats_into(dialect, buffer, size) })
}

/// Hands the report in the form of that name to `write`, in pieces: 1, or 0 if there is no such form. No lock is
/// held while `write` is called, which may allocate and free.
///
/// # Safety
///
/// `form` ends in a zero byte; `write` may be called with `context`.
#[unsafe(no_mangle)]
unsafe extern "C" fn MallocExtension_WriteStats(
    form: *const c_char,
    write: WriteText,
    context: *mut c_void,
) -> c_int {
    // SAFETY: the program passes a string of C, which ends in a zero byte.
    let Some(dialect) = (unsafe { dialect_of(form) }) else { return 0 };
    let Some(core) = core() else { return 0 };
    c_int::from(report(core, dialect, &mut Pieces { write, context }).is_ok())
}

/// One figure by its name: 1, or 0 if there is no such name.
///
/// # Safety
///
/// `name` ends in a zero byte; `value` may be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn MallocExtension_GetNumericProperty(
    name: *const c_char,
    value: *mut usize,
) -> c_int {
    // SAFETY: the program passes a string of C, which ends in a zero byte.
    let Some(name) = (unsafe { text(name) }) else { return 0 };
    let Some(property) = PROPERTIES.iter().find(|property| property.name == name) else { return 0 };
    let Some(core) = core() else { return 0 };
    let read = |snapshot: &Snapshot| figure(property, snapshot, kind(core));
    let Some(figure) = with_snapshot(core, read) else { return 0 };
    // SAFETY: the program passes a place for a number.
    unsafe { value.write(figure) };
    1
}

/// All figures of one moment, one call each; the names are gone when `visit` returns.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_GetProperties(visit: VisitProperty, context: *mut c_void) {
    let Some(core) = core() else { return };
    let kind = kind(core);
    let _ = with_snapshot(core, |snapshot| {
        for property in PROPERTIES {
            let mut name = [0u8; NAME_BYTES];
            let bytes = property.name.as_bytes();
            let place = name.get_mut(..bytes.len()).filter(|place| place.len() < NAME_BYTES);
            if let Some(place) = place {
                place.copy_from_slice(bytes);
                visit(context, name.as_ptr().cast(), figure(property, snapshot, kind));
            }
        }
    });
}

/// Gives free memory back, at least so many bytes if so much is free; says how many went.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_ReleaseMemoryToSystem(bytes: usize) -> usize {
    HEAP.release(bytes)
}

/// Empties one CPU's cache; says how many bytes went.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_ReleaseCpuMemory(cpu: c_int) -> usize {
    u32::try_from(cpu).map_or(0, |cpu| as_size(HEAP.release_cpu(cpu)))
}

/// This thread will not allocate for a while.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_MarkThreadIdle() {
    HEAP.mark_idle();
}

/// This thread will allocate again.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_MarkThreadBusy() {
    HEAP.mark_busy();
}

/// A limit, `SIZE_MAX` for none and for a kind that is none.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_GetMemoryLimit(kind: c_int) -> usize {
    let MemoryLimits { soft_bytes, hard_bytes } = HEAP.memory_limits();
    match kind {
        SOFT_LIMIT => limit_out(soft_bytes),
        HARD_LIMIT => limit_out(hard_bytes),
        _ => usize::MAX,
    }
}

/// Sets a limit; 0 and `SIZE_MAX` take it away. What is free and above it goes back to the kernel.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_SetMemoryLimit(bytes: usize, kind: c_int) -> c_int {
    let which = match kind {
        SOFT_LIMIT => LimitKind::Soft,
        HARD_LIMIT => LimitKind::Hard,
        _ => return 0,
    };
    c_int::from(HEAP.set_memory_limit(which, limit_in(bytes)))
}

/// Whether caches are per CPU.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_PerCpuCachesActive() -> c_int {
    c_int::from(core().is_some_and(|core| matches!(core.front_end(), FrontEnd::PerCpu(_))))
}

/// How many bytes one CPU's cache may hold.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_GetMaxPerCpuCacheSize() -> usize {
    HEAP.max_per_cpu_cache_size()
}

/// Sets that; 0 where caches are per thread.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_SetMaxPerCpuCacheSize(bytes: usize) -> c_int {
    c_int::from(HEAP.set_max_per_cpu_cache_size(bytes))
}

/// How many bytes all threads' caches may hold.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_GetMaxTotalThreadCacheBytes() -> usize {
    as_size(HEAP.max_total_thread_cache_bytes())
}

/// Sets that.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_SetMaxTotalThreadCacheBytes(bytes: usize) -> c_int {
    c_int::from(HEAP.set_max_total_thread_cache_bytes(bytes as u64))
}

/// Whether background work is done.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_GetBackgroundProcessActionsEnabled() -> c_int {
    c_int::from(HEAP.background_enabled())
}

/// Switches it on or off.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_SetBackgroundProcessActionsEnabled(enabled: c_int) -> c_int {
    c_int::from(HEAP.set_background_enabled(enabled != 0))
}

/// The least time between two steps of background work, in nanoseconds.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_GetBackgroundProcessSleepInterval() -> u64 {
    HEAP.background_pause_ns()
}

/// Sets that.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_SetBackgroundProcessSleepInterval(nanoseconds: u64) -> c_int {
    c_int::from(HEAP.set_background_pause_ns(nanoseconds))
}

/// Bytes that background work gives back each second, wanted of late or not.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_GetBackgroundReleaseRate() -> usize {
    HEAP.config().release_rate
}

/// Sets that.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_SetBackgroundReleaseRate(bytes_per_second: usize) -> c_int {
    c_int::from(HEAP.set_release_rate(bytes_per_second))
}

/// How far back fluctuations of demand are looked at, in nanoseconds; 0 where nobody looks.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_GetSkipSubreleaseShortInterval() -> u64 {
    skip_intervals().map_or(0, |intervals| intervals.short_ns)
}

/// Sets that; 0 where the legacy page heap runs.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_SetSkipSubreleaseShortInterval(nanoseconds: u64) -> c_int {
    change_skip_intervals(|intervals| intervals.short_ns = nanoseconds)
}

/// How far back the least demand is looked at, in nanoseconds; 0 where nobody looks.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_GetSkipSubreleaseLongInterval() -> u64 {
    skip_intervals().map_or(0, |intervals| intervals.long_ns)
}

/// Sets that; 0 where the legacy page heap runs.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_SetSkipSubreleaseLongInterval(nanoseconds: u64) -> c_int {
    change_skip_intervals(|intervals| intervals.long_ns = nanoseconds)
}

/// How many bytes a block of so many would have; 0 if there can be none.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_GetEstimatedAllocatedSize(size: usize) -> usize {
    HEAP.rounded_size(size, ANY_ALIGN).unwrap_or(0)
}

/// How many bytes a block has; 0 for null.
///
/// # Safety
///
/// `pointer` is null or a block in use.
#[unsafe(no_mangle)]
unsafe extern "C" fn MallocExtension_GetAllocatedSize(pointer: *const c_void) -> usize {
    if pointer.is_null() {
        return 0;
    }
    // SAFETY: the caller's block, which is in use; the pointer is not null.
    unsafe { HEAP.usable_size(pointer.cast_mut().cast()) }
}

/// Whose memory an address is: 1 for the heap's, 2 for another's.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_GetOwnership(pointer: *const c_void) -> c_int {
    match HEAP.ownership(pointer.cast()) {
        Ownership::Owned => OWNED,
        Ownership::NotOwned => NOT_OWNED,
    }
}

/// Calls `visit` for each span in use, in order of addresses.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_GetAllocatedAddressRanges(visit: VisitSpan, context: *mut c_void) {
    if let Some(core) = HEAP.core() {
        core.for_each_live_span(|range, object_bytes| {
            let start = core::ptr::without_provenance(range.start);
            visit(context, start, range.bytes, object_bytes);
        });
    }
}

/// Does background work in this thread. Comes back only if there is no memory for a heap.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_ProcessBackgroundActions() {
    static NEVER: AtomicBool = AtomicBool::new(false);
    if let Some(core) = core() {
        core.run_background(&NEVER);
    }
}

/// Whether a thread of the program's is of use for that: the heap has none of its own.
#[unsafe(no_mangle)]
extern "C" fn MallocExtension_NeedsProcessBackgroundActions() -> c_int {
    c_int::from(!core().is_some_and(|core| core.background_figures().has_thread))
}

/// # Safety
///
/// `buffer` has `size` bytes that may be written.
unsafe fn stats_into(dialect: Dialect, buffer: *mut c_char, size: usize) -> usize {
    let Some(core) = core() else { return 0 };
    let mut nothing = [];
    let buffer: &mut [u8] = if buffer.is_null() {
        &mut nothing
    } else {
        // SAFETY: the buffer is the caller's, and so long; the bytes are written before they are read, and any are a
        // `u8`.
        unsafe { core::slice::from_raw_parts_mut(buffer.cast(), size) }
    };
    // The last byte is for the zero.
    let (mut none, room) = ([], buffer.len().checked_sub(1));
    let text = room.and_then(|room| buffer.get_mut(..room)).unwrap_or(&mut none);
    let mut text = BoundedText::new(text);
    let _ = report(core, dialect, &mut text);
    let (written, needed) = text.finish();
    if let Some(end) = buffer.get_mut(written) {
        *end = 0;
    }
    needed
}

/// # Safety
///
/// `form` ends in a zero byte.
unsafe fn dialect_of(form: *const c_char) -> Option<Dialect> {
    // SAFETY: the program passes a string of C, which ends in a zero byte.
    let form = unsafe { text(form) }?;
    Dialect::ALL.into_iter().find(|dialect| dialect.name() == form)
}

/// # Safety
///
/// `text` is null or ends in a zero byte, and stays.
unsafe fn text<'a>(text: *const c_char) -> Option<&'a str> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the text ends in a zero byte, as the caller promises; the pointer is not null.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().ok()
}

/// A writer that a function of C stands behind.
struct Pieces {
    write: WriteText,
    context: *mut c_void,
}

impl fmt::Write for Pieces {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        (self.write)(self.context, text.as_ptr().cast(), text.len());
        Ok(())
    }
}

fn figure(property: &Property, snapshot: &Snapshot, kind: PageHeapKind) -> usize {
    as_size(property.of(snapshot, kind))
}

fn kind(core: &Core<Program>) -> PageHeapKind {
    match core.page_heap().choice() {
        PageHeapChoice::Temeraire => PageHeapKind::HugePageAware,
        PageHeapChoice::Legacy => PageHeapKind::Legacy,
    }
}

/// None is 0 inside, and for TCMalloc's programs as well.
pub(crate) fn limit_in(bytes: usize) -> u64 {
    if bytes == usize::MAX { 0 } else { bytes as u64 }
}

fn limit_out(bytes: u64) -> usize {
    if bytes == 0 { usize::MAX } else { as_size(bytes) }
}

fn skip_intervals() -> Option<SkipIntervals> {
    core()?.page_heap().skip_intervals()
}

fn change_skip_intervals(change: impl FnOnce(&mut SkipIntervals)) -> c_int {
    let Some(core) = core() else { return 0 };
    let Some(mut intervals) = core.page_heap().skip_intervals() else { return 0 };
    change(&mut intervals);
    c_int::from(core.page_heap().set_skip_intervals(intervals))
}

fn as_size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
