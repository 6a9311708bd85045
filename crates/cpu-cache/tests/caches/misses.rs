//! How many objects a miss moves, and by how many a class may hold more then.

use crate::ground::{self, TABLE};
use crate::limits::{give, take};
use crate::source::{CountedSource, Event};
use strata_cpu_cache::{CpuCache, IdKind};
use strata_os::SystemPages;
use strata_size_classes::ObjectSource;

/// A cache whose limit is in nobody's way: so much is out that a CPU may hold as much as it likes, and its region
/// is as long as can be.
fn roomy_cache(source: &CountedSource) -> Option<(CpuCache, u32)> {
    let cache = ground::cache(IdKind::Cpu, usize::MAX)?;
    let cpu = ground::pin();
    while cache.lengthen(&SystemPages::new(), cpu) == Ok(true) {}
    let ballast = ground::class(256 << 10);
    let count = cache.ids() as usize * 40;
    // SAFETY: the cache is set up, glibc registered this thread.
    let out = unsafe { take(&cache, source, ballast, count) };
    assert_eq!(out.len(), count);
    source.events();
    Some((cache, cpu))
}

/// A source with objects for [`roomy_cache`] and a test.
fn source() -> CountedSource {
    CountedSource::new(20_000 + strata_os::possible_cpus() as usize * 40).with_log()
}

#[test]
fn a_class_that_only_ever_overflows_does_not_grow() {
    let source = source();
    let Some((cache, cpu)) = roomy_cache(&source) else { return };
    for size in [64, 1024] {
        let class = ground::class(size);
        let mut objects = vec![core::ptr::null_mut(); 2000];
        // What others allocate, and is freed here.
        assert_eq!(source.take(class, &mut objects), objects.len());
        objects.iter().for_each(|&object| source.received(class, object));
        // SAFETY: the cache is set up, glibc registered this thread; the objects were taken above.
        unsafe { give(&cache, &source, class, objects) };
        let page_full = (4096 / size as u64).min(TABLE.info(class).batch.into());
        let held = cache.objects(cpu, class);
        assert!(held <= page_full, "{held} objects of {size} bytes that nobody here wants");
        let capacity = cache.cpu_stats(cpu).capacity_bytes;
        // One that is wanted here grows by the same.
        // SAFETY: the cache is set up, glibc registered this thread.
        let objects = unsafe { take(&cache, &source, class, 2000) };
        // SAFETY: the objects were taken above.
        unsafe { give(&cache, &source, class, objects) };
        assert!(cache.cpu_stats(cpu).capacity_bytes > capacity);
        assert!(cache.objects(cpu, class) > page_full);
    }
}

#[test]
fn misses_in_a_row_move_more_each_time_up_to_what_one_can() {
    let source = source();
    let Some((cache, _)) = roomy_cache(&source) else { return };
    let class = ground::class(64);
    let batch = usize::from(TABLE.info(class).batch);
    // To and fro, until the class may hold more than misses in a row move.
    for _ in 0..40 {
        // SAFETY: the cache is set up, glibc registered this thread.
        let objects = unsafe { take(&cache, &source, class, 1000) };
        // SAFETY: the objects were taken above.
        unsafe { give(&cache, &source, class, objects) };
    }
    // An overflow ends what came in a row before: others' objects are freed here.
    let mut others = vec![core::ptr::null_mut(); 5000];
    assert_eq!(source.take(class, &mut others), others.len());
    others.iter().for_each(|&object| source.received(class, object));
    // SAFETY: the cache is set up, glibc registered this thread; the objects were taken above.
    unsafe { give(&cache, &source, class, others) };
    source.events();
    // SAFETY: the cache is set up, glibc registered this thread.
    let objects = unsafe { take(&cache, &source, class, 3000) };
    let taken: Vec<usize> = source
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Took(_, objects) => Some(objects.len()),
            Event::Gave(..) => None,
        })
        .collect();
    assert_eq!(taken.first(), Some(&batch), "the first after an overflow: {taken:?}");
    assert!(taken.is_sorted(), "{taken:?}");
    assert_eq!(taken.last(), Some(&64), "as many as one miss moves: {taken:?}");
    // SAFETY: the objects were taken above.
    unsafe { give(&cache, &source, class, objects) };
}

#[test]
fn what_is_passed_on_takes_one_that_stands_there_along_and_both_are_counted() {
    let source = source();
    let Some((cache, cpu)) = roomy_cache(&source) else { return };
    let class = ground::class(8 << 10);
    // SAFETY: the cache is set up, glibc registered this thread.
    let mut objects = unsafe { take(&cache, &source, class, 8) };
    let kept = objects.split_off(2);
    // SAFETY: the objects were taken above.
    unsafe { give(&cache, &source, class, objects) };
    for object in kept {
        let (held, before) = (cache.objects(cpu, class), cache.cpu_stats(cpu));
        source.events();
        source.given_up(class, object);
        // SAFETY: the cache is set up, glibc registered this thread; the object was taken above.
        unsafe { cache.pass_on(&source, class, object) };
        let along = held.min(1);
        assert_eq!(cache.objects(cpu, class), held - along);
        let flushed = cache.cpu_stats(cpu).flushed_objects - before.flushed_objects;
        assert_eq!(flushed, 1 + along);
        let events = source.events();
        let [Event::Gave(_, gave)] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!(gave.len() as u64, flushed);
    }
    assert_eq!(source.out(class), 0);
}
