//! A source whose objects are numbers, each with a state of its own.

use core::{
    array,
    sync::atomic::{AtomicU8, AtomicUsize, Ordering},
};
use strata_size_classes::{CLASS_SLOTS, ObjectSource, SizeClass};
use strata_sync::Mutex;

const IN_SOURCE: u8 = 0;
const IN_CACHE: u8 = 1;
const WITH_THREAD: u8 = 2;

/// What a cache did with its source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// It took these, in this order.
    Took(SizeClass, Vec<usize>),
    /// It gave these, in this order.
    Gave(SizeClass, Vec<usize>),
}

/// Hands out addresses where nothing stands, and knows of each where it is: here, with the cache, or with a
/// thread. Who finds an object elsewhere than it should be panics.
pub(crate) struct CountedSource {
    per_class: usize,
    /// One byte an object: where it is.
    places: Vec<AtomicU8>,
    free: [Mutex<Vec<usize>>; CLASS_SLOTS],
    /// Most objects that one take gives, whatever was asked.
    most: AtomicUsize,
    log: Option<Mutex<Vec<Event>>>,
}

impl CountedSource {
    /// A source of `per_class` objects of every class.
    pub(crate) fn new(per_class: usize) -> Self {
        Self {
            per_class,
            places: (0..per_class * CLASS_SLOTS).map(|_| AtomicU8::new(IN_SOURCE)).collect(),
            // The lowest numbers go first.
            free: array::from_fn(|class| {
                Mutex::new((class * per_class..(class + 1) * per_class).rev().collect())
            }),
            most: AtomicUsize::new(usize::MAX),
            log: None,
        }
    }

    /// The same, with a log of what is taken and given.
    pub(crate) fn with_log(mut self) -> Self {
        self.log = Some(Mutex::new(Vec::new()));
        self
    }

    /// Gives at most `most` objects a time from now on.
    pub(crate) fn give_at_most(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// What happened since this was asked last.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.log.as_ref().map_or(Vec::new(), |log| core::mem::take(&mut *log.lock()))
    }

    /// Notes that a thread has the object that a cache handed it.
    pub(crate) fn received(&self, class: SizeClass, object: *mut u8) {
        self.moves(class, object, IN_CACHE, WITH_THREAD);
    }

    /// Notes that a thread gives the object up, before it does.
    pub(crate) fn given_up(&self, class: SizeClass, object: *mut u8) {
        self.moves(class, object, WITH_THREAD, IN_CACHE);
    }

    /// Notes that the cache did not take the object.
    pub(crate) fn kept(&self, class: SizeClass, object: *mut u8) {
        self.moves(class, object, IN_CACHE, WITH_THREAD);
    }

    /// Objects of `class` that are not here.
    pub(crate) fn out(&self, class: SizeClass) -> usize {
        self.per_class - self.free[class.index()].lock().len()
    }

    /// Panics unless every object is here, once.
    pub(crate) fn assert_whole(&self) {
        let astray = |place: &AtomicU8| place.load(Ordering::Relaxed) != IN_SOURCE;
        assert_eq!(self.places.iter().position(astray), None, "an object that never came back");
        for class in 0..CLASS_SLOTS {
            let mut objects = self.free[class].lock().clone();
            objects.sort_unstable();
            assert!(objects.into_iter().eq(class * self.per_class..(class + 1) * self.per_class));
        }
    }

    fn moves(&self, class: SizeClass, object: *mut u8, from: u8, to: u8) {
        let number = number(object);
        assert_eq!(number / self.per_class, class.index(), "object {number} of another class");
        let found = self.places[number].swap(to, Ordering::Relaxed);
        assert_eq!(found, from, "object {number} of {class:?}, on its way to {to}");
    }

    fn note(&self, event: impl FnOnce() -> Event) {
        if let Some(log) = &self.log {
            log.lock().push(event());
        }
    }
}

// SAFETY: 1. the count is of the slots written, within the slice. 2. each number is out once; nobody
// looks behind the addresses, neither the cache nor the tests. 3. it knows of no cache; it unwinds where a test
// has failed already.
unsafe impl ObjectSource for CountedSource {
    fn take(&self, class: SizeClass, out: &mut [*mut u8]) -> usize {
        let mut free = self.free[class.index()].lock();
        let taken = out.len().min(free.len()).min(self.most.load(Ordering::Relaxed));
        let rest = free.len() - taken;
        let objects: Vec<_> = free.drain(rest..).rev().collect();
        drop(free);
        for (slot, &number) in out.iter_mut().zip(&objects) {
            *slot = address(number);
            self.moves(class, *slot, IN_SOURCE, IN_CACHE);
        }
        self.note(|| Event::Took(class, objects));
        taken
    }

    unsafe fn give(&self, class: SizeClass, objects: &mut [*mut u8]) {
        for &mut object in &mut *objects {
            self.moves(class, object, IN_CACHE, IN_SOURCE);
        }
        let objects: Vec<_> = objects.iter().map(|&object| number(object)).collect();
        self.free[class.index()].lock().extend(objects.iter().rev());
        self.note(|| Event::Gave(class, objects));
    }
}

/// The number of an object.
pub(crate) fn number(object: *mut u8) -> usize {
    object.addr() / 16 - 1
}

fn address(number: usize) -> *mut u8 {
    core::ptr::without_provenance_mut((number + 1) * 16)
}
