//! Snapshots in files: `STRATA_CONF=snapshot_file:PATH`.

use crate::heap::Program;
use strata_alloc::{Config, Core, PathText, SnapshotDetail};
use strata_os::warn_line;
use strata_stats::{Extent, write_snapshot_file};
use strata_sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
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
