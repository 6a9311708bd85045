//! What stands out in a heap, in plain words: findings, ranked, each with its figures and what to do about it.

mod rules;
mod words;

use crate::workspace::{Extra, FiguresOf, with_figures};
use crate::{Figures, RenderPageHeap, Snapshot};
use core::fmt::{self, Display, Formatter};
use serde::{Serialize, Serializer};
use strata_alloc::{Core, HeapConfig, WhyPerThread};

/// Something that stands out. As text it is a headline, why, and what to do, without an end of line behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "finding")]
#[non_exhaustive]
pub enum Finding {
    /// Much of a size class's spans is free: more than half, or so much that it is a large part of the heap.
    FragmentedClass {
        /// Size of an object in bytes.
        object_bytes: u64,
        /// Its spans, as a number.
        spans: u64,
        /// Objects that the application has in them, as a number.
        objects_in_use: u64,
        /// Objects of them in caches, as a number: they hold spans, too.
        cached_objects: u64,
        /// Bytes of the spans.
        span_bytes: u64,
        /// Bytes of free objects in them.
        free_bytes: u64,
    },
    /// Much of the spans of several size classes is free, none of which is worth a finding of its own: those of
    /// which more than half is, or, where that is a large part of the heap, all that have something free.
    FragmentedClasses {
        /// How many classes.
        classes: u64,
        /// Their spans, as a number.
        spans: u64,
        /// Objects that the application has in them, as a number.
        objects_in_use: u64,
        /// Objects of them in caches, as a number.
        cached_objects: u64,
        /// Bytes of the spans.
        span_bytes: u64,
        /// Bytes of free objects in them.
        free_bytes: u64,
        /// Size of an object of the class that has most of these, in bytes.
        most_object_bytes: u64,
    },
    /// CPUs on which the program cannot run now, or did not run since the earlier snapshot, keep objects.
    IdleCpuCaches {
        /// How many there are.
        caches: u64,
        /// Bytes of free objects in them.
        held_bytes: u64,
        /// Whether this is known from two snapshots.
        since_earlier: bool,
    },
    /// Caches hold much compared with what the program has.
    LargeCaches {
        /// Bytes of free objects in per-CPU caches.
        per_cpu_bytes: u64,
        /// In threads' caches.
        thread_bytes: u64,
        /// In transfer caches.
        transfer_bytes: u64,
        /// What the program has.
        in_use_bytes: u64,
    },
    /// Free pages are backed and were not given back.
    UnreleasedPages {
        /// Bytes of them.
        free_bytes: u64,
        /// Of these, bytes between spans in use, on hugepages with them.
        between_spans_bytes: u64,
        /// Of all of them, bytes that would go back if the program asked for that.
        releasable_bytes: u64,
        /// Why.
        why: WhyNotReleased,
    },
    /// Hugepages that hold spans were given back in part, so that the hardware sees small pages there.
    BrokenHugepages {
        /// How many.
        hugepages: u64,
        /// Bytes of spans in them.
        used_bytes: u64,
        /// Bytes that were given back from them.
        released_bytes: u64,
    },
    /// The kernel has put memory of the heap into swap.
    Swapped {
        /// Bytes of it.
        swapped_bytes: u64,
        /// Of these, bytes of free pages.
        free_bytes: u64,
    },
    /// The kernel refused to take memory back.
    RefusedReleases {
        /// How often.
        times: u64,
        /// How often it was not asked because it had just refused.
        withheld: u64,
    },
    /// The kernel refused to make memory accessible, and gave other memory in its place.
    RefusedAccess {
        /// How often.
        times: u64,
    },
    /// In use grew by a tenth or more.
    Growth {
        /// By how much, in bytes.
        grown_bytes: u64,
        /// In how long, in nanoseconds.
        elapsed_ns: u64,
        /// What was allocated meanwhile, in bytes.
        allocated_bytes: u64,
        /// What was freed meanwhile, in bytes.
        freed_bytes: u64,
        /// Size of an object of the class that grew most, in bytes; 0 for large blocks.
        class_bytes: u64,
        /// By how much that grew, in bytes.
        class_grown_bytes: u64,
    },
    /// A limit of the heap was met, or memory was given back because of one, or because the kernel had no more.
    LimitReached {
        /// How often growth met a limit of the heap.
        hits: u64,
        /// Of these, how often nothing was handed out.
        refused: u64,
        /// Bytes given back for the soft limit.
        soft_bytes: u64,
        /// Bytes given back for the hard limit, or because the kernel had no more.
        hard_bytes: u64,
        /// Whether all of it was since the earlier snapshot; else since the start.
        since_earlier: bool,
    },
    /// The allocator's own structures are large compared with what the program has.
    LargeMetadata {
        /// Bytes of them.
        metadata_bytes: u64,
        /// What the program has.
        in_use_bytes: u64,
    },
    /// Whole pages of large allocations went while others lived on the donated tails.
    AbandonedTails {
        /// Bytes of them that are free now.
        bytes: u64,
    },
    /// There are no caches per CPU, and nobody asked for that.
    NoPerCpuCaches {
        /// Why.
        #[serde(serialize_with = "reason")]
        why: WhyPerThread,
    },
}

fn reason<S: Serializer>(why: &WhyPerThread, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(why.as_str())
}

/// Why free pages are still backed, as far as figures tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WhyNotReleased {
    /// Nothing was given back ever, and the heap has no thread of its own, so that something goes only while threads of the
    /// program miss their caches, or if the program asks.
    NobodyAsked {
        /// Why there is no thread.
        no_thread: WhyNoThread,
    },
    /// Recent demand may want them again: pages that were kept back for that and are not judged yet.
    RecentDemand {
        /// Bytes of them.
        kept_back_bytes: u64,
    },
    /// The kernel refused.
    Refused {
        /// How often.
        times: u64,
    },
    /// Some went, and this is what has not gone yet: the heap has no thread of its own, so that more goes only
    /// while threads of the program miss their caches.
    Rate {
        /// Why there is no thread.
        no_thread: WhyNoThread,
    },
    /// The heap's thread gives it back when nobody wanted it for a while.
    Delay {
        /// How long, in milliseconds.
        delay_ms: u64,
        /// Bytes that go each second before that.
        rate_bytes: u64,
    },
    /// Somebody switched off what gives memory back by itself.
    SwitchedOff,
}

/// Why a heap has no thread of its own that would give memory back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WhyNoThread {
    /// The heap was never as large as one that gets a thread.
    Small,
    /// `background_thread:false`.
    Off,
    /// Nobody asked for one, or it could not be made.
    NotAsked,
}

/// Findings, those about most bytes first.
#[derive(Clone, Debug)]
pub struct Findings {
    list: [Option<Finding>; Self::MOST],
    /// Of actual memory, for the words when there are none.
    actual_bytes: u64,
}

impl Findings {
    /// Most findings that are kept; of more, those about fewer bytes are left out.
    pub const MOST: usize = 24;

    const fn none(actual_bytes: u64) -> Self {
        Self { list: [None; Self::MOST], actual_bytes }
    }

    /// The findings, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.list.iter().flatten()
    }

    fn add(&mut self, finding: Finding) {
        let mut waiting = Some(finding);
        for place in &mut self.list {
            let weight =
                |finding: &Option<Finding>| finding.as_ref().map_or(0, Finding::weight_bytes);
            if place.is_none() || weight(place) < weight(&waiting) {
                core::mem::swap(place, &mut waiting);
            }
            if waiting.is_none() {
                return;
            }
        }
    }
}

impl Finding {
    /// How many bytes it is about: what findings are ranked by.
    pub const fn weight_bytes(&self) -> u64 {
        match self {
            Self::FragmentedClass { free_bytes, .. }
            | Self::FragmentedClasses { free_bytes, .. }
            | Self::UnreleasedPages { free_bytes, .. } => *free_bytes,
            Self::IdleCpuCaches { held_bytes, .. } => *held_bytes,
            Self::LargeCaches { per_cpu_bytes, thread_bytes, transfer_bytes, .. } => {
                per_cpu_bytes.saturating_add(*thread_bytes).saturating_add(*transfer_bytes)
            }
            Self::BrokenHugepages { used_bytes, .. } => *used_bytes,
            Self::Swapped { swapped_bytes, .. } => *swapped_bytes,
            Self::Growth { grown_bytes, .. } => *grown_bytes,
            Self::LimitReached { soft_bytes, hard_bytes, .. } => {
                soft_bytes.saturating_add(*hard_bytes)
            }
            Self::LargeMetadata { metadata_bytes, .. } => *metadata_bytes,
            Self::AbandonedTails { bytes } => *bytes,
            Self::RefusedReleases { .. }
            | Self::RefusedAccess { .. }
            | Self::NoPerCpuCaches { .. } => 0,
        }
    }
}

impl Display for Findings {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut number = 0;
        for finding in self.iter() {
            number += 1;
            writeln!(f, "{number}. {finding}")?;
        }
        if number == 0 { words::nothing_found(self.actual_bytes, f) } else { Ok(()) }
    }
}

impl Serialize for Findings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// What stands out in a heap, ranked by how many bytes it is about. With an `earlier` snapshot of the same heap also
/// what happened since.
///
/// A finding is about at least 1 MiB and 2 % of the memory that the heap has (or that all of the process has, if
/// that is less), so that small programs have none. Nothing is allocated.
///
/// ```
/// use strata_alloc::{Config, Heap};
/// use strata_stats::{Finding, Snapshot, explain};
///
/// let heap: Heap = Heap::with(Config::DEFAULT);
/// let mut blocks: Vec<_> = (0..100_000).map(|_| heap.allocate(512)).collect();
/// // All objects go but for one in each span or two: the spans stay.
/// for (index, block) in blocks.into_iter().enumerate() {
///     if index % 16 != 0 {
///         // SAFETY: the block is ours.
///         unsafe { heap.deallocate(block) };
///     }
/// }
/// heap.release(0);
/// let snapshot = Snapshot::take(heap.core().expect("set up"));
/// let findings = explain(&snapshot, None);
/// assert!(findings.iter().any(|finding| matches!(finding, Finding::FragmentedClass { object_bytes: 512, .. })));
/// println!("{findings}");
/// ```
pub fn explain<'a>(figures: impl Into<Figures<'a>>, earlier: Option<&Snapshot>) -> Findings {
    let figures = figures.into();
    let ledger = figures.ledger();
    let mut findings = Findings::none(ledger.actual_bytes());
    rules::apply(&figures, &ledger, earlier, &mut findings);
    findings
}

/// Writes what stands out in a heap as it is now.
///
/// As [`report`](crate::report) does.
///
/// # Errors
///
/// Those of `out`; and there is no memory for the figures.
pub fn report_explain<C: HeapConfig>(core: &Core<C>, out: &mut dyn fmt::Write) -> fmt::Result
where
    FiguresOf<C>: RenderPageHeap,
{
    let written = with_figures(core, Extra::Nothing, |taken| {
        let (snapshot, page_heap) = (taken.snapshot, taken.page_heap.details());
        write!(out, "{}", explain(Figures { snapshot, page_heap, kernel: None }, None))
    });
    written.unwrap_or(Err(fmt::Error))
}
