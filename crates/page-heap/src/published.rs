//! A page heap's state behind its lock, with figures that are read without it.

use crate::{FreeParts, LimitFigures, MemoryLimits, PageHeapStats, PeakFigures, ReleasedBytes};
use core::ops::{Deref, DerefMut};
use strata_sync::{
    LockStats, Mutex, MutexGuard, SeqWord,
    atomic::{AtomicU64, Ordering},
    const_array, const_fn,
};

/// A state that has the figures that every page heap has.
pub trait HasStats {
    /// The figures, but for those of the lock and the peaks, which others know.
    fn stats(&self) -> PageHeapStats;
}

/// A state behind a lock. Whoever changed it publishes its figures when it leaves the lock, so that they are read without
/// it: at any time, by anybody, also by a signal handler that interrupted the holder.
///
/// All zero bits are one around a state of zero bits. Publishing costs some twenty plain stores, and six where
/// [few figures changed](PublishedGuard::only_spans_changed).
///
/// ```
/// use strata_page_heap::{HasStats, PageHeapStats, Published};
///
/// struct Pages(u64);
///
/// impl HasStats for Pages {
///     fn stats(&self) -> PageHeapStats {
///         PageHeapStats { in_use_bytes: self.0, ..PageHeapStats::default() }
///     }
/// }
///
/// let pages = Published::new(Pages(0));
/// pages.lock().0 = 8192;
/// let held = pages.lock();
/// assert_eq!(pages.figures().in_use_bytes, 8192);
/// # drop(held);
/// ```
#[repr(C)]
#[derive(Debug)]
pub struct Published<S: HasStats> {
    /// Says whether the figures were read together. Written under the lock.
    sequence: SeqWord,
    /// The figures as words, see `figures_of_words`. Written under the lock, read by anybody.
    words: [AtomicU64; WORDS],
    /// The figures at the moment at which most was in spans. Written under the lock, read by anybody.
    peak: [AtomicU64; PEAK_WORDS],
    state: Mutex<S>,
}

/// How often a reader looks before it takes figures that are in flux: a writer needs some nanoseconds.
const LOOKS: u32 = 64;

const WORDS: usize = 23;
const PEAK_WORDS: usize = 4;

impl<S: HasStats> Published<S> {
    const_fn! {
        /// A state that nobody holds, and no figures yet.
        pub const fn new(state: S) -> Self {
            Self {
                state: Mutex::new(state),
                sequence: SeqWord::new(),
                words: const_array![AtomicU64::new(0); WORDS],
                peak: const_array![AtomicU64::new(0); PEAK_WORDS],
            }
        }
    }

    /// Takes the lock. If the state is changed by way of the guard, its figures are published when that goes.
    #[inline]
    #[cfg_attr(strata_lock_times, track_caller)]
    pub fn lock(&self) -> PublishedGuard<'_, S> {
        PublishedGuard { state: self.state.lock(), place: self, changed: Changed::Nothing }
    }

    /// The figures that were published last. Takes no lock and waits for nobody: a reader that interrupted the one who
    /// publishes gets figures of which each is right, before or after the change.
    pub fn figures(&self) -> PageHeapStats {
        let read = || {
            let mut stats = PageHeapStats::default();
            load(&self.words, figures_of_words(&mut stats));
            load(&self.peak, figures_of_peak(&mut stats.peak));
            stats
        };
        let together = (0..LOOKS).find_map(|_| {
            let read = self.sequence.read(read);
            if read.is_none() {
                strata_sync::spin_hint();
            }
            read
        });
        PageHeapStats { lock: self.state.stats(), ..together.unwrap_or_else(read) }
    }

    /// Of the figures that were published last the bytes in spans: a load.
    pub fn in_use_bytes(&self) -> u64 {
        let [_, _, in_use_bytes, ..] = &self.words;
        in_use_bytes.load(Ordering::Relaxed)
    }

    /// The lock's figures.
    pub fn lock_stats(&self) -> LockStats {
        self.state.stats()
    }

    /// Takes the lock without a guard, so that a fork finds the state at rest.
    pub fn acquire(&self) {
        self.state.acquire();
    }

    /// Leaves a lock that [`acquire`](Self::acquire) took; the state is as it was.
    ///
    /// # Safety
    ///
    /// This thread took it with `acquire`, or is the child of the thread that did.
    pub unsafe fn release(&self) {
        // SAFETY: `acquire` took the lock, in this thread or in the one that forked it, and no guard of it lives.
        unsafe { self.state.release() };
    }

    #[inline(always)]
    fn publish(&self, mut stats: PageHeapStats, only_spans: bool) {
        let PageHeapStats { in_use_bytes, free_bytes, unmapped_bytes, spans_in_use, .. } = stats;
        let mut now = PeakFigures { in_use_bytes, free_bytes, unmapped_bytes, spans_in_use };
        self.sequence.begin();
        if only_spans {
            self.store_of_spans(&stats);
            debug_assert!(
                self.words
                    .iter()
                    .zip(figures_of_words(&mut stats))
                    .all(|(word, figure)| word.load(Ordering::Relaxed) == *figure),
                "other figures changed, too"
            );
        } else {
            store(&self.words, figures_of_words(&mut stats));
        }
        let [most, ..] = &self.peak;
        if most.load(Ordering::Relaxed) < in_use_bytes {
            store(&self.peak, figures_of_peak(&mut now));
        }
        self.sequence.end();
    }
}

impl<S: HasStats> Published<S> {
    /// Stores the figures that change where a span comes or goes.
    #[inline(always)]
    fn store_of_spans(&self, stats: &PageHeapStats) {
        let [_, _, in_use, free, filler, _, _, unmapped, peak_backed, spans, ..] = &self.words;
        in_use.store(stats.in_use_bytes, Ordering::Relaxed);
        free.store(stats.free_bytes, Ordering::Relaxed);
        filler.store(stats.free_parts.filler_bytes, Ordering::Relaxed);
        unmapped.store(stats.unmapped_bytes, Ordering::Relaxed);
        peak_backed.store(stats.peak_backed_bytes, Ordering::Relaxed);
        spans.store(stats.spans_in_use, Ordering::Relaxed);
    }
}

fn load<const N: usize>(words: &[AtomicU64; N], figures: [&mut u64; N]) {
    words.iter().zip(figures).for_each(|(word, figure)| *figure = word.load(Ordering::Relaxed));
}

fn store<const N: usize>(words: &[AtomicU64; N], figures: [&mut u64; N]) {
    words.iter().zip(figures).for_each(|(word, figure)| word.store(*figure, Ordering::Relaxed));
}

/// The words' figures, in their order. One that is added to the figures has to be added here, or this does not compile.
const fn figures_of_words(stats: &mut PageHeapStats) -> [&mut u64; WORDS] {
    let PageHeapStats {
        reserved_bytes,
        system_bytes,
        in_use_bytes,
        free_bytes,
        free_parts: FreeParts { filler_bytes, regions_bytes, cache_bytes },
        unmapped_bytes,
        peak_backed_bytes,
        spans_in_use,
        released: ReleasedBytes { call, policy, idle, soft_limit, hard_limit },
        release_failures,
        releases_withheld,
        limits:
            LimitFigures {
                limits: MemoryLimits { soft_bytes, hard_bytes },
                soft_hits,
                soft_successes,
                hard_hits,
                hard_failures,
            },
        peak: _,
        lock: _,
    } = stats;
    [
        reserved_bytes,
        system_bytes,
        in_use_bytes,
        free_bytes,
        filler_bytes,
        regions_bytes,
        cache_bytes,
        unmapped_bytes,
        peak_backed_bytes,
        spans_in_use,
        call,
        policy,
        idle,
        soft_limit,
        hard_limit,
        release_failures,
        releases_withheld,
        soft_bytes,
        hard_bytes,
        soft_hits,
        soft_successes,
        hard_hits,
        hard_failures,
    ]
}

/// The figures of the moment at which most was in spans, in their order.
const fn figures_of_peak(peak: &mut PeakFigures) -> [&mut u64; PEAK_WORDS] {
    let PeakFigures { in_use_bytes, free_bytes, unmapped_bytes, spans_in_use } = peak;
    [in_use_bytes, free_bytes, unmapped_bytes, spans_in_use]
}

/// The right to use a [`Published`] state.
#[derive(Debug)]
#[must_use = "the lock is left as soon as the guard is dropped"]
pub struct PublishedGuard<'a, S: HasStats> {
    state: MutexGuard<'a, S>,
    place: &'a Published<S>,
    changed: Changed,
}

/// What of the figures changed under the lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Changed {
    Nothing,
    /// Those of spans, and of what of the filler is free and in use.
    Spans,
    /// Any.
    All,
}

impl<S: HasStats> PublishedGuard<'_, S> {
    /// Says that since the lock was taken a span came or went, and of the figures only those changed that this
    /// changes: bytes and spans in use, free bytes and those of the filler among them, unmapped bytes and the peak of
    /// what is backed. A change after this counts as one of all.
    #[inline]
    pub fn only_spans_changed(&mut self) {
        self.changed = Changed::Spans;
    }
}

impl<S: HasStats> Deref for PublishedGuard<'_, S> {
    type Target = S;

    #[inline]
    fn deref(&self) -> &S {
        &self.state
    }
}

impl<S: HasStats> DerefMut for PublishedGuard<'_, S> {
    #[inline]
    fn deref_mut(&mut self) -> &mut S {
        self.changed = Changed::All;
        &mut self.state
    }
}

impl<S: HasStats> Drop for PublishedGuard<'_, S> {
    #[inline]
    fn drop(&mut self) {
        match self.changed {
            Changed::Nothing => {}
            Changed::Spans => self.place.publish(self.state.stats(), true),
            Changed::All => self.place.publish(self.state.stats(), false),
        }
    }
}

#[cfg(all(test, not(strata_loom)))]
mod tests;
