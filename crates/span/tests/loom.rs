//! Interleavings of what readers of the page map and of the range log see, explored by loom.
//!
//! `RUSTFLAGS="--cfg strata_loom" cargo test -p strata-span --test loom --release`
//!
//! What is published is a `loom::cell::UnsafeCell`, so that loom itself finds a reader that looks
//! before the writer is done. The page map is the one of programs, with leaves of four pages.

#![cfg(strata_loom)]

use core::ptr::NonNull;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use strata_os::{PageSource, SystemPages};
use strata_size_classes::{PageSize, Pages4K, SizeClass};
use strata_span::{
    MetadataArena, MetadataKind, PageCount, PageId, PageMap, PublishOnce, RangeLog, SpanHandle,
    SpanPool,
};

/// Stands for a leaf: written before it is published, read by whoever finds it.
type Leaf = UnsafeCell<u32>;

/// A leaf that is never given back, as leaves are not.
fn leaf(value: u32) -> NonNull<Leaf> {
    NonNull::from(Box::leak(Box::new(UnsafeCell::new(value))))
}

fn read(leaf: NonNull<Leaf>) -> u32 {
    // SAFETY: leaves are leaked, so the reference stays valid.
    let leaf = unsafe { leaf.as_ref() };
    // SAFETY: `with` gives a pointer to the cell's value; loom fails the model if it may be
    // written.
    leaf.with(|value| unsafe { *value })
}

fn write(leaf: NonNull<Leaf>, new: u32) {
    // SAFETY: leaves are leaked, so the reference stays valid.
    let leaf = unsafe { leaf.as_ref() };
    // SAFETY: `with_mut` gives a pointer to the cell's value; loom fails the model if it may be
    // read.
    leaf.with_mut(|value| unsafe { *value = new });
}

#[test]
fn look_up_while_the_leaf_is_published() {
    loom::model(|| {
        let place = Arc::new(PublishOnce::<Leaf>::new());
        let writer = {
            let place = Arc::clone(&place);
            thread::spawn(move || {
                let leaf = leaf(0);
                write(leaf, 7);
                place.publish(leaf);
            })
        };
        if let Some(leaf) = place.get() {
            assert_eq!(read(leaf), 7, "a leaf that is found is whole");
        }
        writer.join().unwrap();
        assert_eq!(place.get().map(read), Some(7));
    });
}

#[test]
fn two_threads_publish_a_leaf_and_both_use_the_same() {
    loom::model(|| {
        let place = Arc::new(PublishOnce::<Leaf>::new());
        let other = {
            let place = Arc::clone(&place);
            thread::spawn(move || {
                let mine = leaf(0);
                write(mine, 1);
                let standing = place.publish(mine);
                (standing.as_ptr() as usize, read(standing))
            })
        };
        let mine = leaf(0);
        write(mine, 2);
        let standing = place.publish(mine);
        let value = read(standing);
        assert_eq!(other.join().unwrap(), (standing.as_ptr() as usize, value));
        assert_eq!(place.get(), Some(standing));
    });
}

#[test]
fn a_third_thread_looks_up_while_two_publish() {
    loom::model(|| {
        let place = Arc::new(PublishOnce::<Leaf>::new());
        let publisher = |value| {
            let place = Arc::clone(&place);
            thread::spawn(move || {
                let mine = leaf(0);
                write(mine, value);
                place.publish(mine);
            })
        };
        let publishers = [publisher(1), publisher(2)];
        let first = place.get().map(|leaf| (leaf, read(leaf)));
        let second = place.get().map(|leaf| (leaf, read(leaf)));
        if first.is_some() {
            assert_eq!(first, second, "what was found once stays");
        }
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
        assert!(place.get().is_some());
    });
}

/// The arena's mappings go back at the end of each execution: loom runs thousands.
fn give_back(arena: &MetadataArena) {
    let source = SystemPages::new();
    arena.for_each_range(|range| {
        // SAFETY: the execution is over, and all that it had in the arena with it.
        unsafe { source.unreserve(range) }.expect("a mapping of this arena");
    });
}

#[test]
fn pieces_taken_while_another_thread_takes_do_not_overlap() {
    loom::model(|| {
        let arena = Arc::new(MetadataArena::new());
        let take = |arena: &MetadataArena| {
            let piece = arena.allocate(&SystemPages::new(), 64, 8, MetadataKind::Other).unwrap();
            piece.as_ptr() as usize
        };
        let other = {
            let arena = Arc::clone(&arena);
            thread::spawn(move || take(&arena))
        };
        let mine = take(&arena);
        let theirs = other.join().unwrap();
        assert!(mine.abs_diff(theirs) >= 64);
        assert_eq!(arena.stats().blocks, 1);
        give_back(&arena);
    });
}

#[test]
fn ranges_are_noted_while_another_thread_notes_and_a_third_reads() {
    loom::model(|| {
        let shared = Arc::new((MetadataArena::new(), RangeLog::new()));
        let note = |start: usize| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (arena, log) = &*shared;
                let range = strata_os::AddressRange::new(start, 1);
                assert!(log.push(arena, &SystemPages::new(), range));
            })
        };
        let notes = [note(1), note(2)];
        let (arena, log) = &*shared;
        let mut seen = 0;
        log.for_each(|range| {
            assert_eq!(range.bytes, 1, "a note that is found is whole");
            seen += range.start;
        });
        assert!(seen <= 3);
        notes.into_iter().for_each(|note| note.join().unwrap());
        let mut all = 0;
        log.for_each(|range| all += range.start);
        assert_eq!(all, 3, "no note is lost");
        give_back(arena);
    });
}

/// A page map with what it needs.
struct Mapping {
    arena: MetadataArena,
    map: PageMap<Pages4K>,
    spans: SpanPool,
}

impl Mapping {
    fn new() -> Arc<Self> {
        Arc::new(Self { arena: MetadataArena::new(), map: PageMap::new(), spans: SpanPool::new() })
    }

    /// Enters a new span of one page.
    fn enter(&self, page: usize) -> SpanHandle {
        let (source, first) = (SystemPages::new(), PageId::<Pages4K>::new(page));
        assert!(self.map.ensure(&self.arena, &source, first, PageCount::ONE));
        // Not before the leaf stands, whose publication would carry the span along.
        let span = self.spans.allocate_span(&self.arena, &source).expect("memory");
        span.set_range(first, PageCount::<Pages4K>::ONE);
        self.map.set_range(span, class());
        span
    }
}

fn class() -> SizeClass {
    Pages4K::TABLE.entry(64).expect("a class").class()
}

/// Explores with at most `preemptions` switches away from a thread that could have gone on.
fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// Looks a page up while another thread enters it.
fn look_up_while_entered(mapping: &Arc<Mapping>) {
    let other = {
        let mapping = Arc::clone(mapping);
        thread::spawn(move || mapping.enter(5))
    };
    let address = 5 * Pages4K::BYTES + 17;
    if let Some(span) = mapping.map.span_at(address) {
        assert_eq!(span.first::<Pages4K>().number(), 5, "a span that is found is whole");
        assert_eq!(mapping.map.class_at(address), class());
    }
    let span = other.join().expect("no panic");
    assert_eq!(mapping.map.span_at(address), Some(span));
    assert_eq!(mapping.map.span_at(7 * Pages4K::BYTES), None);
    give_back(&mapping.arena);
}

#[test]
fn look_up_while_the_first_span_of_a_map_is_entered() {
    explore(6, || look_up_while_entered(&Mapping::new()));
}

#[test]
fn look_up_while_a_span_is_entered_in_a_leaf_that_stands() {
    explore(6, || {
        let mapping = Mapping::new();
        mapping.enter(6);
        look_up_while_entered(&mapping);
    });
}

#[test]
fn two_threads_enter_the_first_spans_of_a_leaf() {
    explore(3, || {
        let mapping = Mapping::new();
        let other = {
            let mapping = Arc::clone(&mapping);
            thread::spawn(move || mapping.enter(5))
        };
        let mine = mapping.enter(6);
        let theirs = other.join().unwrap();
        assert_eq!(mapping.map.span_at(5 * Pages4K::BYTES), Some(theirs));
        assert_eq!(mapping.map.span_at(6 * Pages4K::BYTES), Some(mine));
        assert_eq!(mapping.map.stats().leaves, 1);
        give_back(&mapping.arena);
    });
}
