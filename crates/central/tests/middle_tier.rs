//! What the layer above may rely on: objects, figures, and what goes home.

#![cfg(not(strata_loom))]

use std::collections::HashMap;
use strata_central::{MiddleTier, StandardTransfer, TransferPolicy};
use strata_os::{CallKinds, Clock, FailingPages, Fault, ManualClock, Seed, SystemPages};
use strata_page_heap::{LegacyPageHeap, PageHeap};
use strata_size_classes::{
    ObjectSource, PageSize, Pages4K, Pages8K, Pages32K, Pages256K, SizeClass,
};
use strata_span::Ground;

type World<P> = Ground<P, FailingPages<SystemPages>, FailingPages<SystemPages>, ManualClock>;

struct Heap<P: PageSize> {
    ground: World<P>,
    pages: LegacyPageHeap<P>,
}

impl<P: PageSize> Heap<P> {
    fn new() -> Self {
        let source = || FailingPages::new(SystemPages::new());
        Self {
            ground: Ground::new(source(), source(), ManualClock::new(0)),
            pages: LegacyPageHeap::EMPTY,
        }
    }

    fn in_use_bytes(&self) -> u64 {
        self.pages.stats().in_use_bytes
    }
}

impl<P: PageSize> Drop for Heap<P> {
    /// Every test ends with sums that hold.
    fn drop(&mut self) {
        let stats = self.pages.stats();
        let pages = stats.in_use_bytes + stats.free_bytes + stats.unmapped_bytes;
        assert!(pages == stats.system_bytes || std::thread::panicking(), "{stats:#?}");
    }
}

fn class_of<P: PageSize>(size: usize) -> SizeClass {
    P::TABLE.entry(size).expect("a class").class()
}

/// No transfer caches, so that each call reaches the spans.
struct NoTransfer;

impl TransferPolicy for NoTransfer {
    const MAX_BATCHES: usize = 0;
    const INITIAL_BATCHES: usize = 0;
}

/// Fills the object with a byte that follows from its address.
fn fill(object: *mut u8, size: usize) {
    // SAFETY: the object was taken and has `size` bytes.
    unsafe { object.write_bytes((object.addr() >> 3) as u8, size) };
}

fn is_filled(object: *mut u8, size: usize) -> bool {
    // SAFETY: the object was taken, filled, and not given back.
    let bytes = unsafe { core::slice::from_raw_parts(object, size) };
    bytes.iter().all(|&byte| byte == (object.addr() >> 3) as u8)
}

/// Random batches of random classes, against a list of what is out.
fn batches_keep_their_contents_and_the_sums_are_exact<P: PageSize, T: TransferPolicy>(
    steps: usize,
) {
    let heap = Heap::<P>::new();
    let tier = MiddleTier::<P, T>::new();
    let source = tier.with(&heap.ground, &heap.pages);
    let mut random = Seed::from_environment_or(0x5eed_0003);
    let mut out: Vec<(SizeClass, *mut u8)> = Vec::new();
    let classes: Vec<_> =
        P::TABLE.classes().filter(|&class| P::TABLE.size(class) <= 64 << 10).collect();
    for step in 0..steps {
        let class = classes[random.below(classes.len())];
        let size = P::TABLE.size(class);
        // Up, then down, so that spans come and go.
        let up = (step / 500) % 2 == 0;
        if random.below(10) < if up { 7 } else { 3 } {
            let wanted = 1 + random.below(usize::from(P::TABLE.info(class).batch) + 2);
            let mut objects = vec![core::ptr::null_mut(); wanted];
            assert_eq!(source.take(class, &mut objects), wanted);
            for object in objects {
                assert!(object.addr() % if size == 8 { 8 } else { 16 } == 0);
                assert_eq!(heap.ground.map.class_at(object.addr()), class);
                fill(object, size);
                out.push((class, object));
            }
        } else if !out.is_empty() {
            let class = out[random.below(out.len())].0;
            let size = P::TABLE.size(class);
            let mut objects = Vec::new();
            let wanted = 1 + random.below(40);
            while let Some(place) = out.iter().rposition(|&(other, _)| other == class)
                && objects.len() < wanted
            {
                let (_, object) = out.swap_remove(place);
                assert!(is_filled(object, size));
                objects.push(object);
            }
            // SAFETY: taken from the source with the class, and out no more.
            unsafe { source.give(class, &mut objects) };
        }
        match random.below(200) {
            0 => drop(source.plunder()),
            1 => drop(source.resize_round()),
            2 => drop(source.drain_transfer(class)),
            _ => {}
        }
        if step % 50 == 0 {
            sums_are_exact(&heap, &tier, &out);
        }
    }
    for (class, object) in out.drain(..) {
        // SAFETY: taken from the source with the class, and out no more.
        unsafe { source.give(class, &mut [object]) };
    }
    sums_are_exact(&heap, &tier, &out);
    source.drain_all_transfers();
    assert_eq!(heap.in_use_bytes(), 0);
    assert_eq!(tier.stats().central_bytes, 0);
    assert_eq!(tier.object_maps().stats().in_use_bytes, 0);
}

fn sums_are_exact<P: PageSize, T: TransferPolicy>(
    heap: &Heap<P>,
    tier: &MiddleTier<P, T>,
    out: &[(SizeClass, *mut u8)],
) {
    let mut count = HashMap::<SizeClass, u64>::new();
    for (class, _) in out {
        *count.entry(*class).or_default() += 1;
    }
    for class in P::TABLE.classes() {
        let stats = tier.class_stats(class);
        let held = count.get(&class).copied().unwrap_or(0);
        assert_eq!(stats.central.objects_out, held + stats.transfer.used);
        assert_eq!(
            stats.central.objects_out + stats.central.free_objects,
            stats.central.spans_in_use * stats.central.objects_per_span
        );
        assert!(stats.transfer.used <= stats.transfer.capacity);
        assert!(stats.transfer.capacity <= stats.transfer.max_capacity);
        assert_eq!(stats.out_bytes() + stats.central_bytes(), stats.central.live_pages << P::SHIFT);
    }
    let all = tier.stats();
    assert_eq!(all.span_bytes, all.out_bytes + all.central_bytes);
    assert_eq!(all.span_bytes, heap.in_use_bytes());
}

#[test]
fn batches_keep_their_contents_and_the_sums_are_exact_with_pages_of_any_size() {
    batches_keep_their_contents_and_the_sums_are_exact::<Pages4K, StandardTransfer>(3000);
    batches_keep_their_contents_and_the_sums_are_exact::<Pages8K, StandardTransfer>(3000);
    batches_keep_their_contents_and_the_sums_are_exact::<Pages32K, StandardTransfer>(3000);
    batches_keep_their_contents_and_the_sums_are_exact::<Pages256K, StandardTransfer>(3000);
}

#[test]
fn without_transfer_caches_all_objects_go_home_at_once() {
    batches_keep_their_contents_and_the_sums_are_exact::<Pages4K, NoTransfer>(2000);
    batches_keep_their_contents_and_the_sums_are_exact::<Pages8K, NoTransfer>(2000);

    let heap = Heap::<Pages8K>::new();
    let tier = MiddleTier::<Pages8K, NoTransfer>::new();
    let source = tier.with(&heap.ground, &heap.pages);
    let class = class_of::<Pages8K>(100);
    let mut batch = [core::ptr::null_mut(); 32];
    assert_eq!(source.take(class, &mut batch), 32);
    assert_ne!(heap.in_use_bytes(), 0);
    // SAFETY: just taken.
    unsafe { source.give(class, &mut batch) };
    assert_eq!(heap.in_use_bytes(), 0);
}

#[test]
fn nothing_is_written_into_freed_objects() {
    let heap = Heap::<Pages8K>::new();
    let tier = MiddleTier::<Pages8K, NoTransfer>::new();
    let source = tier.with(&heap.ground, &heap.pages);
    for class in Pages8K::TABLE.classes() {
        let size = Pages8K::TABLE.size(class);
        let mut objects = [core::ptr::null_mut(); 8];
        assert_eq!(source.take(class, &mut objects), 8);
        objects.iter().for_each(|&object| fill(object, size));
        let [kept, .., freed] = objects;
        let _ = kept;
        // SAFETY: taken above; the other seven keep spans alive.
        unsafe { source.give(class, &mut [freed]) };
        if tier.class_stats(class).central.objects_per_span >= 8 {
            assert!(is_filled(freed, size), "class {}", class.index());
        }
        // SAFETY: taken above.
        unsafe { source.give(class, &mut objects[..7]) };
    }
}

#[test]
fn the_fullest_spans_are_used_up_first() {
    let heap = Heap::<Pages8K>::new();
    let tier = MiddleTier::<Pages8K, NoTransfer>::new();
    let source = tier.with(&heap.ground, &heap.pages);
    let class = class_of::<Pages8K>(1024);
    let per_span = tier.class_stats(class).central.objects_per_span as usize;
    let mut objects = vec![core::ptr::null_mut(); 3 * per_span];
    assert_eq!(source.take(class, &mut objects), objects.len());
    objects.sort();
    // One free in the second span, all but one in the first, two in the third.
    let mut freed = objects[..per_span - 1].to_vec();
    freed.extend([objects[per_span + 3], objects[2 * per_span], objects[2 * per_span + 5]]);
    // SAFETY: taken above.
    unsafe { source.give(class, &mut freed) };
    let mut again = [core::ptr::null_mut(); 4];
    assert_eq!(source.take(class, &mut again), 4);
    assert_eq!(again[0], objects[per_span + 3]);
    assert_eq!(again[1..3], [objects[2 * per_span], objects[2 * per_span + 5]]);
    assert_eq!(again[3], objects[0]);
}

#[test]
fn the_most_that_was_out_since_the_last_look_is_told() {
    let heap = Heap::<Pages8K>::new();
    let tier = MiddleTier::<Pages8K, NoTransfer>::new();
    let source = tier.with(&heap.ground, &heap.pages);
    let class = class_of::<Pages8K>(1024);
    let peak = || tier.central(class).take_peak_out();
    let mut objects = [core::ptr::null_mut(); 20];
    let mut kept = [core::ptr::null_mut(); 1];
    for (kept_count, count) in [(0, 5), (1, 3), (0, 20)] {
        // With one kept its span is at hand; else each time a fresh one comes.
        assert_eq!(source.take(class, &mut kept[..kept_count]), kept_count);
        peak();
        let objects = &mut objects[..count];
        assert_eq!(source.take(class, objects), count);
        // SAFETY: just taken.
        unsafe { source.give(class, objects) };
        assert_eq!(peak(), (kept_count + count) as u64);
        assert_eq!(peak(), kept_count as u64, "it begins anew with what is out");
        // SAFETY: taken above.
        unsafe { source.give(class, &mut kept[..kept_count]) };
    }
}

#[test]
fn without_memory_a_batch_is_short_and_nothing_is_lost() {
    let heap = Heap::<Pages8K>::new();
    let tier = MiddleTier::<Pages8K>::new();
    let source = tier.with(&heap.ground, &heap.pages);
    let mut out = Vec::new();
    for round in 0..60 {
        let class = class_of::<Pages8K>([8, 64, 512, 8192, 100_000][round % 5]);
        if round % 2 == 0 {
            heap.ground.source.arm(Fault::always().of(CallKinds::all()));
        } else {
            heap.ground.metadata.arm(Fault::from_nth(1 + round as u64 / 10).of(CallKinds::all()));
        }
        let mut batch = [core::ptr::null_mut(); 32];
        for _ in 0..20 {
            let taken = source.take(class, &mut batch);
            out.extend(batch[..taken].iter().map(|&object| (class, object)));
        }
        heap.ground.source.disarm();
        heap.ground.metadata.disarm();
        sums_are_exact(&heap, &tier, &out);
        assert_eq!(source.take(class, &mut batch), 32);
        out.extend(batch.map(|object| (class, object)));
    }
    for (class, object) in out.drain(..) {
        // SAFETY: taken above.
        unsafe { source.give(class, &mut [object]) };
    }
    source.drain_all_transfers();
    assert_eq!(heap.in_use_bytes(), 0);
}

#[test]
fn a_tier_that_is_discarded_leaves_nothing_behind_and_can_begin_again() {
    let heap = Heap::<Pages8K>::new();
    let tier = MiddleTier::<Pages8K>::new();
    let other = MiddleTier::<Pages8K>::new();
    let source = tier.with_others(&heap.ground, &heap.pages, 3, strata_central::OnlyBackEnd);
    let others = other.with(&heap.ground, &heap.pages);
    for _ in 0..3 {
        let mut kept = Vec::new();
        for class in Pages8K::TABLE.classes() {
            let mut batch = [core::ptr::null_mut(); 16];
            assert_eq!(source.take(class, &mut batch), 16);
            // SAFETY: just taken.
            unsafe { source.give(class, &mut batch[..5]) };
            assert_eq!(others.take(class, &mut batch[..1]), 1);
            kept.push((class, batch[0]));
        }
        // SAFETY: what is out is used by nobody.
        unsafe { source.discard_all() };
        assert_eq!(tier.stats().span_bytes, 0);
        assert_eq!(tier.stats().objects_out, 0);
        assert_eq!(tier.object_maps().stats().in_use_bytes, 0);
        assert_eq!(heap.in_use_bytes(), other.stats().span_bytes);
        for (class, object) in kept {
            // SAFETY: taken from the other tier.
            unsafe { others.give(class, &mut [object]) };
        }
        others.drain_all_transfers();
        assert_eq!(heap.in_use_bytes(), 0);
    }
}

#[test]
fn objects_of_another_back_end_go_home_by_their_span() {
    struct Home<'a>(&'a MiddleTier<Pages8K, NoTransfer>, &'a Heap<Pages8K>);

    // SAFETY: 1. they end in the tier that is named. 2. it is not the one that calls.
    unsafe impl strata_central::OtherBackEnds for Home<'_> {
        unsafe fn give(&self, back_end: u8, class: SizeClass, objects: &mut [*mut u8]) {
            assert_eq!(back_end, 7);
            let source =
                self.0.with_others(&self.1.ground, &self.1.pages, 7, strata_central::OnlyBackEnd);
            // SAFETY: the contract is the same.
            unsafe { source.give(class, objects) };
        }
    }

    let heap = Heap::<Pages8K>::new();
    let (arena, main) = (MiddleTier::new(), MiddleTier::<Pages8K>::new());
    let arena_source = arena.with_others(&heap.ground, &heap.pages, 7, strata_central::OnlyBackEnd);
    let main_source = main.with_others(&heap.ground, &heap.pages, 0, Home(&arena, &heap));
    let class = class_of::<Pages8K>(48);
    let mut mixed = [core::ptr::null_mut(); 64];
    assert_eq!(arena_source.take(class, &mut mixed[..32]), 32);
    assert_eq!(main_source.take(class, &mut mixed[32..]), 32);
    for index in 0..16 {
        mixed.swap(index, 32 + 2 * index);
    }
    // SAFETY: taken above, from one or the other.
    unsafe { main_source.give(class, &mut mixed) };
    main_source.drain_all_transfers();
    assert_eq!((arena.stats().span_bytes, main.stats().span_bytes), (0, 0));
    assert_eq!(heap.in_use_bytes(), 0);
}

#[test]
fn a_child_after_fork_finds_the_tier_at_rest() {
    let heap = Heap::<Pages8K>::new();
    let tier = MiddleTier::<Pages8K>::new();
    let source = tier.with(&heap.ground, &heap.pages);
    tier.acquire();
    // SAFETY: acquired just now, by this thread.
    unsafe { tier.release() };
    let mut batch = [core::ptr::null_mut(); 4];
    let class = class_of::<Pages8K>(4096);
    assert_eq!(source.take(class, &mut batch), 4);
    // SAFETY: just taken.
    unsafe { source.give(class, &mut batch) };
}

#[test]
fn spans_that_go_are_counted_by_how_long_they_had_objects() {
    let heap = Heap::<Pages8K>::new();
    let tier = MiddleTier::<Pages8K, NoTransfer>::new();
    let objects = tier.with(&heap.ground, &heap.pages);
    let class = class_of::<Pages8K>(1024);
    let mut expected = [0; 8];
    for (bucket, age_ms) in [(0, 0), (1, 1), (1, 9), (3, 999), (4, 1000), (7, 40_000_000)] {
        let mut out = [core::ptr::null_mut(); 3];
        assert_eq!(objects.take(class, &mut out), 3);
        heap.ground.clock.advance(age_ms * 1_000_000);
        let mut ages = Vec::new();
        heap.ground.map.for_each_span(|span| {
            if span.class() == class {
                ages.push(span.age_ms(heap.ground.clock.now_ns()));
            }
        });
        assert_eq!(ages, [age_ms]);
        // SAFETY: just taken, each once.
        unsafe { objects.give(class, &mut out) };
        expected[bucket] += 1;
        assert_eq!(tier.central(class).span_counts().completed_lifetimes, expected);
    }
    assert_eq!(tier.class_stats(class).central.spans_returned, 6);
}

#[test]
fn objects_that_come_back_to_one_span_in_a_row_are_counted_by_how_many_they_are() {
    let heap = Heap::<Pages8K>::new();
    let tier = MiddleTier::<Pages8K, NoTransfer>::new();
    let objects = tier.with(&heap.ground, &heap.pages);
    let class = class_of::<Pages8K>(1024);
    // Two spans of eight objects each.
    let mut out = [core::ptr::null_mut(); 16];
    assert_eq!(objects.take(class, &mut out), 16);
    let map = &heap.ground.map;
    let span_of = |object: &*mut u8| {
        map.span_at(object.addr()).expect("it was taken").first::<Pages8K>().number()
    };
    out.sort_by_key(span_of);
    assert_ne!(span_of(&out[7]), span_of(&out[8]));
    // Three of the first, one of the second, two of the first; then five of the second, the first's rest, the second's.
    let order = [0, 1, 2, 8, 3, 4, 9, 10, 11, 12, 13, 5, 6, 7, 14, 15];
    let mut first: Vec<_> = order[..6].iter().map(|&index| out[index]).collect();
    let mut second: Vec<_> = order[6..].iter().map(|&index| out[index]).collect();
    for batch in [&mut first, &mut second] {
        // SAFETY: each was taken, and is given back once.
        unsafe { objects.give(class, batch) };
    }
    let mut expected = [0; 32];
    expected[..5].copy_from_slice(&[1, 2, 2, 0, 1]);
    assert_eq!(tier.central(class).span_counts().same_span_returns, expected);
}

#[test]
fn what_the_only_cache_gives_back_stays_if_it_is_short_and_goes_to_its_span_if_it_is_long() {
    let heap = Heap::<Pages8K>::new();
    let tier = MiddleTier::<Pages8K>::new();
    for class in Pages8K::TABLE.classes() {
        let size = Pages8K::TABLE.size(class);
        for one_cache in [true, false] {
            let objects = tier.with(&heap.ground, &heap.pages).for_one_cache(one_cache);
            let mut out = [core::ptr::null_mut(); 2];
            assert_eq!(objects.take(class, &mut out), 2);
            // SAFETY: just taken, each once.
            unsafe { objects.give(class, &mut out) };
            let passes = one_cache && size > StandardTransfer::KEEPS_FOR_ONE_UP_TO;
            let kept = if passes { 0 } else { 2 };
            let stats = tier.class_stats(class);
            assert_eq!(stats.transfer.used, kept, "{size} bytes, one cache: {one_cache}");
            assert_eq!(stats.central.objects_out, kept, "{size} bytes, one cache: {one_cache}");
            assert_eq!(objects.drain_transfer(class) as u64, kept);
        }
    }
    assert_eq!(heap.in_use_bytes(), 0);
}

/// Long objects stay by the program's size alone.
struct BySize;

impl TransferPolicy for BySize {
    const LONG_EARNS: usize = 0;
}

#[test]
fn of_long_objects_as_many_stay_for_the_only_cache_as_the_program_s_size_allows() {
    let heap = Heap::<Pages8K>::new();
    let tier = MiddleTier::<Pages8K, BySize>::new();
    let class = class_of::<Pages8K>(64 << 10);
    let share = |objects: usize| {
        let bytes = objects * (64 << 10) * BySize::LONG_SHARE;
        let program = BySize::LONG_BEYOND + bytes;
        tier.with(&heap.ground, &heap.pages).for_one_cache(true).for_program_of(program)
    };
    let mut out = [core::ptr::null_mut(); 6];
    // What is turned away is missed in the next round, and makes room for as much, up to the share.
    for (objects, kept) in [(0, 0), (1, 1), (2, 2), (5, 5), (9, 6), (3, 3)] {
        assert_eq!(share(objects).take(class, &mut out), 6);
        // SAFETY: just taken, each once.
        unsafe { share(objects).give(class, &mut out) };
        let stats = tier.class_stats(class);
        assert_eq!(stats.transfer.used, kept, "{objects} may stay");
        assert_eq!(stats.central.objects_out, kept);
    }
    share(0).drain_transfer(class);
    assert_eq!(heap.in_use_bytes(), 0);
}

#[test]
fn in_a_small_program_as_many_long_objects_stay_as_were_missed_after_they_were_turned_away() {
    let heap = Heap::<Pages8K>::new();
    let tier = MiddleTier::<Pages8K>::new();
    let class = class_of::<Pages8K>(64 << 10);
    let objects = tier.with(&heap.ground, &heap.pages).for_one_cache(true);
    let most = StandardTransfer::LONG_EARNS / (64 << 10);
    let mut out = vec![core::ptr::null_mut(); most + 9];
    let count = out.len();
    for (wanted, kept) in [(8, 0), (8, 8), (count, 8), (count, most), (count, most)] {
        for batch in out[..wanted].chunks_mut(4) {
            assert_eq!(objects.take(class, batch), batch.len());
        }
        for batch in out[..wanted].chunks_mut(4) {
            // SAFETY: just taken, each once.
            unsafe { objects.give(class, batch) };
        }
        let stats = tier.class_stats(class);
        assert_eq!(stats.transfer.used, kept as u64, "{wanted} were there");
        assert_eq!(stats.central.objects_out, kept as u64);
    }
    objects.drain_transfer(class);
    assert_eq!(heap.in_use_bytes(), 0);
}
