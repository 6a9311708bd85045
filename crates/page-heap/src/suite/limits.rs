//! Programs under limits on memory.

use super::{
    Seed,
    model::{Model, random_growth, random_request},
    test_ground::TestGround,
};
use crate::{MemoryLimits, PageHeap, ReleaseReason, SpanRequest};
use strata_os::{CallKinds, Fault};
use strata_span::{HUGEPAGE_BYTES, PageCount, PageSize};

const STEPS: usize = 400;

/// Metadata that has memory behind it.
fn metadata_bytes<P: PageSize>(ground: &TestGround<P>) -> u64 {
    ground.arena.allocated_bytes() - ground.map.untouched_bytes()
}

/// What is limited: in spans, free and backed, and metadata.
fn backed<P: PageSize, H: PageHeap<P>>(model: &Model<'_, P, H>) -> u64 {
    let stats = model.heap.stats();
    stats.in_use_bytes + stats.free_bytes + metadata_bytes(model.ground)
}

/// Under a hard limit a heap gives back before it fails, fails where giving back cannot help, and goes on when there is
/// room again.
pub fn a_hard_limit_is_kept<P: PageSize, H: PageHeap<P>>(seed: Seed) {
    let (ground, heap) = (TestGround::<P>::new(), H::EMPTY);
    let mut seed = seed.derived(12);
    let mut model = Model::new(&ground, &heap);
    assert!(model.allocate(SpanRequest::of(PageCount::ONE)), "memory is not short");
    let hard_bytes = backed(&model) + 24 * HUGEPAGE_BYTES as u64;
    heap.set_limits(MemoryLimits { soft_bytes: 0, hard_bytes });
    for _ in 0..STEPS {
        match seed.below(8) {
            0..4 => {
                let request = random_request(&mut seed);
                let before = heap.stats();
                if !model.allocate(request) {
                    let least = before.in_use_bytes + request.pages.bytes() as u64;
                    // All that is free can go, and a heap that fails has let it go or knew before.
                    assert!(least + metadata_bytes(&ground) > hard_bytes, "{before:?}");
                    let failures = heap.stats().limits.hard_failures;
                    assert!(failures > before.limits.hard_failures, "a failure is counted");
                }
            }
            4 if model.out() > 0 => {
                let index = seed.below(model.out());
                model.extend(index, random_growth(model.pages(index), &mut seed));
            }
            _ if model.out() > 0 => model.deallocate(seed.below(model.out())),
            _ => {}
        }
        model.check_books();
        // Structures for what came after the last look may come on top.
        assert!(backed(&model) <= hard_bytes + (1 << 20), "{} {hard_bytes}", backed(&model));
    }
    let too_much = PageCount::holding(usize::try_from(hard_bytes).unwrap_or(0)).expect("pages");
    assert!(!model.allocate(SpanRequest::of(too_much)), "all that and the rest is too much");
    let limits = heap.stats().limits;
    assert!(limits.hard_failures > 0 && limits.hard_hits >= limits.hard_failures, "{limits:?}");
    assert_eq!(limits.soft_hits, 0);
    heap.set_limits(MemoryLimits::NONE);
    assert!(model.allocate(SpanRequest::of(PageCount::new(1 << 12))), "the limit is gone");
    model.deallocate_all(&mut seed);
}

/// Above its soft limit a heap that grows gives back all that is free, and fails nothing.
pub fn a_soft_limit_gives_back_and_fails_nothing<P: PageSize, H: PageHeap<P>>(seed: Seed) {
    let (ground, heap) = (TestGround::<P>::new(), H::EMPTY);
    let mut seed = seed.derived(13);
    let mut model = Model::new(&ground, &heap);
    heap.set_limits(MemoryLimits { soft_bytes: 16 * HUGEPAGE_BYTES as u64, hard_bytes: 0 });
    for _ in 0..STEPS {
        if seed.below(2) == 0 && model.out() > 0 {
            model.deallocate(seed.below(model.out()));
            continue;
        }
        assert!(model.allocate(random_request(&mut seed)), "a soft limit fails nothing");
        model.check_books();
        let within = backed(&model) <= (16 * HUGEPAGE_BYTES + (1 << 20)) as u64;
        assert!(within || heap.stats().free_bytes == 0, "{:?}", heap.stats());
    }
    // Not every program comes so far: what is free has to go for what is longer.
    for hugepages in [8, 32] {
        let pages = PageCount::new(hugepages * PageCount::<P>::PER_HUGEPAGE.get());
        assert!(model.allocate(SpanRequest::of(pages)), "a soft limit fails nothing");
        model.deallocate(model.out() - 1);
    }
    let stats = heap.stats();
    assert!(stats.limits.soft_hits > 0 && stats.released.soft_limit > 0, "{stats:?}");
    assert_eq!((stats.limits.hard_hits, stats.limits.hard_failures), (0, 0));
    model.deallocate_all(&mut seed);
}

/// A limit below what is live stops growth, and takes nothing away; where the kernel takes nothing back, a heap at its
/// hard limit fails, and keeps its books.
pub fn limits_below_what_is_live_lose_nothing<P: PageSize, H: PageHeap<P>>(seed: Seed) {
    let (ground, heap) = (TestGround::<P>::new(), H::EMPTY);
    let mut seed = seed.derived(14);
    let mut model = Model::new(&ground, &heap);
    for _ in 0..40 {
        assert!(model.allocate(random_request(&mut seed)), "memory is not short");
    }
    heap.set_limits(MemoryLimits { soft_bytes: 1, hard_bytes: 2 });
    assert!(!model.allocate(SpanRequest::of(PageCount::ONE)), "nothing is below two bytes");
    model.check_books();
    // Half of it goes and stays backed, since the kernel refuses.
    heap.set_limits(MemoryLimits { soft_bytes: 0, hard_bytes: backed(&model) });
    ground.faults().arm(Fault::always().of(CallKinds::RELEASE | CallKinds::DECOMMIT));
    for _ in 0..20 {
        model.deallocate(seed.below(model.out()));
        model.allocate(random_request(&mut seed));
        model.check_books();
    }
    ground.faults().disarm();
    heap.set_limits(MemoryLimits::NONE);
    model.release(PageCount::new(1 << 20), ReleaseReason::Call);
    assert!(model.allocate(random_request(&mut seed)), "the limit is gone");
    model.deallocate_all(&mut seed);
}
