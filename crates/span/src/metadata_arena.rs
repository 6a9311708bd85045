//! Where the allocator's own structures live.

use crate::{Address, RangeLog, range_log};
use core::ptr::NonNull;
use strata_os::{AddressRange, PageSource, Purpose, ReserveRequest};
use strata_sync::{
    LockStats, Mutex,
    atomic::{AtomicU64, Ordering},
    const_fn,
};

/// What a piece of metadata is for; the ledger shows each kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[non_exhaustive]
pub enum MetadataKind {
    /// Roots and leaves of page maps.
    PageMap,
    /// Span structures.
    Spans,
    /// Bitmaps of free objects.
    ObjectMaps,
    /// Arrays of transfer caches.
    TransferCaches,
    /// Trackers of hugepages and regions.
    Hugepages,
    /// Nodes of address maps.
    AddressMaps,
    /// Records of threads, their caches included.
    Threads,
    /// Notes of reserved ranges.
    Ranges,
    /// Everything else.
    Other,
}

impl MetadataKind {
    /// How many kinds there are.
    pub const COUNT: usize = 9;
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::PageMap,
        Self::Spans,
        Self::ObjectMaps,
        Self::TransferCaches,
        Self::Hugepages,
        Self::AddressMaps,
        Self::Threads,
        Self::Ranges,
        Self::Other,
    ];
}

/// What a metadata arena holds, in bytes unless named otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct ArenaStats {
    /// Mapped by the arena, in blocks and in reservations for large pieces.
    pub reserved_bytes: u64,
    /// In blocks that it was given from memory of others.
    pub adopted_bytes: u64,
    /// Handed out, alignment included.
    pub allocated_bytes: u64,
    /// Of the blocks, not handed out yet: the rest of the current block, and the spare one.
    pub unallocated_bytes: u64,
    /// Of the blocks, left over behind the last piece of a full block.
    pub unavailable_bytes: u64,
    /// Handed out, by [`MetadataKind`].
    pub bytes_by_kind: [u64; MetadataKind::COUNT],
    /// Number of blocks.
    pub blocks: u64,
    /// Of these, kept back for when there are no more, as a number.
    pub spare_blocks: u64,
    /// Whether the blocks could not be read: see [`MetadataArena::stats`].
    pub is_unknown: bool,
    /// Number of reservations for single large pieces.
    pub large_pieces: u64,
    /// The arena's lock.
    pub lock: LockStats,
}

/// A bump allocator over blocks of address space that are never given back.
///
/// Any thread may allocate; pieces come zeroed. One lock, held for a few instructions, or for the
/// system calls of a new block. Pieces above [`MetadataArena::LARGE_BYTES`] get a reservation of
/// their own, of which only what is touched costs memory.
///
/// Where the source has no more, it goes on in memory that it is given by others ([`adopt`](Self::adopt)).
///
/// What is given back goes to a typed free list above ([`Pool`](crate::Pool)).
#[derive(Debug)]
pub struct MetadataArena {
    /// Guards the current block. Rank: below every other lock, nothing is locked under it.
    current: Mutex<Blocks>,
    blocks: AtomicU64,
    large_pieces: AtomicU64,
    /// All counters: written under the lock, read by figures.
    reserved_bytes: AtomicU64,
    adopted_bytes: AtomicU64,
    unavailable_bytes: AtomicU64,
    bytes_by_kind: [AtomicU64; MetadataKind::COUNT],
    ranges: RangeLog,
}

/// The block that pieces are cut from.
#[derive(Debug)]
struct Blocks {
    current: Block,
    /// Kept for the moment when the source has no more: what is free already may need a little metadata to be
    /// handed out. Had with the second block, so that a small process does without.
    spare: Block,
    /// Whether the source had no more when a block was last asked for.
    refused: bool,
}

/// The rest of a block; empty if both are 0.
#[derive(Debug)]
struct Block {
    next: usize,
    end: usize,
    /// Whether it lies in somebody else's memory.
    adopted: bool,
}

impl MetadataArena {
    /// Size of a block.
    pub const BLOCK_BYTES: usize = 1 << 20;
    /// Size of a block where address space is short.
    pub const SMALL_BLOCK_BYTES: usize = 1 << 17;
    /// What is left of a block is little below this: room for the structures of one span.
    const SHORT_BYTES: usize = 4096;
    /// Pieces of this size and more get a reservation of their own.
    pub const LARGE_BYTES: usize = 1 << 16;

    const_fn! {
        /// An arena that has nothing yet.
        pub const fn new() -> Self {
            Self {
                current: Mutex::new(Blocks {
                    current: Block::NONE,
                    spare: Block::NONE,
                    refused: false,
                }),
                blocks: AtomicU64::new(0),
                large_pieces: AtomicU64::new(0),
                reserved_bytes: AtomicU64::new(0),
                adopted_bytes: AtomicU64::new(0),
                unavailable_bytes: AtomicU64::new(0),
                bytes_by_kind: no_bytes(),
                ranges: RangeLog::new(),
            }
        }
    }

    /// A zeroed piece of `bytes` bytes at a multiple of `align` (a power of two, at most the
    /// kernel's page size), which stays until the heap ends. None when `source` has no more.
    pub fn allocate<M: PageSource>(
        &self,
        source: &M,
        bytes: usize,
        align: usize,
        kind: MetadataKind,
    ) -> Option<NonNull<u8>> {
        if bytes >= Self::LARGE_BYTES {
            return self.allocate_large(source, bytes, kind);
        }
        let mut blocks = self.current.lock();
        loop {
            let block = &mut blocks.current;
            if let Some(start) = Address::new(block.next).align_up(align)
                && let Some(end) = start.value().checked_add(bytes)
                && end <= block.end
                && block.next != 0
                // Somebody else's memory goes before the notes are read by which ours does.
                && !(block.adopted && matches!(kind, MetadataKind::Ranges))
            {
                self.count(kind, end - block.next);
                block.next = end;
                return start.non_null();
            }
            self.begin_block(source, &mut blocks)?;
        }
    }

    /// Whether the source has no more blocks, and little is left of those that it gave: then [`adopt`](Self::adopt) helps.
    pub fn is_short(&self) -> bool {
        let blocks = self.current.lock();
        blocks.refused && blocks.current.bytes() < Self::SHORT_BYTES && blocks.spare.bytes() == 0
    }

    /// Goes on with `range`, which the source of the blocks did not give. What is left of the current block is lost.
    ///
    /// # Safety
    ///
    /// `range` is aligned to 16, readable and writable, reads as zero, is nobody else's, and stays until nobody
    /// uses the arena's pieces any more.
    pub unsafe fn adopt(&self, range: AddressRange) {
        let mut blocks = self.current.lock();
        let block = Block { next: range.start, end: range.end(), adopted: true };
        let left_over = core::mem::replace(&mut blocks.current, block).bytes();
        self.unavailable_bytes.fetch_add(left_over as u64, Ordering::Relaxed);
        self.adopted_bytes.fetch_add(range.bytes as u64, Ordering::Relaxed);
    }

    /// What the arena holds now. In a signal handler that interrupted the holder of the lock, what is not handed out of
    /// its blocks is not known, and the figures say so.
    pub fn stats(&self) -> ArenaStats {
        let unallocated = self.current.lock_for_figures().map(|blocks| {
            let bytes = (blocks.current.bytes() + blocks.spare.bytes()) as u64;
            (bytes, u64::from(blocks.spare.bytes() != 0))
        });
        let (unallocated_bytes, spare_blocks) = unallocated.unwrap_or_default();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut bytes_by_kind = [0; MetadataKind::COUNT];
        for (bytes, counter) in bytes_by_kind.iter_mut().zip(&self.bytes_by_kind) {
            *bytes = load(counter);
        }
        ArenaStats {
            reserved_bytes: load(&self.reserved_bytes),
            adopted_bytes: load(&self.adopted_bytes),
            allocated_bytes: bytes_by_kind.iter().sum(),
            unallocated_bytes,
            unavailable_bytes: load(&self.unavailable_bytes),
            bytes_by_kind,
            blocks: load(&self.blocks),
            spare_blocks,
            is_unknown: unallocated.is_none(),
            large_pieces: load(&self.large_pieces),
            lock: self.current.stats(),
        }
    }

    /// Bytes that were handed out, of all kinds. Takes no lock.
    pub fn allocated_bytes(&self) -> u64 {
        self.bytes_by_kind.iter().map(|counter| counter.load(Ordering::Relaxed)).sum()
    }

    /// Calls `visit` for each range that the arena mapped. Notes of ranges live in the ranges:
    /// whoever gives them back does so inside `visit` and uses nothing from the arena afterwards.
    pub fn for_each_range(&self, visit: impl FnMut(AddressRange)) {
        self.ranges.for_each(visit);
    }

    /// Takes the arena's lock, so that a fork finds the arena at rest.
    pub fn acquire(&self) {
        self.current.acquire();
    }

    /// Gives it back after the fork.
    ///
    /// # Safety
    ///
    /// This thread took it with [`Self::acquire`], or is the child of the thread that did.
    pub unsafe fn release(&self) {
        // SAFETY: `acquire` took the lock, in this thread or in the one that forked it, and no guard of it lives.
        unsafe { self.current.release() };
    }

    /// Replaces the current block by a fresh one, or else by the spare one.
    fn begin_block<M: PageSource>(&self, source: &M, blocks: &mut Blocks) -> Option<()> {
        let is_first = blocks.current.end == 0;
        let fresh = [Self::BLOCK_BYTES, Self::SMALL_BLOCK_BYTES]
            .into_iter()
            .find_map(|bytes| self.new_block(source, bytes));
        if fresh.is_some() && !is_first && blocks.spare.bytes() == 0 {
            blocks.spare = self.new_block(source, Self::SMALL_BLOCK_BYTES).unwrap_or(Block::NONE);
        }
        blocks.refused = fresh.is_none();
        let next = match fresh {
            Some(fresh) => fresh,
            None if blocks.spare.bytes() != 0 => core::mem::replace(&mut blocks.spare, Block::NONE),
            None => return None,
        };
        let left_over = core::mem::replace(&mut blocks.current, next).bytes();
        self.unavailable_bytes.fetch_add(left_over as u64, Ordering::Relaxed);
        Some(())
    }

    /// A block of `bytes` bytes, whose first piece notes it.
    fn new_block<M: PageSource>(&self, source: &M, bytes: usize) -> Option<Block> {
        let range = reserve_committed(source, bytes)?;
        let place = Address::new(range.start).non_null()?;
        self.reserved_bytes.fetch_add(range.bytes as u64, Ordering::Relaxed);
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.count(MetadataKind::Ranges, size_of::<range_log::Node>());
        // SAFETY: the block is fresh, committed memory, and its first bytes are left to this note.
        unsafe { self.ranges.push_at(place.cast(), range) };
        let next = range.start + size_of::<range_log::Node>();
        Some(Block { next, end: range.end(), adopted: false })
    }

    /// A reservation for one large piece.
    fn allocate_large<M: PageSource>(
        &self,
        source: &M,
        bytes: usize,
        kind: MetadataKind,
    ) -> Option<NonNull<u8>> {
        let granule = source.page_bytes();
        let bytes = Address::new(bytes).align_up(granule)?.value();
        let range = reserve_committed(source, bytes)?;
        let (bytes, align) = (size_of::<range_log::Node>(), align_of::<range_log::Node>());
        let Some(note) = self.allocate(source, bytes, align, MetadataKind::Ranges) else {
            // SAFETY: the range was just reserved, and nobody else knows it.
            let _ = unsafe { source.unreserve(range) };
            return None;
        };
        // SAFETY: the arena gave the note's bytes to this call alone.
        unsafe { self.ranges.push_at(note.cast(), range) };
        self.reserved_bytes.fetch_add(range.bytes as u64, Ordering::Relaxed);
        self.large_pieces.fetch_add(1, Ordering::Relaxed);
        self.count(kind, range.bytes);
        Address::new(range.start).non_null()
    }

    /// Adds to the figures of a kind.
    fn count(&self, kind: MetadataKind, bytes: usize) {
        if let Some(counter) = self.bytes_by_kind.get(kind as usize) {
            counter.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }
}

impl Block {
    const NONE: Self = Self { next: 0, end: 0, adopted: false };

    const fn bytes(&self) -> usize {
        self.end - self.next
    }
}

impl Default for MetadataArena {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(not(strata_loom))]
const fn no_bytes() -> [AtomicU64; MetadataKind::COUNT] {
    [const { AtomicU64::new(0) }; MetadataKind::COUNT]
}

#[cfg(strata_loom)]
fn no_bytes() -> [AtomicU64; MetadataKind::COUNT] {
    core::array::from_fn(|_| AtomicU64::new(0))
}

/// Readable, writable, zeroed address space for metadata.
fn reserve_committed<M: PageSource>(source: &M, bytes: usize) -> Option<AddressRange> {
    let align = source.page_bytes();
    let reservation =
        source.reserve(ReserveRequest { bytes, align, purpose: Purpose::Metadata }).ok()?;
    let mut zeroed = reservation.zeroed;
    if !reservation.committed {
        match source.commit(reservation.range) {
            Ok(still_zeroed) => zeroed &= still_zeroed,
            Err(_) => {
                // SAFETY: the range was just reserved, and nobody else knows it.
                let _ = unsafe { source.unreserve(reservation.range) };
                return None;
            }
        }
    }
    if !zeroed {
        let start = Address::new(reservation.range.start).pointer();
        // SAFETY: the range is committed, can be touched as metadata must, and nobody else knows
        // it.
        unsafe { start.write_bytes(0, reservation.range.bytes) };
    }
    Some(reservation.range)
}

#[cfg(test)]
mod tests;
