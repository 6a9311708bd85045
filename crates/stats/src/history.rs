//! Recent snapshots, for any number of readers.

use crate::{Ledger, Snapshot};
use core::fmt;
use core::sync::atomic::Ordering;
use crossbeam_epoch::{self as epoch, Atomic, Owned};
use std::sync::Arc;
use std::vec::Vec;
use strata_alloc::{Core, HeapConfig};

/// The snapshots of a heap that were recorded last, and the one in which it had most memory.
///
/// Who records publishes a new list as a whole; readers take no lock, wait for nobody, and keep what they read as long as
/// they like. Any number of threads may record and read at the same time. A snapshot takes some 25 KiB.
///
/// Lists that no reader looks at any more are freed by epochs (K. Fraser, *Practical lock-freedom*, 2004, section 5.2.3;
/// `crossbeam-epoch`). That takes and frees memory of the program's global allocator, which may be the heap itself: so
/// nothing that an allocation or a free can reach records or reads here. A heap's background work may:
///
/// ```
/// use std::sync::LazyLock;
/// use strata_alloc::{Config, Core, Heap, HeapConfig, Standard};
/// use strata_stats::History;
///
/// static HISTORY: LazyLock<History> = LazyLock::new(|| History::new(60));
///
/// /// What is standard, with a snapshot a second, and the last minute of them for who asks.
/// struct Recorded;
///
/// impl HeapConfig for Recorded {
///     type Pages = <Standard as HeapConfig>::Pages;
///     type Source = <Standard as HeapConfig>::Source;
///     type PageHeap = <Standard as HeapConfig>::PageHeap;
///     type Clock = <Standard as HeapConfig>::Clock;
///     fn source() -> &'static Self::Source {
///         <Standard>::source()
///     }
///     fn clock() -> &'static Self::Clock {
///         <Standard>::clock()
///     }
///     fn background_work(core: &Core<Self>, now_ns: u64) -> u64 {
///         HISTORY.record(core);
///         now_ns + 1_000_000_000
///     }
/// }
///
/// static HEAP: Heap<Recorded> = Heap::with(Config::DEFAULT);
/// let block = HEAP.allocate(100_000);
/// assert!(HEAP.start_background_thread());
/// let latest = loop {
///     if let Some(latest) = HISTORY.latest() {
///         break latest;
///     }
/// };
/// assert_eq!(latest.heap.page_bytes, 8192);
/// # // SAFETY: the block is ours.
/// # unsafe { HEAP.deallocate(block) };
/// ```
pub struct History {
    /// The list. Replaced as a whole by who records, in turns that a compare-and-exchange decides; read by anybody under a
    /// pinned epoch.
    list: Atomic<List>,
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
        Self { list: Atomic::new(list), capacity: capacity.max(1) }
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
        let guard = epoch::pin();
        // Acquire pairs with the release in the exchange: the list is seen as it was made.
        let mut shared = self.list.load(Ordering::Acquire, &guard);
        loop {
            // SAFETY: the list was published by `new` or by an exchange below, never null, and is freed only after every
            // thread that was pinned when it was replaced has gone on; this one is.
            let current = unsafe { shared.deref() };
            let next = Owned::new(current.with(&snapshot, actual_bytes, self.capacity));
            match self.list.compare_exchange(
                shared,
                next,
                Ordering::AcqRel,
                Ordering::Acquire,
                &guard,
            ) {
                Ok(_) => {
                    // SAFETY: it was replaced by this exchange, so that nobody who pins from now on finds it, and nobody
                    // else destroys it.
                    unsafe { guard.defer_destroy(shared) };
                    return;
                }
                Err(failed) => shared = failed.current,
            }
        }
    }

    /// The snapshots, the oldest first. Costs a count for each.
    pub fn recent(&self) -> Vec<Arc<Snapshot>> {
        self.read(|list| list.recent.clone())
    }

    /// The snapshot that was taken last.
    pub fn latest(&self) -> Option<Arc<Snapshot>> {
        self.read(|list| list.recent.last().cloned())
    }

    /// Of all that were ever recorded, the snapshot in which the heap had most memory (see [`Ledger::actual_bytes`]): all
    /// figures of that moment.
    pub fn peak(&self) -> Option<Arc<Snapshot>> {
        self.read(|list| list.peak.as_ref().map(|(_, snapshot)| Arc::clone(snapshot)))
    }

    fn read<T>(&self, read: impl FnOnce(&List) -> T) -> T {
        let guard = epoch::pin();
        // Acquire pairs with the release in `publish`.
        let shared = self.list.load(Ordering::Acquire, &guard);
        // SAFETY: as in `publish`.
        read(unsafe { shared.deref() })
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

impl Drop for History {
    fn drop(&mut self) {
        let list = core::mem::replace(&mut self.list, Atomic::null());
        // SAFETY: nobody else has the history any more, and the list is never null.
        drop(unsafe { list.into_owned() });
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recorded = self.read(|list| list.recent.len());
        f.debug_struct("History")
            .field("capacity", &self.capacity)
            .field("recorded", &recorded)
            .finish()
    }
}
