//! What others have in hand.

use super::test_ground::TestGround;
use crate::{PageHeap, ReleaseReason, SpanRequest};
use core::{
    cell::RefCell,
    sync::atomic::{AtomicBool, Ordering},
};
use std::{boxed::Box, sync::Arc, thread, thread_local, vec::Vec};
use strata_os::{CallKinds, Fault};
use strata_span::{PageCount, PageSize, Platform, SpanHandle};

thread_local! {
    /// What this thread does while it gives memory back: the source knows a function alone.
    static MEANWHILE: RefCell<Option<Box<dyn Fn()>>> = const { RefCell::new(None) };
}

/// One thread is giving all that is free to the kernel, and another needs it, since the source has no more: it
/// waits, and gets what went, or, if the kernel refused to take it, what stayed.
pub fn what_others_have_in_hand_is_waited_for<P: PageSize, H: PageHeap<P>>() {
    let is_refused = [CallKinds::empty(), CallKinds::RELEASE | CallKinds::DECOMMIT];
    is_refused.into_iter().for_each(one_needs_what_the_other_gives::<P, H>);
}

fn one_needs_what_the_other_gives<P: PageSize, H: PageHeap<P>>(refused: CallKinds) {
    let (ground, heap) = (Arc::new(TestGround::<P>::new()), H::EMPTY);
    ground.source().run_during_release(|| {
        MEANWHILE.with_borrow(|meanwhile| meanwhile.iter().for_each(|run| run()));
    });
    let request = SpanRequest::of(PageCount::new(4 * PageCount::<P>::PER_HUGEPAGE.get()));
    let mut spans = Vec::from_iter(heap.allocate(&*ground, request));
    let no_growth = CallKinds::RESERVE | CallKinds::COMMIT;
    ground.faults().arm(Fault::always().of(no_growth | refused));
    spans.extend(core::iter::from_fn(|| heap.allocate(&*ground, request)));
    let give_back = |span: Option<SpanHandle>| {
        // SAFETY: the span came from this heap, and nobody has it any more.
        span.into_iter().for_each(|span| _ = unsafe { heap.deallocate(&*ground, span) });
    };
    give_back(spans.pop());
    let failures = ground.faults().failures();
    let (has_begun, is_over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    thread::scope(|scope| {
        let (begun, over, source) =
            (Arc::clone(&has_begun), Arc::clone(&is_over), Arc::clone(&ground));
        let (heap, ground) = (&heap, &ground);
        scope.spawn(move || {
            // Until the other has found nothing, and could not grow.
            let wait = move || {
                begun.store(true, Ordering::Release);
                let goes_on =
                    || source.faults().failures() == failures && !over.load(Ordering::Acquire);
                while goes_on() {
                    thread::yield_now();
                }
            };
            MEANWHILE.set(Some(Box::new(wait)));
            heap.release(&**ground, request.pages, ReleaseReason::Call);
            MEANWHILE.take();
        });
        while !has_begun.load(Ordering::Acquire) {
            thread::yield_now();
        }
        let found = heap.allocate(&**ground, request);
        is_over.store(true, Ordering::Release);
        assert!(found.is_some(), "others had it in hand");
        spans.extend(found);
    });
    ground.faults().disarm();
    spans.into_iter().for_each(|span| give_back(Some(span)));
    assert_eq!(heap.stats().in_use_bytes, 0);
}
