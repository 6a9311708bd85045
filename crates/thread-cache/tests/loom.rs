//! Interleavings of the registry of thread caches, explored by loom.
//!
//! `RUSTFLAGS="--cfg strata_loom" cargo test -p strata-thread-cache --test loom --release`
//!
//! A cache's lists are its owner's, so that of the caches only the limits have interleavings. They change where a
//! full cache flushes, which each model provokes with a list of objects that are large. The owner itself may be
//! idle, and lose its cache: the fence that a system call puts into other threads is a fence of loom's here.

#![cfg(strata_loom)]

use core::cell::RefCell;
use loom::{
    cell::UnsafeCell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use strata_size_classes::{Bounds, MAX_SIZE, ObjectSource, PageSize, SizeClass, SizeClassTable};
use strata_thread_cache::{LEAST_BYTES, Occupancy, STOLEN_BYTES, ThreadCache, ThreadCaches};

/// Two classes, so that a walk over all of them is short.
#[derive(Clone, Copy, Debug)]
struct Few;

static TABLE: SizeClassTable =
    match SizeClassTable::from_sizes(13, &Bounds::STANDARD, &[16, MAX_SIZE as u32]) {
        Ok(table) => table,
        Err(_) => SizeClassTable::EMPTY,
    };

impl PageSize for Few {
    const SHIFT: u32 = 13;
    const NAME: &'static str = "few";
    const TABLE: &'static SizeClassTable = &TABLE;
}

/// The smallest part of an object that a cache writes.
#[repr(align(16))]
struct Stub([u8; 16]);

/// Hands out the first words of objects that are never used whole.
#[derive(Default)]
struct Stubs {
    made: RefCell<Vec<Box<Stub>>>,
}

// SAFETY: 1. the count is of the slots written. 2. nobody but the cache uses the objects, which writes their
// first words. 3. it neither unwinds nor knows of caches.
unsafe impl ObjectSource for Stubs {
    fn take(&self, _: SizeClass, out: &mut [*mut u8]) -> usize {
        for slot in out.iter_mut() {
            let mut stub = Box::new(Stub([0; 16]));
            *slot = stub.0.as_mut_ptr();
            self.made.borrow_mut().push(stub);
        }
        out.len()
    }

    unsafe fn give(&self, _: SizeClass, _: &mut [*mut u8]) {}
}

/// Fills a cache until it flushes because of its bytes, once.
///
/// # Safety
///
/// The calling thread owns the cache.
unsafe fn fill(caches: &ThreadCaches<Few>, cache: &ThreadCache<Few>, source: &Stubs) {
    let class = Few::TABLE.entry(MAX_SIZE).expect("a class").class();
    let mut objects = [core::ptr::null_mut(); 3];
    source.take(class, &mut objects);
    // Lists may get longer with each refill.
    for _ in 0..3 {
        // SAFETY: the caller owns the cache.
        unsafe { cache.refill(source, class) };
    }
    for object in objects {
        // SAFETY: the caller owns the cache; the source has just made the object.
        if unsafe { cache.push(class, MAX_SIZE, object) } {
            // SAFETY: the caller owns the cache.
            unsafe { cache.flush(caches, source, class) };
        }
    }
}

struct Model {
    caches: ThreadCaches<Few>,
    cache: [ThreadCache<Few>; 2],
}

impl Model {
    fn new() -> Arc<Self> {
        let caches = ThreadCaches::new();
        // Two caches at their least leave one step for one of them.
        caches.set_limit(2 * LEAST_BYTES + STOLEN_BYTES);
        Arc::new(Self { caches, cache: [ThreadCache::new(), ThreadCache::new()] })
    }

    fn claims_are_within_the_limit(&self) {
        let stats = self.caches.stats();
        let least = stats.caches * LEAST_BYTES;
        assert!((least..=least.max(stats.limit_bytes)).contains(&stats.claimed_bytes));
    }

    fn nothing_is_claimed(&self) {
        let stats = self.caches.stats();
        assert_eq!((stats.caches, stats.claimed_bytes, stats.held_bytes), (0, 0, 0));
        assert!(self.cache.iter().all(|cache| cache.max_bytes() == 0));
    }

    /// # Safety
    ///
    /// The calling thread owns the cache with this index.
    unsafe fn live(&self, index: usize) {
        let source = Stubs::default();
        let cache = &self.cache[index];
        // SAFETY: the model stays until both threads are done with it.
        unsafe { self.caches.enter(cache) };
        // SAFETY: the caller owns the cache.
        unsafe { fill(&self.caches, cache, &source) };
        assert!(cache.max_bytes() >= LEAST_BYTES);
        // SAFETY: the caller owns the cache.
        unsafe { cache.release_all(&source) };
        // SAFETY: it entered above.
        unsafe { self.caches.leave(cache) };
    }
}

/// Explores all interleavings with at most `preemptions` switches away from a thread that could
/// have gone on.
fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    builder.check(model);
}

#[test]
fn steal_while_the_victim_leaves() {
    explore(2, || {
        let model = Model::new();
        let other = {
            let model = Arc::clone(&model);
            // SAFETY: the first cache is this thread's.
            thread::spawn(move || unsafe { model.live(0) })
        };
        // SAFETY: the second cache is this thread's.
        unsafe { model.live(1) };
        model.claims_are_within_the_limit();
        other.join().expect("no panic");
        model.nothing_is_claimed();
    });
}

#[test]
fn the_limit_is_lowered_while_a_cache_steals() {
    explore(2, || {
        let model = Model::new();
        let other = {
            let model = Arc::clone(&model);
            // SAFETY: the first cache is this thread's.
            thread::spawn(move || unsafe { model.live(0) })
        };
        model.caches.set_limit(LEAST_BYTES);
        model.claims_are_within_the_limit();
        other.join().expect("no panic");
        model.nothing_is_claimed();
    });
}

/// A thread's place for its cache, and a cache of which nothing is known but who is at it.
struct Place {
    occupancy: Occupancy,
    has_cache: AtomicBool,
    /// How often it was used; loom ends the model if two threads are at it.
    cache: UnsafeCell<u32>,
}

impl Place {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            occupancy: Occupancy::new(),
            has_cache: AtomicBool::new(true),
            cache: UnsafeCell::new(0),
        })
    }

    /// The owner's next block. Says whether it came from the cache.
    fn use_cache(&self) -> bool {
        let inside = self.occupancy.enter();
        let has_cache = inside.is_some() && self.has_cache.load(Ordering::Relaxed);
        if has_cache {
            // SAFETY: the owner is inside, and it is its cache.
            self.cache.with_mut(|uses| unsafe { *uses += 1 });
        }
        has_cache
    }

    /// Takes the cache from an owner that is outside. Says how often it had been used.
    fn take(&self) -> Option<u32> {
        let claim = self.occupancy.claim();
        let taken = Occupancy::fence()
            && claim.is_vacant()
            && self.has_cache.swap(false, Ordering::Relaxed);
        drop(claim);
        // SAFETY: the cache was taken, and the owner finds none.
        taken.then(|| self.cache.with_mut(|uses| unsafe { *uses }))
    }
}

#[test]
fn take_the_cache_while_the_owner_enters() {
    explore(3, || {
        let place = Place::new();
        let owner = {
            let place = Arc::clone(&place);
            thread::spawn(move || u32::from(place.use_cache()) + u32::from(place.use_cache()))
        };
        let taken = place.take();
        let uses = owner.join().expect("no panic");
        if let Some(seen) = taken {
            assert_eq!(seen, uses, "what the owner did before is seen, and nothing is done after");
        }
    });
}

#[test]
fn a_second_claim_comes_while_the_owner_leaves() {
    explore(3, || {
        let place = Place::new();
        let owner = {
            let place = Arc::clone(&place);
            thread::spawn(move || u32::from(place.use_cache()))
        };
        let taken = place.take().or_else(|| place.take());
        let uses = owner.join().expect("no panic");
        if let Some(seen) = taken {
            assert_eq!(seen, uses);
        } else {
            assert_eq!(place.take(), Some(uses), "an owner that is gone loses it");
        }
    });
}
