//! How far a transfer cache is filled at once.

use crate::TransferPolicy;

/// How far one [`insert`](crate::TransferCache::insert) may fill a cache, in objects; its greatest capacity holds in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InsertLimits {
    /// Where there are as many, no more are put in, whatever the capacity, but for what was earned.
    pub holds: usize,
    /// As many are put in if so many were missed that had been turned away, until nobody wants them for a period.
    pub earns_to: usize,
    /// The capacity grows up to this by what was missed.
    pub grows_to: usize,
}

impl InsertLimits {
    /// None but the cache's own.
    pub const NONE: Self = Self { holds: usize::MAX, earns_to: usize::MAX, grows_to: usize::MAX };

    /// What objects of a size come under where caches and program have objects of `out_bytes`; `one_cache` says
    /// that only one cache comes for them.
    pub(crate) fn of<T: TransferPolicy>(size: usize, out_bytes: usize, one_cache: bool) -> Self {
        let goes_on = one_cache && size > T::KEEPS_FOR_ONE_UP_TO;
        if size <= T::GROWS_UP_TO && !goes_on {
            return Self::NONE;
        }
        let share = out_bytes.saturating_sub(T::LONG_BEYOND) / T::LONG_SHARE.max(1) / size.max(1);
        let earns_to = T::LONG_EARNS / size.max(1);
        Self {
            holds: if goes_on { share } else { usize::MAX },
            earns_to,
            grows_to: if T::GROWS_UP_TO == 0 { 0 } else { share.max(earns_to) },
        }
    }
}
