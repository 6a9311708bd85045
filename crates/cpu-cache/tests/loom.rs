//! Interleavings of threads on one CPU, and of those with somebody who empties its cache, explored by loom.
//!
//! `RUSTFLAGS="--cfg strata_loom" cargo test -p strata-cpu-cache --test loom --release`
//!
//! Sections are modelled: each runs under its CPU's lock, may be sent back before its commit, and may commit
//! after somebody else has taken the header away (`src/rseq_model.rs`). All around them is the code that programs run.

#![cfg(strata_loom)]

use core::sync::atomic::{AtomicU8, Ordering};
use loom::{sync::Arc, thread};
use strata_cpu_cache::{CpuCache, CpuStats, IdKind, REGION_BYTES, Seat, Setup, StopRefusal};
use strata_os::SimulatedPages;
use strata_size_classes::{Bounds, ObjectSource, SizeClass, SizeClassTable};

/// Two classes of which a miss moves two objects and one.
static TABLE: SizeClassTable =
    match SizeClassTable::from_sizes(13, &Bounds::STANDARD, &[2048, 4096]) {
        Ok(table) => table,
        Err(_) => SizeClassTable::EMPTY,
    };

const IDS: u32 = 2;
const OBJECTS: usize = 8;

const IN_SOURCE: u8 = 0;
const IN_CACHE: u8 = 1;
const WITH_THREAD: u8 = 2;

/// Objects with a place each. The places are core's atomics, in which loom sees no interleavings: what a source does is
/// one step.
struct Source {
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

    fn count(&self, class: SizeClass, place: u8) -> usize {
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

struct Model {
    cache: CpuCache,
    source: Source,
}

/// The class of 2 KiB, of which most tests are.
fn small() -> SizeClass {
    SizeClass::from_index(1).expect("a class")
}

fn large() -> SizeClass {
    SizeClass::from_index(2).expect("a class")
}

impl Model {
    fn new(limit_bytes: usize) -> Arc<Self> {
        let places = core::array::from_fn(|_| [const { AtomicU8::new(IN_SOURCE) }; OBJECTS]);
        let model = Self { cache: CpuCache::new(), source: Source { places } };
        let setup = Setup { table: &TABLE, ids: IDS, id_kind: IdKind::Cpu, area: 0, limit_bytes };
        // SAFETY: a model has no areas, and its seats are below the ids.
        unsafe { model.cache.set_up(&SimulatedPages::new(), setup) }.expect("address space");
        Arc::new(model)
    }

    fn pop(&self, class: SizeClass) -> Option<*mut u8> {
        // SAFETY: the cache is set up.
        let object = unsafe { self.cache.pop(class) };
        self.receive(class, object)
    }

    fn push(&self, class: SizeClass, object: *mut u8) -> bool {
        self.source.moves(class, object, WITH_THREAD, IN_CACHE);
        // SAFETY: the cache is set up, the object is this thread's.
        let done = unsafe { self.cache.push(class, object) };
        if !done {
            self.source.moves(class, object, IN_CACHE, WITH_THREAD);
        }
        done
    }

    fn refill(&self, class: SizeClass) -> Option<*mut u8> {
        // SAFETY: the cache is set up.
        let object = unsafe { self.cache.refill(&self.source, class) };
        self.receive(class, object)
    }

    fn overflow(&self, class: SizeClass, object: *mut u8) {
        self.source.moves(class, object, WITH_THREAD, IN_CACHE);
        // SAFETY: the cache is set up, the object is this thread's.
        unsafe { self.cache.overflow(&self.source, class, object) };
    }

    /// As `malloc` does.
    fn take(&self, class: SizeClass) -> *mut u8 {
        self.pop(class).or_else(|| self.refill(class)).expect("the source has enough")
    }

    /// As `free` does.
    fn give(&self, class: SizeClass, object: *mut u8) {
        if !self.push(class, object) {
            self.overflow(class, object);
        }
    }

    fn receive(&self, class: SizeClass, object: *mut u8) -> Option<*mut u8> {
        if object.is_null() {
            return None;
        }
        self.source.moves(class, object, IN_CACHE, WITH_THREAD);
        Some(object)
    }

    fn drain(&self, id: u32) -> Result<u64, StopRefusal> {
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

    /// Empties all CPUs: the cache must have given back every object that threads do not have.
    fn assert_whole(&self) {
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
fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(model);
}

fn spawn(model: &Arc<Model>, work: impl FnOnce(&Model) + Send + 'static) -> thread::JoinHandle<()> {
    let model = Arc::clone(model);
    thread::spawn(move || work(&model))
}

#[test]
fn drain_while_owner_pops() {
    explore(3, || {
        let model = Model::new(1 << 20);
        // Two stand in the cache afterwards.
        let first = model.take(small());
        let second = model.take(small());
        model.give(small(), first);
        model.give(small(), second);
        let before = model.cache.pops(0, small());
        let owner = spawn(&model, |model| {
            let popped = [model.pop(small()), model.pop(small())].into_iter().flatten().count();
            // What was popped is counted, however much was drained.
            assert_eq!(model.source.count(small(), WITH_THREAD), popped);
        });
        assert!(model.drain(0).is_ok());
        owner.join().expect("no panic");
        let popped = model.source.count(small(), WITH_THREAD);
        assert_eq!((model.cache.pops(0, small()) - before) as usize, popped);
        model.assert_whole();
    });
}

#[test]
fn drain_while_owner_pushes() {
    explore(3, || {
        let model = Model::new(1 << 20);
        let first = model.take(small()).addr();
        let second = model.take(small()).addr();
        let owner = spawn(&model, move |model| {
            for object in [first, second] {
                model.push(small(), core::ptr::without_provenance_mut(object));
            }
        });
        assert!(model.drain(0).is_ok());
        owner.join().expect("no panic");
        model.assert_whole();
    });
}

#[test]
fn drain_while_owner_moves_batches() {
    explore(3, || {
        let model = Model::new(1 << 20);
        let first = model.take(small());
        let owner = spawn(&model, |model| {
            let mut objects = [core::ptr::null_mut(); 2];
            // SAFETY: the cache is set up.
            let taken = unsafe { model.cache.pop_batch(small(), &mut objects) };
            // SAFETY: the objects were popped just now.
            let given = unsafe { model.cache.push_batch(small(), &objects[..taken]) };
            // SAFETY: these were popped just now, and found no room.
            unsafe { model.source.give(small(), &mut objects[given..taken]) };
        });
        assert!(model.drain(0).is_ok());
        owner.join().expect("no panic");
        model.give(small(), first);
        model.assert_whole();
    });
}

#[test]
fn drain_while_a_slow_path_grows() {
    explore(2, || {
        let model = Model::new(1 << 20);
        let first = model.take(small()).addr();
        let owner = spawn(&model, move |model| {
            let second = model.refill(small()).expect("the source has enough");
            model.overflow(small(), core::ptr::without_provenance_mut(first));
            model.give(small(), second);
        });
        assert!(model.drain(0).is_ok());
        owner.join().expect("no panic");
        model.assert_whole();
    });
}

#[test]
fn drain_while_a_class_takes_anothers_capacity() {
    explore(2, || {
        // Room for two small objects or one large one.
        let model = Model::new(4096);
        let first = model.take(small());
        model.give(small(), first);
        let owner = spawn(&model, |model| {
            let object = model.refill(large()).expect("the source has enough");
            model.give(large(), object);
        });
        assert!(model.drain(0).is_ok());
        owner.join().expect("no panic");
        model.assert_whole();
    });
}

/// How many objects of `class` stand in a CPU's cache, and how many the threads have.
fn held_and_out(model: &Model, id: u32) -> (u64, usize) {
    (model.cache.objects(id, small()), model.source.count(small(), WITH_THREAD))
}

#[test]
fn region_gets_longer_while_owner_pops_and_pushes() {
    explore(3, || {
        let model = Model::new(1 << 20);
        let first = model.take(small());
        let second = model.take(small());
        model.give(small(), first);
        model.give(small(), second);
        let held = model.cache.objects(0, small());
        let owner = spawn(&model, |model| {
            if let Some(object) = model.pop(small()) {
                model.give(small(), object);
            }
        });
        assert_eq!(model.cache.lengthen(&SimulatedPages::new(), 0), Ok(true));
        owner.join().expect("no panic");
        assert_eq!(model.source.count(small(), WITH_THREAD), 0);
        assert!(held_and_out(&model, 0).0 <= held, "nothing appears");
        assert_eq!(model.cache.cpu_stats(0).region_bytes, REGION_BYTES as u64);
        model.assert_whole();
    });
}

#[test]
fn what_was_popped_is_never_found_while_the_region_gets_longer_and_shorter() {
    explore(3, || {
        let model = Model::new(1 << 20);
        // Its slot still has it.
        let object = model.take(large());
        model.give(large(), object);
        assert!(model.cache.holds(large(), object));
        let object = model.pop(large()).expect("it was given just now");
        let other = spawn(&model, |model| {
            assert_eq!(model.cache.lengthen(&SimulatedPages::new(), 0), Ok(true));
            let pages = SimulatedPages::new();
            assert_eq!(model.cache.shorten(&model.source, &pages, 0), Ok(true));
        });
        for _ in 0..2 {
            assert!(!model.cache.holds(large(), object), "the thread has it");
        }
        other.join().expect("no panic");
        model.give(large(), object);
        assert!(model.cache.holds(large(), object));
        model.assert_whole();
    });
}

#[test]
fn region_gets_longer_while_a_slow_path_gives_classes_slots() {
    explore(2, || {
        let model = Model::new(1 << 20);
        let first = model.take(large());
        model.give(large(), first);
        let owner = spawn(&model, |model| {
            let object = model.refill(small()).expect("the source has enough");
            model.give(small(), object);
        });
        assert_eq!(model.cache.lengthen(&SimulatedPages::new(), 0), Ok(true));
        owner.join().expect("no panic");
        model.assert_whole();
    });
}

#[test]
fn region_gets_shorter_while_owner_moves_batches() {
    explore(3, || {
        let model = Model::new(1 << 20);
        assert_eq!(model.cache.lengthen(&SimulatedPages::new(), 0), Ok(true));
        let first = model.take(small());
        let second = model.take(small());
        model.give(small(), first);
        model.give(small(), second);
        let owner = spawn(&model, |model| {
            let mut objects = [core::ptr::null_mut(); 2];
            // SAFETY: the cache is set up.
            let taken = unsafe { model.cache.pop_batch(small(), &mut objects) };
            // SAFETY: the objects were popped just now.
            let given = unsafe { model.cache.push_batch(small(), &objects[..taken]) };
            // SAFETY: these were popped just now, and found no room.
            unsafe { model.source.give(small(), &mut objects[given..taken]) };
        });
        let pages = SimulatedPages::new();
        assert_eq!(model.cache.shorten(&model.source, &pages, 0), Ok(true));
        owner.join().expect("no panic");
        model.assert_whole();
    });
}

#[test]
fn region_gets_longer_while_it_is_drained() {
    explore(2, || {
        let model = Model::new(1 << 20);
        let first = model.take(small());
        let other = spawn(&model, |model| {
            let drained = model.drain(0);
            assert!(drained.is_ok() || drained == Err(StopRefusal::Busy));
        });
        let longer = model.cache.lengthen(&SimulatedPages::new(), 0);
        assert!(matches!(longer, Ok(true) | Err(StopRefusal::Busy)), "{longer:?}");
        other.join().expect("no panic");
        model.give(small(), first);
        model.assert_whole();
    });
}

#[test]
fn limit_moves_to_a_cpu_that_misses_while_the_other_pops() {
    explore(2, || {
        // Each may have two small objects, or one large one.
        let model = Model::new(4096);
        let (seat, there) = (Seat::new(0), Seat::new(1));
        there.take();
        let kept = model.take(small());
        model.give(small(), kept);
        seat.take();
        let objects: [_; 3] = core::array::from_fn(|_| model.take(small()));
        let owner = {
            let (model, there) = (Arc::clone(&model), there.clone());
            thread::spawn(move || {
                there.take();
                if let Some(object) = model.pop(small()) {
                    model.give(small(), object);
                }
            })
        };
        model.cache.shuffle(&model.source);
        owner.join().expect("no panic");
        for object in objects {
            model.give(small(), object);
        }
        let limits: u64 = (0..IDS).map(|id| model.cache.cpu_stats(id).limit_bytes).sum();
        assert_eq!(limits, 2 * 4096, "limits move and stay the same");
        assert_eq!(model.source.count(small(), WITH_THREAD), 0);
        model.assert_whole();
    });
}

#[test]
fn limit_is_called_back_while_its_borrower_pops() {
    explore(2, || {
        // Each may have two small objects, or one large one.
        let model = Model::new(4096);
        let (seat, there) = (Seat::new(0), Seat::new(1));
        there.take();
        let kept = model.take(small());
        model.give(small(), kept);
        seat.take();
        assert_eq!(model.cache.lengthen(&SimulatedPages::new(), 0), Ok(true));
        // The first one's limit grows by twentieths, until it has three objects and the other one's limit is for none.
        for _ in 0..14 {
            let objects: [_; 4] = core::array::from_fn(|_| model.take(small()));
            objects.into_iter().for_each(|object| model.give(small(), object));
            model.cache.shuffle(&model.source);
        }
        assert!(model.cache.cpu_stats(1).limit_bytes < 2048);
        assert!(model.cache.cpu_stats(0).capacity_bytes >= 3 * 2048);
        let borrower = {
            let (model, seat) = (Arc::clone(&model), seat.clone());
            thread::spawn(move || {
                seat.take();
                if let Some(object) = model.pop(small()) {
                    model.give(small(), object);
                }
            })
        };
        there.take();
        let called_back = model.cache.recall(&model.source, 1);
        borrower.join().expect("no panic");
        assert!(called_back > 0);
        let limits = [0, 1].map(|id| model.cache.cpu_stats(id).limit_bytes);
        assert_eq!(limits[0] + limits[1], 2 * 4096, "limits move and stay the same");
        assert_eq!(model.source.count(small(), WITH_THREAD), 0);
        model.assert_whole();
    });
}

#[test]
fn two_drains_meet_while_a_slow_path_grows() {
    explore(2, || {
        let model = Model::new(1 << 20);
        let (first, second) = (model.take(small()), model.take(small()).addr());
        model.give(small(), first);
        let drain = |model: &Model| {
            let drained = model.drain(0);
            assert!(drained.is_ok() || drained == Err(StopRefusal::Busy));
        };
        let other = spawn(&model, drain);
        let owner = spawn(&model, move |model| {
            model.overflow(small(), core::ptr::without_provenance_mut(second));
        });
        drain(&model);
        other.join().expect("no panic");
        owner.join().expect("no panic");
        assert_eq!(model.source.count(small(), WITH_THREAD), 0);
        model.assert_whole();
    });
}

#[test]
fn two_threads_of_one_cpu_underflow_at_once() {
    explore(2, || {
        let model = Model::new(1 << 20);
        let other = spawn(&model, |model| {
            let object = model.take(small());
            model.give(small(), object);
        });
        let object = model.take(small());
        model.give(small(), object);
        other.join().expect("no panic");
        assert_eq!(model.source.count(small(), WITH_THREAD), 0);
        model.assert_whole();
    });
}

#[test]
fn two_threads_of_one_cpu_overflow_at_once() {
    explore(2, || {
        // Room for two.
        let model = Model::new(4096);
        let objects: [_; 3] = core::array::from_fn(|_| model.take(small()).addr());
        let [first, second, third] = objects;
        let other = spawn(&model, move |model| {
            model.give(small(), core::ptr::without_provenance_mut(first));
        });
        model.give(small(), core::ptr::without_provenance_mut(second));
        model.give(small(), core::ptr::without_provenance_mut(third));
        other.join().expect("no panic");
        assert_eq!(model.source.count(small(), WITH_THREAD), 0);
        model.assert_whole();
    });
}

#[test]
fn a_thread_is_moved_while_it_refills() {
    explore(2, || {
        let model = Model::new(1 << 20);
        let seat = Seat::new(0);
        let owner = {
            let (model, seat) = (Arc::clone(&model), seat.clone());
            thread::spawn(move || {
                seat.take();
                let object = model.take(small());
                model.give(small(), object);
            })
        };
        seat.move_to(&model.cache, 1);
        // Where it was, another takes its place.
        let object = model.take(small());
        model.give(small(), object);
        owner.join().expect("no panic");
        assert_eq!(model.source.count(small(), WITH_THREAD), 0);
        model.assert_whole();
    });
}
