use crate::{Config, Heap, HeapConfig, SelectedPageHeap};
use core::{sync::atomic::AtomicBool, time::Duration};
use std::{thread, vec::Vec};
use strata_os::{CallKinds, FailingPages, Fault, MonotonicClock, SystemPages};
use strata_size_classes::Pages8K;
use strata_sync::atomic::Ordering;

static PAGES: FailingPages<SystemPages> = FailingPages::new(SystemPages::new());

/// A heap that stops growing.
struct Failing;

impl HeapConfig for Failing {
    type Pages = Pages8K;
    type Source = FailingPages<SystemPages>;
    type PageHeap = SelectedPageHeap<Pages8K>;
    type Clock = MonotonicClock;

    fn source() -> &'static Self::Source {
        &PAGES
    }
    fn clock() -> &'static MonotonicClock {
        static CLOCK: MonotonicClock = MonotonicClock::new();
        &CLOCK
    }
    fn configure(page_heap: &Self::PageHeap, config: &Config) {
        page_heap.select(config.page_heap);
    }
}

#[test]
fn who_finds_nothing_waits_for_background_work() {
    const BYTES: usize = 1 << 20;
    let heap: Heap<Failing> = Heap::with(Config::DEFAULT);
    let more = || Some(heap.allocate(BYTES)).filter(|block| !block.is_null());
    let mut blocks = Vec::from_iter(more().map(|block| block.expose_provenance()));
    PAGES.arm(Fault::always().of(CallKinds::RESERVE | CallKinds::COMMIT));
    while let Some(block) = more() {
        blocks.push(block.expose_provenance());
    }
    let free = |block: usize| {
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(core::ptr::with_exposed_provenance_mut(block)) };
    };
    // Another one that found nothing and has its turn; a step of the background work.
    for in_step in [false, true] {
        let (failures, is_at_work) = (PAGES.failures(), AtomicBool::new(false));
        let in_hand = blocks.pop().expect("a block");
        let mut nothing = 0;
        thread::scope(|scope| {
            scope.spawn(|| {
                // It lets go of what it has long after the other found nothing.
                let core = heap.core().expect("it has blocks");
                let turn = (!in_step).then(|| core.take_turn());
                if in_step {
                    core.background.acquire();
                }
                is_at_work.store(true, Ordering::Release);
                while PAGES.failures() == failures {
                    thread::yield_now();
                }
                thread::sleep(Duration::from_millis(100));
                free(in_hand);
                drop(turn);
                if in_step {
                    // SAFETY: acquired above.
                    unsafe { core.background.release() };
                }
            });
            while !is_at_work.load(Ordering::Acquire) {
                thread::yield_now();
            }
            // A second without the CPU, in which the other waits in vain, is forgiven; who does not wait comes by a
            // thousand times.
            let found = loop {
                match more() {
                    Some(block) => break block,
                    None => nothing += 1,
                }
            };
            blocks.push(found.expose_provenance());
        });
        assert!(nothing < 20, "{nothing} times nothing was found");
    }
    PAGES.disarm();
    blocks.into_iter().for_each(free);
}
