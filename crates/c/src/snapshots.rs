//! Snapshots in files: `STRATA_CONF=snapshot_file:PATH`.

use crate::{
    exit_report,
    heap::{HEAP, Program},
    main_begins,
};
use strata_alloc::{Config, Core, PathText, SnapshotDetail};
use strata_os::warn_line;
use strata_stats::{Extent, write_snapshot_file};
use strata_sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// Where snapshots are written: a copy, since programs use the room of their environment for other things. Held while one
/// is written, so that one is written at a time. Rank: above all locks of the heap.
static FILE: Mutex<PathText> = Mutex::new(PathText::NONE);

/// Whether it was said that a file cannot be written: once is enough. Written and read by who writes one.
static SAID: AtomicBool = AtomicBool::new(false);

/// Finds out whether the options name a place for snapshots; says whether they do.
pub(crate) fn prepare(options: &[u8]) -> bool {
    let path = Config::snapshot_file(options);
    if let Some(path) = path {
        *FILE.lock() = path;
    }
    path.is_some()
}

/// Has the heap's thread write snapshots from now on, if the options ask for several: by the constructor, after the heap was
/// set up, and where the heap waits with threads for main, when that begins.
pub(crate) fn begin() {
    if FILE.lock().is_empty() || main_begins::is_awaited() {
        return;
    }
    if are_wanted() && !HEAP.start_background_thread() {
        warn_line!(
            "snapshot_interval: there is no thread to write them (background_thread): one at the end"
        );
    }
}

/// The heap's thread has gone, and none will come.
pub(crate) fn note_no_thread() {
    if !FILE.try_lock().is_none_or(|path| path.is_empty()) && are_wanted() {
        warn_line!(
            "snapshot_interval: the program changes the rights of one thread, so that the heap's has ended: one more at the end"
        );
    }
}

/// Whether the options ask for a snapshot each so many seconds.
fn are_wanted() -> bool {
    HEAP.core().is_some_and(|core| core.config().snapshot_interval_seconds != 0)
}

/// What the heap's thread does between its steps: a snapshot each interval, the first when one has passed. Says when the
/// next is due.
pub(crate) fn write_if_due(core: &Core<Program>, now_ns: u64) -> u64 {
    /// When the next is due; 0 before the first call. Written and read by the heap's thread alone.
    static DUE_NS: AtomicU64 = AtomicU64::new(0);
    let interval_ns = core.config().snapshot_interval_seconds.saturating_mul(1_000_000_000);
    if interval_ns == 0 || !exit_report::is_asked() {
        return u64::MAX;
    }
    let due_ns = DUE_NS.load(Ordering::Relaxed);
    if due_ns != 0 && now_ns >= due_ns {
        write(core);
    }
    // What lies further ahead than an interval was set before the clock jumped back.
    let is_ahead = due_ns > now_ns && due_ns - now_ns <= interval_ns;
    let next_ns = if is_ahead { due_ns } else { now_ns.saturating_add(interval_ns) };
    DUE_NS.store(next_ns, Ordering::Relaxed);
    next_ns
}

/// Writes a snapshot, if there is a place for it and no other thread is writing one.
pub(crate) fn write(core: &Core<Program>) {
    let Some(path) = FILE.try_lock().filter(|path| !path.is_empty()) else { return };
    let extent = match core.config().snapshot_detail {
        SnapshotDetail::Map => Extent::Map,
        SnapshotDetail::Figures => Extent::Figures,
    };
    if let Err(error) = write_snapshot_file(core, path.as_bytes(), extent)
        && !SAID.swap(true, Ordering::Relaxed)
    {
        warn_line!(
            "snapshot_file: cannot write '{}' (errno {error})",
            path.as_bytes().escape_ascii()
        );
    }
}
