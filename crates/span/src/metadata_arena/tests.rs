use super::*;
use std::vec::Vec;
use strata_os::{CallKinds, FailingPages, Fault, SystemPages};

fn take(arena: &MetadataArena, bytes: usize, align: usize) -> Option<usize> {
    let piece = arena.allocate(&SystemPages::new(), bytes, align, MetadataKind::Other)?;
    Some(Address::of(piece.as_ptr().cast_const()).value())
}

/// The sum that the ledger rests on.
fn assert_sums(arena: &MetadataArena) {
    let stats = arena.stats();
    let sum = stats.allocated_bytes + stats.unallocated_bytes + stats.unavailable_bytes;
    assert_eq!(stats.reserved_bytes + stats.adopted_bytes, sum, "{stats:?}");
    let mut mapped = 0;
    arena.for_each_range(|range| mapped += range.bytes as u64);
    assert_eq!(stats.reserved_bytes, mapped, "{stats:?}");
}

#[test]
fn pieces_are_zeroed_aligned_and_apart() {
    let arena = MetadataArena::new();
    let mut ends = Vec::new();
    for (bytes, align) in
        [(1, 1), (24, 8), (64, 64), (100, 16), (4096, 4096), (65_535, 8)].repeat(40)
    {
        let start = take(&arena, bytes, align).expect("memory");
        assert_eq!(start % align, 0);
        let piece = Address::new(start).pointer();
        // SAFETY: the piece is ours, initialised to zero, and nobody else's.
        let piece = unsafe { core::slice::from_raw_parts_mut(piece, bytes) };
        assert!(piece.iter().all(|byte| *byte == 0));
        piece.fill(0xff);
        ends.push((start, start + bytes));
    }
    ends.sort_unstable();
    assert!(ends.windows(2).all(|two| two[0].1 <= two[1].0), "two pieces overlap");
    assert_sums(&arena);
}

#[test]
fn a_large_piece_is_a_mapping_of_its_own() {
    let arena = MetadataArena::new();
    take(&arena, 1, 1).expect("memory");
    let before = arena.stats();
    take(&arena, MetadataArena::LARGE_BYTES + 1, 8).expect("memory");
    let after = arena.stats();
    assert_eq!((after.large_pieces, after.blocks), (1, 1));
    assert!(after.reserved_bytes - before.reserved_bytes < MetadataArena::BLOCK_BYTES as u64);
    assert_sums(&arena);
}

#[test]
fn each_kind_is_counted_apart() {
    let (arena, source) = (MetadataArena::new(), SystemPages::new());
    for (index, kind) in MetadataKind::ALL.into_iter().enumerate() {
        arena.allocate(&source, 64 * (index + 1), 8, kind).expect("memory");
    }
    let stats = arena.stats();
    for (index, kind) in MetadataKind::ALL.into_iter().enumerate() {
        assert!(stats.bytes_by_kind[kind as usize] >= 64 * (index as u64 + 1));
        assert_eq!(kind as usize, index);
    }
    assert_sums(&arena);
}

#[test]
fn a_shorter_block_is_taken_where_address_space_is_short() {
    let (arena, source) = (MetadataArena::new(), FailingPages::new(SystemPages::new()));
    source.arm(Fault::nth(1).of(CallKinds::RESERVE));
    arena.allocate(&source, 64, 8, MetadataKind::Other).expect("the second try succeeds");
    assert_eq!(arena.stats().reserved_bytes, MetadataArena::SMALL_BLOCK_BYTES as u64);
    assert_sums(&arena);
}

#[test]
fn a_source_that_fails_at_any_call_loses_nothing() {
    for call in 1..12 {
        let (arena, source) = (MetadataArena::new(), FailingPages::new(SystemPages::new()));
        source.arm(Fault::nth(call));
        for bytes in [64, 1 << 17, 60_000, 1 << 20].repeat(4) {
            let _ = arena.allocate(&source, bytes, 8, MetadataKind::Other);
            assert_sums(&arena);
        }
    }
}

#[test]
fn a_large_piece_that_cannot_be_had_costs_nothing_however_often_it_is_asked_for() {
    let (arena, source) = (MetadataArena::new(), FailingPages::new(SystemPages::new()));
    arena.allocate(&source, 8, 8, MetadataKind::Other).expect("memory");
    let before = arena.stats();
    source.arm(Fault::always());
    for _ in 0..10 {
        assert!(arena.allocate(&source, 1 << 20, 8, MetadataKind::Other).is_none());
        assert!(arena.allocate(&source, usize::MAX, 8, MetadataKind::Other).is_none());
    }
    assert_eq!(ArenaStats { lock: before.lock, ..arena.stats() }, before);
}

#[test]
fn threads_take_pieces_at_once() {
    let arena = MetadataArena::new();
    let mut starts: Vec<usize> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| (0..2000).filter_map(|_| take(&arena, 48, 16)).collect::<Vec<_>>())
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    starts.sort_unstable();
    assert_eq!(starts.len(), 8000);
    assert!(starts.windows(2).all(|two| two[0] + 48 <= two[1]));
    assert_sums(&arena);
}

#[test]
fn a_spare_block_is_kept_for_when_the_source_has_no_more() {
    let source = FailingPages::new(SystemPages::new());
    let arena = MetadataArena::new();
    let piece = || arena.allocate(&source, 4096, 8, MetadataKind::Other);
    while arena.stats().blocks < 2 {
        assert!(piece().is_some());
    }
    assert_eq!(arena.stats().blocks, 3, "the second block comes with a spare one");
    source.arm(Fault::always());
    let unallocated = arena.stats().unallocated_bytes as usize;
    let mut bytes = 0;
    while piece().is_some() {
        bytes += 4096;
    }
    // What is too short for a piece at the end of both blocks is lost.
    assert!(bytes + 2 * 4096 > unallocated, "{bytes} of {unallocated}");
    assert!(bytes > MetadataArena::BLOCK_BYTES, "{bytes}");
    source.disarm();
    assert!(piece().is_some());
    let stats = arena.stats();
    assert_eq!(
        stats.reserved_bytes,
        stats.allocated_bytes + stats.unallocated_bytes + stats.unavailable_bytes
    );
}

#[test]
fn memory_of_others_serves_when_the_source_has_no_more() {
    let arena = MetadataArena::new();
    let source = FailingPages::new(SystemPages::new());
    let take = |bytes, kind| arena.allocate(&source, bytes, 8, kind);
    take(64, MetadataKind::Other).expect("memory");
    source.arm(Fault::always());
    assert!(!arena.is_short());
    while take(64, MetadataKind::Other).is_some() {}
    assert!(arena.is_short());
    let wish = ReserveRequest { bytes: 1 << 17, align: 1 << 17, purpose: Purpose::Heap };
    let lent = SystemPages::new().reserve(wish).expect("address space").range;
    SystemPages::new().commit(lent).expect("memory");
    // SAFETY: fresh memory, known to nobody else, that stays mapped.
    unsafe { arena.adopt(lent) };
    assert!(!arena.is_short());
    let piece = take(64, MetadataKind::Other).expect("it was given some");
    assert!(lent.contains(Address::of(piece.as_ptr().cast_const()).value()));
    assert!(
        take(64, MetadataKind::Ranges).is_none(),
        "notes of ranges lie in the arena's own blocks"
    );
    assert_eq!(arena.stats().adopted_bytes, 1 << 17);
    assert_sums(&arena);
    source.disarm();
    let note = take(64, MetadataKind::Ranges).expect("memory is back");
    assert!(!lent.contains(Address::of(note.as_ptr().cast_const()).value()));
    assert_sums(&arena);
}
