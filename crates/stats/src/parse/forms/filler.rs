//! The filler of the hugepage-aware heap.

use super::{Form, form};

pub(super) const FORMS: &[Form] = &[
    form("buckets", "HugePageFiller: <{lower_bound}<={value} @ <{lower_bound}<={value}"),
    form(
        "buckets_ms",
        "HugePageFiller: <{lower_bound_ms} ms <={value} @ <{lower_bound_ms} ms <={value}",
    ),
    form(
        "filler_histogram",
        "HugePageFiller: # of {kind:text} hps with a<= # of {measure:text} <b",
    ),
    form("filler_histogram", "HugePageFiller: # of {kind:text} hps with a<= {measure:text} <b"),
    form("title_filler", "HugePageFiller: densely pack small requests into hugepages"),
    form(
        "filler",
        "HugePageFiller: {total} total, {filler_full_huge_pages} full, {filler_partial_huge_pages} partial, \
         {filler_released_huge_pages} released ({filler_partially_released_huge_pages} partially), {quarantined} \
         quarantined",
    ),
    form(
        "filler",
        "HugePageFiller: Overall, {total} total, {filler_full_huge_pages} full, {filler_partial_huge_pages} partial, \
         {filler_released_huge_pages} released ({filler_partially_released_huge_pages} partially), {quarantined} \
         quarantined",
    ),
    form(
        "filler_density",
        "HugePageFiller: those with {density:text} spans, {hugepages} total, {full} full, {partial} partial, {released} \
         released ({partially_released} partially), {quarantined} quarantined",
    ),
    form(
        "filler_free",
        "HugePageFiller: {filler_free_pages} pages free in {hugepages} hugepages, {free_share} free",
    ),
    form(
        "filler_free_of_non_full",
        "HugePageFiller: among non-fulls, {free_share_of_non_full} free",
    ),
    form(
        "filler_used_in_released",
        "HugePageFiller: {filler_used_pages_in_subreleased} used pages in subreleased hugepages \
         ({filler_used_pages_in_partial_released} of them in partially released)",
    ),
    form(
        "filler_released",
        "HugePageFiller: {partially_released} hugepages partially released, {released_share} released",
    ),
    form("filler_hugepageable", "HugePageFiller: {hugepageable_share} of used pages hugepageable"),
    form(
        "filler_since_start",
        "HugePageFiller: Since startup, {filler_num_pages_subreleased} pages subreleased, {filler_num_hugepages_broken} \
         hugepages broken, ({filler_num_pages_subreleased_due_to_limit} pages, \
         {filler_num_hugepages_broken_due_to_limit} hugepages due to reaching tcmalloc limit)",
    ),
    form("title_histograms", "HugePageFiller: fullness histograms"),
    form("title_time_series", "HugePageFiller: time series over {minutes} min interval"),
    form(
        "filler_least_free",
        "HugePageFiller: minimum free pages: {min_free_pages} ({min_free_backed_pages} backed)",
    ),
    form(
        "peak_pages",
        "HugePageFiller: at peak {of:word} {used} pages (and {free} free, {unmapped} unmapped)",
    ),
    form(
        "peak_hugepages",
        "HugePageFiller: at peak {of:word} {hugepages} hps ({regular} regular, {donated} donated, {partial} partial, \
         {released} released)",
    ),
    form("filler_realized", "HugePageFiller: realized fragmentation: {realized_mib} MiB"),
    form(
        "filler_refilled",
        "HugePageFiller: {filler_previously_released_huge_pages} hugepages became full after being previously released, out of which {filler_previously_released_backed_huge_pages} pages are hugepage backed.",
    ),
    form(
        "filler_refilled",
        "HugePageFiller: {filler_previously_released_huge_pages} hugepages became full after being previously released",
    ),
    form(
        "filler_skipped",
        "HugePageFiller: Since the start of the execution, {skipped_pages} pages were skipped {why:text}",
    ),
    form(
        "filler_judged",
        "HugePageFiller: {correct_percent}% of pages confirmed correct, {pending_pages} pending, as per anticipated 300s realized fragmentation.",
    ),
    // What TCMalloc's filler tells today beyond that: treatment, collapse, residency.
    form(
        "filler_collapse",
        "HugePageFiller: Out of {eligible} eligible hugepages, {attempted} were attempted, and {collapsed} were collapsed.",
    ),
    form(
        "filler_collapse_errors",
        "HugePageFiller: Of the failed collapse operations, number of operations that failed per error type, @ \
         {error:text}: {count}",
    ),
    form(
        "filler_collapse_latency",
        "HugePageFiller: Latency of collapse operations: {total_ms} ms (total), {maximum_us} us (maximum)",
    ),
    form(
        "filler_collapse_delay",
        "HugePageFiller: Backoff delay for collapse currently is {intervals} interval(s), number of intervals skipped due \
         to backoff is {skipped}",
    ),
    form(
        "filler_treatment",
        "HugePageFiller: In the previous treatment interval, subreleased {pages} pages.",
    ),
    form(
        "filler_treatment",
        "HugePageFiller: In the previous treatment interval, subreleased {stale_pages} stale pages.",
    ),
    form(
        "filler_treatment",
        "HugePageFiller: In the previous treatment interval, marked {unbacked_pages} unbacked pages as subreleased. Since \
         startup, {unbacked_pages_since_start}.",
    ),
    form(
        "filler_histogram_of_more",
        "HugePageFiller: # of {kind:text} hps with a <= # of {measure:text} < b",
    ),
    form(
        "filler_histogram_of_more",
        "HugePageFiller: # of {kind:text} hps with {measure:text} <= # {of:text} < b",
    ),
    form(
        "filler_histogram_of_more",
        "HugePageFiller: # of hps with >= {least} free pages, with different lifetimes.",
    ),
    form("filler_histogram_of_more", "HugePageFiller: # of hps with lifetime >= {least_ms} ms."),
    form(
        "filler_native_pages",
        "HugePageFiller: {native_pages} of {kind:text} native pages are {state:text}.",
    ),
    form(
        "filler_huge_backed",
        "HugePageFiller: {hugepages} of {kind:text} pages {what:text} out of {all}.",
    ),
    form(
        "filler_by_backing",
        "HugePageFiller: Of the {backing:text} backed pages of type {kind:text}, {free_pages} tcmalloc pages are free, \
         {used_pages} tcmalloc pages are used.",
    ),
    form("title_trackers", "HugePageFiller: Sampled Trackers for {kind:text} pages:"),
    form(
        "filler_tracker",
        "HugePageFiller: Allocations: {allocations}, Longest Free Range: {longest_free_range}, Objects: {objects}, Is \
         Hugepage Backed?: {huge_backed}, Density: {density}, Reallocation Time: {reallocation_seconds}",
    ),
    form(
        "filler_skipped",
        "HugePageFiller: Since the start of the execution, {subreleases} subreleases ({skipped_pages} pages) were skipped \
         due to either recent ({peak:text}) peaks, or the sum of short-term ({short:text}) fluctuations and long-term \
         ({long:text}) trends.",
    ),
    form(
        "filler_judged",
        "HugePageFiller: {correct_decisions_percent}% of decisions confirmed correct, {pending_decisions} pending \
         ({correct_percent}% of pages, {pending_pages} pending), as per anticipated {interval:text} realized fragmentation.",
    ),
    form(
        "filler_subreleased_lately",
        "HugePageFiller: Subrelease stats last {minutes} min: total {pages} pages subreleased.",
    ),
];
