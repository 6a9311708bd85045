//! Calls that are timed one by one, or not at all.

use core::array;
use core::time::Duration;
use std::time::Instant;

/// Who stands beside the calls of an allocator.
///
/// The throughput of a workload is taken with [`Unwatched`], which the compiler leaves out; how long
/// single calls take, in a run of its own with [`Watched`].
pub(crate) trait Watch: Send {
    fn new() -> Self;

    /// Makes the call.
    fn time<R>(&mut self, call: impl FnOnce() -> R) -> R;

    /// Forgets what it saw: the measured part begins.
    fn restart(&mut self);

    /// Takes over what the watch of another thread saw.
    fn absorb(&mut self, other: &Self);

    /// What it saw, if it looked.
    fn latencies(&self) -> Option<Latencies>;
}

/// How long single calls took, in ns, the cost of looking at the clock taken off.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latencies {
    /// Calls seen.
    pub calls: u64,
    /// Half of them took no longer.
    pub p50: f64,
    /// 99 in a hundred took no longer.
    pub p99: f64,
    /// 999 in a thousand took no longer.
    pub p999: f64,
    /// None took longer.
    pub max: f64,
}

/// Nobody: the call alone.
#[derive(Debug)]
pub(crate) struct Unwatched;

impl Watch for Unwatched {
    fn new() -> Self {
        Self
    }

    #[inline(always)]
    fn time<R>(&mut self, call: impl FnOnce() -> R) -> R {
        call()
    }

    fn restart(&mut self) {}

    fn absorb(&mut self, _: &Self) {}

    fn latencies(&self) -> Option<Latencies> {
        None
    }
}

/// Values below this have a bucket each; above it every power of two has as many.
const FINE: u64 = 64;
const FINE_BITS: u32 = FINE.trailing_zeros();

/// Up to 2^40 ticks: some minutes. What is longer is counted there.
const BUCKETS: usize = ((40 - FINE_BITS + 1) as usize) * FINE as usize;

/// A clock around every call, and a histogram of what it showed.
///
/// It has its buckets in itself, so that watching allocates nothing.
#[derive(Debug)]
pub(crate) struct Watched {
    counts: [u32; BUCKETS],
    longest: u64,
    began: (Instant, u64),
}

impl Watch for Watched {
    fn new() -> Self {
        Self { counts: [0; BUCKETS], longest: 0, began: (Instant::now(), ticks()) }
    }

    #[inline]
    fn time<R>(&mut self, call: impl FnOnce() -> R) -> R {
        let before = ticks();
        let result = call();
        self.count(ticks().wrapping_sub(before));
        result
    }

    fn restart(&mut self) {
        self.counts.fill(0);
        self.longest = 0;
    }

    fn absorb(&mut self, other: &Self) {
        for (own, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *own += theirs;
        }
        self.longest = self.longest.max(other.longest);
    }

    fn latencies(&self) -> Option<Latencies> {
        let overhead = overhead();
        let tick = self.ns_per_tick();
        let ns = |ticks: u64| ticks.saturating_sub(overhead) as f64 * tick;
        Some(Latencies {
            calls: self.counts.iter().map(|&count| u64::from(count)).sum(),
            p50: ns(self.quantile(0.5)),
            p99: ns(self.quantile(0.99)),
            p999: ns(self.quantile(0.999)),
            max: ns(self.longest),
        })
    }
}

impl Watched {
    #[inline]
    fn count(&mut self, ticks: u64) {
        self.longest = self.longest.max(ticks);
        if let Some(count) = self.counts.get_mut(bucket(ticks)) {
            *count += 1;
        }
    }

    /// The value that this part of the calls did not exceed, to within 2 %.
    fn quantile(&self, part: f64) -> u64 {
        let calls: u64 = self.counts.iter().map(|&count| u64::from(count)).sum();
        let rank = (calls as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (bucket, &count) in self.counts.iter().enumerate() {
            seen += u64::from(count);
            if seen >= rank && count > 0 {
                return middle(bucket).min(self.longest);
            }
        }
        self.longest
    }

    fn ns_per_tick(&self) -> f64 {
        // Short runs wait, since a rate from microseconds would be worth nothing.
        while self.began.0.elapsed() < Duration::from_millis(10) {
            core::hint::spin_loop();
        }
        let (elapsed, ticks) = (self.began.0.elapsed(), ticks().wrapping_sub(self.began.1));
        elapsed.as_nanos() as f64 / ticks.max(1) as f64
    }
}

const fn bucket(ticks: u64) -> usize {
    if ticks < FINE {
        return ticks as usize;
    }
    let power = 63 - ticks.leading_zeros();
    let octave = (power - FINE_BITS + 1) as usize;
    let place = (ticks >> (power - FINE_BITS)) - FINE;
    let bucket = octave * FINE as usize + place as usize;
    if bucket < BUCKETS { bucket } else { BUCKETS - 1 }
}

/// The middle of the values that fall into a bucket.
const fn middle(bucket: usize) -> u64 {
    let (octave, place) = (bucket as u64 / FINE, bucket as u64 % FINE);
    if octave == 0 {
        return place;
    }
    let width = 1 << (octave - 1);
    (FINE + place) * width + width / 2
}

/// Ticks that two looks at the clock take with nothing between them: the median of many.
fn overhead() -> u64 {
    let mut gaps: [u64; 1001] = array::from_fn(|_| {
        let before = ticks();
        ticks().wrapping_sub(before)
    });
    gaps.sort_unstable();
    gaps.get(gaps.len() / 2).copied().unwrap_or(0)
}

/// The processor's clock, in ticks of its own; nothing is reordered around the look at it.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn ticks() -> u64 {
    use core::arch::x86_64::{_mm_lfence, _rdtsc};
    // SAFETY: every x86-64 has SSE2.
    unsafe { _mm_lfence() };
    // SAFETY: Linux lets every process read the time stamp counter, unless one asks for less.
    let ticks = unsafe { _rdtsc() };
    // SAFETY: every x86-64 has SSE2.
    unsafe { _mm_lfence() };
    ticks
}

/// Nanoseconds, where the processor's own clock is not to be had.
#[cfg(not(target_arch = "x86_64"))]
fn ticks() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is ours to write, and this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

#[cfg(test)]
mod tests;
