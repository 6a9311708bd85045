use super::{FailingPages, Fault};
use crate::{
    Advice, CallKind, CallKinds, MapError, PageSource, Purpose, Release, ReserveRequest,
    SimulatedPages,
};

const WISH: ReserveRequest = ReserveRequest { bytes: 2 << 20, align: 4096, purpose: Purpose::Heap };

#[test]
fn the_nth_call_fails_and_does_not_reach_the_source() {
    for n in 1..=4 {
        let pages = FailingPages::new(SimulatedPages::new());
        pages.arm(Fault::nth(n).of(CallKinds::RESERVE));
        for call in 1..=4 {
            assert_eq!(pages.reserve(WISH).is_err(), call == n);
        }
        assert_eq!(pages.failures(), 1);
        assert_eq!(pages.calls(CallKind::Reserve), 4);
        assert_eq!(pages.source().figures().calls(CallKind::Reserve), 3);
    }
}

#[test]
fn other_kinds_are_neither_failed_nor_counted_against_it() {
    let pages = FailingPages::new(SimulatedPages::new());
    pages.arm(Fault::nth(2).of(CallKinds::RELEASE | CallKinds::ADVISE).with_errno(libc::EINVAL));
    let range = pages.reserve(WISH).expect("not armed for it").range;
    pages.commit(range).expect("not armed for it");
    pages.advise(range, Advice::Hugepage).expect("the first");
    // SAFETY: nothing stands in simulated pages.
    let second = unsafe { pages.release(range, Release::Forced) };
    assert_eq!(second, Err(MapError::new(2 << 20, libc::EINVAL)));
    // SAFETY: nothing stands in simulated pages.
    unsafe { pages.release(range, Release::Forced) }.expect("the third");
    assert_eq!(pages.total_calls(), 5);
}

#[test]
fn from_the_nth_on_all_fail_until_disarmed() {
    let pages = FailingPages::new(SimulatedPages::new());
    pages.arm(Fault::from_nth(2));
    assert!(pages.reserve(WISH).is_ok());
    for _ in 0..5 {
        assert_eq!(pages.reserve(WISH).map_err(|error| error.errno).err(), Some(libc::ENOMEM));
    }
    pages.disarm();
    assert!(pages.reserve(WISH).is_ok());
    assert_eq!(pages.failures(), 5);
}

#[test]
fn arming_again_counts_from_the_beginning() {
    let pages = FailingPages::new(SimulatedPages::new());
    pages.arm(Fault::nth(3));
    assert!(pages.reserve(WISH).is_ok());
    pages.arm(Fault::nth(2));
    assert!(pages.reserve(WISH).is_ok());
    assert!(pages.reserve(WISH).is_err());
}
