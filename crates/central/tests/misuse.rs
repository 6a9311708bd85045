//! What stops a program, and the line that it leaves.

#![cfg(not(strata_loom))]

use core::sync::atomic::{AtomicUsize, Ordering};
use strata_central::{MiddleTier, TransferPolicy};
use strata_os::{ManualClock, OnMisuse, SystemPages, misuses_reported, set_on_misuse, thread_id};
use strata_page_heap::{LegacyPageHeap, PageHeap};
use strata_size_classes::{ObjectSource, PageSize, Pages8K, SizeClass};
use strata_span::{Ground, MetadataArena, PageMap, Platform, SpanPool};

/// No transfer caches, so that each call is a flush.
struct NoTransfer;

impl TransferPolicy for NoTransfer {
    const MAX_BATCHES: usize = 0;
    const INITIAL_BATCHES: usize = 0;
}

struct Parts {
    class: SizeClass,
    objects: [*mut u8; 8],
    /// The span of the first object.
    span: usize,
    give: &'static dyn Fn(SizeClass, *mut u8),
    give_all: &'static dyn Fn(SizeClass, &mut [*mut u8]),
}

/// Objects come and come back with `word` in front, if there is one.
fn parts(word: Option<u64>) -> Parts {
    let ground: &'static _ = Box::leak(Box::new(Ground::<Pages8K, _, _, _>::new(
        SystemPages::new(),
        SystemPages::new(),
        ManualClock::new(0),
    )));
    let pages: &'static LegacyPageHeap<Pages8K> = Box::leak(Box::new(LegacyPageHeap::EMPTY));
    let tier: &'static MiddleTier<Pages8K, NoTransfer> = Box::leak(Box::new(MiddleTier::new()));
    if let Some(word) = word {
        tier.object_maps().begin_objects_with(word, 48);
    }
    let class = Pages8K::TABLE.entry(48).expect("a class").class();
    let mut objects = [core::ptr::null_mut(); 8];
    let source = tier.with(ground, pages);
    assert_eq!(source.take(class, &mut objects), 8);
    let span = ground.map.span_at(objects[0].addr()).expect("a span").start::<Pages8K>().value();
    // SAFETY: it is what the tests are about that some of these were not taken.
    let give_all: &'static dyn Fn(SizeClass, &mut [*mut u8]) =
        Box::leak(Box::new(move |class, objects: &mut [*mut u8]| unsafe {
            source.give(class, objects)
        }));
    let give = move |class, object| give_all(class, &mut [object]);
    Parts { class, objects, span, give: Box::leak(Box::new(give)), give_all }
}

/// Runs the test `name` again in a process of its own, where `misuse` says which line is to come and
/// then provokes it.
fn ends_with_its_line(name: &str, misuse: impl FnOnce(Parts, &dyn Fn(String))) {
    ends_with_its_line_where_objects_begin_with(None, name, misuse);
}

fn ends_with_its_line_where_objects_begin_with(
    word: Option<u64>,
    name: &str,
    misuse: impl FnOnce(Parts, &dyn Fn(String)),
) {
    strata_os::ends_with_its_line(name, |expect| misuse(parts(word), expect));
}

#[test]
fn a_double_free_is_seen_at_the_flush() {
    ends_with_its_line("a_double_free_is_seen_at_the_flush", |parts, expect| {
        let Parts { class, objects, span, give, .. } = parts;
        let (object, index) = (objects[3].addr(), class.index());
        expect(format!(
            "double free: flush of a cache({object:#x}), class {index} of 48 bytes, span {span:#x} of 1 pages, \
             thread {}; last: freed",
            thread_id()
        ));
        give(class, objects[3]);
        give(class, objects[3]);
    });
}

#[test]
fn an_object_that_comes_twice_in_one_flush_is_seen() {
    ends_with_its_line("an_object_that_comes_twice_in_one_flush_is_seen", |parts, expect| {
        let Parts { class, objects: [a, b, c, d, ..], span, give_all, .. } = parts;
        let index = class.index();
        expect(format!(
            "double free: flush of a cache({:#x}), class {index} of 48 bytes, span {span:#x} of 1 pages, \
             thread {}; last: freed",
            b.addr(),
            thread_id()
        ));
        give_all(class, &mut [a, b, c, b, d]);
    });
}

#[test]
fn a_free_object_among_others_of_its_word_is_seen() {
    ends_with_its_line("a_free_object_among_others_of_its_word_is_seen", |parts, expect| {
        let Parts { class, objects: [a, b, c, d, ..], span, give, give_all } = parts;
        let index = class.index();
        give(class, c);
        expect(format!(
            "double free: flush of a cache({:#x}), class {index} of 48 bytes, span {span:#x} of 1 pages, \
             thread {}; last: freed",
            c.addr(),
            thread_id()
        ));
        give_all(class, &mut [a, b, c, d]);
    });
}

#[test]
fn a_pointer_into_an_object_among_others_is_seen() {
    ends_with_its_line("a_pointer_into_an_object_among_others_is_seen", |parts, expect| {
        let Parts { class, objects: [a, b, c, d, ..], span, give_all, .. } = parts;
        let (object, index) = (c.wrapping_add(16), class.index());
        expect(format!(
            "pointer into a block: flush of a cache({:#x}), class {index} of 48 bytes, span {span:#x} of 1 pages, \
             thread {}; last: freed with 48 bytes",
            object.addr(),
            thread_id()
        ));
        give_all(class, &mut [a, b, object, d]);
    });
}

#[test]
fn an_object_that_lost_the_word_of_free_ones_is_somebodys() {
    let name = "an_object_that_lost_the_word_of_free_ones_is_somebodys";
    ends_with_its_line_where_objects_begin_with(Some(77), name, |parts, expect| {
        let Parts { class, objects, span, give, .. } = parts;
        let (object, index) = (objects[3].addr(), class.index());
        give(class, objects[2]);
        // SAFETY: the object is ours, 48 bytes long and aligned to 8.
        unsafe { objects[3].cast::<u64>().write(0) };
        expect(format!(
            "block freed twice, or written after free: flush of a cache({object:#x}), class {index} of 48 bytes, \
             span {span:#x} of 1 pages, thread {}; last: freed into a cache",
            thread_id()
        ));
        give(class, objects[3]);
    });
}

#[test]
fn an_object_that_somebody_has_is_seen_among_its_neighbours() {
    let name = "an_object_that_somebody_has_is_seen_among_its_neighbours";
    ends_with_its_line_where_objects_begin_with(Some(77), name, |parts, expect| {
        let Parts { class, objects: [a, b, c, d, ..], span, give_all, .. } = parts;
        // SAFETY: the object is ours, 48 bytes long and aligned to 8.
        unsafe { c.cast::<u64>().write(0) };
        expect(format!(
            "block freed twice, or written after free: flush of a cache({:#x}), class {} of 48 bytes, \
             span {span:#x} of 1 pages, thread {}; last: freed into a cache",
            c.addr(),
            class.index(),
            thread_id()
        ));
        give_all(class, &mut [a, b, c, d]);
    });
}

#[test]
fn a_double_free_of_an_object_whose_span_is_free_is_seen() {
    ends_with_its_line("a_double_free_of_an_object_whose_span_is_free_is_seen", |parts, expect| {
        let Parts { class, objects, span, give, .. } = parts;
        let object = objects[0].addr();
        for object in objects {
            give(class, object);
        }
        expect(format!(
            "double free: flush of a cache({object:#x}), no block, free span {span:#x} of 1 pages, thread {}; \
             last: freed",
            thread_id()
        ));
        give(class, objects[0]);
    });
}

#[test]
fn a_pointer_into_an_object_was_never_handed_out() {
    ends_with_its_line("a_pointer_into_an_object_was_never_handed_out", |parts, expect| {
        let Parts { class, objects, span, give, .. } = parts;
        let (object, index) = (objects[2].wrapping_add(16), class.index());
        expect(format!(
            "pointer into a block: flush of a cache({:#x}), class {index} of 48 bytes, span {span:#x} of 1 pages, \
             thread {}; last: freed with 48 bytes",
            object.addr(),
            thread_id()
        ));
        give(class, object);
    });
}

#[test]
fn a_pointer_to_elsewhere_was_never_handed_out() {
    ends_with_its_line("a_pointer_to_elsewhere_was_never_handed_out", |parts, expect| {
        let Parts { class, give, .. } = parts;
        let mut elsewhere = [0_u8; 64];
        let object = elsewhere.as_mut_ptr();
        expect(format!(
            "pointer that was never handed out: flush of a cache({:#x}), in no span, thread {}; last: freed \
             with 48 bytes",
            object.addr(),
            thread_id()
        ));
        give(class, object);
    });
}

/// Where a span was that has gone, one that came twice may still be on its way.
#[test]
fn a_pointer_into_pages_that_no_span_has_is_one_into_free_memory() {
    let name = "a_pointer_into_pages_that_no_span_has_is_one_into_free_memory";
    ends_with_its_line(name, |parts, expect| {
        let Parts { class, objects, give, .. } = parts;
        // Of free pages the page map has the ends alone.
        let object = objects[0].map_addr(|address| address + 3 * Pages8K::BYTES);
        expect(format!(
            "pointer into free memory: flush of a cache({:#x}), in no span, thread {}; last: freed with 48 bytes",
            object.addr(),
            thread_id()
        ));
        give(class, object);
    });
}

#[test]
fn a_free_with_a_size_of_another_class_is_seen() {
    ends_with_its_line("a_free_with_a_size_of_another_class_is_seen", |parts, expect| {
        let Parts { class, objects, span, give, .. } = parts;
        let wrong = Pages8K::TABLE.entry(512).expect("a class").class();
        expect(format!(
            "wrong size: flush of a cache({:#x}), class {} of 48 bytes, span {span:#x} of 1 pages, thread {}; \
             last: freed with 512 bytes",
            objects[0].addr(),
            class.index(),
            thread_id()
        ));
        give(wrong, objects[0]);
    });
}

#[test]
fn a_span_of_an_unknown_back_end_ends_the_process() {
    ends_with_its_line("a_span_of_an_unknown_back_end_ends_the_process", |parts, expect| {
        let Parts { class, .. } = parts;
        let ground: Ground<Pages8K, _, _, _> =
            Ground::new(SystemPages::new(), SystemPages::new(), ManualClock::new(0));
        let pages = LegacyPageHeap::EMPTY;
        let (one, other) = (MiddleTier::new(), MiddleTier::<Pages8K, NoTransfer>::new());
        let mut object = [core::ptr::null_mut()];
        let nine: MiddleTier<Pages8K> = one;
        let only = strata_central::OnlyBackEnd;
        assert_eq!(nine.with_others(&ground, &pages, 9, only).take(class, &mut object), 1);
        expect(format!(
            "free of {:#x} to a heap without the back end 9 of its span",
            object[0].addr()
        ));
        // SAFETY: that it was not taken from here is what the test is about.
        unsafe { other.with(&ground, &pages).give(class, &mut object) };
    });
}

/// A platform that counts what is left alone.
struct Counting {
    ground: Ground<Pages8K, SystemPages, SystemPages, ManualClock>,
    left_alone: AtomicUsize,
}

impl Platform for Counting {
    type Pages = Pages8K;
    type Source = SystemPages;
    type Metadata = SystemPages;
    type Clock = ManualClock;

    fn source(&self) -> &SystemPages {
        &self.ground.source
    }
    fn metadata(&self) -> &SystemPages {
        &self.ground.metadata
    }
    fn clock(&self) -> &ManualClock {
        &self.ground.clock
    }
    fn arena(&self) -> &MetadataArena {
        &self.ground.arena
    }
    fn map(&self) -> &PageMap<Pages8K> {
        &self.ground.map
    }
    fn spans(&self) -> &SpanPool {
        &self.ground.spans
    }
    fn note_left_alone(&self, bytes: usize) {
        self.left_alone.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Where misuses are survived: what comes back twice is counted once, and the rest is left alone, as bytes.
#[test]
fn what_was_no_object_any_more_is_left_alone_and_counted() {
    const NAME: &str = "what_was_no_object_any_more_is_left_alone_and_counted";
    const WORD: u64 = 77;
    let run = || {
        set_on_misuse(OnMisuse::Report);
        let ground = Ground::new(SystemPages::new(), SystemPages::new(), ManualClock::new(0));
        let platform = Counting { ground, left_alone: AtomicUsize::new(0) };
        let pages = LegacyPageHeap::EMPTY;
        let tier = MiddleTier::<Pages8K, NoTransfer>::new();
        let source = tier.with(&platform, &pages);
        let class = Pages8K::TABLE.entry(48).expect("a class").class();
        let counts = || {
            let out = tier.class_stats(class).central.objects_out;
            (out, misuses_reported(), platform.left_alone.load(Ordering::Relaxed))
        };
        let mut objects = [core::ptr::null_mut(); 8];
        assert_eq!(source.take(class, &mut objects), 8);
        let [a, b, c, d, ..] = objects;
        // SAFETY: it is what the test is about that some of these come twice.
        let give = |objects: &mut [*mut u8]| unsafe { source.give(class, objects) };
        give(&mut [a, b]);
        assert_eq!(counts(), (6, 0, 0));
        give(&mut [a, c, b]);
        assert_eq!(counts(), (5, 2, 2 * 48), "two of one word");
        give(&mut [d, d.wrapping_add(16)]);
        assert_eq!(counts(), (4, 3, 3 * 48), "no object");
        // The span goes with the last of its objects, and one of them stands behind that of another span.
        let mut more = vec![core::ptr::null_mut(); Pages8K::BYTES / 48];
        assert_eq!(source.take(class, &mut more), more.len());
        let page = |object: &*mut u8| object.addr() / Pages8K::BYTES;
        let (mut first, second): (Vec<_>, Vec<_>) =
            more.iter().chain(&objects[4..]).copied().partition(|object| page(object) == page(&a));
        assert!(first.len() > 64, "it takes more than one look: {}", first.len());
        let last = first.split_off(first.len() - 2);
        give(&mut first);
        give(&mut [last[0], last[1], second[0], last[0]]);
        assert_eq!(counts(), (second.len() as u64 - 1, 4, 4 * 48));
        // One that lost the word of free objects is somebody's.
        let marked = MiddleTier::<Pages8K, NoTransfer>::new();
        marked.object_maps().begin_objects_with(WORD, 48);
        let source = marked.with(&platform, &pages);
        let mut object = [core::ptr::null_mut()];
        assert_eq!(source.take(class, &mut object), 1);
        // SAFETY: the object is ours, 48 bytes long and aligned to 8.
        unsafe { object[0].cast::<u64>().write(WORD + 1) };
        // SAFETY: the object came from there.
        unsafe { source.give(class, &mut object) };
        assert_eq!(platform.left_alone.load(Ordering::Relaxed), 5 * 48);
        assert_eq!(marked.class_stats(class).central.objects_out, 1);
    };
    if let Some(output) = strata_os::in_own_process(NAME, run) {
        assert!(output.status.success(), "{output:?}");
    }
}
