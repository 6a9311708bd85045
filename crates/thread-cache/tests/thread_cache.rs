//! What the layer above may rely on, against a source that counts.

#![cfg(not(strata_loom))]

use core::cell::RefCell;
use std::collections::HashMap;
use strata_os::Seed;
use strata_size_classes::{ObjectSource, PageSize, Pages8K, SizeClass};
use strata_thread_cache::{
    LEAST_BYTES, MAX_LIST_LENGTH, ThreadCache, ThreadCacheStats, ThreadCaches,
};

/// Hands out memory of the system, and knows what is out.
#[derive(Default)]
struct Counting {
    out: RefCell<HashMap<usize, SizeClass>>,
    takes: RefCell<Vec<usize>>,
    exhausted: RefCell<bool>,
}

fn layout(class: SizeClass) -> core::alloc::Layout {
    core::alloc::Layout::from_size_align(Pages8K::TABLE.size(class), 16).expect("a layout")
}

// SAFETY: 1. the count is of the slots written. 2. the system's allocator hands out what is free, in the
// class's own size. 3. it enters no cache; that an assertion unwinds ends the test.
unsafe impl ObjectSource for Counting {
    fn take(&self, class: SizeClass, out: &mut [*mut u8]) -> usize {
        self.takes.borrow_mut().push(out.len());
        if *self.exhausted.borrow() {
            return 0;
        }
        for slot in out.iter_mut() {
            // SAFETY: no class that is taken from has size 0.
            *slot = unsafe { std::alloc::alloc(layout(class)) };
            assert_eq!(self.out.borrow_mut().insert(slot.addr(), class), None);
        }
        out.len()
    }

    unsafe fn give(&self, class: SizeClass, objects: &mut [*mut u8]) {
        for &mut object in objects {
            assert_eq!(self.out.borrow_mut().remove(&object.addr()), Some(class));
            // SAFETY: the caller gives what `take` allocated with this layout.
            unsafe { std::alloc::dealloc(object, layout(class)) };
        }
    }
}

/// One thread with its cache.
struct Thread<'a> {
    caches: &'a ThreadCaches<Pages8K>,
    cache: &'a ThreadCache<Pages8K>,
    source: Counting,
}

impl<'a> Thread<'a> {
    fn new(caches: &'a ThreadCaches<Pages8K>, cache: &'a ThreadCache<Pages8K>) -> Self {
        // SAFETY: the cache stays where it is for longer than this.
        unsafe { caches.enter(cache) };
        Self { caches, cache, source: Counting::default() }
    }

    fn allocate(&self, class: SizeClass) -> *mut u8 {
        // SAFETY: this thread owns the cache.
        match unsafe { self.cache.pop(class, Pages8K::TABLE.size(class)) } {
            // SAFETY: this thread owns the cache.
            object if object.is_null() => unsafe { self.cache.refill(&self.source, class) },
            object => object,
        }
    }

    fn free(&self, class: SizeClass, object: *mut u8) {
        // SAFETY: this thread owns the cache; the object came from it and is given up.
        if unsafe { self.cache.push(class, Pages8K::TABLE.size(class), object) } {
            // SAFETY: this thread owns the cache; the object came from it and is given up.
            unsafe { self.cache.flush(self.caches, &self.source, class) };
        }
    }

    fn held(&self) -> u64 {
        let classes = Pages8K::TABLE.classes();
        classes
            .map(|class| u64::from(self.cache.length(class)) * Pages8K::TABLE.size(class) as u64)
            .sum()
    }

    fn end(self) {
        // SAFETY: this thread owns the cache.
        unsafe { self.cache.release_all(&self.source) };
        // SAFETY: it entered in `new`.
        unsafe { self.caches.leave(self.cache) };
        assert_eq!(self.cache.held_bytes(), 0);
        assert!(self.source.out.borrow().is_empty(), "an object was lost");
    }
}

fn class_of(size: usize) -> SizeClass {
    Pages8K::TABLE.entry(size).expect("a class").class()
}

#[test]
fn no_object_is_lost_or_doubled_and_held_bytes_are_exact() {
    let (caches, cache) = (ThreadCaches::new(), ThreadCache::new());
    let thread = Thread::new(&caches, &cache);
    let mut random = Seed::from_environment_or(0x5eed_0004);
    let classes: Vec<_> = Pages8K::TABLE.classes().collect();
    let mut live: Vec<(SizeClass, *mut u8)> = Vec::new();
    for step in 0..60_000 {
        let up = (step / 3000) % 2 == 0;
        if random.below(10) < if up { 7 } else { 3 } {
            let class = classes[random.below(if step % 3 == 0 { classes.len() } else { 12 })];
            let object = thread.allocate(class);
            assert_eq!(thread.source.out.borrow().get(&object.addr()), Some(&class));
            // SAFETY: just allocated; another owner of the same object would write too.
            unsafe { object.write_bytes(step as u8, Pages8K::TABLE.size(class)) };
            live.push((class, object));
        } else if !live.is_empty() {
            let (class, object) = live.swap_remove(random.below(live.len()));
            thread.free(class, object);
        }
        if step % 512 == 0 {
            assert_eq!(cache.held_bytes(), thread.held());
            assert!(cache.held_bytes() <= cache.max_bytes() + (256 << 10) * 2);
            let objects: u32 = classes.iter().map(|&class| cache.length(class)).sum();
            assert_eq!(thread.source.out.borrow().len(), live.len() + objects as usize);
        }
    }
    for (class, object) in live {
        thread.free(class, object);
    }
    thread.end();
}

#[test]
fn a_list_starts_slowly_and_then_grows_by_batches() {
    let (caches, cache) = (ThreadCaches::new(), ThreadCache::new());
    let thread = Thread::new(&caches, &cache);
    let class = class_of(64);
    let batch = usize::from(Pages8K::TABLE.info(class).batch);
    let live: Vec<_> = (0..20_000).map(|_| thread.allocate(class)).collect();
    let takes = thread.source.takes.borrow().clone();
    let slow: Vec<_> = core::iter::once(1).chain(1..batch).collect();
    assert_eq!(takes[..batch], slow);
    assert!(takes[batch..].iter().all(|&take| take == batch));
    assert_eq!(cache.max_length(class), MAX_LIST_LENGTH);
    live.into_iter().for_each(|object| thread.free(class, object));
    assert!(cache.length(class) <= MAX_LIST_LENGTH);
    thread.end();
}

#[test]
fn a_list_that_is_too_long_again_and_again_shrinks_to_a_batch() {
    let (caches, cache) = (ThreadCaches::new(), ThreadCache::new());
    let thread = Thread::new(&caches, &cache);
    let class = class_of(8);
    let batch = u32::from(Pages8K::TABLE.info(class).batch);
    let live: Vec<_> = (0..3000).map(|_| thread.allocate(class)).collect();
    let before = cache.max_length(class);
    assert!(before > batch);
    live.into_iter().for_each(|object| thread.free(class, object));
    assert!(cache.max_length(class) < before);
    assert!(cache.max_length(class) >= batch);
    thread.end();
}

#[test]
fn a_full_cache_gives_back_half_of_what_no_list_needed() {
    let (caches, cache) = (ThreadCaches::new(), ThreadCache::new());
    let thread = Thread::new(&caches, &cache);
    let idle = class_of(1024);
    for _ in 0..20 {
        let live: Vec<_> = (0..400).map(|_| thread.allocate(idle)).collect();
        live.into_iter().for_each(|object| thread.free(idle, object));
    }
    let unused = cache.length(idle);
    assert!(unused >= 8);
    // Another class fills the cache, twice: the first scavenge only begins a period.
    let busy = class_of(4096);
    let mut scavenges = 0;
    for _ in 0..40 {
        let live: Vec<_> = (0..300).map(|_| thread.allocate(busy)).collect();
        live.into_iter().for_each(|object| thread.free(busy, object));
        let now = cache.stats().scavenges;
        if now > scavenges {
            assert!(cache.max_bytes() > LEAST_BYTES, "it was let grow");
        }
        scavenges = now;
    }
    assert!(scavenges >= 2, "{:?}", cache.stats());
    assert!(cache.length(idle) <= unused / 2);
    thread.end();
}

#[test]
fn the_figures_are_of_all_caches_and_of_those_that_left() {
    let (caches, one, other) = (ThreadCaches::new(), ThreadCache::new(), ThreadCache::new());
    let threads = [Thread::new(&caches, &one), Thread::new(&caches, &other)];
    for (thread, objects) in threads.iter().zip([3000, 2000]) {
        // The one makes its list too long, the other its cache too full.
        for class in [class_of(8), class_of(512)] {
            let live: Vec<_> = (0..objects).map(|_| thread.allocate(class)).collect();
            live.into_iter().for_each(|object| thread.free(class, object));
        }
    }
    let all = caches.stats();
    let (one, other) = (one.stats(), other.stats());
    assert!(!all.is_unknown);
    assert_eq!(all.caches, 2);
    assert_eq!(all.held_bytes, one.held_bytes + other.held_bytes);
    assert_eq!(all.refills, one.refills + other.refills);
    assert_eq!(all.flushes, one.flushes + other.flushes);
    assert_eq!(all.scavenges, one.scavenges + other.scavenges);
    let both = [one, other];
    let all_did = |cache: &ThreadCacheStats| cache.flushes > 0 && cache.scavenges > 0;
    assert!(both.iter().all(all_did), "{both:?}");
    assert!(all.lock.operations > 0);
    threads.into_iter().for_each(Thread::end);
    let gone = caches.stats();
    assert_eq!((gone.caches, gone.held_bytes), (0, 0));
    let past = (gone.refills, gone.flushes, gone.scavenges);
    assert_eq!(past, (all.refills, all.flushes, all.scavenges));
}

#[test]
fn without_memory_a_refill_is_null_and_the_cache_goes_on() {
    let (caches, cache) = (ThreadCaches::new(), ThreadCache::new());
    let thread = Thread::new(&caches, &cache);
    let class = class_of(100);
    *thread.source.exhausted.borrow_mut() = true;
    assert!(thread.allocate(class).is_null());
    *thread.source.exhausted.borrow_mut() = false;
    let object = thread.allocate(class);
    assert!(!object.is_null());
    thread.free(class, object);
    *thread.source.exhausted.borrow_mut() = true;
    assert_eq!(thread.allocate(class), object);
    thread.free(class, object);
    thread.end();
}

#[test]
fn a_cache_that_never_entered_holds_next_to_nothing_and_is_right_all_the_same() {
    let (caches, cache) = (ThreadCaches::new(), ThreadCache::<Pages8K>::new());
    let source = Counting::default();
    let class = class_of(48);
    for _ in 0..100 {
        // SAFETY: this thread owns the cache.
        let object = unsafe { cache.refill(&source, class) };
        // SAFETY: this thread owns the cache; the object is given up.
        assert!(unsafe { cache.push(class, 48, object) });
        // SAFETY: this thread owns the cache.
        unsafe { cache.flush(&caches, &source, class) };
    }
    // SAFETY: this thread owns the cache.
    unsafe { cache.release_all(&source) };
    assert!(source.out.borrow().is_empty());
    assert_eq!(cache.held_bytes(), 0);
}

#[test]
fn all_zero_bits_are_an_empty_cache() {
    let memory = Box::new([0_u64; size_of::<ThreadCache<Pages8K>>() / 8]);
    // SAFETY: the memory is as large and aligned, and zero is valid for each field.
    let cache = unsafe { &*core::ptr::from_ref(&*memory).cast::<ThreadCache<Pages8K>>() };
    let caches = ThreadCaches::new();
    let thread = Thread::new(&caches, cache);
    let object = thread.allocate(class_of(32));
    thread.free(class_of(32), object);
    thread.end();
}

#[test]
fn caches_of_many_threads_come_and_go_and_take_from_each_other() {
    let caches = ThreadCaches::new();
    caches.set_limit(8 << 20);
    std::thread::scope(|scope| {
        for number in 0..6 {
            let caches = &caches;
            scope.spawn(move || {
                for round in 0..20 {
                    let cache = ThreadCache::new();
                    let thread = Thread::new(caches, &cache);
                    let class = class_of(512 << ((number + round) % 5));
                    for _ in 0..3 {
                        let live: Vec<_> = (0..500).map(|_| thread.allocate(class)).collect();
                        live.into_iter().for_each(|object| thread.free(class, object));
                    }
                    thread.end();
                }
            });
        }
        for _ in 0..200 {
            let stats = caches.stats();
            let least = stats.caches * LEAST_BYTES;
            assert!(stats.claimed_bytes >= least);
            assert!(stats.claimed_bytes <= stats.limit_bytes.max(least));
        }
    });
    let stats = caches.stats();
    assert_eq!((stats.caches, stats.held_bytes, stats.claimed_bytes), (0, 0, 0));
    assert!(stats.refills > 0 && stats.flushes > 0);
}
