//! Programs over a heap whose source or metadata fails.

use super::{
    Seed,
    model::{Model, random_request},
    program::random_step,
    test_ground::TestGround,
};
use crate::{PageHeap, ReleaseReason, SpanRequest};
use strata_os::{CallKinds, FailingPages, Fault, PageSource};
use strata_span::{PageCount, PageSize};

/// Steps of a program that is run once for each call that may fail.
const STEPS: usize = 120;

/// Calls that are failed in turn, at most: programs make more calls where heaps release in small
/// pieces.
const MOST_CALLS: u64 = 150;

/// Each call of the source fails once, in a program of its own; later ones succeed.
pub fn a_source_may_fail_at_any_call<P: PageSize, H: PageHeap<P>>(seed: Seed) {
    fail_in_turn::<P, H, _>(seed.derived(5), TestGround::faults, Fault::nth);
}

/// From each call on the source fails always, until the program has ended; then memory is back.
pub fn a_source_may_fail_from_any_call_on<P: PageSize, H: PageHeap<P>>(seed: Seed) {
    fail_in_turn::<P, H, _>(seed.derived(6), TestGround::faults, Fault::from_nth);
}

/// Each call for metadata fails once, and then from each call on all do.
pub fn metadata_may_fail_at_any_call<P: PageSize, H: PageHeap<P>>(seed: Seed) {
    fail_in_turn::<P, H, _>(seed.derived(7), |ground| &ground.metadata, Fault::nth);
    fail_in_turn::<P, H, _>(seed.derived(8), |ground| &ground.metadata, Fault::from_nth);
}

/// A kernel that refuses to take memory back: all stays free and backed, and is handed out again.
pub fn a_source_that_never_takes_memory_back_loses_nothing<P: PageSize, H: PageHeap<P>>(
    seed: Seed,
) {
    let (ground, heap) = (TestGround::<P>::new(), H::EMPTY);
    let mut seed = seed.derived(9);
    ground.faults().arm(Fault::always().of(CallKinds::RELEASE | CallKinds::DECOMMIT));
    let mut model = Model::new(&ground, &heap);
    for _ in 0..300 {
        random_step(&mut model, &mut seed);
        model.check();
    }
    model.deallocate_all(&mut seed);
    assert!(model.allocate(SpanRequest::of(PageCount::ONE)), "memory is not short");
    model.deallocate(0);
    let before = heap.stats();
    assert!(before.free_bytes > 0);
    assert_eq!(model.release(PageCount::new(1 << 20), ReleaseReason::Call), PageCount::ZERO);
    let after = heap.stats();
    assert_eq!(after.free_bytes, before.free_bytes, "what was refused stays");
    assert!(after.release_failures > before.release_failures, "a refusal is counted");
    assert_eq!(after.released.total(), 0);
}

/// Runs one program for each call number, with a fault at that call, until a program meets no
/// fault.
fn fail_in_turn<P: PageSize, H: PageHeap<P>, S: PageSource + 'static>(
    seed: Seed,
    faults: fn(&TestGround<P>) -> &FailingPages<S>,
    fault: fn(u64) -> Fault,
) {
    std::println!("{seed:?}");
    for call in 1..=MOST_CALLS {
        let mut seed = seed;
        let (ground, heap) = (TestGround::<P>::new(), H::EMPTY);
        let mut model = Model::new(&ground, &heap);
        faults(&ground).arm(fault(call));
        for _ in 0..STEPS {
            random_step(&mut model, &mut seed);
            model.check();
        }
        let met = faults(&ground).failures() > 0;
        faults(&ground).disarm();
        // Memory is back, and so is the heap.
        assert!(model.allocate(random_request(&mut seed)), "memory is back");
        model.check();
        model.check_reservations();
        let reserved = ground.faults().source().figures().reserved_bytes as u64;
        assert_eq!(heap.stats().reserved_bytes, reserved, "no reservation is forgotten");
        model.deallocate_all(&mut seed);
        if !met {
            return;
        }
    }
}
