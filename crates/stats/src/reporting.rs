//! Reports and snapshots that the options ask for: `STRATA_CONF=exit_report:tcmalloc,snapshot_file:PATH`.
//!
//! A Rust program calls [`report_as_asked`](crate::report_as_asked()) at the beginning of main. A library that
//! knows by itself when a program begins and ends calls [`prepare`], [`begin`] and [`end`], as `libstrata` does.
//!
//! All of it is for one heap of the process, since the environment is one. Children inherit that; whoever wants the report
//! of one process alone names its number in `STRATA_REPORT_PID`: a process keeps it through exec, and its children have
//! another one. A program that ends by `_exit`, as some shells do, or by a signal prints no report.

use crate::fork_lock::ForkLock;
use crate::{Dialect, Extent, RenderPageHeap, report, write_snapshot_file};
use strata_alloc::{
    Config, Core, ExitReport, ForkWatcher, Heap, HeapConfig, PathText, SnapshotDetail,
};
use strata_os::{KeptStderr, NewFile, environment, process_id, warn_line};
use strata_page_heap::PageHeap;
use strata_sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Whether anything is to be written. Set by `prepare`, before the program has threads, and read later.
static WANTED: AtomicBool = AtomicBool::new(false);

/// The number of the only process that writes; 0 if each does. Written and read as [`WANTED`] is.
static ONLY: AtomicU32 = AtomicU32::new(0);

/// For programs that close standard error before they end.
static STDERR: KeptStderr = KeptStderr::new();

/// Where snapshots are written: a copy, since programs use the room of their environment for other things. Held while one
/// is written, so that one is written at a time. Rank: above all locks of the heap.
static FILE: ForkLock<PathText> = ForkLock::new(PathText::NONE);

/// In a child, a snapshot that the heap's thread was writing is the parent's.
static FORKS: ForkWatcher = ForkWatcher::new(|| {
    // SAFETY: watchers are called in children of forks, by their only thread. The path is changed once, by
    // `prepare`, before the program has threads.
    unsafe { FILE.forget_others() }
});

/// Whether it was said that a file cannot be written: once is enough. Written and read by who writes one.
static SAID: AtomicBool = AtomicBool::new(false);

/// Finds out what the environment asks for; if anything, sets the heap up, so that a program without a block has one too,
/// and keeps standard error as it is now. Call it once, while the program has one thread.
///
/// What is wrong with the options is said when the heap is set up: so that is done for them, too.
pub fn prepare<C: HeapConfig>(heap: &Heap<C>) {
    let Some(options) = environment(c"STRATA_CONF") else { return };
    let path = Config::snapshot_file(options);
    let mut is_understood = true;
    let is_report =
        Config::parse(options, |_| is_understood = false).exit_report != ExitReport::None;
    let is_wanted = is_report || path.is_some();
    if is_wanted || !is_understood {
        let block = heap.allocate(1);
        // SAFETY: null, or a block that nobody else knows.
        unsafe { heap.deallocate(block) };
    }
    if !is_wanted {
        return;
    }
    if let Some(path) = path {
        *FILE.lock() = path;
        FORKS.register();
    }
    ONLY.store(only_process(), Ordering::Relaxed);
    WANTED.store(true, Ordering::Relaxed);
    STDERR.keep();
}

/// Has the heap's thread write snapshots from now on, if the options ask for several: after [`prepare`], and when the heap
/// may have a thread.
pub fn begin<C: HeapConfig>(heap: &Heap<C>)
where
    <C::PageHeap as PageHeap<C::Pages>>::Figures: RenderPageHeap,
{
    let Some(core) = heap.core().filter(|core| are_several_wanted(core)) else { return };
    core.set_background_work(write_if_due);
    if !heap.start_background_thread() {
        warn_line!(
            "snapshot_interval: there is no thread to write them (background_thread): one at the end"
        );
    }
}

/// Says, if several snapshots were asked for, that there is only the one at the end: the heap's thread has gone since the
/// program keeps rights of one thread, and none will come.
pub fn note_no_thread<C: HeapConfig>(heap: &Heap<C>) {
    if heap.core().is_some_and(are_several_wanted) {
        warn_line!(
            "snapshot_interval: the program changes the rights of one thread, so that the heap's has ended: one more at the end"
        );
    }
}

/// Writes what is asked for at the end of the program, and ends a recording.
pub fn end<C: HeapConfig>(heap: &Heap<C>)
where
    <C::PageHeap as PageHeap<C::Pages>>::Figures: RenderPageHeap,
{
    let Some(core) = heap.core() else { return };
    if core.observer().is_some() {
        core.end_recording();
    }
    if is_asked() {
        write_last(core);
    }
}

/// Whether the options ask for a snapshot each so many seconds. While one is written, they do not: nobody waits for that.
fn are_several_wanted<C: HeapConfig>(core: &Core<C>) -> bool {
    core.config().snapshot_interval_seconds != 0
        && FILE.try_lock().is_some_and(|path| !path.is_empty())
}

/// What `STRATA_REPORT_PID` says; 0 if nothing.
fn only_process() -> u32 {
    let Some(value) = environment(c"STRATA_REPORT_PID") else { return 0 };
    let number = core::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    number.unwrap_or_else(|| {
        warn_line!("STRATA_REPORT_PID: bad value '{}': ignored", value.escape_ascii());
        0
    })
}

/// Whether this process writes reports and snapshots.
fn is_asked() -> bool {
    let only = ONLY.load(Ordering::Relaxed);
    WANTED.load(Ordering::Relaxed) && (only == 0 || only == process_id())
}

/// What the heap's thread does between its steps: a snapshot each interval, the first when one has passed. Says when the
/// next is due.
fn write_if_due<C: HeapConfig>(core: &Core<C>, now_ns: u64) -> u64
where
    <C::PageHeap as PageHeap<C::Pages>>::Figures: RenderPageHeap,
{
    /// When the next is due; 0 before the first call. Written and read by the heap's thread alone.
    static DUE_NS: AtomicU64 = AtomicU64::new(0);
    let interval_ns = core.config().snapshot_interval_seconds.saturating_mul(1_000_000_000);
    if !is_asked() {
        return u64::MAX;
    }
    let due_ns = DUE_NS.load(Ordering::Relaxed);
    if due_ns != 0 && now_ns >= due_ns {
        write_snapshot(core);
    }
    // What lies further ahead than an interval was set before the clock jumped back.
    let is_ahead = due_ns > now_ns && due_ns - now_ns <= interval_ns;
    let next_ns = if is_ahead { due_ns } else { now_ns.saturating_add(interval_ns) };
    DUE_NS.store(next_ns, Ordering::Relaxed);
    next_ns
}

/// Writes a snapshot, if there is a place for it and no other thread is writing one.
fn write_snapshot<C: HeapConfig>(core: &Core<C>)
where
    <C::PageHeap as PageHeap<C::Pages>>::Figures: RenderPageHeap,
{
    let Some(path) = FILE.try_lock().filter(|path| !path.is_empty()) else { return };
    let extent = match core.config().snapshot_detail {
        SnapshotDetail::Map => Extent::Map,
        SnapshotDetail::Figures => Extent::Figures,
    };
    if let Err(error) = write_snapshot_file(core, path.as_bytes(), extent)
        && !SAID.swap(true, Ordering::Relaxed)
    {
        let path = path.as_bytes().escape_ascii();
        if error == NewFile::NO_REGULAR_FILE {
            warn_line!("snapshot_file: '{path}' is no regular file: left as it is");
        } else {
            warn_line!("snapshot_file: cannot write '{path}' (errno {error})");
        }
    }
}

/// Not a part of its caller, whose frame would grow by the renderers' in every program.
#[cold]
#[inline(never)]
fn write_last<C: HeapConfig>(core: &Core<C>)
where
    <C::PageHeap as PageHeap<C::Pages>>::Figures: RenderPageHeap,
{
    write_snapshot(core);
    let dialect = match core.config().exit_report {
        ExitReport::None => return,
        ExitReport::Tcmalloc => Dialect::TcmallocText,
        ExitReport::TcmallocToday => Dialect::TcmallocTextToday,
        ExitReport::Pbtxt => Dialect::TcmallocPbtxt,
        ExitReport::PbtxtToday => Dialect::TcmallocPbtxtToday,
        ExitReport::Brief => Dialect::Brief,
        ExitReport::Explain => Dialect::Explain,
        ExitReport::Json => Dialect::Json,
    };
    let Some(mut out) = STDERR.open() else { return };
    // What standard error does not take is lost: nobody is left to be told.
    let _ = report(core, dialect, &mut out);
}
