//! Kernel pages inside of spans that go back: what is in use stays as it is, what went is counted, and the kernel has it.

#![cfg(not(strata_loom))]

use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::BTreeMap;
use strata_central::{Allowances, MiddleTier, Swept};
use strata_os::{CallKinds, FailingPages, Fault, ManualClock, PageSource, Seed, SystemPages};
use strata_page_heap::{LegacyPageHeap, PageHeap};
use strata_size_classes::{
    ObjectSource, PageSize, Pages4K, Pages8K, Pages32K, Pages256K, SizeClass,
};
use strata_span::{Ground, Hugepage, Platform};
use strata_temeraire::HugePageAware;

type World<P> = Ground<P, FailingPages<SystemPages>, FailingPages<SystemPages>, ManualClock>;

struct Heap<P: PageSize, H> {
    ground: World<P>,
    pages: Box<H>,
    tier: MiddleTier<P>,
}

impl<P: PageSize, H: PageHeap<P>> Heap<P, H> {
    fn new() -> Self {
        let source = || FailingPages::new(SystemPages::new());
        Self {
            ground: Ground::new(source(), source(), ManualClock::new(0)),
            pages: Box::new(H::EMPTY),
            tier: MiddleTier::new(),
        }
    }

    fn take(&self, class: SizeClass) -> usize {
        let mut object = [core::ptr::null_mut()];
        assert_eq!(self.tier.with(&self.ground, &*self.pages).take(class, &mut object), 1);
        fill(object[0], P::TABLE.size(class));
        object[0].expose_provenance()
    }

    /// Gives objects back past the transfer caches.
    fn give(&self, class: SizeClass, object: usize) {
        let source = self.tier.with(&self.ground, &*self.pages);
        // SAFETY: taken by the test, which uses it no more.
        unsafe { source.give(class, &mut [core::ptr::with_exposed_provenance_mut(object)]) };
        source.drain_transfer(class);
    }

    /// Sweeps all hugepages, with `bytes` of each class allowed.
    fn sweep(&self, bytes: u64) -> Swept {
        let mut allowances = Allowances::NONE;
        P::TABLE.classes().for_each(|class| allowances.set(class, bytes));
        let mut all = Swept::default();
        let mut hugepages = Vec::new();
        self.pages.for_each_reservation(|range| {
            let number = |address| Hugepage::from_address(address).number();
            hugepages.extend(number(range.start)..number(range.end()));
        });
        for number in hugepages {
            loop {
                let source = self.tier.with(&self.ground, &*self.pages);
                let swept = source.sweep_hugepage(Hugepage::new(number), &mut allowances);
                all.bytes += swept.bytes;
                all.calls += swept.calls;
                all.refused |= swept.refused;
                if !swept.more {
                    break;
                }
            }
        }
        all
    }

    /// Bytes of spans with a class that stand in memory.
    fn resident_bytes(&self) -> u64 {
        let mut bytes = 0;
        self.ground.map().for_each_span(|span| {
            if !span.class().is_none() {
                let residency =
                    self.ground.source().residency(span.range::<P>()).expect("it tells");
                bytes += residency.resident_bytes as u64;
            }
        });
        bytes
    }
}

/// Fills the object with a byte that follows from its address.
fn fill(object: *mut u8, size: usize) {
    // SAFETY: the object was taken and has `size` bytes.
    unsafe { object.write_bytes(byte_of(object.addr()), size) };
}

fn byte_of(address: usize) -> u8 {
    (address >> 4) as u8 | 1
}

fn is_filled(object: usize, size: usize) -> bool {
    let pointer = core::ptr::with_exposed_provenance::<u8>(object);
    // SAFETY: the object was taken, filled, and not given back.
    let bytes = unsafe { core::slice::from_raw_parts(pointer, size) };
    bytes.iter().all(|&byte| byte == byte_of(object))
}

/// Random programs: objects of some classes come and go, everything that may go is given back, and everything that
/// is in use is looked at.
fn what_is_in_use_stays<P: PageSize>(objects_a_class: usize) {
    let heap = Heap::<P, HugePageAware<P>>::new();
    let mut random = Seed::from_environment_or(0x5eed_0009);
    let classes: Vec<_> = [16, 100, 512, 1024, 3000, 8192, 20_000]
        .map(|size| P::TABLE.entry(size).expect("a class").class())
        .into();
    let mut live: BTreeMap<usize, SizeClass> = BTreeMap::new();
    for round in 0..6 {
        for class in &classes {
            for _ in 0..random.below(objects_a_class) + 1 {
                let object = heap.take(*class);
                assert!(live.insert(object, *class).is_none(), "handed out twice");
            }
        }
        let keep = random.below(20) + 1;
        let gone: Vec<_> =
            live.iter().filter(|_| random.below(keep) != 0).map(|(a, c)| (*a, *c)).collect();
        for (object, class) in gone {
            live.remove(&object);
            heap.give(class, object);
        }
        let before = heap.tier.stats();
        let swept = heap.sweep(u64::MAX);
        let after = heap.tier.stats();
        assert!(!swept.refused);
        assert_eq!(after.released_bytes, before.released_bytes + swept.bytes, "round {round}");
        assert!(after.released_bytes <= after.central_bytes);
        assert_eq!((after.out_bytes, after.span_bytes), (before.out_bytes, before.span_bytes));
        assert_eq!(heap.sweep(u64::MAX), Swept::default(), "nothing is left to give");
        // Every other page of a span has an object that was written whole.
        let resident = heap.resident_bytes();
        assert!(resident <= after.span_bytes - after.released_bytes, "{resident} {after:?}");
        if P::BYTES <= 8192 {
            assert!(
                resident >= (after.span_bytes - after.released_bytes) * 9 / 10,
                "{resident} {after:?}"
            );
        }
        for (object, class) in &live {
            assert!(is_filled(*object, P::TABLE.size(*class)), "round {round}");
        }
    }
    for (object, class) in live {
        heap.give(class, object);
    }
    let stats = heap.tier.stats();
    assert_eq!((stats.released_bytes, stats.span_bytes), (0, 0));
    assert_eq!(heap.pages.stats().in_use_bytes, 0);
}

#[test]
fn what_is_in_use_stays_with_pages_of_any_size() {
    what_is_in_use_stays::<Pages4K>(400);
    what_is_in_use_stays::<Pages8K>(400);
    what_is_in_use_stays::<Pages32K>(300);
    what_is_in_use_stays::<Pages256K>(200);
}

#[test]
fn no_more_goes_than_is_allowed() {
    let heap = Heap::<Pages8K, HugePageAware<Pages8K>>::new();
    let class = Pages8K::TABLE.entry(1024).unwrap().class();
    let objects: Vec<_> = (0..800).map(|_| heap.take(class)).collect();
    // One of eight survives: one kernel page of each span is empty.
    for object in objects.iter().enumerate().filter(|(index, _)| index % 8 != 0) {
        heap.give(class, *object.1);
    }
    assert_eq!(heap.sweep(0).bytes, 0);
    assert_eq!(heap.sweep(10 * 4096 + 100).bytes, 10 * 4096);
    assert_eq!(heap.sweep(u64::MAX).bytes, 90 * 4096);
    assert_eq!(heap.tier.central(class).stats(class).released_bytes, 100 * 4096);
    // Objects on what went have memory again, as they are handed out.
    let again: Vec<_> = (0..350).map(|_| heap.take(class)).collect();
    let released = heap.tier.central(class).stats(class).released_bytes;
    assert!(released < 100 * 4096 && released > 0, "{released}");
    for object in again {
        assert!(is_filled(object, 1024));
    }
}

#[test]
fn a_hugepage_is_not_broken_for_granules_larger_than_what_may_go() {
    let heap = Heap::<Pages256K, HugePageAware<Pages256K>>::new();
    let class = Pages256K::TABLE.entry(1024).unwrap().class();
    // A heap that is large enough to ask for hugepages, with spans of 256 KiB, which go in pieces of 8 KiB.
    let objects: Vec<_> = (0..40 << 10).map(|_| heap.take(class)).collect();
    for object in objects.iter().enumerate().filter(|(index, _)| index % 256 != 0) {
        heap.give(class, *object.1);
    }
    let calls = heap.ground.source().total_calls();
    assert_eq!(heap.sweep(4096), Swept::default());
    assert_eq!(heap.ground.source().total_calls(), calls, "the kernel is told nothing");
    assert_eq!(heap.sweep(8192).bytes, 8192);
    assert!(heap.ground.source().total_calls() > calls);
}

#[test]
fn a_span_that_goes_on_behind_its_hugepage_is_left_alone() {
    let heap = Heap::<Pages256K, HugePageAware<Pages256K>>::new();
    let of_pages = |pages| {
        Pages256K::TABLE
            .classes()
            .rfind(|class| usize::from(Pages256K::TABLE.info(*class).pages) == pages)
            .expect("there is such a class")
    };
    // Three pages and twice two fill a hugepage but for a page, so that the next two lie across its end. (One of the pages
    // is free and backed: what is not is left for hugepages that come.)
    let (one, two) = (of_pages(1), of_pages(2));
    let pages = [(); 3].map(|()| heap.take(one));
    heap.give(one, pages[1]);
    let a_span = Pages256K::TABLE.info(two).objects as usize;
    let objects: Vec<_> = (0..3 * a_span).map(|_| heap.take(two)).collect();
    let span_of = |object: usize| heap.ground.map().span_at(object).expect("a span");
    let lies_across = |object: &usize| {
        let span = span_of(*object);
        span.first::<Pages256K>().hugepage() < span.last::<Pages256K>().hugepage()
    };
    let across: Vec<_> = objects.into_iter().filter(lies_across).collect();
    assert_eq!(across.len(), a_span);
    across.iter().skip(1).for_each(|object| heap.give(two, *object));
    assert_eq!(heap.sweep(u64::MAX).bytes, 0, "nobody was asked about its second hugepage");
    assert!(is_filled(across[0], Pages256K::TABLE.size(two)));
}

#[test]
fn a_kernel_that_refuses_leaves_everything_as_it_was() {
    let heap = Heap::<Pages8K, HugePageAware<Pages8K>>::new();
    let class = Pages8K::TABLE.entry(512).unwrap().class();
    let objects: Vec<_> = (0..1600).map(|_| heap.take(class)).collect();
    for object in objects.iter().enumerate().filter(|(index, _)| index % 16 != 0) {
        heap.give(class, *object.1);
    }
    let before = heap.tier.stats();
    heap.ground.source().arm(Fault::always().of(CallKinds::RELEASE).with_errno(22));
    let swept = heap.sweep(u64::MAX);
    assert!(swept.refused && swept.bytes == 0);
    assert_eq!(heap.tier.stats().released_bytes, 0);
    heap.ground.source().disarm();
    assert_eq!(heap.tier.stats().out_bytes, before.out_bytes);
    assert_eq!(heap.sweep(u64::MAX).bytes, 100 * 4096);
    for object in objects.iter().step_by(16) {
        assert!(is_filled(*object, 512));
    }
}

#[test]
fn a_page_heap_without_books_on_hugepages_is_left_alone() {
    let heap = Heap::<Pages8K, LegacyPageHeap<Pages8K>>::new();
    let class = Pages8K::TABLE.entry(512).unwrap().class();
    let objects: Vec<_> = (0..1600).map(|_| heap.take(class)).collect();
    for object in objects.iter().enumerate().filter(|(index, _)| index % 16 != 0) {
        heap.give(class, *object.1);
    }
    assert_eq!(heap.sweep(u64::MAX), Swept::default());
}

#[test]
fn threads_that_use_the_spans_meanwhile_lose_nothing() {
    let heap = Heap::<Pages8K, HugePageAware<Pages8K>>::new();
    // Behind the objects of the last two are kernel pages on which none lies.
    let classes = [64, 512, 2048, 17_000, 32_000];
    let classes = classes.map(|size| Pages8K::TABLE.entry(size).unwrap().class());
    let stop = AtomicBool::new(false);
    let swept = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3_u64)
            .map(|number| {
                let heap = &heap;
                scope.spawn(move || {
                    let mut random = Seed::new(0x5eed_0011 + number);
                    let mut live = Vec::new();
                    for _ in 0..20_000 {
                        if live.len() < 300 && random.below(2) == 0 {
                            let class = classes[random.below(5)];
                            live.push((heap.take(class), class));
                        } else if !live.is_empty() {
                            let (object, class) = live.swap_remove(random.below(live.len()));
                            assert!(is_filled(object, Pages8K::TABLE.size(class)));
                            heap.give(class, object);
                        }
                    }
                    for (object, class) in live {
                        assert!(is_filled(object, Pages8K::TABLE.size(class)));
                        heap.give(class, object);
                    }
                })
            })
            .collect();
        let sweeper = scope.spawn(|| {
            let mut bytes = 0;
            while !stop.load(Ordering::Relaxed) {
                bytes += heap.sweep(u64::MAX).bytes;
            }
            bytes
        });
        for worker in workers {
            worker.join().expect("no panic");
        }
        stop.store(true, Ordering::Relaxed);
        sweeper.join().expect("no panic")
    });
    assert!(swept > 0, "something went");
    let stats = heap.tier.stats();
    assert_eq!((stats.objects_out, stats.span_bytes, stats.released_bytes), (0, 0, 0));
    assert_eq!(heap.pages.stats().in_use_bytes, 0);
}
