//! What was wanted over the last moments.

/// How much of something was wanted at most, over the last [`EPOCHS`](Self::EPOCHS) epochs. All zero bits are one that knows nothing
/// yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peaks {
    by_epoch: [u64; Self::EPOCHS],
    next: usize,
    filled: usize,
}

impl Peaks {
    pub(crate) const NONE: Self = Self { by_epoch: [0; Self::EPOCHS], next: 0, filled: 0 };

    /// With three epochs to a delay, the delay has passed when four have: the first one began before.
    pub(crate) const EPOCHS: usize = 4;

    /// Takes in the peak of the epoch that ends now.
    pub(crate) fn end_epoch(&mut self, peak: u64) {
        if let Some(slot) = self.by_epoch.get_mut(self.next % Self::EPOCHS) {
            *slot = peak;
        }
        self.next = (self.next + 1) % Self::EPOCHS;
        self.filled = (self.filled + 1).min(Self::EPOCHS);
    }

    /// The greatest peak of all epochs; none before so many have passed.
    pub(crate) fn greatest(&self) -> Option<u64> {
        (self.filled == Self::EPOCHS).then(|| self.by_epoch.into_iter().max().unwrap_or(0))
    }

    /// What of `free` was not wanted in all that time, with `in_use` in use now: it would have been free at the peak, too.
    pub(crate) fn idle(&self, free: u64, in_use: u64) -> u64 {
        self.greatest().map_or(0, |peak| free.saturating_sub(peak.saturating_sub(in_use)))
    }
}

#[cfg(test)]
mod tests;
