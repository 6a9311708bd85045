//! What the traced child does: one kind of operation, over and over, each from the same beginning.

use crate::{
    ground,
    source::{CountedSource, number},
    tracer,
};
use strata_cpu_cache::{CpuCache, CpuWords, Pushed};
use strata_size_classes::{ObjectSource, SizeClass};

/// What is done, and to what.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scene {
    PopOfMany,
    PopOfNone,
    PushOntoMany,
    PushOntoFull,
    PopOrNothingOfMany,
    PopOrNothingOfNone,
    PushUnlessTopOntoMany,
    PushUnlessTopOntoFull,
    PushOfTheTop,
    PopBatchOfMany,
    PopBatchOfFew,
    PopBatchOfNone,
    PushBatchOntoMany,
    PushBatchOntoAlmostFull,
    PushBatchOntoFull,
    /// Capacity grows, by the section that changes a header.
    Refill,
}

impl Scene {
    pub(crate) const ALL: [Self; 16] = [
        Self::PopOfMany,
        Self::PopOfNone,
        Self::PushOntoMany,
        Self::PushOntoFull,
        Self::PopOrNothingOfMany,
        Self::PopOrNothingOfNone,
        Self::PushUnlessTopOntoMany,
        Self::PushUnlessTopOntoFull,
        Self::PushOfTheTop,
        Self::PopBatchOfMany,
        Self::PopBatchOfFew,
        Self::PopBatchOfNone,
        Self::PushBatchOntoMany,
        Self::PushBatchOntoAlmostFull,
        Self::PushBatchOntoFull,
        Self::Refill,
    ];
}

/// Objects that a batch moves.
const BATCH: usize = 5;

/// Capacity of the class, in objects.
const CAPACITY: usize = 12;

struct Stage<'a> {
    cache: &'a CpuCache,
    source: CountedSource,
    cpu: u32,
    class: SizeClass,
    /// The objects of the class, as they should stand.
    stack: Vec<*mut u8>,
    /// What this thread has.
    own: Vec<*mut u8>,
}

/// Plays `scene` so many times, with a stop before each, and ends the process if anything is not as it should be.
pub(crate) fn play(cache: &CpuCache, scene: Scene, times: usize) {
    let cpu = ground::pin();
    let mut stage = Stage {
        cache,
        source: CountedSource::new(500),
        cpu,
        class: ground::class(512),
        stack: Vec::new(),
        own: Vec::new(),
    };
    stage.give_capacity();
    for _ in 0..times {
        stage.prepare(scene);
        stage.act(scene);
        stage.check();
    }
}

impl Stage<'_> {
    /// Has the class get its capacity, of which it keeps none but what is wanted: others come from a hoard.
    fn give_capacity(&mut self) {
        while self.cache.capacity(self.cpu, self.class) < CAPACITY as u64 {
            // SAFETY: the cache is set up, and the area came along with the fork.
            let object = unsafe { self.cache.refill(&self.source, self.class) };
            self.source.received(self.class, object);
            self.own.push(object);
        }
        self.empty();
        while self.own.len() < 3 * CAPACITY {
            let object = self.take_from_source();
            self.own.push(object);
        }
    }

    fn take_from_source(&self) -> *mut u8 {
        let mut object = [core::ptr::null_mut()];
        assert_eq!(self.source.take(self.class, &mut object), 1);
        self.source.received(self.class, object[0]);
        object[0]
    }

    fn capacity(&self) -> usize {
        usize::try_from(self.cache.capacity(self.cpu, self.class)).expect("a count")
    }

    /// Takes all that stands there.
    fn empty(&mut self) {
        loop {
            let object = self.take();
            if object.is_null() {
                break;
            }
            self.source.received(self.class, object);
            self.own.push(object);
        }
        self.stack.clear();
    }

    /// Has as many objects stand there as the scene wants.
    fn prepare(&mut self, scene: Scene) {
        let wanted = match scene {
            Scene::PopOfNone
            | Scene::PopOrNothingOfNone
            | Scene::PopBatchOfNone
            | Scene::Refill => 0,
            Scene::PopBatchOfFew => BATCH - 2,
            Scene::PopOfMany
            | Scene::PushOntoMany
            | Scene::PopOrNothingOfMany
            | Scene::PushUnlessTopOntoMany
            | Scene::PushOfTheTop
            | Scene::PopBatchOfMany
            | Scene::PushBatchOntoMany => BATCH + 1,
            Scene::PushBatchOntoAlmostFull => self.capacity() - 2,
            Scene::PushOntoFull | Scene::PushUnlessTopOntoFull | Scene::PushBatchOntoFull => {
                self.capacity()
            }
        };
        self.empty();
        while self.stack.len() < wanted {
            let object = self.own.pop().expect("the hoard is larger than the capacity");
            self.source.given_up(self.class, object);
            assert!(self.put(object));
            self.stack.push(object);
        }
        if let Scene::Refill = scene {
            // Without capacity, so that it has to grow.
            self.cache.drain(&self.source, self.cpu).expect("a fence, and nobody else");
        }
    }

    /// Stops, and does what the scene is about; the result is as the model's.
    fn act(&mut self, scene: Scene) {
        match scene {
            Scene::PopOfMany | Scene::PopOfNone => self.pop(Self::take),
            Scene::PopOrNothingOfMany | Scene::PopOrNothingOfNone => {
                self.pop(Self::take_or_nothing);
            }
            Scene::PushOntoMany | Scene::PushOntoFull => self.push(Self::put),
            Scene::PushUnlessTopOntoMany | Scene::PushUnlessTopOntoFull => {
                self.push(|stage, object| stage.put_unless_top(object) == Pushed::Done);
            }
            Scene::PushOfTheTop => self.push_top(),
            Scene::PopBatchOfMany | Scene::PopBatchOfFew | Scene::PopBatchOfNone => {
                self.pop_batch();
            }
            Scene::PushBatchOntoMany
            | Scene::PushBatchOntoAlmostFull
            | Scene::PushBatchOntoFull => self.push_batch(),
            Scene::Refill => self.refill(),
        }
    }

    /// The one place of this program with the section of a pop in it.
    #[inline(never)]
    fn take(&self) -> *mut u8 {
        // SAFETY: the cache is set up, and the area came along with the fork.
        unsafe { self.cache.pop(self.class) }
    }

    /// The one place of this program with the section of a push in it, the slow paths apart.
    #[inline(never)]
    fn put(&self, object: *mut u8) -> bool {
        // SAFETY: the cache is set up, and the area came along with the fork; the object is this thread's.
        unsafe { self.cache.push(self.class, object) }
    }

    /// The same for the section that answers with a word where there is nothing.
    #[inline(never)]
    fn take_or_nothing(&self) -> *mut u8 {
        // SAFETY: the cache is set up, and the area came along with the fork.
        let object = unsafe { self.cache.words().pop_or_nothing(self.class) };
        if CpuWords::is_nothing(object) { core::ptr::null_mut() } else { object }
    }

    /// The same for the section that compares.
    #[inline(never)]
    fn put_unless_top(&self, object: *mut u8) -> Pushed {
        // SAFETY: the cache is set up, and the area came along with the fork; the object is this thread's, or the
        // one on top.
        unsafe { self.cache.words().push_unless_top(self.class, object) }
    }

    fn push_top(&mut self) {
        let top = *self.stack.last().expect("the scene wants some");
        tracer::stop();
        assert_eq!(self.put_unless_top(top), Pushed::Again, "it is there already");
    }

    fn pop(&mut self, take: impl FnOnce(&Self) -> *mut u8) {
        let pops = self.cache.pops(self.cpu, self.class);
        tracer::stop();
        let object = take(self);
        assert_eq!(object, self.stack.pop().unwrap_or(core::ptr::null_mut()));
        let popped = u32::from(!object.is_null());
        assert_eq!(self.cache.pops(self.cpu, self.class), pops + popped, "one pop is counted once");
        if !object.is_null() {
            self.source.received(self.class, object);
            self.own.push(object);
        }
    }

    fn push(&mut self, put: impl FnOnce(&Self, *mut u8) -> bool) {
        let object = self.own.pop().expect("the hoard is larger than the capacity");
        let has_room = self.stack.len() < self.capacity();
        self.source.given_up(self.class, object);
        tracer::stop();
        let pushed = put(self, object);
        assert_eq!(pushed, has_room);
        if pushed {
            self.stack.push(object);
        } else {
            self.source.kept(self.class, object);
            self.own.push(object);
        }
    }

    fn pop_batch(&mut self) {
        let pops = self.cache.pops(self.cpu, self.class);
        let mut objects = [core::ptr::null_mut(); BATCH];
        tracer::stop();
        // SAFETY: the cache is set up, and the area came along with the fork.
        let taken = unsafe { self.cache.pop_batch(self.class, &mut objects) };
        assert_eq!(taken, self.stack.len().min(BATCH));
        let counted = self.cache.pops(self.cpu, self.class).wrapping_sub(pops);
        assert_eq!(counted as usize, taken);
        for &object in &objects[..taken] {
            assert_eq!(Some(object), self.stack.pop());
            self.source.received(self.class, object);
            self.own.push(object);
        }
    }

    fn push_batch(&mut self) {
        let room = self.capacity() - self.stack.len();
        let objects = self.own.split_off(self.own.len() - BATCH);
        objects.iter().for_each(|&object| self.source.given_up(self.class, object));
        tracer::stop();
        // SAFETY: the cache is set up, and the area came along with the fork; the objects are this thread's.
        let given = unsafe { self.cache.push_batch(self.class, &objects) };
        assert_eq!(given, room.min(BATCH));
        // The front of a batch is on top.
        self.stack.extend(objects[..given].iter().rev());
        for &object in &objects[given..] {
            self.source.kept(self.class, object);
            self.own.push(object);
        }
    }

    fn refill(&mut self) {
        tracer::stop();
        // SAFETY: the cache is set up, and the area came along with the fork.
        let object = unsafe { self.cache.refill(&self.source, self.class) };
        assert!(!object.is_null());
        self.source.received(self.class, object);
        // What stands there now is the source's to say: all that it gave and did not get back.
        let out = self.source.out(self.class) - self.own.len() - 1;
        let held = self.cache.objects(self.cpu, self.class);
        assert_eq!(held, out as u64, "what came is here");
        self.source.given_up(self.class, object);
        // SAFETY: the object came from there.
        unsafe { self.source.give(self.class, &mut [object]) };
        self.empty_into_source();
    }

    fn empty_into_source(&mut self) {
        let hoard = self.own.len();
        self.empty();
        for object in self.own.split_off(hoard) {
            self.source.given_up(self.class, object);
            // SAFETY: the object came from there.
            unsafe { self.source.give(self.class, &mut [object]) };
        }
    }

    /// What stands there is what the model has, from the top to the marker, and capacity adds up.
    fn check(&mut self) {
        let stats = self.cache.cpu_stats(self.cpu);
        assert_eq!(stats.capacity_bytes + stats.available_bytes, stats.granted_bytes, "{stats:?}");
        assert_eq!(self.cache.objects(self.cpu, self.class), self.stack.len() as u64);
        while let Some(expected) = self.stack.pop() {
            let object = self.take();
            assert_eq!(number(object), number(expected));
            self.source.received(self.class, object);
            self.own.push(object);
        }
        assert!(self.take().is_null(), "nothing more");
    }
}
