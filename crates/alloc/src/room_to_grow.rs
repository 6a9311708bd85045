//! Room for blocks that are expected to grow on.
//!
//! A block that doubles from 64 bytes to 64 KiB is copied ten times, and each of the last copies costs more than
//! all calls together. So a heap counts the sizes that blocks grow to, by powers of two. A block that grows to one
//! of them is given an object of the longest class to which half of those came that were there before. It has the
//! room that it is going to need: it is not copied any more, and leaves no blocks of the sizes between behind.
//!
//! Room may be given in vain, to blocks that end early; when a block is freed nobody looks at that. So room is
//! given on credit: a block that fills its room pays for itself, and with an eighth of that for others. What was
//! given in vain is [`CREDIT_BYTES`] at most, and an eighth of what blocks have filled.
//!
//! What such an object was asked for stands in its span ([`Span::asked_for`]), so that a block which shrinks is
//! told from one that is still growing, and a free that says the size from one that says a wrong one. It stays
//! there when the block is freed. Who gets the object next, for all of its size, may keep it where it could have
//! moved to a shorter one; nothing else comes of it.
//!
//! Only for blocks whose frees look what they are: one that trusts a size would take the object for one of a shorter class.

use crate::{Core, Heap, HeapConfig};
use core::ptr::NonNull;
use strata_size_classes::{ClassEntry, PageSize, SizeClass};
use strata_span::{Address, Platform, Span, SpanHandle, SpanPlace};
use strata_sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Blocks that grow to this size or less cost as little to copy as to think about. At half, a block that doubles up
/// to 4 KiB takes a third longer.
pub(crate) const COUNTED_ABOVE_BYTES: usize = 2 << 10;

/// Steps that are counted: up to 4 KiB, to 8, … to 256, and above.
const STEPS: usize = 8;

/// Where one step has so many, all are halved: what the program did before is forgotten by that.
const FORGETS_AT: u32 = 256;

/// So many must have come to a size before anything is expected of the next.
const BELIEVED_FROM: u32 = 8;

/// Blocks that are given before any is filled: 64 of 64 KiB that grow in turn. At half, those of the benchmark
/// `grow-many` get it for half of their blocks, and the others lie about them: 0.2 MiB more at the peak.
const CREDIT_BYTES: usize = 4 << 20;

/// How many blocks grew to which sizes of late, and what room was given to them. All zero bits are none.
///
/// Written by all threads, off the common path. Counts are stored without read-modify-writes: of two at the same
/// moment one may go uncounted. Publishes nothing.
#[derive(Debug)]
pub(crate) struct GrowthHistory {
    came_to: [AtomicU32; STEPS],
    /// Bytes of blocks that have not filled their room yet, as far as is known. Read-modify-writes: what went
    /// uncounted would be missing for ever.
    unpaid_bytes: AtomicUsize,
}

impl GrowthHistory {
    /// Notes that a block grew from one size to another.
    pub(crate) fn note(&self, from_bytes: usize, to_bytes: usize) {
        let passed = self.came_to.get(step(from_bytes)..step(to_bytes)).unwrap_or_default();
        let mut most = 0;
        for counter in passed {
            let count = counter.load(Ordering::Relaxed) + 1;
            counter.store(count, Ordering::Relaxed);
            most = most.max(count);
        }
        if most >= FORGETS_AT {
            for counter in &self.came_to {
                counter.store(counter.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
            }
        }
    }

    /// The size that a block is expected to reach which grew to `bytes`: a power of two, up to that of the longest class.
    pub(crate) fn expected_of(&self, bytes: usize) -> Option<usize> {
        let first = step(bytes);
        let mut counts = self.came_to.get(first.checked_sub(1)?..STEPS - 1)?.iter();
        let here = counts.next()?.load(Ordering::Relaxed);
        // More than came here are blocks that began further on: of these ones nothing is known.
        let likely = here.div_ceil(2)..=here + here / 8;
        let further =
            counts.take_while(|count| likely.contains(&count.load(Ordering::Relaxed))).count();
        (here >= BELIEVED_FROM && further > 0).then(|| COUNTED_ABOVE_BYTES << (first + further))
    }

    /// Whether a block of so many bytes may be given to one that does not fill it yet; if so, that is owed.
    pub(crate) fn lend(&self, bytes: usize) -> bool {
        let unpaid = self.unpaid_bytes.load(Ordering::Relaxed);
        let is_lent = unpaid.saturating_add(bytes) <= CREDIT_BYTES;
        if is_lent {
            self.unpaid_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        is_lent
    }

    /// Notes that so much is not owed any more.
    pub(crate) fn pay_back(&self, bytes: usize) {
        let paid = |unpaid: usize| Some(unpaid.saturating_sub(bytes));
        let _ = self.unpaid_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, paid);
    }
}

/// How many of the counted sizes lie below `bytes`, all of them at most.
fn step(bytes: usize) -> usize {
    let above = bytes.saturating_sub(1) / COUNTED_ABOVE_BYTES;
    above.checked_ilog2().map_or(0, |log| log as usize + 1).min(STEPS)
}

/// An object with room for more than it was asked for.
#[derive(Clone, Copy)]
pub(crate) struct Room {
    place: Place,
    class: SizeClass,
    asked: SizeClass,
    /// The size of the class that it was asked for.
    pub(crate) asked_bytes: usize,
}

/// An object, in a span that tells what its objects were asked for.
#[derive(Clone, Copy)]
struct Place {
    span: SpanHandle,
    index: u32,
}

impl<C: HeapConfig> Core<C> {
    /// The room that an object of `class` has for more than it was asked for; none where nothing is told of that.
    #[inline(always)]
    pub(crate) fn room_of(&self, class: SizeClass, address: Address) -> Option<Room> {
        if C::Pages::TABLE.size(class) <= COUNTED_ABOVE_BYTES {
            return None;
        }
        self.told_room(class, address)
    }

    #[inline(never)]
    fn told_room(&self, class: SizeClass, address: Address) -> Option<Room> {
        let place = self.place_with_room(class, address)?;
        let asked = place.span.asked_for(place.index);
        let asked_bytes = C::Pages::TABLE.size(asked);
        (!asked.is_none()).then_some(Room { place, class, asked, asked_bytes })
    }

    /// The class that an object of `class` was asked for, if it got room to grow.
    #[cold]
    pub(crate) fn asked_for(&self, class: SizeClass, address: Address) -> Option<SizeClass> {
        self.room_of(class, address).map(|room| room.asked)
    }

    /// Whether an object with room can stay for what is `wanted`; if so, what it has grown to is noted, and if not,
    /// that it gives up its room.
    #[inline(never)]
    pub(crate) fn grows_within(&self, room: &Room, wanted: Option<ClassEntry>) -> bool {
        let bytes = C::Pages::TABLE.size(room.class);
        let within = room.asked_bytes..=bytes;
        let Some(wanted) = wanted.filter(|wanted| within.contains(&wanted.size())) else {
            self.growth.pay_back(bytes);
            return false;
        };
        self.growth.note(room.asked_bytes, wanted.size());
        if wanted.class() == room.class {
            self.growth.pay_back(bytes + bytes / 8);
            room.place.set_asked_for(SizeClass::NONE);
        } else {
            room.place.set_asked_for(wanted.class());
        }
        true
    }

    /// Notes that a block grows to `to_bytes`, and says of which class it should be to have room for what is
    /// expected of it, if that is a longer one than `exact`.
    pub(crate) fn class_with_room(
        &self,
        from_bytes: usize,
        to_bytes: usize,
        align: usize,
        exact: Option<ClassEntry>,
    ) -> Option<ClassEntry> {
        self.growth.note(from_bytes, to_bytes);
        let entry = Heap::<C>::entry(self.growth.expected_of(to_bytes)?, align)?;
        let is_told = C::Pages::TABLE.info(entry.class()).objects <= Span::TOLD_OBJECTS;
        (is_told && entry.size() > exact?.size() && self.growth.lend(entry.size())).then_some(entry)
    }

    /// Notes what a block of the class `given`, with room to grow, was asked for; null is none, and owes nothing.
    pub(crate) fn note_asked_for(
        &self,
        given: SizeClass,
        block: *mut u8,
        asked: Option<ClassEntry>,
    ) {
        let place = NonNull::new(block)
            .and_then(|block| self.place_with_room(given, Address::of(block.as_ptr())));
        match (place, asked) {
            (Some(place), Some(asked)) => place.set_asked_for(asked.class()),
            _ => self.growth.pay_back(C::Pages::TABLE.size(given)),
        }
    }

    /// Where an object is, if it is of a class that is given to blocks that grow.
    fn place_with_room(&self, class: SizeClass, address: Address) -> Option<Place> {
        let info = C::Pages::TABLE.info(class);
        let may_have =
            info.size as usize > COUNTED_ABOVE_BYTES && info.objects <= Span::TOLD_OBJECTS;
        if !may_have || self.observer().is_some() {
            return None;
        }
        let span = self.map().span_at(address.value())?;
        if span.class() != class || span.place() != SpanPlace::InUse {
            return None;
        }
        let index = info.object_index(address.offset_from(span.objects_start::<C::Pages>()));
        (index < info.objects).then_some(Place { span, index })
    }
}

impl Place {
    fn set_asked_for(self, class: SizeClass) {
        self.span.set_asked_for(self.index, class);
    }
}

#[cfg(test)]
mod tests;
