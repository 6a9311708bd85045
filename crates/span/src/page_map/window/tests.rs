use super::{super::LEAF_PAGES, *};
use crate::{MetadataArena, PageCount, SpanHandle, SpanPlace, SpanPool};
use std::vec::Vec;
use strata_os::{FailingPages, Fault, PageSourceLayer, SystemPages};
use strata_size_classes::{Pages4K, Pages8K, Pages256K};

/// A map, its words, and a source for both.
struct Site<P: PageSize> {
    map: PageMap<P>,
    words: PageMapWindow<P>,
    arena: MetadataArena,
    source: SystemPages,
    spans: SpanPool,
}

impl<P: PageSize> Site<P> {
    fn new() -> Self {
        let (map, words, arena) = (PageMap::new(), PageMapWindow::new(), MetadataArena::new());
        let source = SystemPages::new();
        assert!(map.prepare(&arena, &source));
        words.copy_from(&map);
        Self { map, words, arena, source, spans: SpanPool::new() }
    }

    fn enter(&self, first: usize, pages: usize, class: SizeClass) -> SpanHandle {
        let first = PageId::<P>::new(first);
        let count = PageCount::new(pages);
        assert!(self.map.ensure(&self.arena, &self.source, first, count));
        let span = self.spans.allocate_span(&self.arena, &self.source).expect("memory");
        span.set_range(first, count);
        span.set_place(SpanPlace::InUse);
        self.map.set_range(span, class);
        span
    }
}

/// Spans come and go around both ends of the window and within it: it says what the map says where it shows a page, and
/// nothing elsewhere.
fn agrees_with_the_map<P: PageSize>(mut number: u64) {
    std::println!("seed {number}");
    let site = Site::<P>::new();
    let first = site.map.window.start.load(Ordering::Relaxed) >> P::SHIFT;
    let all = [first.max(40), first + WINDOW_PAGES / 2, first + SHOWN_PAGES];
    // The window may reach beyond what addresses there are.
    let is_there = |centre: &usize| {
        let (first, pages) = (PageId::new(centre - 30), PageCount::new(60));
        site.map.ensure(&site.arena, &site.source, first, pages)
    };
    let centres: Vec<usize> = all.into_iter().filter(is_there).collect();
    assert!(centres.len() >= 2, "{centres:x?}");
    let mut random = move |below: usize| {
        number =
            number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(number >> 33).unwrap_or(0) % below
    };
    let mut entered: Vec<SpanHandle> = Vec::new();
    for _ in 0..600 {
        let centre = centres[random(centres.len())];
        let (at, pages) = (centre - 20 + random(40), 1 + random(6));
        let met = |span: &SpanHandle| {
            let start = span.first::<P>().number();
            start < at + pages && at < start + span.pages()
        };
        if let Some(index) = entered.iter().position(met) {
            let span = entered.swap_remove(index);
            site.map.clear_range(span.first(), span.page_count());
        } else {
            let class = P::TABLE.entry(8 << random(8)).expect("a class").class();
            entered.push(site.enter(at, pages, class));
        }
        for page in centres.iter().flat_map(|centre| centre - 24..centre + 24) {
            let address = (page << P::SHIFT) + random(P::BYTES);
            let shown = (first..first + SHOWN_PAGES).contains(&page);
            let told = site.words.class_at(address);
            assert_eq!(told, shown.then(|| site.map.class_at(address)), "page {page:#x}");
        }
    }
}

#[test]
fn it_says_what_the_map_says_and_nothing_of_pages_outside() {
    agrees_with_the_map::<Pages4K>(11);
    agrees_with_the_map::<Pages8K>(12);
    agrees_with_the_map::<Pages256K>(13);
}

#[test]
fn new_words_show_nothing_at_any_address_of_a_machine() {
    let words = PageMapWindow::<Pages8K>::new();
    for address in (0..47).map(|bit| 1 << bit).chain([0, usize::MAX, 1 << 56, usize::MAX << 47]) {
        assert_eq!(words.class_at(address), None, "{address:#x}");
    }
    words.copy_from(&PageMap::new());
    assert_eq!(words.class_at(0), None, "a map without a root has no window");
}

#[test]
fn only_what_is_entered_is_touched() {
    let site = Site::<Pages8K>::new();
    let first = site.map.window.start.load(Ordering::Relaxed) >> Pages8K::SHIFT;
    let class = Pages8K::TABLE.entry(64).expect("a class").class();
    assert_eq!(site.map.window.touched_bytes(), 0);
    site.enter(first + 5000, 8, SizeClass::NONE);
    assert_eq!(site.map.window.touched_bytes(), 0, "no class is what stands there already");
    let span = site.enter(first + 5000, 8, class);
    assert_eq!(site.map.window.touched_bytes(), 4096);
    site.map.clear_range(span.first(), span.page_count());
    assert_eq!(site.map.window.touched_bytes(), 4096);
}

/// (Of short pages those that are entered at once are often of one granule, wherever the kernel puts the window.)
#[test]
fn a_row_over_two_granules_touches_both_also_if_the_first_was_written_before() {
    let site = Site::<Pages256K>::new();
    let first = site.map.window.start.load(Ordering::Relaxed) >> Pages256K::SHIFT;
    let class = Pages256K::TABLE.entry(64).expect("a class").class();
    site.enter(first + 8188, 2, class);
    assert_eq!(site.map.window.touched_bytes(), 4096);
    site.enter(first + 8190, 4, class);
    assert_eq!(site.map.window.touched_bytes(), 2 * 4096);
}

#[test]
fn a_map_without_room_for_a_window_does_without() {
    let source = FailingPages::new(SystemPages::new());
    let (map, words, arena) =
        (PageMap::<Pages8K>::new(), PageMapWindow::new(), MetadataArena::new());
    source.arm(Fault::nth(1));
    assert!(map.prepare(&arena, &source), "the root alone is had");
    words.copy_from(&map);
    assert_eq!(map.window.reserved_bytes(), 0);
    assert_eq!(words.class_at(1 << 40), None);
}

/// Pages of a program that has little address space, or data, left to it.
struct Confined(SystemPages);

// SAFETY: all answers are those of the pages beneath, but for one that is about nobody's memory.
unsafe impl PageSourceLayer for Confined {
    type Beneath = SystemPages;

    fn beneath(&self) -> &SystemPages {
        &self.0
    }

    fn is_confined(&self) -> bool {
        true
    }
}

#[test]
fn a_program_that_would_miss_the_address_space_has_none() {
    let (map, arena) = (PageMap::<Pages8K>::new(), MetadataArena::new());
    assert!(map.prepare(&arena, &Confined(SystemPages::new())));
    assert_eq!(map.window.reserved_bytes(), 0);
}

/// Of two threads that make the root at once one may enter pages before the other has opened the window.
#[test]
fn a_map_that_was_not_prepared_has_none_that_could_miss_a_page() {
    let (map, words, arena) =
        (PageMap::<Pages8K>::new(), PageMapWindow::new(), MetadataArena::new());
    let source = SystemPages::new();
    let (first, count) = (PageId::new(40), PageCount::new(2));
    assert!(map.ensure(&arena, &source, first, count));
    assert!(map.prepare(&arena, &source), "the root stands");
    words.copy_from(&map);
    assert_eq!(map.window.reserved_bytes(), 0);
    assert_eq!(words.class_at(40 << Pages8K::SHIFT), None);
}

#[test]
fn of_objects_longer_than_pages_the_window_shows_the_pages_on_which_they_begin() {
    let site = Site::<Pages8K>::new();
    let first =
        (site.map.window.start.load(Ordering::Relaxed) >> Pages8K::SHIFT) + WINDOW_PAGES / 2;
    let class = Pages8K::TABLE.entry(20_480).expect("a class").class();
    let span = site.enter(first, 6, SizeClass::NONE);
    // At 64 on the first page, at 20 544 on the third, at 41 024 on the sixth.
    site.map.set_objects(span, class, 64, 20_480);
    let shown = |page| site.words.class_at((first + page) << Pages8K::SHIFT) == Some(class);
    assert_eq!([0, 1, 2, 3, 4, 5].map(shown), [true, false, true, false, false, true]);
    for page in first..first + 6 {
        assert_eq!(site.map.class_at(page << Pages8K::SHIFT), class);
    }
    site.map.set_objects(span, class, 0, 1000);
    assert_eq!([0, 1, 2, 3, 4, 5].map(shown), [true; 6]);
}

#[test]
fn what_is_entered_in_a_row_is_shown_as_page_by_page_over_granules_leaves_and_the_windows_end() {
    let site = Site::<Pages8K>::new();
    let start = site.map.window.start.load(Ordering::Relaxed) >> Pages8K::SHIFT;
    let class = Pages8K::TABLE.entry(20_480).expect("a class").class();
    let granule = start + WINDOW_PAGES / 2;
    let leaf = (granule + LEAF_PAGES).next_multiple_of(LEAF_PAGES);
    for (first, pages) in [
        (granule - 3, 7),
        (granule - 3, 7),
        (leaf - 600, 1300),
        (leaf - 600, 1300),
        (start + SHOWN_PAGES - 5, 9),
    ] {
        let span = site.enter(first, pages, SizeClass::NONE);
        for (offset, bytes) in
            [(0, 262_144), (64, 20_480), (4096, 8200), (0, 8192), (128, 8), (8192, 24_576)]
        {
            site.map.set_objects(span, class, offset, bytes);
            for index in 0..pages {
                let begins = index * Pages8K::BYTES;
                let next = offset + begins.saturating_sub(offset).next_multiple_of(bytes);
                let shown = next < begins + Pages8K::BYTES;
                let address = (first + index) << Pages8K::SHIFT;
                let expected = if shown { class } else { SizeClass::NONE };
                let in_window = first + index < start + SHOWN_PAGES;
                assert_eq!(
                    site.words.class_at(address),
                    in_window.then_some(expected),
                    "{offset} {bytes} {index}"
                );
                assert_eq!(site.map.class_at(address), class);
                assert!(site.map.span_at(address) == Some(span));
            }
        }
        site.map.clear_range(PageId::new(first), PageCount::new(pages));
        for index in 0..pages {
            let address = (first + index) << Pages8K::SHIFT;
            assert!(site.words.class_at(address).is_none_or(SizeClass::is_none));
            assert!(site.map.span_at(address).is_none() && site.map.class_at(address).is_none());
        }
    }
}
