//! What the kernel has of a population of hugepages.

use super::filler::buckets;
use crate::{KERNEL_BUCKETS, PopulationBacking};
use core::fmt::{Result, Write};

pub(super) fn render(
    kind: &str,
    bounds: &[u64; KERNEL_BUCKETS],
    backing: &PopulationBacking,
    out: &mut dyn Write,
) -> Result {
    for (measure, histogram) in [
        ("unbacked", &backing.unbacked),
        ("swapped", &backing.swapped),
        ("free AND unbacked", &backing.free_unbacked),
        ("free AND swapped", &backing.free_swapped),
    ] {
        writeln!(out, "HugePageFiller: # of {kind} hps with a <= # of {measure} < b")?;
        buckets(0, bounds.iter().copied().zip(histogram.counts), out)?;
    }
    for (pages, use_of, state) in [
        (backing.free_swapped_pages, "free", "swapped"),
        (backing.used_swapped_pages, "used", "swapped"),
        (backing.free_unbacked_pages, "free", "unbacked"),
        (backing.used_unbacked_pages, "used", "unbacked"),
    ] {
        writeln!(out, "HugePageFiller: {pages} of {kind} {use_of} native pages are {state}.")?;
    }
    let all = backing.hugepages;
    writeln!(
        out,
        "HugePageFiller: {} of {kind} pages hugepage backed out of {all}.",
        backing.backed_hugepages
    )?;
    for (what, free, used) in [
        ("non-hugepage", backing.free_heap_pages_on_small, backing.used_heap_pages_on_small),
        ("hugepage", backing.free_heap_pages_on_huge, backing.used_heap_pages_on_huge),
    ] {
        writeln!(
            out,
            "HugePageFiller: Of the {what} backed pages of type {kind}, {free} tcmalloc pages are free, {used} tcmalloc \
             pages are used."
        )?;
    }
    // Where the kernel is slow, whole steps are put off, and no single hugepage is passed over for it.
    for (hugepages, what) in [
        (backing.treated, "treated"),
        (backing.passed_over, "skipped collapse"),
        (0, "skipped collapse due to backoff"),
    ] {
        writeln!(out, "HugePageFiller: {hugepages} of {kind} pages {what} out of {all}.")?;
    }
    writeln!(out)?;
    writeln!(out, "HugePageFiller: Sampled Trackers for {kind} pages:")?;
    for sample in backing.samples.iter().flatten() {
        writeln!(
            out,
            "HugePageFiller: Allocations: {}, Longest Free Range: {}, Objects: {}, Is Hugepage Backed?: {}, Density: {}, \
             Reallocation Time: {:.6}",
            sample.allocations,
            sample.longest_free_pages,
            sample.objects,
            u8::from(sample.backed),
            u8::from(sample.dense),
            sample.between_allocations_ns as f64 / 1e9,
        )?;
    }
    writeln!(out)
}
