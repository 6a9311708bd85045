//! Which of a row of places each class has, in the order in which classes are first asked for.

use strata_size_classes::{CLASS_SLOTS, SizeClass};
use strata_sync::atomic::{AtomicU8, Ordering};

/// Gives each class a place of its own below [`CLASS_SLOTS`], the next free one when it is first asked for.
///
/// A program of a few dozen blocks uses every second or third class. Where these have what they need side by side, a
/// program of 13 classes touches three pages for them, and not eight.
///
/// All zero bits: no class has a place. Any thread may ask at any time, also a signal handler that interrupted another
/// call: nobody waits for anybody.
#[derive(Debug)]
pub(crate) struct ClassPlaces {
    /// One more than the place of each class, and 0 before it is known. Written by who asks, always with the same
    /// value; read by all.
    places: [AtomicU8; CLASS_SLOTS],
    /// One more than the index of the class that has each place, and 0 while nobody has it: those behind are free,
    /// too. Written once each, by the first who asks for a class.
    takers: [AtomicU8; CLASS_SLOTS],
}

impl ClassPlaces {
    strata_sync::const_fn! {
        /// No class has a place.
        pub(crate) const fn new() -> Self {
            Self {
                places: strata_sync::const_array![AtomicU8::new(0); CLASS_SLOTS],
                takers: strata_sync::const_array![AtomicU8::new(0); CLASS_SLOTS],
            }
        }
    }

    /// The place of `class`, the same each time, and below [`CLASS_SLOTS`] by a mask.
    #[inline(always)]
    pub(crate) fn of(&self, class: SizeClass) -> usize {
        let known = self.places[class.index()].load(Ordering::Relaxed);
        let place = if known == 0 { self.take(class) } else { usize::from(known) - 1 };
        place & (CLASS_SLOTS - 1)
    }

    /// The place of a class that was not asked for before, or is asked for by several at this moment.
    ///
    /// Who looks for a place of `class` passes by those of others alone, and takes the first that is free. Another who
    /// looks for one cannot have taken a place further on: it would have come to this one before.
    #[cold]
    #[inline(never)]
    fn take(&self, class: SizeClass) -> usize {
        let name = class.raw() + 1;
        let is_of_class = |taker: &AtomicU8| {
            // Relaxed: what lies at the place was there before, and is guarded by locks of its own.
            match taker.compare_exchange(0, name, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => true,
                Err(other) => other == name,
            }
        };
        // There are as many places as classes: one is found.
        let place = self.takers.iter().position(is_of_class).unwrap_or(0);
        self.places[class.index()].store((place as u8).wrapping_add(1), Ordering::Relaxed);
        place
    }
}

#[cfg(test)]
mod tests;
