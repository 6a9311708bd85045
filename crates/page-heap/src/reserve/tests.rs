use super::*;
use core::sync::atomic::{AtomicUsize, Ordering};
use strata_os::{
    CallKind, CallKinds, FailingPages, Fault, ManualClock, MapError, Reservation, SimulatedPages,
    SystemPages,
};
use strata_size_classes::Pages8K;
use strata_span::Ground;

type Site = Ground<Pages8K, FailingPages<SimulatedPages>, FailingPages<SystemPages>, ManualClock>;

fn site(limit: usize) -> Site {
    let source = FailingPages::new(SimulatedPages::new().with_limit(limit));
    Ground::new(source, FailingPages::new(SystemPages::new()), ManualClock::new(0))
}

fn take(reserve: &mut Reserve, site: &Site, count: usize) -> Option<AddressRange> {
    reserve.take(site, HugepageCount::new(count)).map(|taken| taken.range)
}

#[test]
fn steps_grow_with_use() {
    let (site, mut reserve) = (site(usize::MAX), Reserve::new());
    take(&mut reserve, &site, 1).expect("memory");
    assert_eq!(reserve.stats().reserved_bytes, 32 << 20);
    for _ in 0..16 {
        take(&mut reserve, &site, 1).expect("memory");
    }
    assert_eq!(reserve.stats().reserved_bytes, 96 << 20);
    take(&mut reserve, &site, 600).expect("memory");
    let stats = reserve.stats();
    assert_eq!((stats.reservations, stats.taken_bytes), (3, 617 << 21));
}

#[test]
fn steps_shrink_where_address_space_is_short_until_nothing_is_left() {
    let (site, mut reserve) = (site(48 << 20), Reserve::new());
    for taken in 0..24 {
        assert!(take(&mut reserve, &site, 1).is_some(), "after {taken}");
    }
    assert!(take(&mut reserve, &site, 1).is_none());
    let stats = reserve.stats();
    assert_eq!((stats.reserved_bytes, stats.taken_bytes), (48 << 20, 48 << 20));
    assert!(stats.refusals > 0);
}

#[test]
fn the_rest_of_an_earlier_step_is_used_when_it_fits() {
    let (site, mut reserve) = (site(usize::MAX), Reserve::new());
    let small = take(&mut reserve, &site, 2).expect("memory");
    take(&mut reserve, &site, 40).expect("memory");
    let all: usize = usize::try_from(reserve.stats().reserved_bytes).expect("fits");
    // Exhaust the newest step first.
    while reserve.stats().taken_bytes < (all - (28 << 20)) as u64 {
        take(&mut reserve, &site, 1).expect("memory");
    }
    assert_eq!(take(&mut reserve, &site, 14).map(|range| range.start), Some(small.end()));
    assert_eq!(reserve.stats().reservations, 2);
}

#[test]
fn a_piece_that_was_put_back_is_taken_again() {
    let (site, mut reserve) = (site(usize::MAX), Reserve::new());
    take(&mut reserve, &site, 3).expect("memory");
    let before = reserve.stats();
    let taken = reserve.take(&site, HugepageCount::new(2)).expect("memory");
    reserve.put_back(taken);
    let commits = site.source.calls(CallKind::Commit);
    assert_eq!(reserve.stats().taken_bytes, before.taken_bytes);
    assert_eq!(reserve.take(&site, HugepageCount::new(2)), Some(taken));
    assert_eq!(site.source.calls(CallKind::Commit), commits, "it stayed committed");
}

#[test]
fn commitment_goes_ahead_of_use_but_not_far() {
    let (site, mut reserve) = (site(usize::MAX), Reserve::new());
    take(&mut reserve, &site, 1).expect("memory");
    assert_eq!(reserve.stats().committed_ahead_bytes, 0, "a small heap commits what it needs");
    for _ in 0..1000 {
        take(&mut reserve, &site, 1).expect("memory");
        assert!(reserve.stats().committed_ahead_bytes <= 16 << 20);
    }
    assert!(site.source.calls(CallKind::Commit) < 150);
}

#[test]
fn a_refused_commit_leaves_the_piece_for_later() {
    let (site, mut reserve) = (site(usize::MAX), Reserve::new());
    let first = take(&mut reserve, &site, 1).expect("memory");
    site.source.arm(Fault::always().of(CallKinds::COMMIT));
    assert!(take(&mut reserve, &site, 1).is_none());
    site.source.disarm();
    assert_eq!(take(&mut reserve, &site, 1).map(|range| range.start), Some(first.end()));
}

/// Pages of a process that has all the mappings that it may have: none is cut in two.
struct NoMappingLeft {
    beneath: FailingPages<SimulatedPages>,
    /// How long the newest reservation is.
    whole_bytes: AtomicUsize,
}

// SAFETY: all comes from the source beneath, what is refused too.
unsafe impl strata_os::PageSourceLayer for NoMappingLeft {
    type Beneath = FailingPages<SimulatedPages>;

    fn beneath(&self) -> &Self::Beneath {
        &self.beneath
    }

    fn reserve(&self, request: ReserveRequest) -> Result<Reservation, MapError> {
        self.whole_bytes.store(request.bytes, Ordering::Relaxed);
        PageSource::reserve(&self.beneath, request)
    }

    fn commit(&self, range: AddressRange) -> Result<bool, MapError> {
        if range.bytes != self.whole_bytes.load(Ordering::Relaxed) {
            self.beneath.arm(Fault::always().of(CallKinds::COMMIT));
        }
        let committed = PageSource::commit(&self.beneath, range);
        self.beneath.disarm();
        committed
    }
}

#[test]
fn where_no_mapping_may_be_cut_what_is_needed_is_had_as_a_whole() {
    let beneath = FailingPages::new(SimulatedPages::new());
    let source = NoMappingLeft { beneath, whole_bytes: AtomicUsize::new(0) };
    let site: Ground<Pages8K, NoMappingLeft, SystemPages, ManualClock> =
        Ground::new(source, SystemPages::new(), ManualClock::new(0));
    let mut reserve = Reserve::new();
    for taken in 1..=20 {
        assert!(reserve.take(&site, HugepageCount::ONE).is_some(), "piece {taken}");
        assert!(!reserve.is_short());
        assert_eq!(reserve.stats().reserved_bytes, taken << 21, "nothing is reserved ahead");
    }
}

#[test]
fn a_reservation_that_cannot_be_noted_is_given_back() {
    let (site, mut reserve) = (site(usize::MAX), Reserve::new());
    site.metadata.arm(Fault::always());
    assert!(take(&mut reserve, &site, 1).is_none());
    assert_eq!(site.source.source().figures().reserved_bytes, 0);
    assert_eq!(reserve.stats().reserved_bytes, 0);
    let mut reservations = 0;
    reserve.for_each_reservation(|_| reservations += 1);
    assert_eq!(reservations, 0);
}

#[test]
fn what_lies_just_behind_a_piece_can_be_taken_by_its_address() {
    let (site, mut reserve) = (site(usize::MAX), Reserve::new());
    let piece = take(&mut reserve, &site, 2).expect("memory");
    let at = |reserve: &mut Reserve, start, count| {
        let taken = reserve.take_at(&site, start, HugepageCount::new(count));
        taken.map(|taken| taken.range)
    };
    assert_eq!(at(&mut reserve, piece.start, 1), None, "that is taken");
    assert_eq!(at(&mut reserve, piece.end() + HUGEPAGE_BYTES, 1), None, "that is not next");
    assert_eq!(at(&mut reserve, piece.end(), 15), None, "so much is not left");
    let behind = at(&mut reserve, piece.end(), 14).expect("the reservation goes on");
    assert_eq!(behind, AddressRange::new(piece.end(), 28 << 20));
    assert_eq!(at(&mut reserve, behind.end(), 1), None, "nothing is reserved for it");
    let stats = reserve.stats();
    assert_eq!((stats.reservations, stats.taken_bytes), (1, 32 << 20));
    assert_eq!(stats.committed_ahead_bytes, 0);
}

#[test]
fn what_nobody_took_goes_back_by_halves_until_nothing_is_left() {
    let (site, mut reserve) = (site(usize::MAX), Reserve::new());
    take(&mut reserve, &site, 3).expect("memory");
    let (mut left, mut rounds) = (13_usize, 0);
    while left > 0 {
        let given = reserve.give_back_half(&site);
        assert_eq!(given, left.div_ceil(2) << 21);
        left -= given >> 21;
        rounds += 1;
        let stats = reserve.stats();
        assert_eq!(stats.reserved_bytes, ((3 + left) << 21) as u64);
        let mut noted = 0;
        reserve.for_each_reservation(|range| noted += range.bytes as u64);
        assert_eq!(noted, stats.reserved_bytes);
    }
    assert_eq!((reserve.give_back_half(&site), rounds), (0, 4));
    assert_eq!(reserve.stats().committed_ahead_bytes, 0);
    assert!(take(&mut reserve, &site, 3).is_some(), "there is more where that came from");
}

#[test]
fn what_the_source_does_not_take_back_is_kept() {
    let (site, mut reserve) = (site(usize::MAX), Reserve::new());
    take(&mut reserve, &site, 3).expect("memory");
    let before = reserve.stats();
    site.source.arm(Fault::always().of(CallKinds::UNRESERVE));
    assert_eq!(reserve.give_back_half(&site), 0);
    assert_eq!(reserve.stats(), before);
}

#[test]
fn a_great_alignment_takes_nothing_before_what_is_aligned() {
    let (site, mut reserve) = (site(usize::MAX), Reserve::new());
    take(&mut reserve, &site, 3).expect("memory");
    let aligned = reserve.take_aligned(&site, HugepageCount::new(5), 512).expect("memory");
    assert!(aligned.range.start.is_multiple_of(1 << 30));
    assert_eq!(reserve.stats().taken_bytes, 8 << 21);
    // A small one takes what lies before it, so that no reservation is left behind for it.
    let aligned = reserve.take_aligned(&site, HugepageCount::new(2), 8).expect("memory");
    assert_eq!((aligned.range.start / HUGEPAGE_BYTES + 3) % 8, 0);
    assert_eq!(aligned.range.bytes, 5 << 21);
    let reserved = reserve.stats().reserved_bytes;
    for _ in 0..3 {
        reserve.take_aligned(&site, HugepageCount::new(1), 2).expect("memory");
    }
    assert_eq!(reserve.stats().reserved_bytes, reserved);
    // What is left of both goes on being used.
    let reserved = reserve.stats().reserved_bytes;
    for _ in 0..8 {
        take(&mut reserve, &site, 1).expect("memory");
    }
    assert_eq!(reserve.stats().reserved_bytes, reserved);
}

#[test]
fn what_was_taken_goes_back_over_the_ends_of_reservations_and_out_of_their_middles() {
    let (site, mut reserve) = (site(usize::MAX), Reserve::new());
    let first = take(&mut reserve, &site, 16).expect("memory");
    let second = take(&mut reserve, &site, 32).expect("memory");
    assert_eq!(second.start, first.end(), "simulated reservations lie side by side");
    let before = reserve.stats();
    // A middle, and then what reaches over the border.
    let middle = AddressRange::new(first.start + (4 << 21), 2 << 21);
    assert_eq!(reserve.give_back(&site, middle), 2 << 21);
    let border = AddressRange::new(first.end() - (3 << 21), 7 << 21);
    assert_eq!(reserve.give_back(&site, border), 7 << 21);
    let after = reserve.stats();
    assert_eq!(before.reserved_bytes - after.reserved_bytes, 9 << 21);
    assert_eq!(before.taken_bytes - after.taken_bytes, 9 << 21);
    let mut left = 0;
    reserve.for_each_reservation(|range| {
        left += range.bytes;
        for gone in [middle, border] {
            assert!(range.end() <= gone.start || range.start >= gone.end(), "{range:?}");
        }
    });
    assert_eq!(left as u64, after.reserved_bytes);
    assert_eq!(site.source.source().figures().reserved_bytes, left);
}

#[test]
fn what_the_source_does_not_take_back_stays_in_the_books() {
    let (site, mut reserve) = (site(usize::MAX), Reserve::new());
    let range = take(&mut reserve, &site, 16).expect("memory");
    let before = reserve.stats();
    site.source.arm(Fault::always().of(CallKinds::UNRESERVE));
    assert_eq!(reserve.give_back(&site, range), 0);
    site.source.disarm();
    // The middle of a range needs a note more.
    site.metadata.arm(Fault::always());
    let middle = AddressRange::new(range.start + (4 << 21), 2 << 21);
    while site.arena.allocate(&site.metadata, 64, 8, strata_span::MetadataKind::Other).is_some() {}
    assert_eq!(reserve.give_back(&site, middle), 0);
    assert_eq!(reserve.stats(), before);
    assert_eq!(reserve.give_back(&site, range), 32 << 20);
}
