//! Heaps of every page size, page heap and front end.

use core::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use strata_alloc::{Config, FrontEndChoice, PageHeapChoice};
use strata_os::Seed;

/// One combination of choices, and the seed of what runs on it.
#[derive(Clone)]
pub(crate) struct Cell {
    pub(crate) pages: &'static str,
    pub(crate) page_heap: PageHeapChoice,
    pub(crate) front_end: FrontEndChoice,
    pub(crate) seed: Seed,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pages, page_heap, front_end, seed } = self;
        write!(f, "{pages}/{page_heap:?}/{front_end:?}, {seed:?}")
    }
}

impl Cell {
    /// The cell of those who have no need of all.
    pub(crate) const FIRST: Self = Self {
        pages: "8k",
        page_heap: PageHeapChoice::Temeraire,
        front_end: FrontEndChoice::PerCpu,
        seed: Seed::new(1),
    };

    /// What a heap of this cell is configured with.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::DEFAULT;
        config.page_heap = self.page_heap;
        config.front_end = self.front_end;
        config
    }

    /// The same cell for the program of a thread.
    pub(crate) fn numbered(&self, number: usize) -> Self {
        Self { seed: self.seed.derived(number as u64), ..self.clone() }
    }
}

/// Threads keep words for two heaps at a time, so that tests run one after the other.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `run(cell, heap)` for each cell, with a new heap for each; `few:` for the cells of one page size only.
macro_rules! for_each_cell {
    (few: $run:expr) => {
        cells::for_pages!("8k", strata_size_classes::Pages8K, $run)
    };
    ($run:expr) => {
        cells::for_pages!("4k", strata_size_classes::Pages4K, $run);
        cells::for_pages!("8k", strata_size_classes::Pages8K, $run);
        cells::for_pages!("32k", strata_size_classes::Pages32K, $run);
        cells::for_pages!("256k", strata_size_classes::Pages256K, $run);
    };
}
pub(crate) use for_each_cell;

macro_rules! for_pages {
    ($name:literal, $pages:ty, $run:expr) => {{
        use strata_alloc::{FrontEndChoice, Heap, PageHeapChoice, Standard};
        let _alone = cells::alone();
        for page_heap in [PageHeapChoice::Legacy, PageHeapChoice::Temeraire] {
            for front_end in [FrontEndChoice::PerCpu, FrontEndChoice::PerThread] {
                let cell = Cell {
                    pages: $name,
                    page_heap,
                    front_end,
                    seed: strata_os::Seed::from_environment(),
                };
                eprintln!("{cell}");
                let heap: Heap<Standard<$pages>> = Heap::with(cell.config());
                let run: fn(&Cell, &Heap<Standard<$pages>>) = $run;
                run(&cell, &heap);
            }
        }
    }};
}
pub(crate) use for_pages;
