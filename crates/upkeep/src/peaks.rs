//! What was wanted over the last moments.

/// How much of something was wanted at most, over the last [`EPOCHS`] epochs; `REMEMBERED` of them stay, [`EPOCHS`]
/// at least. All zero bits are one that knows nothing yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peaks<const REMEMBERED: usize = EPOCHS> {
    by_epoch: [u64; REMEMBERED],
    next: usize,
    filled: usize,
}

/// With three epochs to a delay, the delay has passed when four have: the first one began before.
pub(crate) const EPOCHS: usize = 4;

/// The same, and as many epochs before, which growth is measured against.
pub(crate) type GrowingPeaks = Peaks<{ 2 * EPOCHS }>;

impl<const REMEMBERED: usize> Peaks<REMEMBERED> {
    pub(crate) const NONE: Self = Self { by_epoch: [0; REMEMBERED], next: 0, filled: 0 };

    /// Takes in the peak of the epoch that ends now.
    pub(crate) fn end_epoch(&mut self, peak: u64) {
        if let Some(slot) = self.by_epoch.get_mut(self.next) {
            *slot = peak;
        }
        self.next = (self.next + 1) % REMEMBERED;
        self.filled = (self.filled + 1).min(REMEMBERED);
    }

    /// The greatest peak of the last epochs; none before so many have passed.
    pub(crate) fn greatest(&self) -> Option<u64> {
        (self.filled >= EPOCHS).then(|| self.newest_first().take(EPOCHS).max().unwrap_or(0))
    }

    /// What of `free` was not wanted in all that time, with `in_use` in use now: it would have been free at the peak, too.
    pub(crate) fn idle(&self, free: u64, in_use: u64) -> u64 {
        self.greatest().map_or(0, |peak| free.saturating_sub(peak.saturating_sub(in_use)))
    }

    fn newest_first(&self) -> impl Iterator<Item = u64> + '_ {
        let newest = self.next + REMEMBERED - 1;
        let slot = move |back| self.by_epoch.get((newest - back) % REMEMBERED).copied();
        (0..self.filled).filter_map(slot)
    }
}

impl GrowingPeaks {
    /// What of that which is [idle](Self::idle) will not be wanted either if demand goes on growing as it did. In
    /// what grows each moment is the one of the peak, and all that is free would be idle: that which is about to be
    /// used.
    pub(crate) fn idle_if_growth_goes_on(&self, free: u64, in_use: u64) -> u64 {
        self.idle(free, in_use).min(free.saturating_sub(self.growth()))
    }

    /// By how much the greatest of the last peaks is above the greatest of those before, which what comes and goes
    /// leaves alone; 0 while none of those are known.
    fn growth(&self) -> u64 {
        let before = self.newest_first().skip(EPOCHS).max();
        self.greatest().zip(before).map_or(0, |(peak, before)| peak.saturating_sub(before))
    }
}

#[cfg(test)]
mod tests;
