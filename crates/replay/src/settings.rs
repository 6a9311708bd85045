//! What a trace is replayed through.

use clap::ValueEnum;
use core::fmt::{self, Display, Formatter};

/// Where spans come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PageHeapKind {
    /// Hugepage-aware
    Temeraire,
    /// Lists of spans by their length
    Legacy,
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

/// A heap, and how it gives memory back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where spans come from.
    pub page_heap: PageHeapKind,
    /// The size of a page.
    pub page_size: PageSizeKind,
    /// Bytes that go back to the kernel in a second of the trace's time, if so many are free; 0 for none.
    pub release_rate: u64,
    /// CPUs, over which the trace's threads are spread in turn.
    pub cpus: u32,
    /// The trace's time passes so many times slower: 1 for as it was. A program that works for a second gives a page heap no time to
    /// give anything back.
    pub stretch: u64,
}

impl Default for Settings {
    /// Temeraire with pages of 8 KiB on one CPU, and nothing goes back by itself.
    fn default() -> Self {
        Self {
            page_heap: PageHeapKind::Temeraire,
            page_size: PageSizeKind::Eight,
            release_rate: 0,
            cpus: 1,
            stretch: 1,
        }
    }
}

impl Display for Settings {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { page_heap, page_size, release_rate, cpus, stretch: _ } = self;
        let name = |value: Option<clap::builder::PossibleValue>| {
            value.map_or_else(String::new, |value| value.get_name().to_owned())
        };
        let (heap, size) =
            (name(page_heap.to_possible_value()), name(page_size.to_possible_value()));
        write!(f, "{heap}, pages of {size}, {cpus} CPUs, ")?;
        match release_rate {
            0 => f.write_str("nothing released"),
            rate => write!(f, "{:.1} MiB/s released", *rate as f64 / 1048576.0),
        }
    }
}
