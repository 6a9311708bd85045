//! The array of a transfer cache, and how much of it may be used.

use crate::{TransferPolicy, transfer_policy::Bounds};
use core::ptr::NonNull;
use strata_size_classes::ClassInfo;
use strata_span::{MetadataKind, Platform};

/// Pieces that a cache's array consists of, so that it grows without being copied.
const PIECES: usize = 4;

/// The array, and how much of it may be used.
#[derive(Debug)]
pub(super) struct Stack {
    /// Each is as long as `piece_length` says; the ones in front are made first.
    pieces: [Option<NonNull<*mut u8>>; PIECES],
    /// Objects a piece holds: a power of two; 0 until the first use.
    pub(super) piece_length: usize,
    pub(super) used: usize,
    pub(super) capacity: usize,
    pub(super) max_capacity: usize,
    /// The least that `used` was since the last plunder.
    pub(super) low_water: usize,
    /// Misses of both kinds up to the last round of resizing.
    pub(super) misses_seen: u64,
    /// Objects for which there was no room in this period, and that nobody missed since.
    pub(super) turned_away: usize,
    /// Objects that were missed after they had been turned away: with so much more capacity they would have been
    /// here. The cache has not grown by these yet.
    pub(super) regretted: usize,
    /// Objects that were missed after they had been turned away, less those that nobody wanted for a period: so many the
    /// cache is filled with where it else would hold fewer.
    pub(super) earned: usize,
}

// SAFETY: the pieces are metadata that this stack alone refers to, and its lock guards.
unsafe impl Send for Stack {}

impl Stack {
    /// No array, and no room before [`begin`](Self::begin).
    pub(super) const fn new() -> Self {
        Self {
            pieces: [None; PIECES],
            piece_length: 0,
            used: 0,
            capacity: 0,
            max_capacity: 0,
            low_water: 0,
            misses_seen: 0,
            turned_away: 0,
            regretted: 0,
            earned: 0,
        }
    }

    /// Sets the capacities.
    #[cold]
    pub(super) fn begin<T: TransferPolicy>(&mut self, info: &ClassInfo) {
        let bounds = Bounds::of::<T>(info);
        self.capacity = bounds.initial;
        self.max_capacity = bounds.max;
        self.piece_length = bounds.max.div_ceil(PIECES).next_power_of_two();
    }

    /// Makes room for `objects` more, as far as such were missed, up to `most` and its greatest capacity; says by
    /// how many it grew.
    pub(super) fn grow_for(&mut self, objects: usize, most: usize) -> usize {
        let needed = (self.used + objects).saturating_sub(self.capacity);
        let most = most.min(self.max_capacity).saturating_sub(self.capacity);
        let grown = needed.min(self.regretted).min(most);
        self.capacity += grown;
        self.regretted -= grown;
        grown
    }

    /// Notes that so many objects were wanted and not there.
    pub(super) fn note_missed(&mut self, objects: usize) {
        let regretted = objects.min(self.turned_away);
        self.turned_away -= regretted;
        self.regretted += regretted;
        self.earned += regretted;
    }

    /// Puts objects on top, as many as there is room for, and until there are `most`.
    pub(super) fn push<E: Platform>(
        &mut self,
        platform: &E,
        objects: &[*mut u8],
        most: usize,
    ) -> usize {
        let room = self.capacity.min(most).saturating_sub(self.used).min(objects.len());
        let mut pushed = 0;
        while pushed < room
            && self.have_piece(platform, self.used)
            && let Some(places) = self.piece_from(self.used)
            && let Some(rest) = objects.get(pushed..room)
        {
            let count = places.len().min(rest.len());
            for (place, object) in places.iter_mut().zip(rest) {
                *place = *object;
            }
            pushed += count;
            self.used += count;
        }
        pushed
    }

    /// Takes objects from the top.
    pub(super) fn pop(&mut self, out: &mut [*mut u8]) -> usize {
        let wanted = out.len().min(self.used);
        let mut popped = 0;
        while popped < wanted {
            let start = piece_start(self.used - 1, self.piece_length);
            let count = (self.used - start).min(wanted - popped);
            let first = self.used - count;
            let (Some(places), Some(rest)) = (self.piece_from(first), out.get_mut(popped..)) else {
                break;
            };
            for (slot, place) in rest.iter_mut().zip(places).take(count) {
                *slot = *place;
            }
            popped += count;
            self.used = first;
        }
        self.low_water = self.low_water.min(self.used);
        popped
    }

    pub(super) fn holds(&mut self, object: *mut u8) -> bool {
        (0..self.used).any(|index| self.at(index) == Some(object))
    }

    /// Takes objects from the bottom, and moves the others down.
    #[unsafe(link_section = ".text_rarely")]
    pub(super) fn pop_oldest(&mut self, out: &mut [*mut u8]) -> usize {
        let count = out.len().min(self.used);
        for (index, slot) in out.iter_mut().enumerate().take(count) {
            if let Some(object) = self.at(index) {
                *slot = object;
            }
        }
        for index in count..self.used {
            if let Some(object) = self.at(index)
                && let Some(place) = self.piece_from(index - count).and_then(<[_]>::first_mut)
            {
                *place = object;
            }
        }
        self.used -= count;
        self.low_water = self.low_water.saturating_sub(count);
        count
    }

    fn at(&mut self, index: usize) -> Option<*mut u8> {
        self.piece_from(index)?.first().copied()
    }

    /// Makes sure that there is a place for the object with this index.
    #[inline]
    fn have_piece<E: Platform>(&mut self, platform: &E, index: usize) -> bool {
        let length = self.piece_length;
        match self.pieces.get_mut(piece_of(index, length)) {
            Some(Some(_)) => true,
            Some(piece) => {
                *piece = allocate_piece(platform, length);
                piece.is_some()
            }
            None => false,
        }
    }

    /// The places from `index` to the end of its piece.
    #[inline]
    fn piece_from(&mut self, index: usize) -> Option<&mut [*mut u8]> {
        let length = self.piece_length;
        let piece = (*self.pieces.get(piece_of(index, length))?)?;
        // SAFETY: the arena gave the piece `length` places of zeroes, which are null pointers; they are
        // this stack's alone, which is borrowed for as long as the slice.
        let places = unsafe { core::slice::from_raw_parts_mut(piece.as_ptr(), length) };
        places.get_mut(index - piece_start(index, length)..)
    }
}

/// The piece that holds `index`, where pieces are `length` long: a power of two.
#[inline(always)]
const fn piece_of(index: usize, length: usize) -> usize {
    index >> (length.trailing_zeros() & (usize::BITS - 1))
}

/// The first index of the piece that holds `index`.
#[inline(always)]
const fn piece_start(index: usize, length: usize) -> usize {
    index & !length.wrapping_sub(1)
}

#[cold]
fn allocate_piece<E: Platform>(platform: &E, length: usize) -> Option<NonNull<*mut u8>> {
    let bytes = length.checked_mul(size_of::<*mut u8>())?;
    let piece = platform.arena().allocate(
        platform.metadata(),
        bytes,
        align_of::<*mut u8>(),
        MetadataKind::TransferCaches,
    )?;
    Some(piece.cast())
}
