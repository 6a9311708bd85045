use super::{HasStats, Published, figures_of_words};
use crate::{PageHeapStats, PeakFigures};
use strata_sync::LockStats;
use strata_sync::atomic::{AtomicBool, Ordering};

/// Pages in use, and as many free: figures that belong together.
struct Pages(u64);

impl HasStats for Pages {
    fn stats(&self) -> PageHeapStats {
        PageHeapStats {
            system_bytes: 2 * self.0,
            in_use_bytes: self.0,
            free_bytes: self.0,
            ..PageHeapStats::default()
        }
    }
}

#[test]
fn each_figure_comes_back_from_its_own_word() {
    struct Numbered(PageHeapStats);
    impl HasStats for Numbered {
        fn stats(&self) -> PageHeapStats {
            self.0
        }
    }
    let mut numbered = PageHeapStats::default();
    for (index, figure) in figures_of_words(&mut numbered).into_iter().enumerate() {
        *figure = index as u64 + 1;
    }
    let place = Published::new(Numbered(PageHeapStats::default()));
    place.lock().0 = numbered;
    let peak = PeakFigures {
        in_use_bytes: numbered.in_use_bytes,
        free_bytes: numbered.free_bytes,
        unmapped_bytes: numbered.unmapped_bytes,
        spans_in_use: numbered.spans_in_use,
    };
    assert_eq!(place.in_use_bytes(), numbered.in_use_bytes);
    let read = PageHeapStats { lock: LockStats::ZERO, ..place.figures() };
    assert_eq!(read, PageHeapStats { peak, lock: LockStats::ZERO, ..numbered });
}

#[test]
fn figures_are_those_of_the_last_change() {
    let pages = Published::new(Pages(0));
    assert_eq!(pages.figures().system_bytes, 0);
    pages.lock().0 = 5;
    let mut held = pages.lock();
    held.0 = 7;
    assert_eq!(pages.figures().in_use_bytes, 5, "the lock is held");
    drop(held);
    assert_eq!(pages.figures().in_use_bytes, 7);
}

#[test]
fn a_span_that_comes_changes_the_figures_of_spans() {
    struct Numbered(PageHeapStats);
    impl HasStats for Numbered {
        fn stats(&self) -> PageHeapStats {
            self.0
        }
    }
    let place = Published::new(Numbered(PageHeapStats::default()));
    place.lock().0.system_bytes = 100;
    let mut held = place.lock();
    let PageHeapStats { in_use_bytes, free_bytes, free_parts, unmapped_bytes, .. } = &mut held.0;
    (*in_use_bytes, *free_bytes, free_parts.filler_bytes, *unmapped_bytes) = (1, 2, 3, 4);
    (held.0.peak_backed_bytes, held.0.spans_in_use) = (5, 6);
    held.only_spans_changed();
    let wanted = held.0;
    drop(held);
    let peak = PeakFigures { in_use_bytes: 1, free_bytes: 2, unmapped_bytes: 4, spans_in_use: 6 };
    let lock = LockStats::ZERO;
    assert_eq!(PageHeapStats { lock, ..place.figures() }, PageHeapStats { peak, lock, ..wanted });
    // What is changed after that may be anything.
    let mut held = place.lock();
    held.only_spans_changed();
    held.0.release_failures = 7;
    drop(held);
    assert_eq!(place.figures().release_failures, 7);
}

#[test]
fn the_peak_has_the_figures_of_its_moment() {
    let pages = Published::new(Pages(0));
    for bytes in [3, 9, 4, 9, 1] {
        pages.lock().0 = bytes;
    }
    let peak = pages.figures().peak;
    assert_eq!(peak, PeakFigures { in_use_bytes: 9, free_bytes: 9, ..PeakFigures::default() });
}

#[test]
fn figures_that_belong_together_are_read_together() {
    let pages = Published::new(Pages(0));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for bytes in 0..200_000 {
                pages.lock().0 = bytes;
            }
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            // A writer that is stopped in the middle is the only excuse; then the word says so.
            let Some(stats) = pages.sequence.read(|| pages.figures()) else { continue };
            assert_eq!(stats.system_bytes, stats.in_use_bytes + stats.free_bytes, "{stats:?}");
        }
    });
}
