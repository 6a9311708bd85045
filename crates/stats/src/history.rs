//! Recent snapshots, for any number of readers.

use crate::{EpochCell, Ledger, Snapshot};
use core::fmt;
use std::sync::Arc;
use std::vec::Vec;
use strata_alloc::{Core, HeapConfig};

/// The snapshots of a heap that were recorded last, and the one in which it had most memory.
///
/// Who records publishes a new list as a whole; readers take no lock, wait for nobody, and keep what they read as long as
/// they like. Any number of threads may record and read at the same time. A snapshot takes some 25 KiB.
///
/// Lists that no reader looks at any more are freed by epochs (see [`EpochCell`]). That takes and frees memory of the
/// program's global allocator, which may be the heap itself: so nothing that an allocation or a free can reach records or
/// reads here. A heap's background work may:
///
/// ```
/// use std::sync::LazyLock;
/// use strata_alloc::{Config, Heap};
/// use strata_stats::History;
///
/// static HISTORY: LazyLock<History> = LazyLock::new(|| History::new(60));
/// static HEAP: Heap = Heap::with(Config::DEFAULT);
///
/// // A snapshot a second, and the last minute of them for who asks.
/// assert!(HEAP.start_background_thread());
/// let core = HEAP.core().expect("it has a thread");
/// core.set_background_work(|core, now_ns| {
///     HISTORY.record(core);
///     now_ns + 1_000_000_000
/// });
/// let latest = loop {
///     if let Some(latest) = HISTORY.latest() {
///         break latest;
///     }
/// };
/// assert_eq!(latest.heap.page_bytes, 8192);
/// ```
pub struct History {
    /// The list, replaced as a whole by who records.
    list: EpochCell<List>,
    capacity: usize,
}

/// What is published at a time.
#[derive(Clone, Debug)]
struct List {
    /// The oldest first.
    recent: Vec<Arc<Snapshot>>,
    /// The one with the greatest actual memory that was ever recorded, with that.
    peak: Option<(u64, Arc<Snapshot>)>,
}

impl History {
    /// A history of the last `capacity` snapshots, at least one.
    pub fn new(capacity: usize) -> Self {
        let list = List { recent: Vec::new(), peak: None };
        Self { list: EpochCell::new(list), capacity: capacity.max(1) }
    }

    /// Takes a snapshot and publishes it. Not from within an allocation or a free.
    pub fn record<C: HeapConfig>(&self, core: &Core<C>) {
        self.publish(Arc::new(Snapshot::take(core)));
    }

    /// Publishes a snapshot that was taken before.
    ///
    /// It goes behind those that were taken before it, wherever they were taken, so that what readers see is in order.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        let actual_bytes = Ledger::of(&snapshot).actual_bytes();
        self.list.replace(|list| list.with(&snapshot, actual_bytes, self.capacity));
    }

    /// The snapshots, the oldest first. Costs a count for each.
    pub fn recent(&self) -> Vec<Arc<Snapshot>> {
        self.list.read(|list| list.recent.clone())
    }

    /// The snapshot that was taken last.
    pub fn latest(&self) -> Option<Arc<Snapshot>> {
        self.list.read(|list| list.recent.last().cloned())
    }

    /// Of all that were ever recorded, the snapshot in which the heap had most memory (see [`Ledger::actual_bytes`]): all
    /// figures of that moment.
    pub fn peak(&self) -> Option<Arc<Snapshot>> {
        self.list.read(|list| list.peak.as_ref().map(|(_, snapshot)| Arc::clone(snapshot)))
    }
}

impl List {
    fn with(&self, snapshot: &Arc<Snapshot>, actual_bytes: u64, capacity: usize) -> Self {
        let mut recent = self.recent.clone();
        let place = recent.partition_point(|other| other.taken_ns <= snapshot.taken_ns);
        recent.insert(place, Arc::clone(snapshot));
        let surplus = recent.len().saturating_sub(capacity);
        recent.drain(..surplus);
        let peak = match &self.peak {
            Some((most, peak)) if *most >= actual_bytes => Some((*most, Arc::clone(peak))),
            _ => Some((actual_bytes, Arc::clone(snapshot))),
        };
        Self { recent, peak }
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recorded = self.list.read(|list| list.recent.len());
        f.debug_struct("History")
            .field("capacity", &self.capacity)
            .field("recorded", &recorded)
            .finish()
    }
}
