//! What was wanted over the last moments.

/// How much of something was wanted at most, over the last [`EPOCHS`](Self::EPOCHS) epochs and as many before. All zero bits are
/// one that knows nothing yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peaks {
    by_epoch: [u64; Self::REMEMBERED],
    next: usize,
    filled: usize,
}

impl Peaks {
    pub(crate) const NONE: Self = Self { by_epoch: [0; Self::REMEMBERED], next: 0, filled: 0 };

    /// With three epochs to a delay, the delay has passed when four have: the first one began before.
    pub(crate) const EPOCHS: usize = 4;

    /// Those that growth is measured against, besides.
    const REMEMBERED: usize = 2 * Self::EPOCHS;

    /// Takes in the peak of the epoch that ends now.
    pub(crate) fn end_epoch(&mut self, peak: u64) {
        if let Some(slot) = self.by_epoch.get_mut(self.next) {
            *slot = peak;
        }
        self.next = (self.next + 1) % Self::REMEMBERED;
        self.filled = (self.filled + 1).min(Self::REMEMBERED);
    }

    /// The greatest peak of the last epochs; none before so many have passed.
    pub(crate) fn greatest(&self) -> Option<u64> {
        (self.filled >= Self::EPOCHS)
            .then(|| self.newest_first().take(Self::EPOCHS).max().unwrap_or(0))
    }

    /// What of `free` was not wanted in all that time, with `in_use` in use now: it would have been free at the peak, too.
    pub(crate) fn idle(&self, free: u64, in_use: u64) -> u64 {
        self.greatest().map_or(0, |peak| free.saturating_sub(peak.saturating_sub(in_use)))
    }

    /// What of that will not be wanted either if demand goes on growing as it did. In what grows each moment is the one of the peak, and
    /// all that is free would be idle: that which is about to be used.
    pub(crate) fn idle_if_growth_goes_on(&self, free: u64, in_use: u64) -> u64 {
        self.idle(free, in_use).min(free.saturating_sub(self.growth()))
    }

    /// By how much the greatest of the last peaks is above the greatest of those before, which what comes and goes leaves alone; 0
    /// while none of those are known.
    fn growth(&self) -> u64 {
        let before = self.newest_first().skip(Self::EPOCHS).max();
        self.greatest().zip(before).map_or(0, |(peak, before)| peak.saturating_sub(before))
    }

    fn newest_first(&self) -> impl Iterator<Item = u64> + '_ {
        let newest = self.next + Self::REMEMBERED - 1;
        let slot = move |back| self.by_epoch.get((newest - back) % Self::REMEMBERED).copied();
        (0..self.filled).filter_map(slot)
    }
}

#[cfg(test)]
mod tests;
