//! What goes back to the kernel by itself, and when.

/// Growth of a heap that gives it a thread of its own, in bytes with memory behind them. At half as much, compilers and
/// scripts have one; at twice, programs of 50 MiB keep what they freed until their next miss.
pub const THREAD_FROM_BYTES: u64 = 32 << 20;

/// Threads of the program that have ended, from which on a heap has a thread of its own however small it is: what
/// they used lies in the caches of all CPUs they ran on, and who outlives them may never miss. At half as many,
/// programs with a pool of threads for each of a few jobs have one; at twice, servers with a thread for each
/// request keep what a few hundred of these had.
pub const THREAD_FROM_ENDED_THREADS: u64 = 256;

/// What such a heap has behind it at least, in bytes: less is not worth a thread, which has 40 KiB itself.
pub const THREAD_FROM_LEAST_BYTES: u64 = 1 << 20;

/// Which free memory goes back without being asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReleasePolicy {
    /// Bytes of free pages that go back each second, wanted of late or not.
    pub rate: u64,
    /// Milliseconds after which memory that nobody wanted is idle and goes back; [`NEVER`](Self::NEVER) for never.
    pub delay_ms: u64,
    /// Whether kernel pages on which no object is in use go back although their span is.
    pub inside_spans: bool,
}

impl ReleasePolicy {
    /// No delay is long enough.
    pub const NEVER: u64 = u64::MAX;

    /// What heaps do if nobody says otherwise: after a second what nobody wanted, and 32 MiB a second of what did
    /// not move just now. Peaks of a second and a third are remembered, so that programs that work once a second
    /// keep their memory; at half the delay they would fault it in again. At this rate traces of programs fault in
    /// again about as much (1 % less) as they do with [`WHOLE_SPANS`](Self::WHOLE_SPANS) over the legacy page heap,
    /// and have two fifths less free.
    pub const DEFAULT: Self = Self { rate: 32 << 20, delay_ms: 1000, inside_spans: true };

    /// The same where the page heap gives back whole spans however little is asked for, and knows nothing of what
    /// moves: 4 MiB a second, and after two seconds what nobody wanted.
    pub const WHOLE_SPANS: Self = Self { rate: 4 << 20, delay_ms: 2000, ..Self::DEFAULT };

    /// Nothing goes back.
    pub const NOTHING: Self = Self { rate: 0, delay_ms: Self::NEVER, inside_spans: false };

    /// Whether what is idle goes back.
    pub const fn releases_idle(&self) -> bool {
        self.delay_ms != Self::NEVER
    }

    /// How long memory lies unwanted before it is idle; where that is never, how long a heap is quiet before its caches
    /// are emptied. A millisecond at least: caches of a heap that is in use would be emptied as fast as they fill.
    pub(crate) const fn delay_ns(&self) -> u64 {
        let milliseconds =
            if self.releases_idle() { self.delay_ms } else { Self::DEFAULT.delay_ms };
        let milliseconds = if milliseconds == 0 { 1 } else { milliseconds };
        milliseconds.saturating_mul(1_000_000)
    }
}
