use crate::loans::tests::{NoObjects, state, with_two_used};
use strata_os::SystemPages;
use strata_size_classes::{PageSize, Pages8K};
use strata_sync::atomic::Ordering;

#[test]
fn a_cpu_that_misses_does_not_stand_still_although_no_header_changes() {
    let Some(cache) = with_two_used() else { return };
    let (pages, class) = (SystemPages::new(), Pages8K::TABLE.entry(64).expect("a class").class());
    let busy = state(&cache, 0);
    // Capacity for one object, and none there.
    assert!(busy.grant(64, 1 << 20) && busy.claim(1, 64) == 1);
    let begin = cache.layouts.of(busy.region().size()).begin(class);
    let header = cache.header(0, class).begun_at(begin).with_end(begin + 1);
    cache.header_word(0, class).expect("a header").store(header.bits(), Ordering::Relaxed);
    let drains_at_a_look = || {
        let before = busy.drains.load(Ordering::Relaxed);
        assert_eq!(cache.drain_idle(&NoObjects, &pages, 8), 0, "no object is there");
        busy.drains.load(Ordering::Relaxed) - before
    };
    assert_eq!(drains_at_a_look(), 0, "the first look");
    busy.note_overflow(class);
    assert_eq!(drains_at_a_look(), 0, "it missed");
    busy.note_underflow(class);
    assert_eq!(drains_at_a_look(), 0, "and again");
    assert_eq!(drains_at_a_look(), 1, "it stands still");
    assert_eq!(cache.capacity(0, class), 0);
    assert_eq!(drains_at_a_look(), 0, "there is nothing to drain any more");
}
