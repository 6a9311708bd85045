//! The figures of the middle tier.

use crate::{OCCUPANCY_LISTS, ObjectMapsStats, UTILIZATION_BUCKETS};
use strata_page_heap::LIFETIME_BUCKETS;
use strata_sync::LockStats;

/// What one transfer cache holds and did; counts of objects unless named otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TransferStats {
    /// Held now.
    pub used: u64,
    /// Most that it may hold now.
    pub capacity: u64,
    /// Most that its capacity may become; 0 before its first use.
    pub max_capacity: u64,
    /// Calls that put in all they brought.
    pub insert_hits: u64,
    /// Calls that did not.
    pub insert_misses: u64,
    /// Objects for which there was no room.
    pub insert_object_misses: u64,
    /// Calls that took all they wanted.
    pub remove_hits: u64,
    /// Calls that did not.
    pub remove_misses: u64,
    /// Objects that were wanted and there.
    pub remove_object_hits: u64,
    /// Objects that were wanted and not there.
    pub remove_object_misses: u64,
    /// The cache's lock.
    pub lock: LockStats,
}

/// What one central free list holds and did.
///
/// `objects_out + free_objects = spans_in_use × objects_per_span`, at any moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CentralStats {
    /// Objects that its spans handed out and have not got back: with the program or in a cache above.
    pub objects_out: u64,
    /// Objects in its spans that nobody has.
    pub free_objects: u64,
    /// Spans that it has from the page heap.
    pub spans_in_use: u64,
    /// Spans that it ever got.
    pub spans_requested: u64,
    /// Spans that it ever gave back.
    pub spans_returned: u64,
    /// Objects that one span is cut into.
    pub objects_per_span: u64,
    /// Pages of its spans.
    pub live_pages: u64,
    /// Bytes of its spans behind their last objects.
    pub tail_bytes: u64,
    /// Of the free objects and what lies behind the last ones, bytes that went back to the kernel and were not used since.
    pub released_bytes: u64,
    /// Whether these may be of no one moment, since who was changing them is interrupted: see
    /// [`CentralFreeList::stats`](crate::CentralFreeList::stats).
    pub is_unknown: bool,
    /// The list's lock.
    pub lock: LockStats,
}

/// Both halves of one class.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClassStats {
    /// Size of an object in bytes.
    pub object_bytes: u64,
    /// Objects that move at a time.
    pub batch: u64,
    /// The transfer cache.
    pub transfer: TransferStats,
    /// The central free list.
    pub central: CentralStats,
}

impl ClassStats {
    /// Bytes in the transfer cache.
    pub const fn transfer_bytes(&self) -> u64 {
        self.transfer.used.wrapping_mul(self.object_bytes)
    }

    /// Bytes in the central free list: free objects, and what lies behind the last objects of spans.
    pub const fn central_bytes(&self) -> u64 {
        self.central
            .free_objects
            .wrapping_mul(self.object_bytes)
            .wrapping_add(self.central.tail_bytes)
    }

    /// Bytes of objects that spans handed out, those in caches above (the transfer cache included)
    /// with them.
    pub const fn out_bytes(&self) -> u64 {
        self.central.objects_out.wrapping_mul(self.object_bytes)
    }
}

/// All classes together, in bytes unless named otherwise.
///
/// `span_bytes = out + central`, exactly: each word of a class's figures is of one moment, unless
/// [`is_unknown`](Self::is_unknown).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct MiddleStats {
    /// In transfer caches.
    pub transfer_bytes: u64,
    /// In central free lists, what lies behind the last objects of spans included.
    pub central_bytes: u64,
    /// Of it, behind the last objects of spans.
    pub tail_bytes: u64,
    /// Of what is in central free lists, without memory behind it: kernel pages inside of spans that went back.
    #[cfg_attr(feature = "serde", serde(default))]
    pub released_bytes: u64,
    /// Handed out by spans and not back, as objects in the program's hands or in any cache.
    pub out_bytes: u64,
    /// Objects of `out_bytes`, as a number.
    pub objects_out: u64,
    /// Of the spans in use.
    pub span_bytes: u64,
    /// Spans in use, as a number.
    pub spans_in_use: u64,
    /// Capacity that resizing took from one class and has not given to another.
    pub spare_capacity_bytes: u64,
    /// Whether the figures of a class may be of no one moment: see [`CentralStats::is_unknown`].
    pub is_unknown: bool,
    /// Bitmaps of free objects.
    pub object_maps: ObjectMapsStats,
}

/// Buckets of a count of batches by the spans that filled them: 1, 2, up to 4, 8, 16, 32, 64, and more.
pub const SPANS_A_BATCH_BUCKETS: usize = 8;

/// Buckets of a count of runs of objects that came back to one span: those of 1, 2, up to 32 objects. Longer ones count as
/// several.
pub const SAME_SPAN_BUCKETS: usize = 32;

/// How the spans of a class are used, as numbers of spans or calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SpanCounts {
    /// Spans with free objects and objects out, from the fullest to the emptiest, by the list that they are on.
    pub occupancy: [usize; OCCUPANCY_LISTS],
    /// Spans with objects out, by the binary logarithm of how many.
    pub utilization: [u32; UTILIZATION_BUCKETS],
    /// Calls for objects by the spans that these came from, see [`SPANS_A_BATCH_BUCKETS`].
    pub spans_a_batch: [u32; SPANS_A_BATCH_BUCKETS],
    /// Spans that went back to the page heap, by how long they had objects: see
    /// [`LIFETIME_BOUNDS_MS`](strata_page_heap::LIFETIME_BOUNDS_MS).
    pub completed_lifetimes: [u32; LIFETIME_BUCKETS],
    /// Objects that came back in a row to the same span, by how many these were: see [`SAME_SPAN_BUCKETS`].
    pub same_span_returns: [u32; SAME_SPAN_BUCKETS],
}

/// How many spans of a class are on each list, the fullest spans first.
pub(crate) type Occupancy = [usize; OCCUPANCY_LISTS];
