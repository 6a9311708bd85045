//! A class's spans that have free objects, ordered by how full they are.

use crate::{stats::Occupancy, tallies::Tallies};
use strata_span::{SpanHandle, SpanList};

/// Lists of spans that a class has, the fullest spans on the first.
pub const OCCUPANCY_LISTS: usize = 8;

/// Buckets of a count of spans by the objects that are out: bucket `i` has those with at least `2^i` and fewer than
/// `2^(i+1)`.
pub const UTILIZATION_BUCKETS: usize = 16;

/// A class's spans that have free objects and objects out. Each operation takes constant time.
///
/// A span with no object free, or with none out, is on no list. The fewer objects of a span are out, the
/// likelier it is to come home whole: so the lists tell spans apart finely where few are out, coarsely
/// where many are (TCMalloc's central free list).
#[derive(Debug)]
pub(crate) struct OccupancyLists {
    lists: [SpanList; OCCUPANCY_LISTS],
    /// A bit for each list that is not empty.
    filled: u8,
    /// All spans by the [magnitude](magnitude_of) of how many objects are out. What stands for none means nothing, as
    /// spans come and go without being counted there.
    utilization: [u32; UTILIZATION_BUCKETS + 1],
    /// What became of spans that are on no list any more.
    pub(crate) tallies: Tallies,
}

impl OccupancyLists {
    pub(crate) const fn new() -> Self {
        Self {
            lists: [const { SpanList::new() }; OCCUPANCY_LISTS],
            filled: 0,
            utilization: [0; UTILIZATION_BUCKETS + 1],
            tallies: Tallies::NONE,
        }
    }

    /// Forgets all spans; what became of others stays known.
    pub(crate) fn forget(&mut self) {
        *self = Self { tallies: self.tallies, ..Self::new() };
    }

    /// A span of the first list that has any: the fullest spans, as far as the lists tell.
    pub(crate) fn fullest(&self) -> Option<SpanHandle> {
        self.lists.get(self.filled.trailing_zeros() as usize)?.first()
    }

    /// Says that the span has `now` objects out, and puts it where it belongs.
    #[inline(always)]
    pub(crate) fn set_objects_out(&mut self, span: SpanHandle, now: u32) {
        let (capacity, before) = (span.object_capacity(), span.objects_out());
        let magnitudes = (magnitude_of(before), magnitude_of(now));
        span.set_objects_out(now);
        // Lists of many objects are those of a magnitude; that of 0 is none, as that of a full span.
        let stays =
            capacity > 2 * LISTS && magnitudes.0 == magnitudes.1 && before.max(now) < capacity;
        if !stays {
            self.rank(span, capacity, [before, now]);
        }
    }

    /// Counts a span anew, and puts it on another list if it has to be on one.
    #[inline(never)]
    fn rank(&mut self, span: SpanHandle, capacity: u32, [before, now]: [u32; 2]) {
        for (out, change) in [(before, u32::MAX), (now, 1)] {
            if let Some(count) = self.utilization.get_mut(magnitude_of(out)) {
                *count = count.wrapping_add(change);
            }
        }
        let (before, after) = (Self::list_of(capacity, before), Self::list_of(capacity, now));
        if before == after {
            return;
        }
        if let Some(index) = before {
            self.remove(index, span);
        }
        if let Some(index) = after {
            self.insert(index, span);
        }
    }

    /// How many spans each list has.
    pub(crate) fn lengths(&self) -> Occupancy {
        let mut lengths = [0; OCCUPANCY_LISTS];
        for (length, list) in lengths.iter_mut().zip(&self.lists) {
            *length = list.len();
        }
        lengths
    }

    /// How many spans have how many objects out.
    pub(crate) const fn utilization(&self) -> [u32; UTILIZATION_BUCKETS] {
        let [_, utilization @ ..] = self.utilization;
        utilization
    }

    fn insert(&mut self, index: usize, span: SpanHandle) {
        if let Some(list) = self.lists.get_mut(index) {
            list.push_front(span);
            self.filled |= 1 << index;
        }
    }

    fn remove(&mut self, index: usize, span: SpanHandle) {
        if let Some(list) = self.lists.get_mut(index) {
            list.remove(span);
            self.filled &= !(u8::from(list.is_empty()) << index);
        }
    }

    /// The list of a span of which `out` of `capacity` objects are out; exact up to 8 objects, in pairs up
    /// to 16, and by powers of two beyond. None where all are out, or none.
    #[inline]
    fn list_of(capacity: u32, out: u32) -> Option<usize> {
        if out == 0 || out >= capacity {
            return None;
        }
        let list = if capacity <= LISTS {
            LISTS - out
        } else if capacity <= 2 * LISTS {
            (2 * LISTS - out) / 2
        } else {
            LISTS - (magnitude_of(out) as u32).min(LISTS)
        };
        Some(list as usize % OCCUPANCY_LISTS)
    }
}

const LISTS: u32 = OCCUPANCY_LISTS as u32;

/// How many bits a number of objects has that are out of a span, which are fewer than 2^16: 0 of none.
#[inline(always)]
const fn magnitude_of(out: u32) -> usize {
    (out << 1 | 1).ilog2() as usize
}

#[cfg(all(test, not(strata_loom)))]
mod tests;
