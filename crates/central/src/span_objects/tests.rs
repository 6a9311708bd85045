use super::*;
use std::collections::BTreeSet;
use strata_os::{ManualClock, SystemPages};
use strata_size_classes::{Pages4K, Pages8K, Pages32K, Pages256K};
use strata_span::{Ground, PageCount, PageId};

fn every_object_comes_once_and_can_come_back_once<P: PageSize>() {
    let ground =
        Ground::<P, _, _, _>::new(SystemPages::new(), SystemPages::new(), ManualClock::new(0));
    let maps = ObjectMaps::new();
    for class in P::TABLE.classes() {
        let info = P::TABLE.info(class);
        let size = info.size as usize;
        let span = ground.spans.allocate_span(&ground.arena, &ground.metadata).expect("memory");
        // Pages that do not exist: nothing of ours stands in them.
        span.set_range(PageId::<P>::new(1000), PageCount::new(usize::from(info.pages)));
        assert!(prepare(&ground, &maps, span, info.objects));
        let mut seen = BTreeSet::new();
        let mut out = [core::ptr::null_mut(); 7];
        loop {
            // SAFETY: prepared above, and this thread has it alone.
            let taken = unsafe { take::<P>(&span, size, &mut out) };
            for object in &out[..taken] {
                let offset = object.addr() - span.start::<P>().value();
                assert!(offset + size <= span.bytes::<P>() && offset.is_multiple_of(size));
                assert!(seen.insert(info.object_index(offset)));
            }
            if taken == 0 {
                break;
            }
        }
        assert_eq!(seen.len(), info.objects as usize);
        for &index in seen.iter().rev() {
            // SAFETY: prepared above, and this thread has it alone.
            assert_eq!(unsafe { put_one(&span, index) }, 0);
            // SAFETY: prepared above, and this thread has it alone.
            assert_eq!(unsafe { put_one(&span, index) }, 1 << (index % 64), "freed twice");
        }
        // SAFETY: prepared above, and nobody else has it.
        unsafe { discard(&maps, span) };
        // SAFETY: prepared above, and nobody else has it.
        unsafe { ground.spans.deallocate_span(span) };
    }
    assert_eq!(maps.stats().in_use_bytes, 0);
}

#[test]
fn every_object_comes_once_and_can_come_back_once_with_pages_of_any_size() {
    every_object_comes_once_and_can_come_back_once::<Pages4K>();
    every_object_comes_once_and_can_come_back_once::<Pages8K>();
    every_object_comes_once_and_can_come_back_once::<Pages32K>();
    every_object_comes_once_and_can_come_back_once::<Pages256K>();
}

#[test]
fn a_bitmap_that_came_back_is_used_again() {
    let ground = Ground::<Pages8K, _, _, _>::new(
        SystemPages::new(),
        SystemPages::new(),
        ManualClock::new(0),
    );
    let maps = ObjectMaps::new();
    let span = ground.spans.allocate_span(&ground.arena, &ground.metadata).expect("memory");
    span.set_range(PageId::<Pages8K>::new(1000), PageCount::ONE);
    for _ in 0..100 {
        // 65 objects take two words, 1024 take sixteen.
        for (objects, bytes) in [(65, 16), (1024, 128), (64, 0)] {
            assert!(prepare(&ground, &maps, span, objects));
            assert_eq!(maps.stats().in_use_bytes, bytes);
            // SAFETY: prepared above.
            unsafe { discard(&maps, span) };
        }
    }
    assert_eq!(maps.stats().created_bytes, 16 + 128);
}

#[test]
fn what_is_put_back_in_front_is_taken_first() {
    let ground = Ground::<Pages8K, _, _, _>::new(
        SystemPages::new(),
        SystemPages::new(),
        ManualClock::new(0),
    );
    let maps = ObjectMaps::new();
    let span = ground.spans.allocate_span(&ground.arena, &ground.metadata).expect("memory");
    span.set_range(PageId::<Pages8K>::new(1000), PageCount::ONE);
    assert!(prepare(&ground, &maps, span, 1024));
    let mut all = [core::ptr::null_mut(); 1024];
    // SAFETY: prepared above.
    assert_eq!(unsafe { take::<Pages8K>(&span, 8, &mut all) }, 1024);
    for index in [900, 70, 3] {
        // SAFETY: prepared above.
        assert_eq!(unsafe { put_one(&span, index) }, 0);
    }
    let mut three = [core::ptr::null_mut(); 3];
    // SAFETY: prepared above.
    assert_eq!(unsafe { take::<Pages8K>(&span, 8, &mut three) }, 3);
    assert_eq!(three, [all[3], all[70], all[900]]);
}

#[test]
fn objects_that_come_together_are_told_from_those_that_were_free() {
    let ground = Ground::<Pages8K, _, _, _>::new(
        SystemPages::new(),
        SystemPages::new(),
        ManualClock::new(0),
    );
    let maps = ObjectMaps::new();
    let span = ground.spans.allocate_span(&ground.arena, &ground.metadata).expect("memory");
    span.set_range(PageId::<Pages8K>::new(1000), PageCount::ONE);
    // The bits in the span's own word, and in words of their own.
    for (objects, size, word) in [(64, 128, 0), (1024, 8, 14)] {
        assert!(prepare(&ground, &maps, span, objects));
        let mut all = [core::ptr::null_mut(); 1024];
        // SAFETY: prepared above.
        assert_eq!(unsafe { take::<Pages8K>(&span, size, &mut all) }, objects as usize);
        let [first, second, third] = [4, 40, 63].map(|bit| 1_u64 << bit);
        // SAFETY: prepared above.
        assert_eq!(unsafe { put(&span, word, first | third) }, 0);
        // SAFETY: prepared above.
        assert_eq!(unsafe { put(&span, word, second | third) }, third);
        for bit in [4, 40, 63] {
            // SAFETY: prepared above.
            assert!(unsafe { is_free(&span, 64 * word + bit) });
        }
        // SAFETY: prepared above.
        assert_eq!(unsafe { free_count(&span) }, 3);
        // SAFETY: prepared above, and nobody else has it.
        unsafe { discard(&maps, span) };
    }
}

/// Marks one object as free; answers with its bit if it was free already.
///
/// # Safety
///
/// As for [`put`].
unsafe fn put_one(span: &Span, index: u32) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { put(span, index / 64, 1 << (index % 64)) }
}
