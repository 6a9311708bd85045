//! Random operations by one thread, against a stack for each class and CPU.
//!
//! The thread runs on one CPU, or on an area of its own making, which no kernel knows: in that it says itself on which
//! of a thousand CPUs it runs. `STRATA_SEED` sets the seed, `STRATA_MODEL_STEPS` the number of operations.

use crate::{
    ground::{self, TABLE},
    source::{CountedSource, Event, number},
    upkeep::assert_limits_add_up,
};
use core::sync::atomic::{AtomicU32, Ordering};
use strata_cpu_cache::{CpuCache, CpuStats, Fences, IdKind, REGION_BYTES, Setup};
use strata_os::{Seed, SystemPages, rseq};
use strata_size_classes::{CLASS_SLOTS, SizeClass};

/// What a CPU's cache should be.
struct Model {
    stacks: Vec<Vec<usize>>,
    pops: Vec<u32>,
    expected: CpuStats,
}

impl Model {
    fn new() -> Self {
        Self {
            stacks: vec![Vec::new(); CLASS_SLOTS],
            pops: vec![0; CLASS_SLOTS],
            expected: CpuStats::default(),
        }
    }

    fn held_bytes(&self) -> u64 {
        let bytes = |class: SizeClass| self.stacks[class.index()].len() * TABLE.size(class);
        TABLE.classes().map(bytes).sum::<usize>() as u64
    }

    /// Takes `objects` off the stack of `class`, the top one first.
    fn popped(&mut self, class: SizeClass, objects: &[usize]) {
        for &object in objects {
            assert_eq!(self.stacks[class.index()].pop(), Some(object), "{class:?}");
            self.pops[class.index()] += 1;
        }
    }

    /// Takes away what a class other than `class` lost because this one needed its capacity.
    fn plundered(&mut self, events: &mut Vec<Event>, class: SizeClass) {
        while let [Event::Gave(victim, _), ..] = events.as_slice()
            && *victim != class
        {
            let Event::Gave(victim, objects) = events.remove(0) else { unreachable!() };
            self.expected.flushed_objects += objects.len() as u64;
            self.popped(victim, &objects);
        }
    }
}

struct Walk<'a> {
    cache: &'a CpuCache,
    source: &'a CountedSource,
    /// What the thread has of each class.
    own: Vec<Vec<*mut u8>>,
    /// Where the thread runs, and what should be there.
    cpu: u32,
    model: Model,
    /// The same of other CPUs that it ran on.
    elsewhere: Vec<(u32, Model)>,
}

impl Walk<'_> {
    fn pop(&mut self, class: SizeClass) {
        // SAFETY: the cache is set up, glibc registered this thread.
        let object = unsafe { self.cache.pop(class) };
        if object.is_null() {
            assert_eq!(self.model.stacks[class.index()], [], "{class:?} has objects");
            return;
        }
        self.model.popped(class, &[number(object)]);
        self.receive(class, object);
    }

    fn push(&mut self, class: SizeClass) {
        let Some(object) = self.own[class.index()].pop() else { return };
        self.source.given_up(class, object);
        // SAFETY: the cache is set up, glibc registered this thread; the object is this thread's.
        if unsafe { self.cache.push(class, object) } {
            self.model.stacks[class.index()].push(number(object));
        } else {
            self.source.kept(class, object);
            self.own[class.index()].push(object);
        }
    }

    fn pop_batch(&mut self, class: SizeClass, count: usize) {
        let mut objects = vec![core::ptr::null_mut(); count];
        // SAFETY: the cache is set up, glibc registered this thread.
        let taken = unsafe { self.cache.pop_batch(class, &mut objects) };
        let expected = self.model.stacks[class.index()].len().min(count);
        assert_eq!(taken, expected, "{class:?}: as many as there are, or as were asked for");
        for &object in &objects[..taken] {
            self.model.popped(class, &[number(object)]);
            self.receive(class, object);
        }
        assert!(objects[taken..].iter().all(|object| object.is_null()));
    }

    fn push_batch(&mut self, class: SizeClass, count: usize) {
        let own = &mut self.own[class.index()];
        let objects = own.split_off(own.len() - count.min(own.len()));
        objects.iter().for_each(|&object| self.source.given_up(class, object));
        // SAFETY: the cache is set up, glibc registered this thread; the objects are this thread's.
        let given = unsafe { self.cache.push_batch(class, &objects) };
        for &object in &objects[given..] {
            self.source.kept(class, object);
            self.own[class.index()].push(object);
        }
        // The front of a batch is on top.
        self.model.stacks[class.index()].extend(objects[..given].iter().rev().map(|&o| number(o)));
    }

    fn refill(&mut self, class: SizeClass) {
        // SAFETY: the cache is set up, glibc registered this thread.
        let object = unsafe { self.cache.refill(self.source, class) };
        let mut events = self.source.events();
        self.model.expected.underflows += 1;
        self.model.plundered(&mut events, class);
        let Some((Event::Took(of, taken), given)) = events.split_first() else {
            panic!("a refill takes from the source: {events:?}");
        };
        assert_eq!(*of, class);
        self.model.expected.refilled_objects += taken.len() as u64;
        let Some((first, rest)) = taken.split_first() else {
            assert!(object.is_null(), "an exhausted source");
            assert_eq!(given, []);
            return;
        };
        assert_eq!(number(object), *first);
        self.receive(class, object);
        let kept = match given {
            [] => rest,
            [Event::Gave(of, back)] => {
                assert_eq!(*of, class);
                assert!(rest.ends_with(back), "what found no room is the end of what came");
                self.model.expected.flushed_objects += back.len() as u64;
                &rest[..rest.len() - back.len()]
            }
            _ => panic!("a refill gives once: {given:?}"),
        };
        self.model.stacks[class.index()].extend(kept.iter().rev());
    }

    fn overflow(&mut self, class: SizeClass) {
        let Some(object) = self.own[class.index()].pop() else { return };
        self.source.given_up(class, object);
        // SAFETY: the cache is set up, glibc registered this thread; the object is this thread's.
        unsafe { self.cache.overflow(self.source, class, object) };
        let mut events = self.source.events();
        self.model.expected.overflows += 1;
        self.model.plundered(&mut events, class);
        match events.as_slice() {
            [] => self.model.stacks[class.index()].push(number(object)),
            [Event::Gave(of, objects)] => {
                assert_eq!((*of, objects[0]), (class, number(object)));
                self.model.expected.flushed_objects += objects.len() as u64;
                self.model.popped(class, &objects[1..]);
            }
            _ => panic!("an overflow gives once: {events:?}"),
        }
    }

    fn drain(&mut self) {
        let held = self.model.held_bytes();
        assert_eq!(self.cache.drain(self.source, self.cpu), Ok(held));
        let events = self.source.events();
        let mut given = vec![Vec::new(); CLASS_SLOTS];
        for event in events {
            let Event::Gave(class, objects) = event else { panic!("a drain takes nothing") };
            self.model.expected.flushed_objects += objects.len() as u64;
            given[class.index()].extend(objects);
        }
        assert_eq!(given, self.model.stacks, "all that stood there went");
        self.model.stacks.iter_mut().for_each(Vec::clear);
        self.model.expected.drains += u64::from(self.cache.is_populated(self.cpu));
    }

    /// The region gets longer, and every object stays; or shorter, and the lowest ones for which there is no slot go.
    fn resize(&mut self, longer: bool) {
        let before = self.cache.region_bytes(self.cpu);
        let resized = if longer {
            self.cache.lengthen(&SystemPages::new(), self.cpu)
        } else {
            self.cache.shorten(self.source, &SystemPages::new(), self.cpu)
        };
        let after = self.cache.region_bytes(self.cpu);
        match (resized.expect("a fence, and nobody else"), longer) {
            (true, true) => assert!(after > before),
            (true, false) => assert!(after < before),
            (false, true) => assert_eq!((before, after), (REGION_BYTES, REGION_BYTES)),
            (false, false) => assert_eq!(before, after, "the least"),
        }
        for event in self.source.events() {
            let Event::Gave(class, objects) = event else { panic!("a resize takes nothing") };
            assert!(!longer);
            self.model.expected.flushed_objects += objects.len() as u64;
            let stack = &mut self.model.stacks[class.index()];
            assert_eq!(stack.drain(..objects.len()).collect::<Vec<_>>(), objects, "the lowest");
        }
    }

    fn receive(&mut self, class: SizeClass, object: *mut u8) {
        self.source.received(class, object);
        self.own[class.index()].push(object);
    }

    /// Objects went that stood lowest in their stacks, wherever that was, by what was done to all CPUs.
    fn lowest_went(&mut self) {
        for event in self.source.events() {
            let Event::Gave(class, objects) = event else { panic!("nothing is taken: {event:?}") };
            let here = core::iter::once(&mut self.model);
            let mut models = here.chain(self.elsewhere.iter_mut().map(|(_, model)| model));
            let index = class.index();
            let model = models.find(|model| model.stacks[index].starts_with(&objects));
            let model = model.unwrap_or_else(|| panic!("{objects:?} of {class:?} stood lowest"));
            model.stacks[index].drain(..objects.len());
            model.expected.flushed_objects += objects.len() as u64;
        }
    }

    /// Parts of limits move between CPUs.
    fn shuffle(&mut self) {
        self.cache.shuffle(self.source);
        self.lowest_went();
    }

    /// The CPU has the usual limit again, as far as it could use it.
    fn recall(&mut self) {
        self.cache.recall(self.source, self.cpu);
        self.lowest_went();
    }

    /// CPUs that stood still are drained.
    fn drain_idle(&mut self) {
        let (here, held) = (self.cpu, self.model.held_bytes());
        self.cache.drain_idle(self.source, &SystemPages::new(), 2);
        self.lowest_went();
        let drained = |id: u32, model: &mut Model| {
            model.expected.drains = self.cache.cpu_stats(id).drains;
        };
        drained(here, &mut self.model);
        self.elsewhere.iter_mut().for_each(|(id, model)| drained(*id, model));
        assert!(self.model.held_bytes() == held || self.model.held_bytes() == 0, "all or none");
    }

    /// Goes on elsewhere.
    fn run_on(&mut self, area: &FakeArea, id: u32) {
        area.set_id(id);
        let known = self.elsewhere.iter().position(|(other, _)| *other == id);
        if id == self.cpu {
            return;
        }
        let there = known.map_or_else(Model::new, |place| self.elsewhere.swap_remove(place).1);
        let here = core::mem::replace(&mut self.model, there);
        self.elsewhere.push((self.cpu, here));
        self.cpu = id;
        // SAFETY: the cache is set up, glibc registered this thread.
        assert_eq!(unsafe { self.cache.current_id() }, id);
    }

    /// The cache's own figures are the models'.
    fn check(&self) {
        check_cpu(self.cache, self.cpu, &self.model);
        for class in TABLE.classes() {
            let index = class.index();
            let elsewhere = self.elsewhere.iter().map(|(_, model)| model.stacks[index].len());
            let held = self.model.stacks[index].len() + elsewhere.sum::<usize>();
            assert_eq!(self.source.out(class), held + self.own[index].len(), "{class:?}");
        }
    }

    /// The same for the CPUs where the thread does not run; and what all may hold stays the same.
    fn check_all(&self) {
        self.check();
        for (id, model) in &self.elsewhere {
            let populated = self.cache.is_populated(*id);
            assert!(populated || model.expected == CpuStats::default());
            if populated {
                check_cpu(self.cache, *id, model);
            }
        }
        assert_limits_add_up(self.cache);
    }

    fn step(&mut self, random: &mut Seed, classes: &[SizeClass]) {
        let class = classes[random.below(classes.len())];
        let count = random.below(90);
        match random.below(100) {
            0..25 => self.pop(class),
            25..50 => self.push(class),
            50..58 => self.pop_batch(class, count),
            58..66 => self.push_batch(class, count),
            66..84 => self.refill(class),
            84..99 => self.overflow(class),
            _ if random.below(10) == 0 => self.drain(),
            _ if random.below(3) == 0 => self.resize(random.below(3) > 0),
            _ => self.source.give_at_most([usize::MAX, 40, 3, 0][random.below(4)]),
        }
    }
}

/// The figures of a CPU that was used are its model's.
fn check_cpu(cache: &CpuCache, cpu: u32, model: &Model) {
    let stats = cache.cpu_stats(cpu);
    let expected = &model.expected;
    assert_eq!(stats.held_bytes, model.held_bytes());
    assert_eq!(stats.capacity_bytes + stats.available_bytes, stats.granted_bytes, "{stats:?}");
    assert!(stats.granted_bytes <= stats.limit_bytes, "{stats:?}");
    assert!(stats.held_bytes <= stats.capacity_bytes, "{stats:?}");
    assert_eq!(
        (stats.underflows, stats.overflows, stats.drains),
        (expected.underflows, expected.overflows, expected.drains)
    );
    assert_eq!(
        (stats.refilled_objects, stats.flushed_objects),
        (expected.refilled_objects, expected.flushed_objects)
    );
    for class in TABLE.classes() {
        let index = class.index();
        assert_eq!(cache.objects(cpu, class), model.stacks[index].len() as u64, "{class:?}");
        assert_eq!(cache.pops(cpu, class), model.pops[index], "{class:?}");
    }
    let at_greatest = |class| u64::from(cache.class_misses(cpu, class).at_greatest_capacity);
    assert_eq!(TABLE.classes().map(at_greatest).sum::<u64>(), stats.slot_misses);
    let misses = || TABLE.classes().map(|class| cache.class_misses(cpu, class));
    assert_eq!(misses().any(|misses| misses.underflow_age_ns.is_some()), stats.underflows > 0);
    assert_eq!(misses().any(|misses| misses.overflow_age_ns.is_some()), stats.overflows > 0);
}

/// An rseq area that no kernel knows. It says what its owner says.
#[repr(align(32))]
struct FakeArea([AtomicU32; 8]);

impl FakeArea {
    const fn new() -> Self {
        Self([const { AtomicU32::new(0) }; 8])
    }

    fn set_id(&self, id: u32) {
        self.0[rseq::CPU_ID / size_of::<u32>()].store(id, Ordering::Relaxed);
    }

    /// Its distance from this thread's pointer.
    fn offset(&self) -> isize {
        let place = core::ptr::from_ref(self).expose_provenance();
        place.wrapping_sub(strata_os::thread_pointer()).cast_signed()
    }
}

/// Numbers of CPUs with holes, of a machine that may have 1 024.
const NUMBERS: [u32; 7] = [0, 1, 2, 17, 64, 700, 1023];

/// Walks at random over `classes` on CPUs that a fake area names, and over what is done to all CPUs.
fn walk_on_faked_cpus(limit_bytes: usize, classes: &[SizeClass]) {
    let area = FakeArea::new();
    let setup =
        Setup { table: TABLE, ids: 1024, id_kind: IdKind::Cpu, area: area.offset(), limit_bytes };
    let cache = CpuCache::new();
    // SAFETY: this thread alone uses the cache, on an area that names ids below 1024.
    unsafe { cache.set_up_for_one_thread(&SystemPages::new(), setup) }.expect("address space");
    let mut random = Seed::from_environment();
    let source = CountedSource::new(3000).with_log();
    let own = vec![Vec::new(); CLASS_SLOTS];
    let (model, elsewhere) = (Model::new(), Vec::new());
    let mut walk = Walk { cache: &cache, source: &source, own, cpu: 0, model, elsewhere };
    walk.refill(classes[0]);
    for step in 0..steps().unwrap_or(12_000) {
        match random.below(100) {
            0..10 => walk.run_on(&area, NUMBERS[random.below(NUMBERS.len())]),
            10 if random.below(4) == 0 => walk.shuffle(),
            11 if random.below(4) == 0 => walk.drain_idle(),
            12 if random.below(2) == 0 => walk.recall(),
            _ => walk.step(&mut random, classes),
        }
        walk.check();
        if step % 64 == 0 {
            walk.check_all();
        }
    }
    for &id in &NUMBERS {
        walk.run_on(&area, id);
        if cache.is_populated(id) {
            walk.drain();
        }
        walk.check_all();
    }
    for &class in classes {
        while !walk.own[class.index()].is_empty() {
            walk.overflow(class);
        }
    }
    for &id in &NUMBERS {
        walk.run_on(&area, id);
        if cache.is_populated(id) {
            walk.drain();
        }
    }
    assert_eq!(cache.fences(), Fences::Needless, "no kernel was asked for one");
    source.assert_whole();
    assert!(cache.used_ids() <= 1024);
    let used = (0..1024).filter(|&id| cache.is_populated(id));
    assert!(used.eq(NUMBERS.iter().copied().filter(|&id| cache.is_populated(id))), "no others");
}

fn steps() -> Option<usize> {
    std::env::var("STRATA_MODEL_STEPS").ok().and_then(|steps| steps.parse().ok())
}

/// Walks at random over `classes` with such a limit; at the end all objects are back.
fn walk(limit_bytes: usize, classes: &[SizeClass]) {
    let Some(cache) = ground::cache(IdKind::Cpu, limit_bytes) else { return };
    let mut random = Seed::from_environment();
    let source = CountedSource::new(3000).with_log();
    let cpu = ground::pin();
    let own = vec![Vec::new(); CLASS_SLOTS];
    let (model, elsewhere) = (Model::new(), Vec::new());
    let mut walk = Walk { cache: &cache, source: &source, own, cpu, model, elsewhere };
    // SAFETY: the cache is set up, glibc registered this thread.
    assert_eq!(unsafe { cache.current_id() }, cpu);
    walk.refill(classes[0]);
    walk.check();
    for _ in 0..steps().unwrap_or(20_000) {
        walk.step(&mut random, classes);
        walk.check();
    }
    for &class in classes {
        while !walk.own[class.index()].is_empty() {
            walk.overflow(class);
        }
    }
    walk.drain();
    walk.check_all();
    let stats = cache.cpu_stats(cpu);
    assert_eq!((stats.held_bytes, stats.capacity_bytes), (0, 0));
    source.assert_whole();
    for id in (0..cache.ids()).filter(|&id| id != cpu) {
        assert_eq!(cache.cpu_stats(id), CpuStats::default(), "nothing happened on other CPUs");
    }
}

#[test]
fn all_classes_under_the_usual_limit_are_stacks() {
    walk(CpuCache::DEFAULT_LIMIT_BYTES, &TABLE.classes().collect::<Vec<_>>());
}

#[test]
fn a_few_classes_that_take_each_others_capacity_are_stacks() {
    walk(40 << 10, &[8, 16, 512, 4096, 8192, 32 << 10].map(ground::class));
}

#[test]
fn one_class_with_room_for_a_handful_is_a_stack() {
    walk(100, &[ground::class(16)]);
}

#[test]
fn without_a_limit_classes_grow_to_what_the_layout_gives_them_and_are_stacks() {
    walk(usize::MAX, &[8, 256, 1024].map(ground::class));
}

#[test]
fn all_classes_on_faked_cpus_with_holes_between_their_numbers_are_stacks() {
    walk_on_faked_cpus(CpuCache::DEFAULT_LIMIT_BYTES, &TABLE.classes().collect::<Vec<_>>());
}

#[test]
fn a_few_classes_on_faked_cpus_that_take_each_others_limits_are_stacks() {
    walk_on_faked_cpus(40 << 10, &[8, 16, 512, 4096, 8192].map(ground::class));
}

#[test]
fn classes_on_faked_cpus_that_may_hold_nothing_are_empty_stacks() {
    walk_on_faked_cpus(0, &[8, 4096].map(ground::class));
}
