//! The filler of the hugepage-aware page heap.

use crate::{Backing, kernel_bounds};
use core::fmt::{Result, Write};
use strata_temeraire::{
    FillerFigures, FillerHistory, FillerMoment, Histogram, LIFETIME_BOUNDS_MS, LIFETIME_BUCKETS,
    Population, coarse_bounds_of, histogram_bounds_of,
};

/// Buckets on a line.
const BUCKETS_A_LINE: usize = 6;

pub(super) fn render(
    filler: &FillerFigures,
    pages_per_hugepage: u64,
    out: &mut dyn Write,
) -> Result {
    head(filler, pages_per_hugepage, out)?;
    writeln!(out)?;
    writeln!(out, "HugePageFiller: fullness histograms")?;
    writeln!(out)?;
    histograms(filler, pages_per_hugepage, out)?;
    history(&filler.history, out)
}

fn head(filler: &FillerFigures, pages_per_hugepage: u64, out: &mut dyn Write) -> Result {
    writeln!(out, "HugePageFiller: densely pack small requests into hugepages")?;
    writeln!(
        out,
        "HugePageFiller: {} total, {} full, {} partial, {} released ({} partially), 0 quarantined",
        filler.hugepages,
        filler.full_hugepages,
        filler.partial_hugepages,
        filler.released_hugepages,
        filler.partially_released_hugepages,
    )?;
    shares(filler, pages_per_hugepage, out)
}

/// What part of the hugepages is free, released, or a hugepage for the hardware too.
pub(crate) fn shares(
    filler: &FillerFigures,
    pages_per_hugepage: u64,
    out: &mut dyn Write,
) -> Result {
    writeln!(
        out,
        "HugePageFiller: {} pages free in {} hugepages, {:.4} free",
        filler.free_pages,
        filler.hugepages,
        filler.free_share(pages_per_hugepage),
    )?;
    writeln!(
        out,
        "HugePageFiller: among non-fulls, {:.4} free",
        filler.free_share_of_non_full(pages_per_hugepage)
    )?;
    writeln!(
        out,
        "HugePageFiller: {} used pages in subreleased hugepages ({} of them in partially released)",
        filler.used_pages_in_released, filler.used_pages_in_partially_released,
    )?;
    writeln!(
        out,
        "HugePageFiller: {} hugepages partially released, {:.4} released",
        filler.released_hugepages,
        filler.released_share(pages_per_hugepage),
    )?;
    writeln!(out, "HugePageFiller: {:.4} of used pages hugepageable", filler.hugepageable_share())
}

/// Which hugepages, by what, the histogram, and what its bounds are above those of its buckets.
type Row<'a> = (&'a str, &'a str, &'a Histogram, u64);

fn histograms(filler: &FillerFigures, pages_per_hugepage: u64, out: &mut dyn Write) -> Result {
    const FREE: &str = "# of free pages";
    const LONGEST: &str = "longest free range";
    const ALLOCATIONS: &str = "# of allocations";
    let (regular, donated, released) = (filler.regular(), filler.donated(), filler.released());
    let rows: [Row<'_>; 7] = [
        ("regular", FREE, &regular.free_pages, 0),
        ("donated", FREE, &donated.free_pages, 0),
        ("released", FREE, &released.free_pages, 0),
        ("regular", LONGEST, &regular.longest_free_range, 0),
        ("released", LONGEST, &released.longest_free_range, 0),
        ("regular", ALLOCATIONS, &regular.allocations_less_one, 1),
        ("released", ALLOCATIONS, &released.allocations_less_one, 1),
    ];
    let pages = usize::try_from(pages_per_hugepage).unwrap_or(0);
    rows.iter().try_for_each(|(kind, measure, histogram, above)| {
        let buckets = coarse_bounds_of(pages).into_iter().zip(histogram.coarse(pages));
        rows_of_buckets(kind, measure, *above, buckets, out)
    })
}

/// The fine histograms of each population: by free pages, by the longest free range, by allocations.
pub(crate) fn populations(
    filler: &FillerFigures,
    backing: Option<&Backing>,
    pages_per_hugepage: u64,
    out: &mut dyn Write,
) -> Result {
    let pages = usize::try_from(pages_per_hugepage).unwrap_or(0);
    for population in Population::ALL {
        let (kind, fullness) = (population_name(population), filler.fullness_of(population));
        let mut histogram = |measure: &str, histogram: &Histogram, above: u64| {
            let buckets = histogram_bounds_of(pages).into_iter().zip(histogram.counts);
            rows_of_buckets(kind, measure, above, buckets, out)
        };
        histogram("# of free pages", &fullness.free_pages, 0)?;
        // A donated hugepage has one allocation, and one free range.
        if population != Population::Donated {
            histogram("longest free range", &fullness.longest_free_range, 0)?;
            histogram("# of allocations", &fullness.allocations_less_one, 1)?;
        }
        let lifetimes = filler.lifetimes_of(population);
        ages(kind, "live lifetime", &lifetimes.all, out)?;
        let nearly_free = 7 * pages_per_hugepage / 8;
        writeln!(
            out,
            "HugePageFiller: # of hps with >= {nearly_free} free pages, with different lifetimes."
        )?;
        ages(kind, "lifetime", &lifetimes.nearly_free, out)?;
        writeln!(out, "HugePageFiller: # of hps with lifetime >= 100000 ms.")?;
        writeln!(out, "HugePageFiller: # of {kind} hps with a <= # of allocations < b")?;
        let old = &lifetimes.old_by_allocations;
        buckets(0, histogram_bounds_of(pages).into_iter().zip(old.counts), out)?;
        if let Some(backing) = backing {
            let bounds = kernel_bounds(backing.kernel_pages);
            super::backing::render(kind, &bounds, backing.of_population(population), out)?;
        }
    }
    Ok(())
}

/// Hugepages that left because they emptied, by how long they had been there.
pub(crate) fn completed_lifetimes(filler: &FillerFigures, out: &mut dyn Write) -> Result {
    let [sparse, dense] = &filler.counters.completed_lifetimes;
    ages("densely-accessed", "completed lifetime", dense, out)?;
    ages("sparsely-accessed", "completed lifetime", sparse, out)
}

/// A title, and hugepages by milliseconds.
fn ages(kind: &str, what: &str, counts: &[u32; LIFETIME_BUCKETS], out: &mut dyn Write) -> Result {
    writeln!(out, "HugePageFiller: # of {kind} hps with {what} a <= # hps < b")?;
    let numbered = LIFETIME_BOUNDS_MS.into_iter().zip(counts).enumerate();
    rows(numbered, out, |(bound, count), out| write!(out, " < {bound:3} ms <={count:7}"))
}

/// What reports call it.
pub(crate) const fn population_name(population: Population) -> &'static str {
    match population {
        Population::SparseRegular => "sparsely-accessed regular",
        Population::DenseRegular => "densely-accessed regular",
        Population::Donated => "donated",
        Population::SparsePartial => "sparsely-accessed partial released",
        Population::DensePartial => "densely-accessed partial released",
        Population::SparseReleased => "sparsely-accessed released",
        Population::DenseReleased => "densely-accessed released",
    }
}

/// A title and the buckets, whose bounds are shown with `above` added.
fn rows_of_buckets(
    kind: &str,
    measure: &str,
    above: u64,
    buckets: impl Iterator<Item = (u16, u32)>,
    out: &mut dyn Write,
) -> Result {
    writeln!(out, "HugePageFiller: # of {kind} hps with a<= {measure} <b")?;
    self::buckets(above, buckets, out)
}

pub(super) fn buckets(
    above: u64,
    buckets: impl Iterator<Item = (impl Into<u64>, u32)>,
    out: &mut dyn Write,
) -> Result {
    rows(buckets.enumerate(), out, |(bound, count), out| {
        write!(out, " <{:3}<={count:6}", bound.into() + above)
    })
}

/// Buckets, six on a line, and an empty line behind them.
fn rows<T>(
    buckets: impl Iterator<Item = (usize, T)>,
    out: &mut dyn Write,
    write: impl Fn(T, &mut dyn Write) -> Result,
) -> Result {
    for (index, bucket) in buckets {
        if index % BUCKETS_A_LINE == 0 {
            out.write_str(if index == 0 { "HugePageFiller:" } else { "\nHugePageFiller:" })?;
        }
        write(bucket, out)?;
    }
    writeln!(out)?;
    writeln!(out)
}

fn history(history: &FillerHistory, out: &mut dyn Write) -> Result {
    writeln!(out, "HugePageFiller: time series over 5 min interval")?;
    writeln!(out)?;
    least_free(history, out)?;
    for (name, moment) in [("demand", &history.at_peak_demand), ("hps", &history.at_peak_hugepages)]
    {
        pages_at_peak(name, moment, out)?;
        hugepages_at_peak(name, moment, out)?;
    }
    writeln!(out)
}

/// The fewest free pages.
pub(crate) fn least_free(history: &FillerHistory, out: &mut dyn Write) -> Result {
    writeln!(
        out,
        "HugePageFiller: minimum free pages: {} ({} backed)",
        history.least_free_pages, history.least_free_backed_pages,
    )
}

/// The pages at a peak.
pub(crate) fn pages_at_peak(name: &str, moment: &FillerMoment, out: &mut dyn Write) -> Result {
    writeln!(
        out,
        "HugePageFiller: at peak {name}: {} pages (and {} free, {} unmapped)",
        moment.used_pages, moment.free_pages, moment.unmapped_pages,
    )
}

fn hugepages_at_peak(name: &str, moment: &FillerMoment, out: &mut dyn Write) -> Result {
    writeln!(
        out,
        "HugePageFiller: at peak {name}: {} hps ({} regular, {} donated, {} partial, {} released)",
        moment.hugepages(),
        moment.regular_hugepages,
        moment.donated_hugepages,
        moment.partial_hugepages,
        moment.released_hugepages,
    )
}
