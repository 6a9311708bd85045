//! CPU caches of a machine that is not there.

use core::cell::Cell;
use core::error::Error;
use core::fmt::{self, Debug, Display, Formatter};
use core::ptr;

use strata_cpu_cache::{CpuCache, IdKind, Setup};
use strata_os::{MapError, PageSource, SystemPages, rseq, thread_pointer};
use strata_size_classes::{ObjectSource, SizeClass, SizeClassTable};

/// The caches of as many CPUs as one likes, used by one thread that says on which of them it is.
///
/// The caches are those of a real heap. Their restartable sequences look for the CPU's number in an area that is
/// ours instead of the kernel's; since nobody else uses these caches, none of their sequences ever needs to be
/// restarted.
pub struct SimulatedCpus {
    cache: CpuCache,
    /// Where the sequences find the number. Boxed, so that it stays where the cache was told.
    area: Box<Area>,
    /// A cache's area is found from the thread's own pointer.
    thread_pointer: usize,
    misses: Cell<u64>,
}

/// Bytes of slots of a CPU that works.
const SLOTS_BYTES: usize = 64 << 10;

/// As long as the kernel's, and as aligned.
#[repr(C, align(32))]
struct Area {
    words: [Cell<u32>; rseq::AREA_BYTES as usize / 4],
}

/// There are no caches of CPUs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported;

impl Display for Unsupported {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("caches of CPUs need Linux on x86-64, and address space")
    }
}

impl Error for Unsupported {}

impl From<MapError> for Unsupported {
    fn from(_: MapError) -> Self {
        Self
    }
}

impl SimulatedCpus {
    /// Empty caches of `cpus` CPUs, at least one, with the limits that a heap has by default.
    ///
    /// # Errors
    ///
    /// Where the crate was compiled for a machine without restartable sequences, or address space is exhausted.
    pub fn new(table: &'static SizeClassTable, cpus: u32) -> Result<Self, Unsupported> {
        let area = Box::new(Area { words: Default::default() });
        let thread_pointer = thread_pointer();
        let setup = Setup {
            table,
            ids: cpus.max(1),
            id_kind: IdKind::Cpu,
            area: ptr::from_ref(&*area)
                .expose_provenance()
                .wrapping_sub(thread_pointer)
                .cast_signed(),
            limit_bytes: CpuCache::DEFAULT_LIMIT_BYTES,
        };
        let cache = CpuCache::new();
        // SAFETY: `go_to` lets no thread but this one reach the caches; its area is `area`, whose number is below the
        // number of CPUs.
        unsafe { cache.set_up_for_one_thread(&SystemPages::new(), setup)? };
        Ok(Self { cache, area, thread_pointer, misses: Cell::new(0) })
    }

    /// How many CPUs there are.
    pub fn count(&self) -> u32 {
        self.cache.ids()
    }

    /// Takes an object of `class` as a thread on `cpu` would; null if `source` has none left.
    pub fn take<O: ObjectSource>(&self, cpu: u32, source: &O, class: SizeClass) -> *mut u8 {
        self.go_to(cpu);
        // SAFETY: set up, on this thread, whose area has a valid number.
        let object = unsafe { self.cache.pop(class) };
        if !object.is_null() {
            return object;
        }
        self.note_miss(cpu, source);
        // SAFETY: set up, on this thread, whose area has a valid number.
        unsafe { self.cache.refill(source, class) }
    }

    /// Gives an object back as a thread on `cpu` would.
    ///
    /// # Safety
    ///
    /// The object is of that class, came from [`Self::take`] with the same source, and nobody uses it any more.
    pub unsafe fn give<O: ObjectSource>(
        &self,
        cpu: u32,
        source: &O,
        class: SizeClass,
        object: *mut u8,
    ) {
        self.go_to(cpu);
        // SAFETY: set up, on this thread, whose area has a valid number; the object is the caller's to give.
        if unsafe { self.cache.push(class, object) } {
            return;
        }
        self.note_miss(cpu, source);
        // SAFETY: set up, on this thread; no cache took the object.
        unsafe { self.cache.overflow(source, class, object) };
    }

    /// Counts a miss, and gives the CPU the slots that a program's has after its first moments, and its own limit back.
    fn note_miss<O: ObjectSource>(&self, cpu: u32, source: &O) {
        self.misses.set(self.misses.get() + 1);
        if self.cache.region_bytes(cpu) < SLOTS_BYTES {
            // Where the kernel refuses, it stays as short as it is.
            let _ = self.cache.lengthen(&SystemPages::new(), cpu);
        }
        if self.cache.is_poor(cpu) {
            self.cache.recall(source, cpu);
        }
    }

    /// Bytes of free objects in all caches.
    pub fn held_bytes(&self) -> u64 {
        (0..self.count()).map(|cpu| self.cache.cpu_stats(cpu).held_bytes).sum()
    }

    /// Times that a cache was empty when an object was wanted, or full when one came back.
    pub const fn misses(&self) -> u64 {
        self.misses.get()
    }

    /// The caches themselves, for who keeps them in shape.
    pub const fn cache(&self) -> &CpuCache {
        &self.cache
    }

    fn go_to(&self, cpu: u32) {
        assert!(thread_pointer() == self.thread_pointer, "simulated CPUs belong to one thread");
        let number = self.area.words.get(rseq::CPU_ID / 4);
        number.expect("an area has a number").set(cpu % self.count());
    }
}

impl Drop for SimulatedCpus {
    fn drop(&mut self) {
        // SAFETY: the range is the caches' own, which nobody uses any more. If the kernel refuses, it stays reserved.
        let _ = unsafe { SystemPages::new().unreserve(self.cache.slab_range()) };
    }
}

impl Debug for SimulatedCpus {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedCpus").field("count", &self.count()).finish_non_exhaustive()
    }
}
