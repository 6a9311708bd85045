//! A cache over a source that knows where each object is, and what must hold of both.

use core::sync::atomic::{AtomicU8, Ordering};
use loom::{sync::Arc, thread};
use strata_cpu_cache::{CpuCache, CpuStats, IdKind, Setup, StopRefusal};
use strata_os::SimulatedPages;
use strata_size_classes::{Bounds, ObjectSource, SizeClass, SizeClassTable};

/// Two classes of which a miss moves two objects and one.
static TABLE: SizeClassTable =
    match SizeClassTable::from_sizes(13, &Bounds::STANDARD, &[2048, 4096]) {
        Ok(table) => table,
        Err(_) => SizeClassTable::EMPTY,
    };

pub(crate) const IDS: u32 = 2;
const OBJECTS: usize = 8;

const IN_SOURCE: u8 = 0;
const IN_CACHE: u8 = 1;
pub(crate) const WITH_THREAD: u8 = 2;

/// Objects with a place each. The places are core's atomics, in which loom sees no interleavings: what a source does is
/// one step.
pub(crate) struct Source {
    places: [[AtomicU8; OBJECTS]; 2],
}

impl Source {
    fn place(&self, class: SizeClass, object: *mut u8) -> &AtomicU8 {
        &self.places[class.index() - 1][object.addr() - 1]
    }

    fn moves(&self, class: SizeClass, object: *mut u8, from: u8, to: u8) {
        let found = self.place(class, object).swap(to, Ordering::Relaxed);
        assert_eq!(found, from, "object {object:?} of {class:?} on its way to {to}");
    }

    pub(crate) fn count(&self, class: SizeClass, place: u8) -> usize {
        let places = &self.places[class.index() - 1];
        places.iter().filter(|it| it.load(Ordering::Relaxed) == place).count()
    }
}

// SAFETY: 1. the count is of the slots written. 2. each number is out once, nobody looks behind it. 3. it knows of
// no cache; it unwinds where a test has failed already.
unsafe impl ObjectSource for Source {
    fn take(&self, class: SizeClass, out: &mut [*mut u8]) -> usize {
        let mut taken = 0;
        for number in 0..OBJECTS {
            let Some(slot) = out.get_mut(taken) else { break };
            let object = core::ptr::without_provenance_mut(number + 1);
            if self.place(class, object).load(Ordering::Relaxed) == IN_SOURCE {
                self.moves(class, object, IN_SOURCE, IN_CACHE);
                *slot = object;
                taken += 1;
            }
        }
        taken
    }

    unsafe fn give(&self, class: SizeClass, objects: &mut [*mut u8]) {
        for &mut object in objects {
            self.moves(class, object, IN_CACHE, IN_SOURCE);
        }
    }
}

pub(crate) struct Model {
    pub(crate) cache: CpuCache,
    pub(crate) source: Source,
}

/// The class of 2 KiB, of which most tests are.
pub(crate) fn small() -> SizeClass {
    SizeClass::from_index(1).expect("a class")
}

pub(crate) fn large() -> SizeClass {
    SizeClass::from_index(2).expect("a class")
}

impl Model {
    pub(crate) fn new(limit_bytes: usize) -> Arc<Self> {
        let places = core::array::from_fn(|_| [const { AtomicU8::new(IN_SOURCE) }; OBJECTS]);
        let model = Self { cache: CpuCache::new(), source: Source { places } };
        let setup = Setup { table: &TABLE, ids: IDS, id_kind: IdKind::Cpu, area: 0, limit_bytes };
        // SAFETY: a model has no areas, and its seats are below the ids.
        unsafe { model.cache.set_up(&SimulatedPages::new(), setup) }.expect("address space");
        Arc::new(model)
    }

    pub(crate) fn pop(&self, class: SizeClass) -> Option<*mut u8> {
        // SAFETY: the cache is set up.
        let object = unsafe { self.cache.pop(class) };
        self.receive(class, object)
    }

    pub(crate) fn push(&self, class: SizeClass, object: *mut u8) -> bool {
        self.source.moves(class, object, WITH_THREAD, IN_CACHE);
        // SAFETY: the cache is set up, the object is this thread's.
        let done = unsafe { self.cache.push(class, object) };
        if !done {
            self.source.moves(class, object, IN_CACHE, WITH_THREAD);
        }
        done
    }

    pub(crate) fn refill(&self, class: SizeClass) -> Option<*mut u8> {
        // SAFETY: the cache is set up.
        let object = unsafe { self.cache.refill(&self.source, class) };
        self.receive(class, object)
    }

    pub(crate) fn overflow(&self, class: SizeClass, object: *mut u8) {
        self.source.moves(class, object, WITH_THREAD, IN_CACHE);
        // SAFETY: the cache is set up, the object is this thread's.
        unsafe { self.cache.overflow(&self.source, class, object) };
    }

    /// As `malloc` does.
    pub(crate) fn take(&self, class: SizeClass) -> *mut u8 {
        self.pop(class).or_else(|| self.refill(class)).expect("the source has enough")
    }

    /// As `free` does.
    pub(crate) fn give(&self, class: SizeClass, object: *mut u8) {
        if !self.push(class, object) {
            self.overflow(class, object);
        }
    }

    /// Two objects stand in this thread's CPU's cache afterwards.
    pub(crate) fn cache_two(&self) {
        let objects = [self.take(small()), self.take(small())];
        objects.into_iter().for_each(|object| self.give(small(), object));
    }

    /// Pops two objects at once, and pushes them; what finds no room then goes to the source.
    pub(crate) fn move_a_batch(&self) {
        let mut objects = [core::ptr::null_mut(); 2];
        // SAFETY: the cache is set up.
        let taken = unsafe { self.cache.pop_batch(small(), &mut objects) };
        // SAFETY: the objects were popped just now.
        let given = unsafe { self.cache.push_batch(small(), &objects[..taken]) };
        // SAFETY: these were popped just now, and found no room.
        unsafe { self.source.give(small(), &mut objects[given..taken]) };
    }

    fn receive(&self, class: SizeClass, object: *mut u8) -> Option<*mut u8> {
        if object.is_null() {
            return None;
        }
        self.source.moves(class, object, IN_CACHE, WITH_THREAD);
        Some(object)
    }

    pub(crate) fn drain(&self, id: u32) -> Result<u64, StopRefusal> {
        self.cache.drain(&self.source, id)
    }

    /// What must hold when nothing is underway: objects and capacity are in one place each.
    fn assert_in_order(&self) {
        for class in [small(), large()] {
            let held: u64 = (0..IDS).map(|id| self.cache.objects(id, class)).sum();
            let said = self.source.count(class, IN_CACHE) as u64;
            assert_eq!(held, said, "objects of {class:?}");
        }
        for id in 0..IDS {
            let stats = self.cache.cpu_stats(id);
            assert_eq!(
                stats.capacity_bytes + stats.available_bytes,
                stats.granted_bytes,
                "capacity of {id}: {stats:?}"
            );
            assert!(stats.granted_bytes <= stats.limit_bytes);
            assert!(stats.held_bytes <= stats.capacity_bytes);
        }
    }

    /// No thread has an object any more, and the cache gives all back.
    pub(crate) fn assert_nothing_is_out(&self) {
        assert_eq!(self.source.count(small(), WITH_THREAD), 0);
        self.assert_whole();
    }

    /// Empties all CPUs: the cache must have given back every object that threads do not have.
    pub(crate) fn assert_whole(&self) {
        self.assert_in_order();
        for id in 0..IDS {
            let held = self.cache.cpu_stats(id).held_bytes;
            assert_eq!(self.drain(id), Ok(held));
            let CpuStats { capacity_bytes, available_bytes, granted_bytes, .. } =
                self.cache.cpu_stats(id);
            assert_eq!((capacity_bytes, available_bytes), (0, granted_bytes));
        }
        for class in [small(), large()] {
            assert_eq!(self.source.count(class, IN_CACHE), 0);
        }
    }
}

/// Explores all interleavings with at most `preemptions` switches away from a thread that could have gone on.
pub(crate) fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(model);
}

pub(crate) fn spawn(
    model: &Arc<Model>,
    work: impl FnOnce(&Model) + Send + 'static,
) -> thread::JoinHandle<()> {
    let model = Arc::clone(model);
    thread::spawn(move || work(&model))
}
