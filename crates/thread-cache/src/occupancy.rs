//! Whether a cache's owner is inside of it.

use strata_sync::{
    asymmetric::{heavy_fence, light_fence},
    atomic::{AtomicBool, AtomicU64, Ordering},
    const_fn,
};

/// What a thread says about the use of its cache, so that another one may take the cache while the thread is idle.
///
/// The owner [enters](Self::enter) before it looks where its cache is, and leaves when it is done: two stores and a
/// load, without a read-modify-write and without a fence. Who would take the cache [claims](Self::claim) it, has a
/// fence put into every running thread, and asks whether the owner is outside; as long as it claims, the owner
/// stays outside. (A lock that is biased towards its owner; Kawachiya, Koseki and Onodera, *Lock Reservation*,
/// OOPSLA 2002, with the fence of `strata_sync::asymmetric`.)
///
/// Claims come from one thread at a time, which the caller sees to.
///
/// ```
/// use strata_thread_cache::Occupancy;
///
/// let occupancy = Occupancy::new();
/// let inside = occupancy.enter().expect("nobody claims it");
/// assert!(occupancy.enter().is_none(), "not twice, as from a signal handler");
/// drop(inside);
/// if strata_sync::asymmetric::prepare_heavy_fence() {
///     let claim = occupancy.claim();
///     assert!(Occupancy::fence() && claim.is_vacant());
///     assert!(occupancy.enter().is_none(), "the owner stays outside");
/// }
/// ```
#[derive(Debug)]
pub struct Occupancy {
    /// Entries and exits of the owner: odd while it is inside. Written by the owner; read by who claims, and as a
    /// sign of life.
    steps: AtomicU64,
    /// The owner is to stay outside. Written by who claims, read by the owner.
    claimed: AtomicBool,
}

/// The owner is inside as long as this lives.
#[derive(Debug)]
pub struct Inside<'a> {
    occupancy: &'a Occupancy,
    /// What the steps will be outside: nobody else writes them, and the owner does not come inside twice.
    steps_outside: u64,
}

/// The owner does not come inside as long as this lives.
#[derive(Debug)]
pub struct Claim<'a>(&'a Occupancy);

impl Occupancy {
    const_fn! {
        /// An owner that is outside, and that nobody keeps there.
        pub const fn new() -> Self {
            Self { steps: AtomicU64::new(0), claimed: AtomicBool::new(false) }
        }
    }

    /// The owner comes inside; none while somebody claims its cache, or if it is inside already (in a signal handler that
    /// interrupted it there). The owner alone calls this.
    #[inline(always)]
    pub fn enter(&self) -> Option<Inside<'_>> {
        let steps = self.steps.load(Ordering::Relaxed);
        if !steps.is_multiple_of(2) {
            return None;
        }
        self.steps.store(steps.wrapping_add(1), Ordering::Relaxed);
        // Pairs with `fence`: either we see the claim, or who claims sees us.
        light_fence();
        let inside = Inside { occupancy: self, steps_outside: steps.wrapping_add(2) };
        // Acquire pairs with the release in `Claim::drop`: what was done under the last claim is seen.
        if self.claimed.load(Ordering::Acquire) { None } else { Some(inside) }
    }

    /// How often the owner came and went. Any thread may ask; where the answer is the same, it was idle in between,
    /// or inside all the time.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Keeps the owner outside from some moment on; after a [`fence`](Self::fence) it can be asked whether it is.
    pub fn claim(&self) -> Claim<'_> {
        self.claimed.store(true, Ordering::Relaxed);
        Claim(self)
    }

    /// Whether somebody claims the cache. For those who may claim it themselves, and would know of a claim of their own.
    pub fn is_claimed(&self) -> bool {
        self.claimed.load(Ordering::Relaxed)
    }

    /// A fence in every running thread, for all claims that were made before. False where the kernel refuses: then no
    /// claim may be relied upon.
    #[must_use]
    pub fn fence() -> bool {
        heavy_fence()
    }
}

impl Default for Occupancy {
    fn default() -> Self {
        Self::new()
    }
}

impl Claim<'_> {
    /// Whether the owner is outside: if so, it stays there, and the cache is the caller's, with all that the owner
    /// did to it.
    ///
    /// To be believed only behind a [fence](Occupancy::fence) that succeeded after the claim was made.
    pub fn is_vacant(&self) -> bool {
        // Acquire pairs with the release in `Inside::drop`.
        self.0.steps.load(Ordering::Acquire).is_multiple_of(2)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        // Release pairs with the acquire in `Occupancy::enter`.
        self.0.claimed.store(false, Ordering::Release);
    }
}

impl Drop for Inside<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // Release pairs with the acquire in `Claim::is_vacant`.
        self.occupancy.steps.store(self.steps_outside, Ordering::Release);
    }
}

#[cfg(all(test, not(strata_loom)))]
mod tests;
