use super::*;
use crate::{BackEnd, ObjectMaps, OnlyBackEnd, central_free_list::give_spans_back};
use std::{format, vec};
use strata_os::{ManualClock, SystemPages};
use strata_page_heap::{LegacyPageHeap, PageHeap};
use strata_size_classes::{Pages4K, Pages8K, Pages32K, Pages256K};
use strata_span::{Ground, SpanPlace};

/// Of a span of each class `kept` of 4 objects stay out, then granules are claimed, and while the kernel has them
/// the program gives back all that it has.
fn a_claimed_span_stays<P: PageSize>(kept: usize) {
    let ground =
        Ground::<P, _, _, _>::new(SystemPages::new(), SystemPages::new(), ManualClock::new(0));
    let (pages, object_maps) = (LegacyPageHeap::<P>::EMPTY, ObjectMaps::new());
    let back_end =
        BackEnd { platform: &ground, page_heap: &pages, object_maps: &object_maps, number: 0 };
    let mut claims = 0;
    for class in P::TABLE.classes() {
        let case = format!("{class:?} of pages of {} bytes, {kept} of 4 out", P::BYTES);
        let list = CentralFreeList::<P>::new();
        let mut objects = vec![core::ptr::null_mut(); P::TABLE.info(class).objects as usize];
        assert_eq!(list.take(back_end, class, &mut objects), objects.len(), "{case}");
        let span = ground.map.span_at(objects[0].addr()).expect("a span");
        let stay = (objects.len() * kept / 4).max(1);
        let (out, free) = objects.split_at_mut(stay);
        // SAFETY: taken above, and forgotten here.
        unsafe { list.give(back_end, &OnlyBackEnd, class, free) };
        // A hugepage is not broken for what would not go then.
        if let Some((granules, _)) = list.releasable(&ground, class, span) {
            let least = granules.bytes() as u64;
            assert_eq!(list.releasable_bytes(&ground, class, span, least - 1), 0, "{case}");
            assert!(list.claim(&ground, class, span, least - 1).is_none(), "{case}");
            assert!(list.releasable_bytes(&ground, class, span, least) > 0, "{case}");
            let one = list.claim(&ground, class, span, least).expect("a granule");
            assert_eq!(one.bytes() as u64, least, "{case}");
            assert!(list.unclaim(&ground, &one, false).is_empty(), "{case}");
        }
        let releasable = list.releasable_bytes(&ground, class, span, u64::MAX);
        let claimed = list.claim(&ground, class, span, u64::MAX);
        assert_eq!(claimed.map_or(0, |claimed| claimed.bytes()), releasable, "{case}");
        // SAFETY: taken above, and forgotten here.
        unsafe { list.give(back_end, &OnlyBackEnd, class, out) };
        if let Some(claimed) = claimed {
            claims += 1;
            assert!(span.class() == class && span.place() == SpanPlace::InUse, "{case}");
            let whole = list.unclaim(&ground, &claimed, true);
            assert_eq!(whole.len(), 1, "{case}");
            give_spans_back(back_end, whole);
        }
        let stats = list.stats(class);
        let counted = (stats.spans_in_use, stats.objects_out, stats.released_bytes);
        assert_eq!(counted, (0, 0, 0), "{case}");
    }
    assert_eq!(pages.stats().in_use_bytes, 0);
    assert!(kept == 4 || claims > 0, "{kept}");
}

#[test]
fn a_span_stays_while_the_kernel_takes_granules_of_it() {
    for kept in [0, 1, 3, 4] {
        a_claimed_span_stays::<Pages4K>(kept);
        a_claimed_span_stays::<Pages8K>(kept);
        a_claimed_span_stays::<Pages32K>(kept);
        a_claimed_span_stays::<Pages256K>(kept);
    }
}

/// Two that sweep the same span at once claim different objects, but may both have a granule on which no object lies.
#[test]
fn what_two_claims_have_in_common_is_counted_once() {
    let ground = Ground::<Pages8K, _, _, _>::new(
        SystemPages::new(),
        SystemPages::new(),
        ManualClock::new(0),
    );
    let (pages, object_maps) = (LegacyPageHeap::<Pages8K>::EMPTY, ObjectMaps::new());
    let back_end =
        BackEnd { platform: &ground, page_heap: &pages, object_maps: &object_maps, number: 0 };
    let mut twice = 0;
    for class in Pages8K::TABLE.classes() {
        let list = CentralFreeList::<Pages8K>::new();
        let mut objects = vec![core::ptr::null_mut(); Pages8K::TABLE.info(class).objects as usize];
        list.take(back_end, class, &mut objects);
        let span = ground.map.span_at(objects[0].addr()).expect("a span");
        let [first, _, .., last] = &mut *objects else { continue };
        // SAFETY: taken above, and given once.
        unsafe { list.give(back_end, &OnlyBackEnd, class, core::slice::from_mut(last)) };
        let one = list.claim(&ground, class, span, u64::MAX);
        // SAFETY: taken above, and given once.
        unsafe { list.give(back_end, &OnlyBackEnd, class, core::slice::from_mut(first)) };
        let other = list.claim(&ground, class, span, u64::MAX);
        if let (Some(one), Some(other)) = (one, other) {
            twice += usize::from(!one.set.and(other.set).is_empty());
            for claimed in [one, other] {
                assert!(list.unclaim(&ground, &claimed, true).is_empty());
            }
            let released = GranuleSet::released(&span);
            assert_eq!(released, one.set.with(other.set), "{class:?}");
            let bytes = (released.len() * one.granules.bytes()) as u64;
            assert_eq!(list.stats(class).released_bytes, bytes, "{class:?}");
        }
    }
    assert!(twice > 0, "some class has such a granule");
}
