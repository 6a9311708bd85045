//! Limits that one CPU borrows from others, and that come back.

use crate::{
    ground::{self, TABLE},
    source::CountedSource,
    upkeep::{assert_adds_up, id, two_cpus, use_cpu},
};
use strata_cpu_cache::{CpuCache, CpuStats, IdKind};
use strata_os::SystemPages;
use strata_size_classes::SizeClass;

const USUAL: usize = 256 << 10;

/// A cache of at least four CPUs; none where this machine can have none.
fn cache(limit_bytes: usize) -> Option<CpuCache> {
    let mut setup = ground::setup(IdKind::Cpu, limit_bytes)?;
    setup.ids = setup.ids.max(4);
    let cache = CpuCache::new();
    // SAFETY: glibc registered an area for every thread; CPU numbers are below the possible CPUs.
    unsafe { cache.set_up(&SystemPages::new(), setup) }.expect("address space");
    Some(cache)
}

/// A source, and objects of it that are out: so many that a CPU's part of them is all limits together.
struct Program<'a> {
    cache: &'a CpuCache,
    source: CountedSource,
    ballast: Vec<*mut u8>,
}

impl<'a> Program<'a> {
    fn new(cache: &'a CpuCache) -> Self {
        Self::of(cache, 2 * cache.ids() as usize * cache.ids() as usize * USUAL)
    }

    /// One that has so many bytes beside what passes through the cache.
    fn of(cache: &'a CpuCache, bytes: usize) -> Self {
        let class = Self::class();
        let count = bytes / TABLE.size(class);
        let source = CountedSource::new(10_000 + count);
        let take = |_| {
            // SAFETY: the cache is set up, glibc registered this thread.
            let object = unsafe { cache.refill(&source, class) };
            source.received(class, object);
            object
        };
        let ballast = (0..count).map(take).collect();
        Self { cache, source, ballast }
    }

    fn class() -> SizeClass {
        ground::class(256 << 10)
    }

    /// Allocates and frees more than a CPU's cache holds, in several classes, and calls the limit back where that
    /// is to be done.
    fn run(&self, cpu: usize) -> CpuStats {
        for size in [1 << 10, 2 << 10, 4 << 10] {
            use_cpu(self.cache, &self.source, cpu, ground::class(size), 1500);
            if self.cache.is_poor(id(cpu)) {
                self.cache.recall(&self.source, id(cpu));
            }
        }
        assert_adds_up(self.cache);
        self.cache.cpu_stats(id(cpu))
    }

    /// Frees the ballast.
    fn shrink(&mut self) {
        for object in self.ballast.drain(..) {
            self.source.given_up(Self::class(), object);
            // SAFETY: the cache is set up, glibc registered this thread; the object came from the source.
            unsafe { self.cache.overflow(&self.source, Self::class(), object) };
        }
    }

    fn end(mut self) {
        self.shrink();
        for id in 0..self.cache.ids() {
            assert!(self.cache.drain(&self.source, id).is_ok());
        }
        self.source.assert_whole();
        assert_adds_up(self.cache);
    }
}

#[test]
fn a_cpu_borrows_all_but_a_fifth_of_what_others_never_used() {
    let Some(cache) = cache(USUAL) else { return };
    let cpu = ground::pin();
    while cache.lengthen(&SystemPages::new(), cpu) == Ok(true) {}
    let program = Program::new(&cache);
    let others = u64::from(cache.ids()) - 1;
    let all = USUAL as u64 * (others + 1) - others * (USUAL as u64 / 5);
    let stats = (0..2000).map(|_| program.run(cpu as usize)).find(|stats| stats.limit_bytes == all);
    let stats = stats.unwrap_or_else(|| panic!("{all}: {:?}", cache.cpu_stats(cpu)));
    assert!(stats.held_bytes > USUAL as u64, "it uses what it borrowed: {stats:?}");
    assert_eq!(cache.unused_limit_bytes(), USUAL as u64 / 5);
    for id in (0..cache.ids() + 1).filter(|&id| !cache.is_populated(id)) {
        assert_eq!(cache.recall(&program.source, id), 0, "nobody is there");
    }
    program.end();
}

#[test]
fn who_sets_a_limit_below_a_step_has_no_cpu_that_holds_more() {
    const LIMIT: usize = 128 << 10;
    let Some(cache) = cache(LIMIT) else { return };
    let cpu = ground::pin();
    let program = Program::new(&cache);
    for _ in 0..50 {
        assert_eq!(program.run(cpu as usize).limit_bytes, LIMIT as u64);
    }
    program.end();
}

#[test]
fn a_program_that_has_little_borrows_nothing() {
    let Some(cache) = cache(USUAL) else { return };
    let cpu = ground::pin();
    let program = Program { cache: &cache, source: CountedSource::new(2000), ballast: Vec::new() };
    for _ in 0..50 {
        // At most 900 KiB are out.
        use_cpu(&cache, &program.source, cpu as usize, ground::class(1 << 10), 900);
        assert_eq!(cache.cpu_stats(cpu).limit_bytes, USUAL as u64);
    }
    program.end();
}

#[test]
fn a_cpu_that_comes_to_need_its_limit_has_it_back_from_who_borrowed_it() {
    let Some((first, second)) = two_cpus() else { return };
    let Some(cache) = cache(USUAL) else { return };
    for cpu in [first, second] {
        while cache.lengthen(&SystemPages::new(), id(cpu)) == Ok(true) {}
    }
    ground::bind(0, &[first]);
    let program = Program::new(&cache);
    let limit = |cpu: usize| cache.cpu_stats(id(cpu)).limit_bytes;
    let usual = USUAL as u64;
    assert!((0..2000).any(|_| program.run(first).limit_bytes > 3 * usual), "it borrows");
    let rich = (0..50).map(|_| program.run(first)).last().expect("a run");
    // The second begins with what was kept for it, and calls back what it needs more.
    use_cpu(&cache, &program.source, second, ground::class(1 << 10), 1);
    assert!(limit(second) < usual, "{rich:?}");
    assert!((0..200).any(|_| program.run(second).limit_bytes >= usual), "{rich:?}");
    assert!(limit(first) < rich.limit_bytes);
    let held = cache.cpu_stats(id(second)).held_bytes;
    assert!(held > usual / 2, "it has objects for it: {held}");
    assert!(!cache.is_poor(id(second)));
    // Both go on, and neither is left without.
    for _ in 0..50 {
        for cpu in [first, second] {
            program.run(cpu);
            assert!(limit(cpu) >= usual);
        }
    }
    program.end();
}

#[test]
fn what_a_cpu_borrowed_goes_back_when_the_program_has_little() {
    let Some(cache) = cache(USUAL) else { return };
    let cpu = ground::pin();
    while cache.lengthen(&SystemPages::new(), cpu) == Ok(true) {}
    let mut program = Program::new(&cache);
    assert!((0..2000).any(|_| program.run(cpu as usize).limit_bytes > 3 * USUAL as u64));
    cache.shuffle(&program.source);
    assert!(cache.cpu_stats(cpu).limit_bytes > 3 * USUAL as u64, "the program has as much");
    program.shrink();
    // What its own cache holds counts as out: the less that is, the less it may hold.
    for _ in 0..3 {
        cache.shuffle(&program.source);
        assert_adds_up(&cache);
    }
    let stats = cache.cpu_stats(cpu);
    assert!(stats.limit_bytes < 2 * USUAL as u64, "{stats:?}");
    assert!(stats.held_bytes <= stats.limit_bytes);
    program.end();
}

#[test]
fn limits_add_up_after_a_usual_limit_below_what_was_lent() {
    let Some(cache) = cache(USUAL) else { return };
    let cpu = ground::pin();
    while cache.lengthen(&SystemPages::new(), cpu) == Ok(true) {}
    let program = Program::new(&cache);
    let limit = || cache.cpu_stats(cpu).limit_bytes;
    assert!((0..2000).any(|_| program.run(cpu as usize).limit_bytes > 3 * USUAL as u64));
    for bytes in [USUAL / 8, 0, 2 * USUAL, USUAL, 1, USUAL] {
        cache.set_limit(&program.source, bytes);
        assert_adds_up(&cache);
        assert!(limit() <= u64::from(cache.ids()) * bytes as u64);
        program.run(cpu as usize);
    }
    program.end();
}

#[test]
fn a_cpu_that_lent_more_than_a_lower_limit_leaves_it_pays_before_it_is_granted_anything() {
    let Some((first, second)) = two_cpus() else { return };
    let Some(cache) = cache(USUAL) else { return };
    for cpu in [first, second] {
        while cache.lengthen(&SystemPages::new(), id(cpu)) == Ok(true) {}
    }
    ground::bind(0, &[first]);
    let program = Program::new(&cache);
    use_cpu(&cache, &program.source, second, ground::class(1 << 10), 1);
    let limit = |cpu: usize| cache.cpu_stats(id(cpu)).limit_bytes;
    assert!((0..2000).any(|_| {
        program.run(first);
        limit(second) <= USUAL as u64 / 2
    }));
    cache.set_limit(&program.source, USUAL / 8);
    for _ in 0..50 {
        program.run(second);
    }
    program.end();
}

#[test]
fn a_limit_that_follows_the_program_grows_with_what_it_has_and_falls_with_it() {
    let Some(cache) = cache(USUAL) else { return };
    cache.let_limit_follow_program();
    let cpu = ground::pin();
    while cache.lengthen(&SystemPages::new(), cpu) == Ok(true) {}
    let mut program = Program::new(&cache);
    let grown = (0..2000).any(|_| {
        program.run(cpu as usize);
        assert!(cache.limit_bytes() <= 4 * USUAL as u64);
        cache.limit_bytes() >= 2 * USUAL as u64
    });
    assert!(grown, "{} with {} out", cache.limit_bytes(), cache.out_bytes());
    let held = cache.cpu_stats(cpu).held_bytes;
    cache.shuffle(&program.source);
    assert!(cache.limit_bytes() > USUAL as u64, "the program has as much");
    program.shrink();
    // What its own cache holds counts as out: the less that is, the less it may hold.
    for _ in 0..4 {
        cache.shuffle(&program.source);
        assert_adds_up(&cache);
    }
    assert_eq!(cache.limit_bytes(), USUAL as u64);
    let stats = cache.cpu_stats(cpu);
    assert!(stats.held_bytes < held && stats.held_bytes <= stats.limit_bytes, "{stats:?}");
    program.end();
}

#[test]
fn a_limit_that_has_not_doubled_falls_too() {
    const LIMIT: usize = 1 << 20;
    let Some(cache) = cache(LIMIT) else { return };
    let ids = cache.ids() as usize;
    if ids > 8 {
        // A CPU that borrows from so many finds room for all that passes through it.
        return;
    }
    cache.let_limit_follow_program();
    let cpu = ground::pin();
    while cache.lengthen(&SystemPages::new(), cpu) == Ok(true) {}
    let mut program = Program::of(&cache, 6 * ids * LIMIT);
    let limit = || cache.limit_bytes() as usize;
    let grown = (0..2000).any(|_| {
        // More than what a CPU's slots hold of three classes.
        for size in [256, 512, 3 << 10, 6 << 10] {
            use_cpu(&cache, &program.source, cpu as usize, ground::class(size), 1500);
        }
        program.run(cpu as usize);
        limit() > LIMIT
    });
    assert!(grown && limit() < 2 * LIMIT, "{} with {} out", limit(), cache.out_bytes());
    program.shrink();
    for _ in 0..4 {
        cache.shuffle(&program.source);
        assert_adds_up(&cache);
    }
    assert_eq!(limit(), LIMIT);
    program.end();
}

#[test]
fn a_limit_that_somebody_sets_follows_no_program() {
    let Some(cache) = cache(USUAL) else { return };
    cache.let_limit_follow_program();
    let cpu = ground::pin();
    while cache.lengthen(&SystemPages::new(), cpu) == Ok(true) {}
    let program = Program::new(&cache);
    cache.set_limit(&program.source, USUAL);
    for _ in 0..2000 {
        program.run(cpu as usize);
        assert_eq!(cache.limit_bytes(), USUAL as u64);
    }
    program.end();
}
