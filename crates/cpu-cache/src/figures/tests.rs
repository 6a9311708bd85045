use crate::{CpuCache, Header, IdKind, RegionSize, Setup};
use strata_os::SystemPages;
use strata_size_classes::{PageSize, Pages8K};
use strata_sync::atomic::Ordering;

#[test]
fn what_was_popped_is_not_found_between_headers_that_are_put_back_and_the_length_they_are_of() {
    let table = Pages8K::TABLE;
    let class = table.entry(64 << 10).expect("a class").class();
    let cache = CpuCache::new();
    let setup = Setup { table, ids: 1, id_kind: IdKind::Cpu, area: 0, limit_bytes: 1 << 20 };
    // SAFETY: no section runs in this test, so that no area is looked at.
    if unsafe { cache.set_up(&SystemPages::new(), setup) }.is_err() {
        return std::println!("left out: no caches here");
    }
    let (Some(state), Some(word)) = (cache.state(0), cache.header_word(0, class)) else {
        return std::println!("left out: no caches here");
    };
    cache.populate(state, 0);
    let larger = RegionSize::LEAST.larger().expect("there is a longer one");
    let from = cache.layouts.of(RegionSize::LEAST).begin(class);
    let to = cache.layouts.prepare(larger, table).begin(class);
    assert!(from < to, "the class moves up");
    let object = core::ptr::without_provenance_mut::<u8>(64 << 10);
    let put = |slot: u16, object| {
        cache.slot(0, slot.into()).expect("a slot").store(object, Ordering::Relaxed);
    };
    let set = |header: Header| word.store(header.bits(), Ordering::Release);

    // Pushed and popped: its slot still has it.
    let empty = Header::default().begun_at(from).with_end(from + 1);
    put(from + 1, object);
    set(empty.pushed(1));
    assert!(cache.holds(class, object));
    set(empty.pushed(1).popped(1));
    assert!(!cache.holds(class, object));

    // As a stop does it: first the headers, then the length.
    assert_eq!(state.stop(), Some(RegionSize::LEAST));
    set(empty.moved(from, to));
    assert!(!cache.holds(class, object), "a header of one layout is not read by another one");
    state.note_resize();
    state.start(larger);
    assert!(!cache.holds(class, object));
    put(to + 1, object);
    set(empty.moved(from, to).pushed(1));
    assert!(cache.holds(class, object));
}

#[test]
fn a_look_at_the_caches_nearby_begins_with_ones_own_and_ends_after_so_many() {
    let table = Pages8K::TABLE;
    let class = table.entry(64 << 10).expect("a class").class();
    let cache = CpuCache::new();
    let ids = 3 * CpuCache::NEARBY_IDS;
    let setup = Setup { table, ids, id_kind: IdKind::Cpu, area: 0, limit_bytes: 1 << 20 };
    // SAFETY: no section runs in this test, so that no area is looked at.
    if unsafe { cache.set_up(&SystemPages::new(), setup) }.is_err() {
        return std::println!("left out: no caches here");
    }
    let object = core::ptr::without_provenance_mut::<u8>(64 << 10);
    assert!(!cache.holds_near(0, class, object), "no cache was ever used");
    let begin = cache.layouts.of(RegionSize::LEAST).begin(class);
    for id in 0..ids {
        cache.populate(cache.state(id).expect("an id"), id);
    }
    for holder in [0, 1, ids / 2, ids - 1] {
        let word = cache.header_word(holder, class).expect("an id");
        let slot = cache.slot(holder, usize::from(begin) + 1).expect("a slot");
        slot.store(object, Ordering::Relaxed);
        let full = Header::default().begun_at(begin).with_end(begin + 1).pushed(1);
        word.store(full.bits(), Ordering::Release);
        for id in 0..ids {
            let steps = (holder + ids - id) % ids;
            assert_eq!(cache.holds_near(id, class, object), steps < CpuCache::NEARBY_IDS);
        }
        assert!(cache.holds(class, object));
        assert!(cache.holds_near(ids + holder, class, object), "an id that is not used yet");
        word.store(full.popped(1).bits(), Ordering::Release);
    }
}
