//! Values of the recent past, by epochs.

/// A value that one epoch of a [`TimeSeries`] holds.
pub(crate) trait EpochValue: Copy {
    /// An epoch in which nothing was reported; it counts as nothing.
    const NOTHING: Self;
}

/// The last `EPOCHS` epochs of `EPOCH_NS` nanoseconds each, a value an epoch.
///
/// All zero bits are a series without a past, if they are so for the value. A clock that jumps back
/// by more than its users smooth out starts the series anew; one that leaps ahead forgets what is
/// too old.
///
/// The first epoch stands at the end, beside what is known of all, and later ones before it: so a program of a few
/// epochs has them on one page, with what follows the series.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct TimeSeries<T, const EPOCHS: usize, const EPOCH_NS: u64> {
    epochs: [T; EPOCHS],
    /// The number of the epoch that stands at the end, plus one.
    first: u64,
    /// The same of the newest one; 0 before the first.
    newest: u64,
    /// When that ends, 0 before the first, and where it stands: so that no report of it divides.
    newest_ends_ns: u64,
    newest_slot: usize,
}

impl<T: EpochValue, const EPOCHS: usize, const EPOCH_NS: u64> TimeSeries<T, EPOCHS, EPOCH_NS> {
    /// No past.
    pub(crate) const EMPTY: Self = {
        assert!(EPOCHS > 0 && EPOCH_NS > 0, "a series has epochs, and they last");
        Self {
            newest: 0,
            first: 0,
            newest_ends_ns: 0,
            newest_slot: 0,
            epochs: [T::NOTHING; EPOCHS],
        }
    };

    /// The value of the epoch of `now_ns`, to be changed.
    #[inline]
    pub(crate) fn at(&mut self, now_ns: u64) -> Option<&mut T> {
        let left_ns = self.newest_ends_ns.wrapping_sub(now_ns);
        if left_ns.wrapping_sub(1) >= EPOCH_NS {
            self.move_to(now_ns / EPOCH_NS + 1);
        }
        self.epochs.get_mut(self.newest_slot)
    }

    /// The values of the epochs that began within the last `span_ns` before the end of the epoch of
    /// `now_ns`, the newest first.
    pub(crate) fn recent(&self, now_ns: u64, span_ns: u64) -> impl Iterator<Item = &T> {
        self.numbered(now_ns, span_ns).map(|(_, value)| value)
    }

    /// The same, each with the number of its epoch since the beginning of the clock, plus one.
    pub(crate) fn numbered(&self, now_ns: u64, span_ns: u64) -> impl Iterator<Item = (u64, &T)> {
        let end = now_ns / EPOCH_NS + 1;
        let wanted = span_ns.div_ceil(EPOCH_NS).clamp(1, EPOCHS as u64);
        let oldest = end.saturating_sub(wanted) + 1;
        let kept = (self.newest + 1).saturating_sub(EPOCHS as u64);
        let begin = oldest.max(kept).max(1);
        // Nothing is told of a future that a clock took back.
        let last = if self.newest <= end { self.newest } else { 0 };
        (begin..=last).rev().filter_map(|epoch| Some((epoch, self.epochs.get(self.slot(epoch))?)))
    }

    #[cold]
    fn move_to(&mut self, epoch: u64) {
        let ahead = epoch.wrapping_sub(self.newest);
        if ahead == 0 {
            return;
        }
        if self.newest == 0 {
            // Nothing was ever entered: a small program is spared the memory of a past that it does not have.
            self.first = epoch;
        } else if epoch < self.newest || ahead >= EPOCHS as u64 {
            self.epochs.fill(T::NOTHING);
            self.first = epoch;
        } else {
            for passed in 0..ahead {
                let slot = self.slot(epoch - passed);
                if let Some(value) = self.epochs.get_mut(slot) {
                    *value = T::NOTHING;
                }
            }
        }
        self.newest = epoch;
        self.newest_ends_ns = epoch.saturating_mul(EPOCH_NS);
        self.newest_slot = self.slot(epoch);
    }

    /// Where an epoch stands that is among the last ones: from the end to the front, and on from there.
    const fn slot(&self, epoch: u64) -> usize {
        let distance = EPOCHS as u64 + epoch % EPOCHS as u64 - self.first % EPOCHS as u64;
        EPOCHS - 1 - (distance % EPOCHS as u64) as usize
    }
}

/// The sum of what was counted in an epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sum(pub(crate) u64);

impl EpochValue for Sum {
    const NOTHING: Self = Self(0);
}

/// The least and the greatest of what was reported in an epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extremes {
    /// Stored inverted, so that all zero bits are "nothing yet".
    least_inverted: u64,
    greatest: u64,
}

impl EpochValue for Extremes {
    const NOTHING: Self = Self { least_inverted: 0, greatest: 0 };
}

impl Extremes {
    /// Takes `value` in.
    #[inline]
    pub(crate) fn report(&mut self, value: usize) {
        self.least_inverted = self.least_inverted.max(!(value as u64));
        self.greatest = self.greatest.max(value as u64);
    }

    /// The least; none if nothing was reported.
    pub(crate) fn least(&self) -> Option<usize> {
        (self.least_inverted != 0).then_some(!self.least_inverted as usize)
    }

    /// The greatest; none if nothing was reported.
    pub(crate) fn greatest(&self) -> Option<usize> {
        (self.least_inverted != 0).then_some(self.greatest as usize)
    }
}

impl<const EPOCHS: usize, const EPOCH_NS: u64> TimeSeries<Extremes, EPOCHS, EPOCH_NS> {
    /// Takes the value at `now_ns` in.
    #[inline]
    pub(crate) fn report(&mut self, now_ns: u64, value: usize) {
        if let Some(epoch) = self.at(now_ns) {
            epoch.report(value);
        }
    }

    /// The least value of the whole series; none if it is empty.
    pub(crate) fn least(&self, now_ns: u64) -> Option<usize> {
        self.recent(now_ns, u64::MAX).filter_map(Extremes::least).min()
    }

    /// The greatest value of the whole series; none if it is empty.
    pub(crate) fn greatest(&self, now_ns: u64) -> Option<usize> {
        self.recent(now_ns, u64::MAX).filter_map(Extremes::greatest).max()
    }
}

#[cfg(test)]
mod tests;
