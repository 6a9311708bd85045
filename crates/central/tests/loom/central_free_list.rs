//! The central free list with two spans of a page, between threads that take and give.
//!
//! Spans, page map and free list are those of a program; the page heap is a shelf with two places.

use super::explore;
use loom::{
    sync::{Arc, Mutex},
    thread,
};
use strata_central::{BackEnd, CentralFreeList, CentralStats, ObjectMaps, OnlyBackEnd};
use strata_os::{AddressRange, MonotonicClock, PageSource, SystemPages};
use strata_page_heap::{MemoryLimits, PageHeap, PageHeapStats, ReleaseReason, SpanRequest};
use strata_size_classes::{Bounds, PageSize, SizeClass, SizeClassTable};
use strata_span::{Ground, PageCount, PageId, Platform, SpanHandle, SpanPlace};

/// Pages of 4 KiB whose spans are as short as they can be.
#[derive(Clone, Copy, Debug)]
struct Short;

static TABLE: SizeClassTable = SizeClassTable::proven(
    12,
    &Bounds { preferred_objects: 1, least_stagger_bytes: 0, ..Bounds::STANDARD },
);

impl PageSize for Short {
    const SHIFT: u32 = 12;
    const NAME: &'static str = "4k";
    const TABLE: &'static SizeClassTable = &TABLE;
}

/// The page of the first span; the other one's is behind it.
const FIRST_PAGE: usize = 4;

type World = Ground<Short, SystemPages, SystemPages, MonotonicClock>;

/// A page heap that has two spans of one page; the span that came last goes first.
struct Shelf {
    state: Mutex<ShelfState>,
}

struct ShelfState {
    free: Vec<SpanHandle>,
    handed_out: u64,
    returned: u64,
}

// SAFETY: 1. The two spans are different pages, and each is on the shelf or out: `deallocate` checks.
// Nothing is behind the pages, and nobody here touches objects. 2. The only wish is for one page. 3. and
// 4. It touches a span when it gives it and when it has it.
unsafe impl PageHeap<Short> for Shelf {
    type Figures = ();

    fn allocate<E: Platform<Pages = Short>>(
        &self,
        platform: &E,
        request: SpanRequest<Short>,
    ) -> Option<SpanHandle> {
        assert_eq!(request.pages, PageCount::ONE);
        let mut state = self.state.lock().expect("no panic");
        let span = state.free.pop()?;
        state.handed_out += 1;
        span.set_place(SpanPlace::InUse);
        platform.map().set_ends(span);
        Some(span)
    }

    unsafe fn deallocate<E: Platform<Pages = Short>>(
        &self,
        platform: &E,
        span: SpanHandle,
    ) -> bool {
        let mut state = self.state.lock().expect("no panic");
        assert_eq!(span.place(), SpanPlace::InUse, "a span is returned once");
        let address = span.start::<Short>().value();
        assert_eq!(platform.map().span_at(address), Some(span));
        assert_eq!(platform.map().class_at(address), SizeClass::NONE);
        assert_eq!((span.class(), span.objects_out()), (SizeClass::NONE, 0));
        span.set_place(SpanPlace::Free);
        state.free.push(span);
        state.returned += 1;
        true
    }

    fn release<E: Platform<Pages = Short>>(
        &self,
        _: &E,
        _: PageCount<Short>,
        _: ReleaseReason,
    ) -> PageCount<Short> {
        PageCount::ZERO
    }

    fn set_limits(&self, _: MemoryLimits) {
        unreachable!("nobody limits it");
    }

    fn stats(&self) -> PageHeapStats {
        PageHeapStats::default()
    }

    fn read_figures<E: Platform<Pages = Short>>(&self, _: &E, (): &mut ()) {}

    fn for_each_reservation(&self, _: impl FnMut(AddressRange)) {}

    fn acquire(&self) {
        unreachable!("nobody forks here");
    }

    unsafe fn release_lock(&self) {
        unreachable!("nobody forks here");
    }
}

/// A free list of one class, and what it stands on.
struct Model {
    list: CentralFreeList<Short>,
    class: SizeClass,
    world: World,
    shelf: Shelf,
    maps: ObjectMaps,
}

impl Model {
    /// Spans are a page of `objects` objects.
    fn new(objects: u32) -> Arc<Self> {
        let world = Ground::new(SystemPages::new(), SystemPages::new(), MonotonicClock);
        let span = |number: usize| {
            let first = PageId::new(FIRST_PAGE + number);
            assert!(world.map.ensure(&world.arena, &world.metadata, first, PageCount::ONE));
            let span = world.spans.allocate_span(&world.arena, &world.metadata).expect("memory");
            span.set_range(first, PageCount::<Short>::ONE);
            span.set_place(SpanPlace::Free);
            span
        };
        let free = vec![span(1), span(0)];
        let state = Mutex::new(ShelfState { free, handed_out: 0, returned: 0 });
        let of_a_page = |class: &SizeClass| {
            let info = TABLE.info(*class);
            (info.objects, info.pages) == (objects, 1)
        };
        let class = TABLE.classes().find(of_a_page).expect("a class of so many objects");
        let (list, maps) = (CentralFreeList::new(), ObjectMaps::new());
        Arc::new(Self { list, class, world, shelf: Shelf { state }, maps })
    }

    fn back_end(&self) -> BackEnd<'_, World, Shelf> {
        let Self { world, shelf, maps, .. } = self;
        BackEnd { platform: world, page_heap: shelf, object_maps: maps, number: 0 }
    }

    fn take<const N: usize>(&self) -> [usize; N] {
        let mut objects = [core::ptr::null_mut(); N];
        assert_eq!(self.list.take(self.back_end(), self.class, &mut objects), N);
        objects.map(|object| object.addr())
    }

    fn give<const N: usize>(&self, objects: [usize; N]) {
        let mut objects = objects.map(core::ptr::without_provenance_mut);
        // SAFETY: each was taken from this list, and is given once.
        unsafe { self.list.give(self.back_end(), &OnlyBackEnd, self.class, &mut objects) };
    }

    fn stats(&self) -> CentralStats {
        self.list.stats(self.class)
    }

    /// All objects are back: then all spans are.
    fn end(&self) {
        let stats = self.stats();
        assert_eq!((stats.objects_out, stats.free_objects, stats.spans_in_use), (0, 0, 0));
        assert_eq!(self.list.span_counts().occupancy.iter().sum::<usize>(), 0);
        let state = self.shelf.state.lock().expect("no panic");
        assert_eq!(
            (stats.spans_requested, stats.spans_returned),
            (state.handed_out, state.returned)
        );
        assert_eq!(state.free.len(), 2);
        self.world.arena.for_each_range(|range| {
            // SAFETY: spans and page map are in it, and are used no more.
            let _ = unsafe { self.world.metadata.unreserve(range) };
        });
    }
}

#[test]
fn span_is_returned_while_another_thread_takes() {
    explore(5, || {
        let model = Model::new(2);
        let [object] = model.take();
        let other = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.give([object]))
        };
        let [mine] = model.take();
        other.join().expect("no panic");
        let stats = model.stats();
        assert_eq!((stats.objects_out, stats.spans_in_use), (1, 1));
        model.give([mine]);
        model.end();
    });
}

#[test]
fn span_is_returned_and_taken_again_while_another_thread_takes() {
    explore(5, || {
        let model = Model::new(2);
        let [object] = model.take();
        let other = {
            let model = Arc::clone(&model);
            thread::spawn(move || {
                model.give([object]);
                let [again] = model.take();
                again
            })
        };
        let [mine] = model.take();
        let theirs = other.join().expect("no panic");
        assert_ne!(mine, theirs, "an object is handed out once");
        assert_eq!(model.stats().objects_out, 2);
        model.give([mine, theirs]);
        model.end();
    });
}

#[test]
fn two_threads_return_the_last_two_objects_of_a_span() {
    explore(5, || {
        let model = Model::new(2);
        let [one, two] = model.take();
        assert_ne!(one, two);
        let other = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.give([one]))
        };
        model.give([two]);
        other.join().expect("no panic");
        assert_eq!(model.stats().spans_returned, 1);
        model.end();
    });
}

#[test]
fn span_is_returned_by_two_threads_while_a_third_takes() {
    explore(3, || {
        let model = Model::new(2);
        let others = model.take::<2>().map(|object| {
            let model = Arc::clone(&model);
            thread::spawn(move || model.give([object]))
        });
        let [mine] = model.take();
        others.into_iter().for_each(|other| other.join().expect("no panic"));
        let stats = model.stats();
        assert_eq!((stats.objects_out, stats.spans_in_use), (1, 1));
        model.give([mine]);
        model.end();
    });
}

#[test]
fn two_threads_take_from_one_span() {
    explore(5, || {
        let model = Model::new(4);
        let [first] = model.take();
        let other = {
            let model = Arc::clone(&model);
            thread::spawn(move || {
                let [object] = model.take();
                object
            })
        };
        let [mine] = model.take();
        let theirs = other.join().expect("no panic");
        assert!(mine != theirs && mine != first && theirs != first, "an object is handed out once");
        let stats = model.stats();
        assert_eq!((stats.objects_out, stats.free_objects, stats.spans_in_use), (3, 1, 1));
        model.give([first, mine, theirs]);
        model.end();
    });
}

#[test]
fn two_threads_ask_for_the_first_span() {
    explore(5, || {
        let model = Model::new(2);
        let other = {
            let model = Arc::clone(&model);
            thread::spawn(move || {
                let [object] = model.take();
                object
            })
        };
        let [mine] = model.take();
        let theirs = other.join().expect("no panic");
        assert_ne!(mine, theirs, "an object is handed out once");
        let stats = model.stats();
        assert_eq!(stats.objects_out, 2);
        assert_eq!(stats.free_objects, 2 * stats.spans_in_use - 2);
        model.give([mine, theirs]);
        model.end();
    });
}
