//! How much memory a page heap may have backed.

use strata_span::{PageCount, PageSize, Platform};

/// Limits on the memory that a heap has backed: what is in spans, what is free and not given back, and the metadata of
/// its platform, without what of the page map nobody has touched. 0: no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct MemoryLimits {
    /// Above this many bytes a heap that grows gives back what is free first, whatever recent demand was. Nothing fails.
    pub soft_bytes: u64,
    /// A heap that cannot stay below this many bytes hands out nothing more.
    pub hard_bytes: u64,
}

impl MemoryLimits {
    /// No limits.
    pub const NONE: Self = Self { soft_bytes: 0, hard_bytes: 0 };
}

/// The limits in force, and how often they were met.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct LimitFigures {
    /// The limits.
    pub limits: MemoryLimits,
    /// How often growth met the soft limit, as a number.
    pub soft_hits: u64,
    /// Of these, how often giving back was enough, as a number.
    pub soft_successes: u64,
    /// How often growth met the hard limit, as a number.
    pub hard_hits: u64,
    /// Of these, how often nothing was handed out, as a number.
    pub hard_failures: u64,
}

impl LimitFigures {
    /// No limits, never met. (All zero bits.)
    pub const NONE: Self = Self {
        limits: MemoryLimits::NONE,
        soft_hits: 0,
        soft_successes: 0,
        hard_hits: 0,
        hard_failures: 0,
    };

    /// Whether there is a limit at all: a heap without one asks nothing else.
    #[inline]
    pub const fn any(&self) -> bool {
        self.limits.soft_bytes | self.limits.hard_bytes != 0
    }

    /// Whether `pages` pages more in use, on top of `in_use`, are beyond the hard limit whatever is given back. Counts the
    /// failure that this means.
    pub fn forbids<E: Platform>(
        &mut self,
        platform: &E,
        in_use: PageCount<E::Pages>,
        pages: PageCount<E::Pages>,
    ) -> bool {
        if self.limits.hard_bytes == 0 {
            return false;
        }
        let forbids = wanted_bytes(platform, in_use, pages) > self.limits.hard_bytes;
        if forbids {
            self.hard_hits += 1;
            self.hard_failures += 1;
        }
        forbids
    }

    /// Whether `backed` pages and `pages` more are above one of the limits. Counts nothing.
    pub fn is_beyond<E: Platform>(
        &self,
        platform: &E,
        backed: PageCount<E::Pages>,
        pages: PageCount<E::Pages>,
    ) -> bool {
        let wanted = wanted_bytes(platform, backed, pages);
        excess::<E>(wanted, self.limits.soft_bytes).is_some()
            || excess::<E>(wanted, self.limits.hard_bytes).is_some()
    }

    /// Whether they are above the hard limit. Counts nothing.
    pub fn is_beyond_hard<E: Platform>(
        &self,
        platform: &E,
        backed: PageCount<E::Pages>,
        pages: PageCount<E::Pages>,
    ) -> bool {
        let wanted = wanted_bytes(platform, backed, pages);
        excess::<E>(wanted, self.limits.hard_bytes).is_some()
    }

    /// Pages above the soft limit, where `backed` are backed and `pages` more are to be. Counts a hit if there are any.
    pub fn soft_excess<E: Platform>(
        &mut self,
        platform: &E,
        backed: PageCount<E::Pages>,
        pages: PageCount<E::Pages>,
    ) -> Option<PageCount<E::Pages>> {
        let excess = excess::<E>(wanted_bytes(platform, backed, pages), self.limits.soft_bytes)?;
        self.soft_hits += 1;
        Some(excess)
    }

    /// The same for the hard limit.
    pub fn hard_excess<E: Platform>(
        &mut self,
        platform: &E,
        backed: PageCount<E::Pages>,
        pages: PageCount<E::Pages>,
    ) -> Option<PageCount<E::Pages>> {
        let excess = excess::<E>(wanted_bytes(platform, backed, pages), self.limits.hard_bytes)?;
        self.hard_hits += 1;
        Some(excess)
    }

    /// Whether `backed` and `pages` more are above the hard limit still, after all was done. Counts a failure if so, and a
    /// success if they are below the soft one.
    pub fn fails<E: Platform>(
        &mut self,
        platform: &E,
        backed: PageCount<E::Pages>,
        pages: PageCount<E::Pages>,
    ) -> bool {
        let wanted = wanted_bytes(platform, backed, pages);
        let fails = excess::<E>(wanted, self.limits.hard_bytes).is_some();
        if self.limits.soft_bytes != 0 && excess::<E>(wanted, self.limits.soft_bytes).is_none() {
            self.soft_successes += 1;
        }
        self.hard_failures += u64::from(fails);
        fails
    }
}

/// Bytes that would be backed.
fn wanted_bytes<E: Platform>(
    platform: &E,
    have: PageCount<E::Pages>,
    pages: PageCount<E::Pages>,
) -> u64 {
    let pages = have.get().saturating_add(pages.get()) as u64;
    let bytes = pages.saturating_mul(E::Pages::BYTES as u64);
    bytes.saturating_add(metadata_bytes(platform))
}

/// Bytes that a limit is about, with `backed_bytes` in spans or free and backed: these and the metadata of `platform`.
pub fn limited_bytes<E: Platform>(platform: &E, backed_bytes: u64) -> u64 {
    backed_bytes.saturating_add(metadata_bytes(platform))
}

/// Bytes of metadata that count: without what the page map reserved and nobody has touched.
fn metadata_bytes<E: Platform>(platform: &E) -> u64 {
    platform.arena().allocated_bytes().saturating_sub(platform.map().untouched_bytes())
}

/// Pages that `bytes` are above a limit, rounded up.
fn excess<E: Platform>(bytes: u64, limit: u64) -> Option<PageCount<E::Pages>> {
    if limit == 0 || bytes <= limit {
        return None;
    }
    let pages = (bytes - limit).div_ceil(E::Pages::BYTES as u64);
    Some(PageCount::new(usize::try_from(pages).unwrap_or(usize::MAX)))
}

#[cfg(test)]
mod tests;
