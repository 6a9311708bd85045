//! What is done with the caches of all CPUs from time to time: limits move, idle CPUs are drained, regions get shorter.

use crate::{
    ground::{self, TABLE},
    source::CountedSource,
};
use strata_cpu_cache::{CpuCache, IdKind, REGION_BYTES, RegionSize};
use strata_os::{PageSource, SystemPages, for_each_allowed_cpu};
use strata_size_classes::SizeClass;

/// The CPUs that this process may run on, if there are two.
pub(crate) fn two_cpus() -> Option<(usize, usize)> {
    let mut cpus = Vec::new();
    for_each_allowed_cpu(|cpu| cpus.push(cpu as usize));
    match *cpus.as_slice() {
        [first, second, ..] => Some((first, second)),
        _ => {
            println!("left out: one CPU");
            None
        }
    }
}

/// Takes `count` objects on `cpu` as a thread does, and gives them back there.
pub(crate) fn use_cpu(
    cache: &CpuCache,
    source: &CountedSource,
    cpu: usize,
    class: SizeClass,
    count: usize,
) {
    ground::bind(0, &[cpu]);
    let take = || {
        // SAFETY: the cache is set up, glibc registered this thread.
        let popped = unsafe { cache.pop(class) };
        // SAFETY: the cache is set up, glibc registered this thread.
        let object = if popped.is_null() { unsafe { cache.refill(source, class) } } else { popped };
        source.received(class, object);
        object
    };
    let objects: Vec<_> = (0..count).map(|_| take()).collect();
    for object in objects {
        source.given_up(class, object);
        // SAFETY: the cache is set up, glibc registered this thread; the object is this thread's.
        if !unsafe { cache.push(class, object) } {
            // SAFETY: the cache is set up, glibc registered this thread.
            unsafe { cache.overflow(source, class, object) };
        }
    }
}

pub(crate) fn id(cpu: usize) -> u32 {
    u32::try_from(cpu).expect("a CPU")
}

pub(crate) fn assert_adds_up(cache: &CpuCache) {
    let all: Vec<_> = (0..cache.ids()).map(|id| cache.cpu_stats(id)).collect();
    assert_limits_add_up(cache);
    for stats in &all {
        assert_eq!(stats.capacity_bytes + stats.available_bytes, stats.granted_bytes, "{stats:?}");
        assert!(stats.granted_bytes <= stats.limit_bytes, "{stats:?}");
        assert_eq!(stats.capacity_bytes + stats.unallocated_bytes, stats.limit_bytes, "{stats:?}");
    }
}

/// The limits of all CPUs, used or not, are as many times the usual one.
pub(crate) fn assert_limits_add_up(cache: &CpuCache) {
    let limit = |id: u32| match cache.is_populated(id) {
        true => cache.cpu_stats(id).limit_bytes,
        false => cache.unused_limit_bytes(),
    };
    let ids = u64::from(cache.ids());
    let sum: u64 = (0..cache.ids()).map(limit).sum();
    let all = ids * cache.limit_bytes();
    assert!((sum..sum + ids).contains(&all), "{sum} of {all}");
}

#[test]
fn a_cpu_that_misses_gains_what_a_quiet_one_has_until_that_has_a_fifth_and_limits_add_up() {
    const LIMIT_BYTES: usize = 100 << 10;
    let Some(cache) = ground::cache(IdKind::Cpu, LIMIT_BYTES) else { return };
    let Some((busy, quiet)) = two_cpus() else { return };
    let source = CountedSource::new(3000);
    let (small, large) = (ground::class(1024), ground::class(4096));
    // Slots are not what they want for.
    for cpu in [busy, quiet] {
        while cache.lengthen(&SystemPages::new(), id(cpu)) == Ok(true) {}
    }
    // Both fill their limits; then one goes on.
    use_cpu(&cache, &source, quiet, large, 400);
    use_cpu(&cache, &source, quiet, small, 400);
    use_cpu(&cache, &source, busy, small, 400);
    assert!(cache.cpu_stats(id(quiet)).held_bytes > LIMIT_BYTES as u64 / 2);
    assert_adds_up(&cache);
    cache.shuffle(&source);
    assert_adds_up(&cache);
    for _ in 0..100 {
        use_cpu(&cache, &source, busy, small, 600);
        use_cpu(&cache, &source, busy, large, 300);
        let before = cache.cpu_stats(id(busy)).limit_bytes;
        let moved = cache.shuffle(&source);
        assert_eq!(cache.cpu_stats(id(busy)).limit_bytes, before + moved);
        assert!(moved <= LIMIT_BYTES as u64 / 20, "a twentieth a round");
        assert_adds_up(&cache);
    }
    let (gained, lost) = (cache.cpu_stats(id(busy)), cache.cpu_stats(id(quiet)));
    assert!(gained.limit_bytes > LIMIT_BYTES as u64 * 3 / 2, "{gained:?}");
    let fifth = LIMIT_BYTES as u64 / 5;
    assert!(
        (fifth * 3 / 4..=fifth).contains(&lost.limit_bytes),
        "a fifth, less a last step: {lost:?}"
    );
    assert!(gained.held_bytes > LIMIT_BYTES as u64, "it uses what it gained: {gained:?}");
    for cpu in [busy, quiet] {
        assert!(cache.drain(&source, id(cpu)).is_ok());
    }
    source.assert_whole();
}

#[test]
fn limits_add_up_after_a_limit_that_is_less_than_what_cpus_gave_away_or_hold() {
    const LIMIT_BYTES: usize = 100 << 10;
    let Some(cache) = ground::cache(IdKind::Cpu, LIMIT_BYTES) else { return };
    let Some((busy, quiet)) = two_cpus() else { return };
    let source = CountedSource::new(3000);
    let class = ground::class(1024);
    for cpu in [busy, quiet] {
        while cache.lengthen(&SystemPages::new(), id(cpu)) == Ok(true) {}
        use_cpu(&cache, &source, cpu, class, 400);
    }
    cache.shuffle(&source);
    let mut moved = 0;
    for _ in 0..5 {
        use_cpu(&cache, &source, busy, class, 600);
        moved += cache.shuffle(&source);
    }
    assert!(moved > 0, "the quiet CPU gave something away");
    for bytes in [0, LIMIT_BYTES, moved as usize / 2, 3 * LIMIT_BYTES, 1, LIMIT_BYTES] {
        cache.set_limit(&source, bytes);
        for cpu in [busy, quiet] {
            let stats = cache.cpu_stats(id(cpu));
            assert!(
                stats.granted_bytes <= stats.limit_bytes,
                "all that is too much went: {stats:?}"
            );
            use_cpu(&cache, &source, cpu, class, 100);
            assert!(cache.cpu_stats(id(cpu)).granted_bytes <= stats.limit_bytes, "{stats:?}");
        }
    }
    assert_adds_up(&cache);
    for cpu in [busy, quiet] {
        assert!(cache.drain(&source, id(cpu)).is_ok());
    }
    source.assert_whole();
}

#[test]
fn nothing_moves_between_cpus_that_miss_alike_or_have_no_limit() {
    let Some((first, second)) = two_cpus() else { return };
    for limit_bytes in [0, 64 << 10] {
        let Some(cache) = ground::cache(IdKind::Cpu, limit_bytes) else { return };
        let source = CountedSource::new(3000);
        for _ in 0..20 {
            for cpu in [first, second] {
                // As many misses here as there: the caches are empty each time.
                use_cpu(&cache, &source, cpu, ground::class(2048), 300);
            }
            for cpu in [first, second] {
                assert!(cache.drain(&source, id(cpu)).is_ok());
            }
            assert_eq!(cache.shuffle(&source), 0);
            assert_adds_up(&cache);
        }
        source.assert_whole();
    }
}

#[test]
fn a_cpu_that_stands_still_is_drained_whole_and_a_busy_one_is_not() {
    let Some(cache) = ground::cache(IdKind::Cpu, CpuCache::DEFAULT_LIMIT_BYTES) else { return };
    let Some((busy, idle)) = two_cpus() else { return };
    let (source, pages, class) = (CountedSource::new(3000), SystemPages::new(), ground::class(256));
    use_cpu(&cache, &source, idle, class, 100);
    assert_eq!(cache.lengthen(&pages, id(idle)), Ok(true));
    TABLE.classes().for_each(|class| use_cpu(&cache, &source, idle, class, 3));
    use_cpu(&cache, &source, busy, class, 100);
    let held = cache.cpu_stats(id(idle)).held_bytes;
    assert!(held > 0);
    assert_eq!(cache.drain_idle(&source, &pages, 8), 0, "the first look sees a change");
    use_cpu(&cache, &source, busy, class, 1);
    assert_eq!(cache.drain_idle(&source, &pages, 0), 0, "none may be drained");
    use_cpu(&cache, &source, busy, class, 1);
    assert_eq!(cache.drain_idle(&source, &pages, 8), held);
    let stats = cache.cpu_stats(id(idle));
    assert_eq!((stats.held_bytes, stats.capacity_bytes, stats.drains), (0, 0, 1));
    assert_eq!(stats.region_bytes, RegionSize::LEAST.bytes() as u64);
    assert_eq!(cache.cpu_stats(id(busy)).drains, 0);

    // Once more, with the memory of the region in sight.
    let region =
        strata_os::AddressRange::new(cache.slab_range().start + idle * REGION_BYTES, REGION_BYTES);
    let resident = pages.residency(region).expect("a mapping of ours").resident_bytes;
    assert_eq!(resident, pages.page_bytes(), "headers stay");
    use_cpu(&cache, &source, idle, class, 100);
    assert!(cache.cpu_stats(id(idle)).held_bytes > 0, "it is used again as if nothing had been");
    assert_adds_up(&cache);
    for cpu in [busy, idle] {
        assert!(cache.drain(&source, id(cpu)).is_ok());
    }
    source.assert_whole();
}

#[test]
fn a_region_that_is_longer_than_it_need_be_gets_shorter_at_the_fourth_look() {
    let Some(cache) = ground::cache(IdKind::Cpu, CpuCache::DEFAULT_LIMIT_BYTES) else { return };
    let (source, pages, class) = (CountedSource::new(3000), SystemPages::new(), ground::class(64));
    let cpu = ground::pin() as usize;
    use_cpu(&cache, &source, cpu, class, 60);
    assert_eq!(cache.shorten(&source, &pages, id(cpu)), Ok(false), "it is as short as can be");
    while cache.lengthen(&pages, id(cpu)) == Ok(true) {}
    assert_eq!(cache.region_bytes(id(cpu)), REGION_BYTES);
    let held = cache.cpu_stats(id(cpu)).held_bytes;
    let mut size = RegionSize::GREATEST;
    for look in 1..=12 {
        let shortened = cache.shorten_roomy(&source, &pages, 1);
        assert_eq!(shortened, u32::from(look % 4 == 0), "look {look}");
        size = size.smaller().filter(|_| look % 4 == 0).unwrap_or(size);
        assert_eq!(cache.region_bytes(id(cpu)), size.bytes());
        assert_eq!(cache.cpu_stats(id(cpu)).held_bytes, held, "all of it has a slot in each");
    }
    assert_eq!(cache.shorten_roomy(&source, &pages, 1), 0);
    // It grew to each length but the first, and shrank to each but the last.
    let changes = cache.region_stats().map(|stats| (stats.growths, stats.shrinkages));
    assert_eq!(changes, [(0, 1), (1, 1), (1, 1), (1, 0)]);
    assert_eq!(cache.region_stats().map(|stats| stats.bytes)[3], REGION_BYTES as u64);
    assert_eq!(cache.refused_bytes(), 0);
    assert!(cache.drain(&source, id(cpu)).is_ok());
    source.assert_whole();
}

#[test]
fn a_region_of_a_cpu_that_was_never_used_has_the_length_that_it_was_given() {
    let Some(cache) = ground::cache(IdKind::Cpu, CpuCache::DEFAULT_LIMIT_BYTES) else { return };
    let (source, pages) = (CountedSource::new(3000), SystemPages::new());
    for id in 0..cache.ids() {
        assert_eq!(cache.region_bytes(id), RegionSize::LEAST.bytes());
        assert_eq!(cache.lengthen(&pages, id), Ok(true));
        let larger = RegionSize::LEAST.larger().expect("there is a longer one");
        assert_eq!(cache.region_bytes(id), larger.bytes());
        assert_eq!(cache.shorten(&source, &pages, id), Ok(true));
        assert_eq!(cache.region_bytes(id), RegionSize::LEAST.bytes());
    }
    assert_eq!(cache.region_bytes(cache.ids()), 0, "there is no such CPU");
    assert_eq!(cache.used_ids(), 0);
}

#[test]
fn an_absurd_limit_is_a_tebibyte() {
    let Some(cache) = ground::cache(IdKind::Cpu, usize::MAX) else { return };
    assert_eq!(cache.limit_bytes(), 1 << 40);
    let source = CountedSource::new(3000);
    let cpu = ground::pin() as usize;
    use_cpu(&cache, &source, cpu, ground::class(64), 10);
    assert_adds_up(&cache);
    assert!(cache.drain(&source, id(cpu)).is_ok());
}

#[test]
fn a_region_that_gets_longer_keeps_memory_where_something_stands_alone() {
    let Some(cache) = ground::cache(IdKind::Cpu, CpuCache::DEFAULT_LIMIT_BYTES) else { return };
    let (source, pages) = (CountedSource::new(3000), SystemPages::new());
    let cpu = ground::pin() as usize;
    TABLE.classes().for_each(|class| use_cpu(&cache, &source, cpu, class, 3));
    let held = cache.cpu_stats(id(cpu)).held_bytes;
    assert!(held > 0);
    while cache.lengthen(&pages, id(cpu)) == Ok(true) {}
    assert_eq!(cache.cpu_stats(id(cpu)).held_bytes, held, "all of it has moved");
    assert_eq!(cache.refused_bytes(), 0);

    // Where classes stood in shorter regions, and nothing stands now.
    let region = cache.slab_range().start + cpu * REGION_BYTES;
    let first = RegionSize::LEAST.bytes();
    let passed = strata_os::AddressRange::new(region + first, 3 * first);
    let resident = pages.residency(passed).expect("a mapping of ours").resident_bytes;
    assert!(resident < passed.bytes, "{resident} bytes of those that classes passed are in memory");
    assert!(cache.drain(&source, id(cpu)).is_ok());
    source.assert_whole();
}
