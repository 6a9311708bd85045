//! The filler of the hugepage-aware page heap.

use core::fmt::{Result, Write};
use strata_temeraire::{FillerFigures, FillerHistory, FillerMoment, Histogram, coarse_bounds_of};

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
    rows.iter().try_for_each(|row| histogram(row, pages_per_hugepage, out))
}

fn histogram(row: &Row<'_>, pages_per_hugepage: u64, out: &mut dyn Write) -> Result {
    let (kind, measure, histogram, above) = row;
    let pages = usize::try_from(pages_per_hugepage).unwrap_or(0);
    let (bounds, counts) = (coarse_bounds_of(pages), histogram.coarse(pages));
    writeln!(out, "HugePageFiller: # of {kind} hps with a<= {measure} <b")?;
    for (index, (bound, count)) in bounds.iter().zip(&counts).enumerate() {
        if index % BUCKETS_A_LINE == 0 {
            write!(out, "HugePageFiller:")?;
        }
        write!(out, " <{:3}<={count:6}", u64::from(*bound) + above)?;
        if index % BUCKETS_A_LINE == BUCKETS_A_LINE - 1 {
            writeln!(out)?;
        }
    }
    writeln!(out)
}

fn history(history: &FillerHistory, out: &mut dyn Write) -> Result {
    writeln!(out, "HugePageFiller: time series over 5 min interval")?;
    writeln!(out)?;
    writeln!(
        out,
        "HugePageFiller: minimum free pages: {} ({} backed)",
        history.least_free_pages, history.least_free_backed_pages,
    )?;
    for (name, moment) in [("demand", &history.at_peak_demand), ("hps", &history.at_peak_hugepages)]
    {
        peak(name, moment, out)?;
    }
    writeln!(out)
}

fn peak(name: &str, moment: &FillerMoment, out: &mut dyn Write) -> Result {
    writeln!(
        out,
        "HugePageFiller: at peak {name}: {} pages (and {} free, {} unmapped)",
        moment.used_pages, moment.free_pages, moment.unmapped_pages,
    )?;
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
