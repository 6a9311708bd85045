//! What a trace is replayed through.

use clap::ValueEnum;
use core::fmt::{self, Display, Formatter};
use strata_os::ThpMode;
use strata_upkeep::ReleasePolicy;

/// Where spans come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PageHeapKind {
    /// Hugepage-aware
    Temeraire,
    /// Lists of spans by their length
    Legacy,
}

impl PageHeapKind {
    /// What goes back to the kernel by itself over this page heap, if nobody says otherwise.
    pub const fn policy(self) -> ReleasePolicy {
        match self {
            Self::Temeraire => ReleasePolicy::DEFAULT,
            Self::Legacy => ReleasePolicy::WHOLE_SPANS,
        }
    }
}

/// The size of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PageSizeKind {
    /// 4 KiB
    #[value(name = "4k")]
    Four,
    /// 8 KiB
    #[value(name = "8k")]
    Eight,
    /// 32 KiB
    #[value(name = "32k")]
    ThirtyTwo,
    /// 256 KiB
    #[value(name = "256k")]
    TwoFiftySix,
}

/// Who does the background work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ThreadKind {
    /// A thread of the heap's own, once 32 MiB are backed; threads that miss before that
    Auto,
    /// A thread of the heap's own, from the beginning
    #[value(name = "true")]
    Always,
    /// Threads that miss
    #[value(name = "false")]
    Never,
}

/// When the kernel backs memory with hugepages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ThpKind {
    /// Wherever one fits, unless advised against
    Always,
    /// Where it was advised
    Madvise,
    /// Nowhere
    Never,
}

impl ThpKind {
    pub(crate) const fn mode(self) -> ThpMode {
        match self {
            Self::Always => ThpMode::Always,
            Self::Madvise => ThpMode::Madvise,
            Self::Never => ThpMode::Never,
        }
    }
}

/// A heap, how it gives memory back, and the machine that it stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where spans come from.
    pub page_heap: PageHeapKind,
    /// The size of a page.
    pub page_size: PageSizeKind,
    /// What goes back to the kernel by itself.
    pub policy: ReleasePolicy,
    /// Who does that.
    pub thread: ThreadKind,
    /// When the kernel backs memory with hugepages.
    pub thp: ThpKind,
    /// CPUs, over which the trace's threads are spread in turn.
    pub cpus: u32,
    /// The trace's time passes so many times slower: 1 for as it was. A program that works for a second gives a
    /// page heap no time to give anything back.
    pub stretch: u64,
}

impl Default for Settings {
    /// What a program under the library gets: Temeraire with pages of 8 KiB, memory going back as it does if nobody says
    /// otherwise, hugepages where they are advised; on one CPU.
    fn default() -> Self {
        Self {
            page_heap: PageHeapKind::Temeraire,
            page_size: PageSizeKind::Eight,
            policy: ReleasePolicy::DEFAULT,
            thread: ThreadKind::Auto,
            thp: ThpKind::Madvise,
            cpus: 1,
            stretch: 1,
        }
    }
}

impl Display for Settings {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { page_heap, page_size, policy, thread, thp, cpus, stretch: _ } = self;
        let name = |value: Option<clap::builder::PossibleValue>| {
            value.map_or_else(String::new, |value| value.get_name().to_owned())
        };
        let (heap, size) =
            (name(page_heap.to_possible_value()), name(page_size.to_possible_value()));
        write!(f, "{heap}, pages of {size}, {cpus} CPUs, ")?;
        if *thp != ThpKind::Madvise {
            write!(f, "hugepages {}, ", name(thp.to_possible_value()))?;
        }
        match thread {
            ThreadKind::Auto => {}
            ThreadKind::Always => f.write_str("a thread, ")?,
            ThreadKind::Never => f.write_str("no thread, ")?,
        }
        if *policy == ReleasePolicy::NOTHING {
            return f.write_str("nothing released");
        }
        write!(f, "{:.1} MiB/s released", policy.rate as f64 / 1048576.0)?;
        if policy.releases_idle() {
            write!(f, ", idle after {:.1} s", policy.delay_ms as f64 / 1000.0)?;
            if !policy.inside_spans {
                f.write_str(" but inside spans")?;
            }
        }
        Ok(())
    }
}
