//! Edges: limits of nothing and of everything, many ids, sources that have little.

use crate::{
    ground::{self, TABLE},
    source::{CountedSource, Event},
};
use strata_cpu_cache::{CpuCache, CpuStats, IdKind, REGION_BYTES, REGION_SLOTS, StopRefusal};
use strata_os::{CallKind, FailingPages, Fault, PageSource, SystemPages};
use strata_size_classes::SizeClass;

/// Takes `count` objects as a thread does.
///
/// # Safety
///
/// The cache is set up, and glibc registered this thread.
pub(crate) unsafe fn take(
    cache: &CpuCache,
    source: &CountedSource,
    class: SizeClass,
    count: usize,
) -> Vec<*mut u8> {
    let one = || {
        // SAFETY: the caller's promise.
        let popped = unsafe { cache.pop(class) };
        // SAFETY: the caller's promise.
        let object = if popped.is_null() { unsafe { cache.refill(source, class) } } else { popped };
        assert!(!object.is_null());
        source.received(class, object);
        object
    };
    (0..count).map(|_| one()).collect()
}

/// Gives objects as a thread does; says how many the cache took at once.
///
/// # Safety
///
/// As for [`take`]; the objects came from it.
pub(crate) unsafe fn give(
    cache: &CpuCache,
    source: &CountedSource,
    class: SizeClass,
    objects: Vec<*mut u8>,
) -> usize {
    let mut pushed = 0;
    for object in objects {
        source.given_up(class, object);
        // SAFETY: the caller's promise.
        if unsafe { cache.push(class, object) } {
            pushed += 1;
        } else {
            // SAFETY: the caller's promise.
            unsafe { cache.overflow(source, class, object) };
        }
    }
    pushed
}

#[test]
fn a_limit_of_less_than_an_object_caches_nothing_and_serves_all() {
    for limit_bytes in [0, 1, 7] {
        let Some(cache) = ground::cache(IdKind::Cpu, limit_bytes) else { return };
        let source = CountedSource::new(3000).with_log();
        let cpu = ground::pin();
        for class in TABLE.classes() {
            // SAFETY: the cache is set up, glibc registered this thread.
            let objects = unsafe { take(&cache, &source, class, 100) };
            assert_eq!(source.out(class), 100, "what found no room went back");
            // SAFETY: the objects were taken above.
            assert_eq!(unsafe { give(&cache, &source, class, objects) }, 0, "nothing has room");
            assert_eq!(source.out(class), 0);
        }
        let stats = cache.cpu_stats(cpu);
        assert_eq!((stats.held_bytes, stats.capacity_bytes), (0, 0));
        assert!(stats.granted_bytes <= limit_bytes as u64);
        let misses = 100 * TABLE.classes().count() as u64;
        assert_eq!((stats.underflows, stats.overflows), (misses, misses));
        source.assert_whole();
    }
}

#[test]
fn without_a_limit_every_class_grows_to_what_it_may_have_and_no_further() {
    /// What the classes below may hold together, with room to spare.
    const SHARE_BYTES: usize = 64 << 20;
    let Some(cache) = ground::cache(IdKind::Cpu, usize::MAX) else { return };
    let cpu = ground::pin();
    // A CPU's share is of half of what the source handed out: hold so much that no class is kept small by it.
    let ballast_class = ground::class(256 << 10);
    let ballast_count = cache.ids() as usize * 2 * SHARE_BYTES / (256 << 10);
    let source = CountedSource::new(3000 + ballast_count);
    // SAFETY: the cache is set up, glibc registered this thread.
    let ballast = unsafe { take(&cache, &source, ballast_class, ballast_count) };
    let mut slots = 0;
    for class in TABLE.classes().filter(|&class| TABLE.size(class) <= 8 << 10) {
        let mut most = 0;
        // Each round misses both ways, which is what a class grows by.
        for _ in 0..60 {
            // SAFETY: the cache is set up, glibc registered this thread.
            let objects = unsafe { take(&cache, &source, class, 3000) };
            // SAFETY: the objects were taken above.
            unsafe { give(&cache, &source, class, objects) };
            most = most.max(cache.objects(cpu, class));
            if cache.is_short(cpu) {
                cache.lengthen(&SystemPages::new(), cpu).expect("a fence, and nobody else");
            }
        }
        assert!(most >= 90, "{} objects of {} bytes at most", most, TABLE.size(class));
        slots += usize::try_from(most).expect("a count");
    }
    assert!(slots > REGION_SLOTS / 2, "{slots} slots were used");
    assert!(slots < REGION_SLOTS);
    assert_eq!(cache.region_bytes(cpu), REGION_BYTES, "as long as can be");
    let stats = cache.cpu_stats(cpu);
    assert_eq!(stats.capacity_bytes + stats.available_bytes, stats.granted_bytes);
    // SAFETY: the objects were taken above.
    unsafe { give(&cache, &source, ballast_class, ballast) };
    assert!(cache.drain(&source, cpu).is_ok_and(|bytes| bytes > 0));
    source.assert_whole();
}

#[test]
fn a_class_of_long_objects_holds_a_sixteenth_of_what_its_cpu_may_or_two() {
    let limit = CpuCache::DEFAULT_LIMIT_BYTES;
    let Some(cache) = ground::cache(IdKind::Cpu, limit) else { return };
    let cpu = ground::pin();
    // Slots are not what it wants for.
    while cache.lengthen(&SystemPages::new(), cpu) == Ok(true) {}
    // What a CPU may hold follows from what is out: so much that it may hold its limit.
    let ballast_class = ground::class(256 << 10);
    let ballast_count = cache.ids() as usize * 2 * limit / (256 << 10) + 1;
    let source = CountedSource::new(1000 + ballast_count);
    // SAFETY: the cache is set up, glibc registered this thread.
    let ballast = unsafe { take(&cache, &source, ballast_class, ballast_count) };
    for class in TABLE.classes().filter(|&class| TABLE.size(class) >= 4 << 10) {
        let size = TABLE.size(class);
        let mut most = 0;
        for _ in 0..40 {
            // SAFETY: the cache is set up, glibc registered this thread.
            let objects = unsafe { take(&cache, &source, class, 1000) };
            // SAFETY: the objects were taken above.
            unsafe { give(&cache, &source, class, objects) };
            most = most.max(cache.objects(cpu, class));
        }
        // The limit may have grown by what others lent.
        let bound = (cache.cpu_stats(cpu).limit_bytes / 16 / size as u64).max(2);
        if size >= 8 << 10 {
            assert!(most <= bound, "{most} objects of {size} bytes");
            assert!(most > 0, "none of {size} bytes");
        } else {
            assert!(most > bound, "{most} objects of {size} bytes, which are not long");
        }
    }
    let stats = cache.cpu_stats(cpu);
    assert_eq!(stats.capacity_bytes + stats.available_bytes, stats.granted_bytes);
    // SAFETY: the objects were taken above.
    unsafe { give(&cache, &source, ballast_class, ballast) };
    assert!(cache.drain(&source, cpu).is_ok());
    source.assert_whole();
}

#[test]
fn a_cpu_through_which_objects_pass_to_and_fro_may_hold_half_of_what_is_out() {
    /// What every CPU may hold.
    const LEAST: u64 = 256 << 10;
    const OUT: usize = 1 << 20;
    const ROUNDS: usize = 2000;
    let Some(mut setup) = ground::setup(IdKind::Cpu, CpuCache::DEFAULT_LIMIT_BYTES) else { return };
    // Of two CPUs each may hold a quarter of what is out, which is more.
    setup.ids = setup.ids.max(4);
    let cache = CpuCache::new();
    // SAFETY: glibc registered an area for every thread; CPU numbers are below the possible CPUs.
    unsafe { cache.set_up(&SystemPages::new(), setup) }.expect("address space");
    // The first CPU alone may hold all that is out.
    let Some(cpu) = (1..cache.ids()).find(|&cpu| ground::pin_to(cpu)) else {
        println!("left out: no CPU but the first");
        return;
    };
    // Slots are not what it wants for.
    while cache.lengthen(&SystemPages::new(), cpu) == Ok(true) {}
    let source = CountedSource::new(1000);
    let classes = || TABLE.classes().filter(|&class| (512..=2048).contains(&TABLE.size(class)));
    let share = OUT / classes().count();
    let pass = || {
        let taken: Vec<_> = classes()
            // SAFETY: the cache is set up, glibc registered this thread.
            .map(|class| unsafe { take(&cache, &source, class, share / TABLE.size(class)) })
            .collect();
        for (class, objects) in classes().zip(taken) {
            // SAFETY: the objects were taken above.
            unsafe { give(&cache, &source, class, objects) };
        }
        cache.cpu_stats(cpu)
    };
    let first = pass();
    assert!(first.granted_bytes <= LEAST, "{} bytes at once", first.granted_bytes);
    let stats = (0..ROUNDS).map(|_| pass()).find(|stats| stats.held_bytes > LEAST);
    let stats = stats.expect("a CPU that earns more");
    assert!(stats.granted_bytes <= OUT as u64 / 2, "{} bytes", stats.granted_bytes);
    assert_eq!(stats.capacity_bytes + stats.available_bytes, stats.granted_bytes);

    assert!(cache.drain(&source, cpu).is_ok_and(|bytes| bytes > LEAST));
    assert_eq!(cache.cpu_stats(cpu).granted_bytes, 0, "an empty cache begins anew");
    let again = pass();
    assert!(again.granted_bytes <= LEAST, "{} bytes again", again.granted_bytes);
    assert!(cache.drain(&source, cpu).is_ok());
    source.assert_whole();
}

#[test]
fn a_thousand_ids_cost_address_space_and_nothing_else() {
    let Some(mut setup) = ground::setup(IdKind::Cpu, CpuCache::DEFAULT_LIMIT_BYTES) else { return };
    setup.ids = setup.ids.max(1024);
    let (cache, pages, source) = (CpuCache::new(), SystemPages::new(), CountedSource::new(3000));
    // SAFETY: glibc registered an area for every thread; CPU numbers are below the possible CPUs.
    unsafe { cache.set_up(&pages, setup) }.expect("address space");
    assert_eq!(cache.slab_range().bytes, setup.ids as usize * REGION_BYTES);
    let resident = |range| pages.residency(range).expect("a mapping of ours").resident_bytes;
    assert_eq!(resident(cache.slab_range()), 0, "nothing is touched by a set-up");

    let cpu = ground::pin();
    for class in TABLE.classes() {
        // SAFETY: the cache is set up, glibc registered this thread.
        let objects = unsafe { take(&cache, &source, class, 10) };
        // SAFETY: the objects were taken above.
        unsafe { give(&cache, &source, class, objects) };
    }
    let after_use = resident(cache.slab_range());
    assert!((1..=REGION_BYTES).contains(&after_use), "one region at most: {after_use}");

    // Those that nobody used are neither emptied nor touched, by figures or drains.
    for id in (0..cache.ids()).filter(|&id| id != cpu) {
        assert_eq!(cache.drain(&source, id), Ok(0));
        assert_eq!(cache.cpu_stats(id).drains, 0);
    }
    assert_eq!(cache.cpu_stats(setup.ids), CpuStats::default(), "there is no such id");
    assert_eq!(cache.drain(&source, setup.ids), Err(StopRefusal::NoSuchId));
    assert_eq!(cache.drain(&source, u32::MAX), Err(StopRefusal::NoSuchId));
    assert!(cache.drain(&source, cpu).is_ok_and(|bytes| bytes > 0));
    source.assert_whole();
}

#[test]
fn an_exhausted_source_is_null_and_changes_no_count_of_objects() {
    let Some(cache) = ground::cache(IdKind::Cpu, CpuCache::DEFAULT_LIMIT_BYTES) else { return };
    let source = CountedSource::new(100).with_log();
    source.give_at_most(0);
    let (cpu, class) = (ground::pin(), ground::class(48));
    for _ in 0..10 {
        // SAFETY: the cache is set up, glibc registered this thread.
        assert!(unsafe { cache.refill(&source, class) }.is_null());
    }
    let stats = cache.cpu_stats(cpu);
    assert_eq!((stats.underflows, stats.refilled_objects, stats.flushed_objects), (10, 0, 0));
    assert_eq!(stats.capacity_bytes + stats.available_bytes, stats.granted_bytes);
    assert!(source.events().iter().all(|event| *event == Event::Took(class, Vec::new())));

    source.give_at_most(usize::MAX);
    // SAFETY: the cache is set up, glibc registered this thread. Once there are objects again, it is as if there
    // always had been.
    let objects = unsafe { take(&cache, &source, class, 100) };
    // SAFETY: the cache is set up, glibc registered this thread.
    assert!(unsafe { cache.refill(&source, class) }.is_null(), "the hundred are out");
    // SAFETY: the objects were taken above.
    unsafe { give(&cache, &source, class, objects) };
    assert!(cache.drain(&source, cpu).is_ok());
    source.assert_whole();
}

#[test]
fn a_source_that_gives_one_at_a_time_gives_it_to_the_thread() {
    let Some(cache) = ground::cache(IdKind::Cpu, CpuCache::DEFAULT_LIMIT_BYTES) else { return };
    let source = CountedSource::new(3000).with_log();
    let (cpu, class) = (ground::pin(), ground::class(48));
    source.give_at_most(1);
    // SAFETY: the cache is set up, glibc registered this thread.
    let mut objects = unsafe { take(&cache, &source, class, 50) };
    assert_eq!(cache.objects(cpu, class), 0, "nothing was left over for the cache");
    assert_eq!(cache.cpu_stats(cpu).refilled_objects, 50);
    source.give_at_most(3);
    // SAFETY: the cache is set up, glibc registered this thread.
    objects.extend(unsafe { take(&cache, &source, class, 50) });
    assert!(cache.objects(cpu, class) < 3);
    // SAFETY: the objects were taken above.
    unsafe { give(&cache, &source, class, objects) };
    assert!(cache.drain(&source, cpu).is_ok());
    source.assert_whole();
}

#[test]
fn a_cache_for_which_there_is_no_memory_is_not_set_up_and_can_be_later() {
    let Some(setup) = ground::setup(IdKind::Cpu, CpuCache::DEFAULT_LIMIT_BYTES) else { return };
    let cache = CpuCache::new();
    for kind in [CallKind::Reserve, CallKind::Commit] {
        let pages = FailingPages::new(SystemPages::new());
        pages.arm(Fault::always().of(kind.only()));
        // SAFETY: glibc registered an area for every thread; CPU numbers are below the possible CPUs.
        let refused = unsafe { cache.set_up(&pages, setup) };
        assert!(refused.is_err_and(|error| error.errno != 0), "{kind:?}");
        assert!(!cache.is_set_up());
        assert_eq!((cache.ids(), cache.id_kind()), (0, None));
        assert!(cache.slab_range().is_empty());
        assert_eq!(cache.cpu_stats(0), CpuStats::default());
        assert_eq!(cache.drain(&CountedSource::new(1), 0), Err(StopRefusal::NoSuchId));
    }
    // SAFETY: glibc registered an area for every thread; CPU numbers are below the possible CPUs.
    unsafe { cache.set_up(&SystemPages::new(), setup) }.expect("address space");
    assert!(cache.is_set_up());
    assert_eq!(cache.id_kind(), Some(IdKind::Cpu));
}
