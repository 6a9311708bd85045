//! What all threads' caches may hold together.

use crate::{ThreadCache, ThreadCacheStats};
use core::{marker::PhantomData, ptr::NonNull};
use strata_os::{Clock, MonotonicClock};
use strata_size_classes::PageSize;
use strata_sync::{LockStats, Mutex, atomic::Ordering, const_fn};

/// What all caches together may hold unless told otherwise: TCMalloc's 32 MiB. Twice as much is memory
/// that 64 idle threads keep; half as much makes more than 32 busy ones share their least.
pub const DEFAULT_LIMIT_BYTES: u64 = 32 << 20;

/// What a cache may hold at least, whatever the limit.
pub const LEAST_BYTES: u64 = 512 << 10;

/// What a cache that holds too much takes from another, or from what nobody claimed.
pub const STOLEN_BYTES: u64 = 64 << 10;

/// Caches that are looked at for something to take.
const LOOKED_AT: usize = 10;

/// The caches of all threads, and how much each may hold.
///
/// Any thread may call any method at any time. One lock, taken when a thread comes or goes and when a cache
/// is full, held for a few instructions, or for a walk over all caches by [`stats`](Self::stats) and
/// [`set_limit`](Self::set_limit).
///
/// What the caches claim and what nobody claims add up to the limit, always.
#[derive(Debug)]
pub struct ThreadCaches<P: PageSize> {
    /// Guards the list of caches and their limits. Rank: nothing is locked under it.
    registry: Mutex<Registry<P>>,
}

#[derive(Debug)]
struct Registry<P: PageSize> {
    first: Option<NonNull<ThreadCache<P>>>,
    /// Where the next search for something to take begins.
    cursor: Option<NonNull<ThreadCache<P>>>,
    count: usize,
    /// How far the limit is above the default.
    raised_bytes: i64,
    /// What caches claim; the limit less this is what nobody claims, below zero if the caches' least
    /// exceeds the limit.
    claimed_bytes: u64,
    /// Mixed into links; 0 until the first cache comes.
    secret: usize,
    /// What caches did that are gone.
    past: Past,
    pages: PhantomData<P>,
}

#[derive(Clone, Copy, Debug)]
struct Past {
    refills: u64,
    flushes: u64,
    scavenges: u64,
}

/// What all caches hold and did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct ThreadCachesStats {
    /// Caches of threads at present.
    pub caches: u64,
    /// Whether the list of caches could not be read: see [`ThreadCaches::stats`].
    pub is_unknown: bool,
    /// Bytes of the objects that they hold.
    pub held_bytes: u64,
    /// Bytes that they may hold together; if that is less than 512 KiB for each, they may hold that.
    pub limit_bytes: u64,
    /// Bytes that they claim.
    pub claimed_bytes: u64,
    /// Times that a list was empty, in all caches that ever were.
    pub refills: u64,
    /// Times that a list was too long.
    pub flushes: u64,
    /// Times that a cache held too many bytes.
    pub scavenges: u64,
    /// The lock.
    pub lock: LockStats,
}

// SAFETY: the registry's pointers are to caches whose owners promised, by `enter`, that they stay until `leave`; they
// are shared through atomics and under the lock.
unsafe impl<P: PageSize> Send for Registry<P> {}

impl<P: PageSize> ThreadCaches<P> {
    const_fn! {
        /// No caches, and the default limit.
        pub const fn new() -> Self {
            Self {
                registry: Mutex::new(Registry {
                    first: None,
                    cursor: None,
                    count: 0,
                    raised_bytes: 0,
                    claimed_bytes: 0,
                    secret: 0,
                    past: Past { refills: 0, flushes: 0, scavenges: 0 },
                    pages: PhantomData,
                }),
            }
        }
    }

    /// Gives a cache its limit, and lets the others take from it. The calling thread owns the cache from
    /// now on.
    ///
    /// # Safety
    ///
    /// The cache is empty and in no registry; it stays where it is until it left, and nobody else
    /// calls its unsafe methods.
    pub unsafe fn enter(&self, cache: &ThreadCache<P>) {
        let mut registry = self.registry.lock();
        if registry.secret == 0 {
            registry.secret = make_secret(NonNull::from(cache).addr().get());
        }
        cache.secret.store(registry.secret, Ordering::Relaxed);
        cache.max_bytes.store(LEAST_BYTES, Ordering::Relaxed);
        registry.claimed_bytes += LEAST_BYTES;
        registry.count += 1;
        let place = NonNull::from(cache);
        cache.previous.store(core::ptr::null_mut(), Ordering::Relaxed);
        cache.next.store(raw(registry.first), Ordering::Relaxed);
        if let Some(second) = registry.first {
            // SAFETY: caches in the registry stay where they are; the lock is held.
            unsafe { second.as_ref() }.previous.store(place.as_ptr(), Ordering::Relaxed);
        }
        registry.first = Some(place);
    }

    /// Takes a cache's limit back.
    ///
    /// # Safety
    ///
    /// It entered this registry and has not left since; the calling thread owns it, or its owner is gone.
    pub unsafe fn leave(&self, cache: &ThreadCache<P>) {
        debug_assert!(cache.held_bytes() == 0, "a cache leaves empty");
        let mut registry = self.registry.lock();
        let (next, previous) = (neighbour(&cache.next), neighbour(&cache.previous));
        match previous {
            // SAFETY: caches in the registry stay where they are; the lock is held.
            Some(previous) => unsafe { previous.as_ref() }.next.store(raw(next), Ordering::Relaxed),
            None => registry.first = next,
        }
        if let Some(next) = next {
            // SAFETY: its neighbour is in the registry too, and stays where it is.
            unsafe { next.as_ref() }.previous.store(raw(previous), Ordering::Relaxed);
        }
        if registry.cursor == Some(NonNull::from(cache)) {
            registry.cursor = next;
        }
        registry.count -= 1;
        registry.claimed_bytes -= cache.max_bytes();
        let ThreadCacheStats { refills, flushes, scavenges, .. } = cache.stats();
        registry.past.refills += refills;
        registry.past.flushes += flushes;
        registry.past.scavenges += scavenges;
        cache.forget_the_registry();
    }

    /// Sets what all caches together may hold, at least 512 KiB. Caches that claim more than their
    /// share may hold their share from now on, which shows when they next free.
    pub fn set_limit(&self, bytes: u64) {
        let mut registry = self.registry.lock();
        let bytes = bytes.clamp(LEAST_BYTES, i64::MAX as u64);
        registry.raised_bytes = (bytes as i64).wrapping_sub(DEFAULT_LIMIT_BYTES as i64);
        let share = bytes / (registry.count as u64).max(1);
        let share = share.max(LEAST_BYTES);
        if registry.claimed_bytes <= bytes {
            return;
        }
        let mut given_up = 0;
        registry.for_each(|cache| {
            let claimed = cache.max_bytes();
            if claimed > share {
                cache.max_bytes.store(share, Ordering::Relaxed);
                given_up += claimed - share;
            }
        });
        registry.claimed_bytes -= given_up;
    }

    /// What all caches together may hold.
    pub fn limit_bytes(&self) -> u64 {
        self.registry.lock().limit_bytes()
    }

    /// The figures of all caches together. In a signal handler that interrupted the holder of the lock they are none, and
    /// say so.
    pub fn stats(&self) -> ThreadCachesStats {
        let Some(registry) = self.registry.lock_for_figures() else {
            let lock = self.registry.stats();
            return ThreadCachesStats { is_unknown: true, lock, ..ThreadCachesStats::default() };
        };
        let mut all = ThreadCachesStats {
            caches: registry.count as u64,
            is_unknown: false,
            held_bytes: 0,
            limit_bytes: registry.limit_bytes(),
            claimed_bytes: registry.claimed_bytes,
            refills: registry.past.refills,
            flushes: registry.past.flushes,
            scavenges: registry.past.scavenges,
            lock: self.registry.stats(),
        };
        registry.for_each(|cache| {
            let stats = cache.stats();
            all.held_bytes += stats.held_bytes;
            all.refills += stats.refills;
            all.flushes += stats.flushes;
            all.scavenges += stats.scavenges;
        });
        all
    }

    /// Calls `visit` for each cache, the newest first, while the lock is held: threads neither come nor go. In a signal
    /// handler that interrupted the holder, for none.
    pub fn for_each(&self, visit: impl FnMut(&ThreadCache<P>)) {
        if let Some(registry) = self.registry.lock_for_figures() {
            registry.for_each(visit);
        }
    }

    /// Takes the lock, so that a fork finds the registry at rest.
    pub fn acquire(&self) {
        self.registry.acquire();
    }

    /// Gives it back after the fork.
    ///
    /// # Safety
    ///
    /// This thread took it with [`Self::acquire`], or is the child of the thread that did.
    pub unsafe fn release(&self) {
        // SAFETY: `acquire` took the lock, in this thread or in the one that forked it, and no guard of it lives.
        unsafe { self.registry.release() };
    }

    /// Lets a full cache hold more: from what nobody claims, else from one of the next ten caches that
    /// claim more than their least.
    pub(crate) fn raise_limit(&self, cache: &ThreadCache<P>) {
        let mut registry = self.registry.lock();
        if !registry.has(cache) {
            return;
        }
        if registry.claimed_bytes.saturating_add(STOLEN_BYTES) <= registry.limit_bytes() {
            registry.claimed_bytes += STOLEN_BYTES;
            change_limit(cache, STOLEN_BYTES);
            return;
        }
        for _ in 0..LOOKED_AT.min(registry.count) {
            let Some(victim) = registry.cursor.or(registry.first) else { return };
            // SAFETY: caches in the registry stay where they are; the lock is held.
            let victim = unsafe { victim.as_ref() };
            registry.cursor = neighbour(&victim.next);
            if !core::ptr::eq(victim, cache) && victim.max_bytes() >= LEAST_BYTES + STOLEN_BYTES {
                change_limit(victim, STOLEN_BYTES.wrapping_neg());
                change_limit(cache, STOLEN_BYTES);
                return;
            }
        }
    }
}

impl<P: PageSize> Default for ThreadCaches<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: PageSize> Registry<P> {
    const fn limit_bytes(&self) -> u64 {
        DEFAULT_LIMIT_BYTES.wrapping_add_signed(self.raised_bytes)
    }

    /// Whether the cache is in the registry: it has a neighbour, or is the only one.
    fn has(&self, cache: &ThreadCache<P>) -> bool {
        neighbour(&cache.previous).is_some() || self.first == Some(NonNull::from(cache))
    }

    fn for_each(&self, mut visit: impl FnMut(&ThreadCache<P>)) {
        let mut next = self.first;
        while let Some(cache) = next {
            // SAFETY: caches in the registry stay where they are; whoever has the registry holds its lock.
            let cache = unsafe { cache.as_ref() };
            visit(cache);
            next = neighbour(&cache.next);
        }
    }
}

/// Changes what a cache may hold; the lock is held.
fn change_limit<P: PageSize>(cache: &ThreadCache<P>, by: u64) {
    cache.max_bytes.store(cache.max_bytes().wrapping_add(by), Ordering::Relaxed);
}

fn neighbour<P: PageSize>(
    link: &strata_sync::atomic::AtomicPtr<ThreadCache<P>>,
) -> Option<NonNull<ThreadCache<P>>> {
    NonNull::new(link.load(Ordering::Relaxed))
}

fn raw<P: PageSize>(cache: Option<NonNull<ThreadCache<P>>>) -> *mut ThreadCache<P> {
    cache.map_or(core::ptr::null_mut(), NonNull::as_ptr)
}

/// A number that differs from process to process: the time, and where the kernel put things.
fn make_secret(address: usize) -> usize {
    let seed = MonotonicClock.now_ns()
        ^ (address as u64).rotate_left(32)
        ^ strata_os::thread_pointer() as u64;
    // SplitMix64 (Steele, Lea, Flood 2014): each bit of the seed reaches each bit of the answer.
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    // Never 0, which stands for none.
    (mixed ^ (mixed >> 31)) as usize | 1 << 63
}

#[cfg(all(test, not(strata_loom)))]
mod tests;
