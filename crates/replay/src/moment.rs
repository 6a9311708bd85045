//! Figures of a simulated heap at some moment, and what they come to over time.

/// A layer in which memory lies that no block has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Blocks are longer than what was asked for.
    Rounding,
    /// Free objects in the caches of CPUs.
    CpuCaches,
    /// Free objects in transfer caches.
    TransferCaches,
    /// Free objects in spans, and what spans have behind their last objects.
    CentralFreeLists,
    /// Free pages that are backed.
    PageHeap,
}

impl Layer {
    /// From the top down.
    pub const ALL: [Self; 5] = [
        Self::Rounding,
        Self::CpuCaches,
        Self::TransferCaches,
        Self::CentralFreeLists,
        Self::PageHeap,
    ];

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rounding => "rounding",
            Self::CpuCaches => "CPU caches",
            Self::TransferCaches => "transfer caches",
            Self::CentralFreeLists => "central free lists",
            Self::PageHeap => "page heap",
        }
    }
}

/// A simulated heap at some moment; bytes unless named otherwise.
///
/// `backed = live + fragmentation of all layers`, at any moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Since the trace's beginning.
    pub at_us: u64,
    /// Asked for and not given back.
    pub live_bytes: u64,
    /// In spans that are out.
    pub in_use_bytes: u64,
    /// What the greatest demand of the last two seconds would want besides: no policy that waits so long gives it back.
    pub wanted_bytes: u64,
    /// In memory, as the simulated kernel says.
    pub backed_bytes: u64,
    /// In memory as far as the page heap knows: in spans, and free pages that it counts as backed. More than what
    /// is backed where it does not know of pages that were never touched, or that went inside of spans.
    pub booked_bytes: u64,
    /// Of these, on hugepages.
    pub hugepage_bytes: u64,
    /// In memory and not live, by [`Layer`].
    pub fragmentation: [u64; Layer::ALL.len()],
    /// Given back to the kernel so far.
    pub released_bytes: u64,
    /// Of these, needed again so far.
    pub refaulted_bytes: u64,
    /// Calls to the kernel so far, as a number.
    pub calls: u64,
}

impl Moment {
    /// The part of what is in memory that lies on hugepages.
    pub fn hugepage_coverage(&self) -> f64 {
        self.hugepage_bytes as f64 / self.backed_bytes.max(1) as f64
    }

    /// In memory and not live, in that layer.
    pub fn in_layer(&self, layer: Layer) -> u64 {
        self.fragmentation.get(layer as usize).copied().unwrap_or(0)
    }
}

/// Moments of a whole trace in one line: means over its time, and the ends.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Averages {
    /// Mean of what is live, in bytes.
    pub live_bytes: f64,
    /// Mean of what is backed, in bytes.
    pub backed_bytes: f64,
    /// Mean of what is backed by the page heap's books, in bytes.
    pub booked_bytes: f64,
    /// Mean of what is backed and not on hugepages, in bytes.
    pub small_page_bytes: f64,
    /// The most that was backed, in bytes.
    pub peak_backed_bytes: u64,
    /// Free pages that are backed over pages in use.
    pub page_heap_overhead: f64,
    /// What demand of the last two seconds would want again over pages in use: no page heap that waits so long has
    /// less overhead.
    pub wanted_again: f64,
    /// Given back and needed again, in bytes.
    pub refaulted_bytes: u64,
    /// Given back, in bytes.
    pub released_bytes: u64,
    /// Calls to the kernel, as a number.
    pub calls: u64,
}

impl Averages {
    /// Of moments in the order of time. Each counts equally: they are taken evenly over the events of a trace, so
    /// that hours in which nothing happens weigh no more than what happened.
    pub fn of(moments: &[Moment]) -> Self {
        let count = moments.len().max(1) as f64;
        let mean = |of: fn(&Moment) -> u64| {
            moments.iter().map(|moment| of(moment) as f64).sum::<f64>() / count
        };
        let in_use = mean(|moment| moment.in_use_bytes);
        let last = moments.last().copied().unwrap_or_default();
        Self {
            live_bytes: mean(|moment| moment.live_bytes),
            backed_bytes: mean(|moment| moment.backed_bytes),
            booked_bytes: mean(|moment| moment.booked_bytes),
            small_page_bytes: mean(|moment| {
                moment.backed_bytes.saturating_sub(moment.hugepage_bytes)
            }),
            peak_backed_bytes: moments.iter().map(|moment| moment.backed_bytes).max().unwrap_or(0),
            page_heap_overhead: mean(|moment| moment.in_layer(Layer::PageHeap)) / in_use.max(1.0),
            wanted_again: mean(|moment| moment.wanted_bytes) / in_use.max(1.0),
            refaulted_bytes: last.refaulted_bytes,
            released_bytes: last.released_bytes,
            calls: last.calls,
        }
    }

    /// The part of what is backed that lies on hugepages.
    pub fn hugepage_coverage(&self) -> f64 {
        1.0 - self.small_page_bytes / self.backed_bytes.max(1.0)
    }
}
