//! Random operations by one thread on one CPU, against a stack for each class.
//!
//! `STRATA_SEED` sets the seed, `STRATA_MODEL_STEPS` the number of operations.

use crate::{
    ground::{self, Random, TABLE},
    source::{CountedSource, Event, number},
};
use strata_cpu_cache::{CpuCache, CpuStats, IdKind, REGION_BYTES};
use strata_os::SystemPages;
use strata_size_classes::{CLASS_SLOTS, SizeClass};

/// What a CPU's cache should be.
struct Model {
    stacks: Vec<Vec<usize>>,
    pops: Vec<u32>,
    /// What the thread has of each class.
    own: Vec<Vec<*mut u8>>,
    expected: CpuStats,
}

impl Model {
    fn new() -> Self {
        Self {
            stacks: vec![Vec::new(); CLASS_SLOTS],
            pops: vec![0; CLASS_SLOTS],
            own: vec![Vec::new(); CLASS_SLOTS],
            expected: CpuStats::default(),
        }
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
    cpu: u32,
    model: Model,
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
        let Some(object) = self.model.own[class.index()].pop() else { return };
        self.source.given_up(class, object);
        // SAFETY: as above; the object is this thread's.
        if unsafe { self.cache.push(class, object) } {
            self.model.stacks[class.index()].push(number(object));
        } else {
            self.source.kept(class, object);
            self.model.own[class.index()].push(object);
        }
    }

    fn pop_batch(&mut self, class: SizeClass, count: usize) {
        let mut objects = vec![core::ptr::null_mut(); count];
        // SAFETY: as above.
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
        let own = &mut self.model.own[class.index()];
        let objects = own.split_off(own.len() - count.min(own.len()));
        objects.iter().for_each(|&object| self.source.given_up(class, object));
        // SAFETY: as above; the objects are this thread's.
        let given = unsafe { self.cache.push_batch(class, &objects) };
        for &object in &objects[given..] {
            self.source.kept(class, object);
            self.model.own[class.index()].push(object);
        }
        self.model.stacks[class.index()].extend(objects[..given].iter().map(|&o| number(o)));
    }

    fn refill(&mut self, class: SizeClass) {
        // SAFETY: as above.
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
        self.model.stacks[class.index()].extend(kept);
    }

    fn overflow(&mut self, class: SizeClass) {
        let Some(object) = self.model.own[class.index()].pop() else { return };
        self.source.given_up(class, object);
        // SAFETY: as above; the object is this thread's.
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
        let held = self.held_bytes();
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
        self.model.expected.drains += 1;
    }

    /// The region gets longer, and every object stays; or shorter, and the lowest ones for which there is no slot go.
    fn resize(&mut self, longer: bool) {
        let before = self.cache.region_bytes(self.cpu);
        let resized = if longer {
            self.cache.lengthen(self.cpu)
        } else {
            self.cache.shorten(self.source, &SystemPages::new(), self.cpu)
        };
        let after = self.cache.region_bytes(self.cpu);
        match (resized.expect("a fence, and nobody else"), longer) {
            (true, true) => assert_eq!(after, 2 * before),
            (true, false) => assert_eq!(2 * after, before),
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
        self.model.own[class.index()].push(object);
    }

    fn held_bytes(&self) -> u64 {
        let bytes = |class: SizeClass| self.model.stacks[class.index()].len() * TABLE.size(class);
        TABLE.classes().map(bytes).sum::<usize>() as u64
    }

    /// The cache's own figures are the model's.
    fn check(&self) {
        let stats = self.cache.cpu_stats(self.cpu);
        let expected = &self.model.expected;
        assert_eq!(stats.held_bytes, self.held_bytes());
        assert_eq!(stats.capacity_bytes + stats.available_bytes, stats.granted_bytes, "{stats:?}");
        assert!(stats.granted_bytes <= stats.limit_bytes, "{stats:?}");
        assert_eq!(stats.limit_bytes, self.cache.limit_bytes(), "no limit moved");
        assert!(stats.held_bytes <= stats.capacity_bytes, "{stats:?}");
        assert!(stats.populated);
        assert_eq!(
            (stats.underflows, stats.overflows, stats.drains),
            (expected.underflows, expected.overflows, expected.drains)
        );
        assert_eq!(
            (stats.refilled_objects, stats.flushed_objects),
            (expected.refilled_objects, expected.flushed_objects)
        );
        for class in TABLE.classes() {
            let (stack, own) = (&self.model.stacks[class.index()], &self.model.own[class.index()]);
            assert_eq!(self.cache.objects(self.cpu, class), stack.len() as u64, "{class:?}");
            assert_eq!(
                self.cache.pops(self.cpu, class),
                self.model.pops[class.index()],
                "{class:?}"
            );
            assert_eq!(self.source.out(class), stack.len() + own.len(), "{class:?}");
        }
    }

    fn step(&mut self, random: &mut Random, classes: &[SizeClass]) {
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

/// Walks at random over `classes` with such a limit; at the end all objects are back.
fn walk(limit_bytes: usize, classes: &[SizeClass]) {
    let Some(cache) = ground::cache(IdKind::Cpu, limit_bytes) else { return };
    let steps = std::env::var("STRATA_MODEL_STEPS").ok().and_then(|steps| steps.parse().ok());
    let mut random = Random::new(ground::seed());
    let source = CountedSource::new(3000).with_log();
    let cpu = ground::pin();
    let mut walk = Walk { cache: &cache, source: &source, cpu, model: Model::new() };
    // SAFETY: the cache is set up, glibc registered this thread.
    assert_eq!(unsafe { cache.current_id() }, cpu);
    walk.refill(classes[0]);
    walk.check();
    for _ in 0..steps.unwrap_or(20_000) {
        walk.step(&mut random, classes);
        walk.check();
    }
    for &class in classes {
        while !walk.model.own[class.index()].is_empty() {
            walk.overflow(class);
        }
    }
    walk.drain();
    walk.check();
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
