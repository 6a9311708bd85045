//! What a workload reports about its run.

use core::fmt::{self, Display, Formatter};
use core::time::Duration;
use std::time::Instant;

use crate::watch::Watch;
use crate::{Coverage, Latencies, Memory};

/// A measured part of a run.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// What it is called among the parts of its workload; nothing where there is only one.
    pub name: &'static str,
    /// Allocations with their frees, replacements, chains or threads, as the workload says.
    pub operations: usize,
    /// Wall time; where the workload says so, CPU time of all threads.
    pub elapsed: Duration,
    /// Pages that the kernel handed over meanwhile (minor faults).
    pub faults: u64,
}

/// All measured parts of one run, and what was seen beside them.
#[derive(Clone, Debug)]
pub struct Figures {
    /// In the order in which they ran.
    pub parts: Vec<Part>,
    /// Memory at the end of the measured part that had most, with the workload's blocks still live.
    pub working: Memory,
    /// How long single calls took, in a run that is watched.
    pub latencies: Option<Latencies>,
    /// What of the live blocks stood on hugepages, where the workload looked.
    pub coverage: Option<Coverage>,
}

impl Display for Figures {
    /// The inside of a JSON object.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "\"parts\":[")?;
        for (place, part) in self.parts.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            let Part { name, operations, elapsed, faults } = part;
            let ns = elapsed.as_nanos();
            write!(
                f,
                "{comma}{{\"name\":\"{name}\",\"operations\":{operations},\"ns\":{ns},\"faults\":{faults}}}"
            )?;
        }
        let Memory { rss_kib, hugepages_kib, .. } = self.working;
        write!(f, "],\"working_rss_kib\":{rss_kib},\"working_hugepages_kib\":{hugepages_kib}")?;
        if let Some(Latencies { calls, p50, p99, p999, max }) = self.latencies {
            write!(
                f,
                ",\"latencies\":{{\"calls\":{calls},\"p50\":{p50:.1},\"p99\":{p99:.1},\"p999\":{p999:.1},\"max\":{max:.1}}}"
            )?;
        }
        if let Some(coverage) = self.coverage {
            write!(f, ",\"coverage\":{{{coverage}}}")?;
        }
        Ok(())
    }
}

/// A run under way: takes the time of its parts.
pub(crate) struct Session<W> {
    pub(crate) watch: W,
    parts: Vec<Part>,
    working: Memory,
    pub(crate) coverage: Option<Coverage>,
}

impl<W: Watch> Session<W> {
    pub(crate) fn new() -> Self {
        // Room for every part there is, so that none of them pays for it.
        Self {
            watch: W::new(),
            parts: Vec::with_capacity(16),
            working: Memory::default(),
            coverage: None,
        }
    }

    /// Does `work` and takes its wall time. What `work` returns is kept until memory was looked at:
    /// the blocks that are live at the end belong there.
    pub(crate) fn measure<R>(
        &mut self,
        name: &'static str,
        operations: usize,
        work: impl FnOnce(&mut W) -> R,
    ) -> R {
        self.measure_by(name, operations, |watch| {
            let started = Instant::now();
            let kept = work(watch);
            (started.elapsed(), kept)
        })
    }

    /// The same, where `work` knows better how long it took.
    pub(crate) fn measure_by<R>(
        &mut self,
        name: &'static str,
        operations: usize,
        work: impl FnOnce(&mut W) -> (Duration, R),
    ) -> R {
        if self.parts.is_empty() {
            self.watch.restart();
        }
        let before = faults();
        let (elapsed, kept) = work(&mut self.watch);
        let faults = faults().saturating_sub(before);
        self.parts.push(Part { name, operations, elapsed, faults });
        let memory = Memory::of_this_process();
        if memory.rss_kib >= self.working.rss_kib {
            self.working = memory;
        }
        kept
    }

    /// Adds a part that the workload took the time of itself.
    pub(crate) fn add(&mut self, name: &'static str, operations: usize, elapsed: Duration) {
        self.parts.push(Part { name, operations, elapsed, faults: 0 });
    }

    pub(crate) fn finish(self) -> Figures {
        let latencies = self.watch.latencies();
        let Self { parts, working, coverage, .. } = self;
        Figures { parts, working, latencies, coverage }
    }
}

/// Minor faults of the process so far.
fn faults() -> u64 {
    // SAFETY: the structure holds numbers alone, for which all zero bytes are a value.
    let mut usage: libc::rusage = unsafe { core::mem::zeroed() };
    // SAFETY: the structure is ours to write.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    u64::try_from(usage.ru_minflt).unwrap_or(0)
}

/// CPU time that this thread has had.
pub(crate) fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is ours to write, and this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}
