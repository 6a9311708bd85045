use super::*;
use crate::ObjectMaps;
use std::{collections::BTreeSet, vec::Vec};
use strata_os::{ManualClock, SystemPages};
use strata_size_classes::{Pages4K, Pages8K, Pages32K, Pages256K, SizeClass};
use strata_span::{Ground, PageCount, PageId, SpanHandle};

const KERNEL_PAGE: usize = 4096;

/// A span of pages that do not exist, with all of its objects free.
fn span_of<P: PageSize>(
    ground: &Ground<P, SystemPages, SystemPages, ManualClock>,
    maps: &ObjectMaps,
    class: SizeClass,
    offset: usize,
) -> SpanHandle {
    let info = P::TABLE.info(class);
    let span = ground.spans.allocate_span(&ground.arena, &ground.metadata).expect("memory");
    span.set_range(PageId::<P>::new(1000), PageCount::new(usize::from(info.pages)));
    assert!(span_objects::prepare(ground, maps, span, info.objects));
    span.set_objects_offset(offset);
    span
}

/// Each granule against a list of the bytes that objects in use cover.
fn granules_are_empty_where_no_object_is_out<P: PageSize>() {
    let ground =
        Ground::<P, _, _, _>::new(SystemPages::new(), SystemPages::new(), ManualClock::new(0));
    let maps = ObjectMaps::new();
    let mut state = 0x5eed_0007_u64;
    for class in P::TABLE.classes() {
        let info = P::TABLE.info(class);
        let size = info.size as usize;
        for offset in [0, P::TABLE.stagger_bytes(class)] {
            let span = span_of(&ground, &maps, class, offset);
            let Some(granules) = Granules::of::<P>(&span, size, KERNEL_PAGE) else {
                assert!(span.bytes::<P>() <= KERNEL_PAGE, "{class:?}");
                continue;
            };
            assert!(granules.count <= MOST);
            let rest = span.bytes::<P>() - granules.count * granules.bytes;
            assert!(rest < granules.bytes);
            let mut out = Vec::new();
            for round in 0..6 {
                // All free; then more and more out, at random.
                let mut covered = BTreeSet::new();
                for object in &out {
                    let first = offset + object * size;
                    covered
                        .extend((first / granules.bytes)..=((first + size - 1) / granules.bytes));
                    let address = span.objects_start::<P>().add(object * size);
                    let on = granules.of_object(address);
                    let within = |index: &usize| *index < granules.count;
                    assert!(on.iter().filter(within).all(|index| covered.contains(&index)));
                    assert!(!on.is_empty(), "round {round}");
                }
                // SAFETY: prepared above, and this thread has it alone.
                let empty = unsafe { granules.empty(&span) };
                let expected: Vec<_> =
                    (0..granules.count).filter(|index| !covered.contains(index)).collect();
                assert_eq!(empty.iter().collect::<Vec<_>>(), expected, "{class:?} {offset}");
                let mut runs = BTreeSet::new();
                granules.for_each_run(empty, |start, bytes| {
                    let first = start.offset_from(span.start::<P>()) / granules.bytes;
                    runs.extend(first..first + bytes / granules.bytes);
                });
                assert_eq!(runs.into_iter().collect::<Vec<_>>(), expected);
                // Claimed objects are out, and free again afterwards.
                // SAFETY: prepared above, and this thread has it alone.
                let claimed = unsafe { granules.claim(&span, empty) };
                // SAFETY: prepared above, and this thread has it alone.
                assert_eq!(unsafe { granules.claim(&span, empty) }, 0);
                // SAFETY: prepared above, and this thread has it alone.
                assert_eq!(unsafe { granules.unclaim(&span, empty) }, claimed);
                // SAFETY: prepared above, and this thread has it alone.
                assert_eq!(unsafe { granules.empty(&span) }, empty);
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let index = (state >> 16) as u32 % info.objects;
                // SAFETY: prepared above, and this thread has it alone.
                if unsafe { span_objects::claim(&span, index..index + 1) } == 1 {
                    out.push(index as usize);
                }
            }
        }
    }
}

#[test]
fn granules_are_empty_where_no_object_is_out_with_pages_of_any_size() {
    granules_are_empty_where_no_object_is_out::<Pages4K>();
    granules_are_empty_where_no_object_is_out::<Pages8K>();
    granules_are_empty_where_no_object_is_out::<Pages32K>();
    granules_are_empty_where_no_object_is_out::<Pages256K>();
}

#[test]
fn what_went_is_remembered_beside_the_hint() {
    let ground = Ground::<Pages8K, _, _, _>::new(
        SystemPages::new(),
        SystemPages::new(),
        ManualClock::new(0),
    );
    let maps = ObjectMaps::new();
    let class = Pages8K::TABLE.entry(16).expect("a class").class();
    let span = span_of(&ground, &maps, class, 0);
    let mut out = [core::ptr::null_mut(); 200];
    // SAFETY: prepared above, and this thread has it alone.
    assert_eq!(unsafe { span_objects::take::<Pages8K>(&span, 16, &mut out) }, 200);
    let mut set = GranuleSet::default();
    set.insert(1);
    set.set_released(&span);
    assert_eq!(GranuleSet::released(&span), set);
    // SAFETY: prepared above, and this thread has it alone. The hint is where it was: the next objects follow.
    assert_eq!(unsafe { span_objects::take::<Pages8K>(&span, 16, &mut out[..1]) }, 1);
    assert_eq!(out[0].addr() - span.start::<Pages8K>().value(), 200 * 16);
    assert_eq!(GranuleSet::released(&span), set);
    GranuleSet::default().set_released(&span);
    assert!(GranuleSet::released(&span).is_empty());
}

#[test]
fn sets_are_cut_and_joined() {
    let mut set = GranuleSet::default();
    [3, 0, 31, 7].into_iter().for_each(|index| set.insert(index));
    assert_eq!((set.len(), set.first(2).iter().collect::<Vec<_>>()), (4, [0, 3].into()));
    assert!(set.first(0).is_empty() && set.first(9) == set);
    assert_eq!(set.without(set.first(1)).and(set.first(3)).iter().collect::<Vec<_>>(), [3, 7]);
    assert_eq!(set.first(1).with(set.first(2)), set.first(2));
}
