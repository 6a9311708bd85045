//! Interleavings of the transfer cache and of the central free list, explored by loom.
//!
//! `RUSTFLAGS="--cfg strata_loom" cargo test -p strata-central --test loom --release`

#![cfg(strata_loom)]

#[path = "loom/central_free_list.rs"]
mod central_free_list;

use loom::{sync::Arc, thread};
use strata_central::{InsertLimits, TransferCache, TransferPolicy};
use strata_os::{MonotonicClock, PageSource, SystemPages};
use strata_size_classes::{ClassInfo, Pages8K};
use strata_span::Ground;

/// Two objects at first, four at most.
struct Tiny;

impl TransferPolicy for Tiny {
    const INITIAL_BATCHES: usize = 1;
    const MAX_BATCHES: usize = 2;
}

const INFO: ClassInfo =
    ClassInfo { size: 16, pages: 1, batch: 2, objects: 512, reciprocal: 1 << 31 };

type World = Ground<Pages8K, SystemPages, SystemPages, MonotonicClock>;

/// A cache, and the memory that its array is in.
struct Model {
    cache: TransferCache<Tiny>,
    world: World,
}

impl Model {
    fn new(grown: usize) -> Arc<Self> {
        let world = Ground::new(SystemPages::new(), SystemPages::new(), MonotonicClock);
        let model = Self { cache: TransferCache::new(), world };
        // The array and the capacity come with the first use, which is not what the models are about.
        assert_eq!(model.insert(&[1]), 1);
        assert_eq!(model.drain(), [1]);
        model.cache.grow(grown);
        Arc::new(model)
    }

    fn insert(&self, numbers: &[usize]) -> usize {
        let objects: Vec<_> =
            numbers.iter().map(|&number| core::ptr::without_provenance_mut(number * 16)).collect();
        self.cache.insert(&self.world, &INFO, &objects, InsertLimits::NONE)
    }

    fn take(count: usize, take: impl Fn(&mut [*mut u8]) -> usize) -> Vec<usize> {
        let mut objects = vec![core::ptr::null_mut::<u8>(); count];
        let taken = take(&mut objects);
        objects[..taken].iter().map(|object| object.addr() / 16).collect()
    }

    fn remove(&self, count: usize) -> Vec<usize> {
        Self::take(count, |out| self.cache.remove(out))
    }

    fn drain(&self) -> Vec<usize> {
        Self::take(8, |out| self.cache.drain(out))
    }

    /// What is left in the cache, which has to be the same as its figure.
    fn end(&self) -> Vec<usize> {
        let used = self.cache.used();
        let rest = self.drain();
        assert_eq!(rest.len() as u64, used);
        self.world.arena.for_each_range(|range| {
            // SAFETY: the array is in it, and is used no more.
            let _ = unsafe { self.world.metadata.unreserve(range) };
        });
        rest
    }
}

/// Explores all interleavings with at most `preemptions` switches away from a thread that could
/// have gone on.
fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    // The figures of a span and of its list are atomics, too.
    builder.max_branches = 20_000;
    builder.check(model);
}

fn sorted(parts: [Vec<usize>; 3]) -> Vec<usize> {
    let mut all = parts.concat();
    all.sort();
    all
}

#[test]
fn refill_while_another_flushes() {
    explore(3, || {
        let model = Model::new(2);
        let other = {
            let model = Arc::clone(&model);
            thread::spawn(move || {
                assert_eq!(model.insert(&[1, 2]), 2);
                model.remove(1)
            })
        };
        let mine = model.remove(2);
        assert_eq!(model.insert(&[3]), 1);
        let theirs = other.join().expect("no panic");
        assert_eq!(sorted([mine, theirs, model.end()]), [1, 2, 3]);
        let stats = model.cache.stats();
        assert_eq!(stats.insert_hits + stats.insert_misses, 3);
        assert_eq!(stats.remove_hits + stats.remove_misses, 2);
    });
}

#[test]
fn flush_while_another_flushes_into_the_last_place() {
    explore(3, || {
        let model = Model::new(1);
        let other = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.insert(&[1, 2]))
        };
        let mine = model.insert(&[3, 4]);
        let theirs = other.join().expect("no panic");
        assert_eq!(mine + theirs, 3, "there were three places");
        let rest = model.end();
        let kept = sorted([vec![1, 2][..theirs].to_vec(), vec![3, 4][..mine].to_vec(), vec![]]);
        assert_eq!(sorted([rest, vec![], vec![]]), kept);
        assert_eq!(model.cache.stats().insert_object_misses, 1);
    });
}

#[test]
fn flush_into_a_cache_that_grows_while_another_refills() {
    explore(3, || {
        let model = Model::new(0);
        assert_eq!(model.insert(&[1, 2, 3]), 2, "one is turned away");
        assert_eq!(model.remove(3).len(), 2, "and missed");
        let other = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.insert(&[1, 2]))
        };
        let mine = model.insert(&[3]);
        let had = model.remove(1);
        assert_eq!(mine + other.join().expect("no panic"), 3, "there is room for one more");
        let stats = model.cache.stats();
        assert!(stats.capacity <= 3, "it grew by one at most");
        assert_eq!(sorted([had, model.end(), vec![]]), [1, 2, 3]);
    });
}

#[test]
fn shrink_while_another_flushes() {
    explore(3, || {
        let model = Model::new(0);
        assert_eq!(model.insert(&[1]), 1);
        let other = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.insert(&[2]))
        };
        let mut excess = [core::ptr::null_mut(); 2];
        let (shrunk, moved) = model.cache.shrink(1, &mut excess);
        assert_eq!(shrunk, 1);
        let inserted = other.join().expect("no panic");
        let stats = model.cache.stats();
        assert_eq!(stats.capacity, 1);
        assert!(stats.used <= stats.capacity);
        let moved = excess[..moved].iter().map(|object| object.addr() / 16).collect();
        let all = sorted([moved, model.end(), vec![]]);
        assert_eq!(all, (1..=1 + inserted).collect::<Vec<_>>());
    });
}

#[test]
fn plunder_while_another_refills() {
    explore(3, || {
        let model = Model::new(2);
        assert_eq!(model.insert(&[1, 2, 3]), 3);
        model.cache.end_plunder();
        let other = {
            let model = Arc::clone(&model);
            thread::spawn(move || {
                let had = model.remove(2);
                assert_eq!(model.insert(&had), had.len());
                model.remove(1)
            })
        };
        let plundered = Model::take(4, |out| model.cache.plunder(out));
        let theirs = other.join().expect("no panic");
        assert!(!plundered.is_empty(), "one object was never wanted");
        assert_eq!(sorted([plundered, theirs, model.end()]), [1, 2, 3]);
    });
}
