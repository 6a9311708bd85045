//! A report, read back from its text.

use strata_alloc::{Core, HeapConfig};
use strata_page_heap::PageHeap;
use strata_stats::{RenderPageHeap, report_tcmalloc};

pub(crate) struct Report(pub(crate) String);

impl Report {
    pub(crate) fn of<C: HeapConfig>(core: &Core<C>) -> Self
    where
        <C::PageHeap as PageHeap<C::Pages>>::Figures: RenderPageHeap,
    {
        let mut text = String::new();
        report_tcmalloc(core, &mut text).expect("strings take all that is written");
        Self(text)
    }

    /// The numbers of the only line that contains `words`.
    pub(crate) fn line(&self, words: &str) -> Vec<f64> {
        let mut lines = self.lines(words);
        assert_eq!(lines.len(), 1, "lines with {words:?} in\n{}", self.0);
        lines.remove(0)
    }

    /// The numbers of each line that contains `words`.
    pub(crate) fn lines(&self, words: &str) -> Vec<Vec<f64>> {
        self.0.lines().filter(|line| line.contains(words)).map(numbers).collect()
    }

    /// The numbers of each line that begins with `words`, from behind them on.
    pub(crate) fn lines_from(&self, words: &str) -> Vec<Vec<f64>> {
        self.0.lines().filter_map(|line| line.strip_prefix(words)).map(numbers).collect()
    }

    /// Used, free and unmapped MiB of a component.
    pub(crate) fn component(&self, name: &str) -> Vec<f64> {
        let is_its = |line: &&str| {
            line.starts_with(&format!("HugePageAware: {name:6} ")) && line.contains(" MiB used,")
        };
        numbers(self.0.lines().find(is_its).expect("a line for each component"))
    }

    /// Whether the hugepage-aware page heap runs.
    pub(crate) fn is_hugepage_aware(&self) -> bool {
        self.0.contains(" TCMALLOC_TEMERAIRE=1\n")
    }

    /// Bytes of a page.
    pub(crate) fn page_bytes(&self) -> f64 {
        self.line("Tcmalloc page size")[0]
    }
}

/// The numbers in a line, with their decimals; signs and exponents are no part of them.
pub(crate) fn numbers(line: &str) -> Vec<f64> {
    line.split(|character: char| !character.is_ascii_digit() && character != '.')
        .filter_map(|word| word.parse().ok())
        .collect()
}
