use super::SLOT_MISSES;
use crate::loans::tests::{state, with_two_used};
use strata_size_classes::{PageSize, Pages8K};

#[test]
fn a_region_is_short_where_a_tenth_of_many_misses_were_for_want_of_slots() {
    let Some(cache) = with_two_used() else { return };
    let class = Pages8K::TABLE.entry(64).expect("a class").class();
    let busy = state(&cache, 0);
    let slot_misses = |count| (0..count).for_each(|_| busy.note_slot_miss(class));
    slot_misses(SLOT_MISSES - 1);
    assert!(!cache.is_short(0), "a few");
    slot_misses(1);
    assert!(cache.is_short(0), "as many as there were misses");
    (0..20 * SLOT_MISSES).for_each(|_| {
        busy.note_underflow(class);
    });
    assert!(!cache.is_short(0), "one in twenty");
    slot_misses(SLOT_MISSES);
    assert!(cache.is_short(0), "one in ten");
    super::think_again(busy);
    assert!(!cache.is_short(0), "somebody has thought about these");
    assert!(!cache.is_short(1) && !cache.is_short(4), "nobody missed there");
}
