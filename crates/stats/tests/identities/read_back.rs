//! A report that is read back has the figures that it was written from.

use crate::{
    read_back_page_heap::{POPULATIONS, page_heap},
    reading::Taken,
};
use strata_page_heap::LIFETIME_BOUNDS_MS;
use strata_stats::{
    Backing, Category, Figure, Ledger, Line, MissAges, PageHeapDetails, Part, RenderPageHeap,
    Report,
};

/// Compares both texts with the figures.
pub(crate) fn compare<F: RenderPageHeap>(taken: &Taken<F>, reports: &[Report<'_>; 2]) {
    for report in reports {
        summary(taken, report);
        classes(taken, report);
        cpus(taken, report);
        page_heap(taken.page_heap.details(), report);
    }
    details(taken, &reports[1]);
}

/// Whether the report has these figures; those that it has not at all do not count.
pub(crate) fn same(report: &Report<'_>, figures: &[(&str, u64)]) {
    for (name, figure) in figures {
        if let Some(read) = report.number(name) {
            assert_eq!(read, *figure, "{name}");
        }
    }
}

pub(crate) fn line_has(line: &Line<'_>, figures: &[(&str, u64)]) {
    for (name, figure) in figures {
        assert_eq!(line.number(name), Some(*figure), "{name} in {line:?}");
    }
}

pub(crate) fn all(line: &Line<'_>, name: &str) -> Vec<u64> {
    line.figures(name).filter_map(Figure::number).collect()
}

fn summary<F>(taken: &Taken<F>, report: &Report<'_>) {
    let (heap, ledger) = (&taken.snapshot.heap, Ledger::of(&taken.snapshot));
    let of = |category| ledger.bytes(category);
    same(
        report,
        &[
            ("in_use_by_app", of(Category::InUse)),
            ("page_heap_freelist", ledger.free_pages_bytes()),
            ("central_cache_freelist", of(Category::Central)),
            ("per_cpu_cache_freelist", of(Category::PerCpu)),
            ("transfer_cache_freelist", of(Category::Transfer)),
            ("thread_cache_freelists", ledger.thread_caches_bytes()),
            ("malloc_metadata", ledger.part_bytes(Part::Metadata)),
            ("malloc_metadata_arena_unallocated", of(Category::ArenaUnallocated)),
            ("num_spans", heap.spans.in_use),
            ("num_spans_created", heap.spans.created),
            ("num_thread_heaps", heap.threads.caches.in_use),
            ("num_thread_heaps_created", heap.threads.caches.created),
            ("pagemap_size", heap.map.root_touched_bytes + heap.map.leaf_touched_bytes),
            ("pagemap_root_size", heap.map.root_reserved_bytes),
            ("percpu_slab_residence", taken.snapshot.slab_resident_bytes),
            ("never_used", ledger.part_bytes(Part::NeverUsed)),
            ("peak_backed", heap.page_heap.peak.in_use_bytes + heap.page_heap.peak.free_bytes),
            ("tcmalloc_page_size", heap.page_bytes),
            ("cpus_allowed", u64::from(taken.snapshot.allowed_cpus)),
            ("arena_blocks", heap.arena.blocks),
            ("memory_release_failures", heap.page_heap.release_failures),
            ("mmap_sys_allocator", ledger.mapped_bytes),
            ("mapped", ledger.mapped_bytes),
            ("in_use_by_threads", ledger.in_use_by_threads_bytes),
        ],
    );
    let process = taken.snapshot.process.expect("the kernel tells");
    same(
        report,
        &[
            ("total_resident", process.resident_bytes as u64),
            ("total_mapped", process.mapped_bytes as u64),
            ("total_vmpte", process.pte_bytes as u64),
        ],
    );
    for line in report.lines("ledger") {
        let name = line.figure("category").expect("a name").text();
        let category = Category::all().find(|category| category.name() == name);
        assert_eq!(line.number("bytes"), category.map(of), "{name}");
    }
    if let Some(total) = report.number("num_released_total_pages") {
        assert_eq!(total, heap.page_heap.released.total() / heap.page_bytes);
    }
}

fn classes<F>(taken: &Taken<F>, report: &Report<'_>) {
    let mut lines = report.lines("class");
    for (index, class) in taken.snapshot.classes.iter() {
        let line = lines.next().expect("each class has a line");
        let figures = [
            ("class", index as u64),
            ("object_bytes", class.object_bytes),
            ("objects", class.free_objects()),
        ];
        line_has(line, &figures);
        if line.number("live_pages").is_some() {
            let figures = [
                ("live_pages", class.live_pages),
                ("spans_requested", class.spans_requested),
                ("spans_returned", class.spans_returned),
            ];
            line_has(line, &figures);
        }
    }
    assert!(lines.next().is_none());
}

fn cpus<F>(taken: &Taken<F>, report: &Report<'_>) {
    let mut lines = report.lines("cpu");
    for (id, cpu) in taken.snapshot.cpus.iter() {
        let line = lines.next().expect("each CPU has a line");
        let figures =
            [("cpu", id as u64), ("used", cpu.held_bytes), ("unused", cpu.unallocated_bytes)];
        line_has(line, &figures);
        let state = line.figure("state").map_or("", Figure::text);
        assert_eq!(state.contains("active"), cpu.active);
        assert_eq!(state.contains("populated"), cpu.populated);
    }
    assert!(lines.next().is_none());
}

/// What today's form alone has.
fn details<F: RenderPageHeap>(taken: &Taken<F>, report: &Report<'_>) {
    let mut lines = [
        report.lines("transfer_cache").collect::<Vec<_>>().into_iter(),
        report.lines("span_utilization").collect::<Vec<_>>().into_iter(),
        report.lines("span_occupancy").collect::<Vec<_>>().into_iter(),
        report.lines("spans_a_batch").collect::<Vec<_>>().into_iter(),
    ];
    let is_of =
        |kind| move |line: &&Line<'_>| line.figure("kind").is_some_and(|of| of.text() == kind);
    let mut lifetimes = ["live", "completed"].map(|kind| {
        report.lines("span_lifetime").filter(is_of(kind)).collect::<Vec<_>>().into_iter()
    });
    let mut same_span = report.lines("same_span_returns");
    for (index, class) in taken.details.classes() {
        let [transfer, utilization, occupancy, batches] =
            lines.each_mut().map(|lines| lines.next().expect("each class has a line"));
        let figures = [
            ("class", index as u64),
            ("capacity", class.transfer.capacity_objects),
            ("max_capacity", class.transfer.greatest_capacity_objects),
            ("insert_hits", class.transfer.insert_hits),
            ("insert_misses", class.transfer.insert_misses),
            ("insert_object_misses", class.transfer.insert_missed_objects),
            ("remove_hits", class.transfer.remove_hits),
            ("remove_misses", class.transfer.remove_misses),
            ("remove_object_misses", class.transfer.remove_missed_objects),
        ];
        line_has(transfer, &figures);
        assert_eq!(all(utilization, "spans"), class.utilization.map(u64::from));
        assert_eq!(all(occupancy, "spans"), class.occupancy.map(u64::from));
        assert_eq!(all(batches, "batches"), class.spans_a_batch.map(u64::from));
        if let Some(spans) = &class.spans {
            let [live, completed] = lifetimes.each_mut().map(|line| line.next().expect("a line"));
            for (line, kind, counts) in [
                (live, "live", spans.live_lifetimes),
                (completed, "completed", spans.completed_lifetimes),
            ] {
                assert_eq!(line.figure("kind").map(Figure::text), Some(kind));
                assert_eq!(line.number("class"), Some(index as u64));
                assert_eq!(all(line, "lower_bound_ms"), LIFETIME_BOUNDS_MS);
                assert_eq!(all(line, "spans"), counts.map(u64::from));
            }
            let returns = same_span.next().expect("each class has a line");
            assert_eq!(all(returns, "returns"), spans.same_span_returns.map(u64::from));
        }
        let rate = transfer.real("hit_rate").expect("a share");
        assert!((rate - 100.0 * class.front_end_hit_rate()).abs() < 0.000_01, "class {index}");
    }
    let mut lines = report.lines("class_capacity");
    if taken.snapshot.cpus.iter().next().is_some() {
        for (index, class) in taken.details.classes() {
            let line = lines.next().expect("each class has a line");
            let figures = [
                ("class", index as u64),
                ("min_capacity", class.capacity.least),
                ("max_capacity", class.capacity.greatest),
                ("max_allowed_capacity", class.capacity.allowed),
            ];
            line_has(line, &figures);
            if let Some(misses) = &class.misses {
                let figures = [("max_capacity_misses", misses.at_greatest_capacity)];
                line_has(line, &figures);
                miss_ages(line, "underflow", misses.underflow.as_ref());
                miss_ages(line, "overflow", misses.overflow.as_ref());
            }
            let mean = line.real("avg_capacity").expect("a mean");
            assert!((mean - class.capacity.mean()).abs() <= 0.051, "class {index}");
        }
    }
    assert!(lines.next().is_none());
    for ((id, misses), line) in taken.details.cpus().zip(report.lines("cpu_slab")) {
        line_has(line, &[("cpu", id as u64), ("resizes", misses.region_resizes)]);
        line_has(line, &[("slab_kib", misses.region_bytes >> 10)]);
    }
    if taken.snapshot.cpus.iter().next().is_some() {
        for (line, slab) in report.lines("slab_resizes").zip(taken.details.slabs) {
            line_has(line, &[("growths", slab.growths), ("shrinkages", slab.shrinkages)]);
        }
        assert_eq!(report.number("slab_failed_bytes"), Some(taken.details.slab_refused_bytes));
    }
    released(taken, report);
    parameters(taken, report);
    if let (PageHeapDetails::Temeraire(_), Some(figures)) =
        (taken.page_heap.details(), &taken.details.backing)
    {
        backing(figures, report);
    }
    let mut nodes = report.lines("machine");
    for node in taken.details.nodes() {
        let line = nodes.next().expect("each node has a line");
        let name = format!("node{}", node.node);
        assert_eq!(line.figure("node").map(Figure::text), Some(name.as_str()));
        let ratio = line.real("ratio").expect("a share");
        assert!((ratio - node.fragmentation()).abs() <= 0.000_51, "{node:?}");
    }
    assert!(nodes.next().is_none());
}

/// What the kernel has of each population.
fn backing(figures: &Backing, report: &Report<'_>) {
    let of = |form: &'static str, kind: &'static str, what: (&'static str, &'static str)| {
        let says = move |line: &Line<'_>, name: &str, text: &str| {
            line.figure(name).is_some_and(|figure| figure.text() == text)
        };
        let mut lines = report
            .lines(form)
            .filter(|line| says(line, "kind", kind) && says(line, what.0, what.1));
        let line = lines.next().unwrap_or_else(|| panic!("{form} of {kind}: {what:?}"));
        assert!(lines.next().is_none());
        line
    };
    for (kind, population) in POPULATIONS {
        let figures = figures.of_population(population);
        for (measure, histogram) in [
            ("unbacked", figures.unbacked),
            ("swapped", figures.swapped),
            ("free AND unbacked", figures.free_unbacked),
            ("free AND swapped", figures.free_swapped),
        ] {
            let title = of("filler_histogram_of_more", kind, ("measure", measure));
            let rows = report.all().skip_while(|line| line.number_in_text <= title.number_in_text);
            let rows: Vec<_> = rows.take_while(|line| line.form == "buckets").collect();
            let read = |name| rows.iter().flat_map(|row| all(row, name)).collect::<Vec<_>>();
            assert_eq!(read("value"), histogram.counts.map(u64::from), "{kind}: {measure}");
        }
        for (use_of, state, pages) in [
            ("free", "swapped", figures.free_swapped_pages),
            ("used", "swapped", figures.used_swapped_pages),
            ("free", "unbacked", figures.free_unbacked_pages),
            ("used", "unbacked", figures.used_unbacked_pages),
        ] {
            let kind = format!("{kind} {use_of}");
            let is_its = |line: &&Line<'_>| {
                line.figure("kind").is_some_and(|of| of.text() == kind)
                    && line.figure("state").is_some_and(|of| of.text() == state)
            };
            let line = report.lines("filler_native_pages").find(is_its).expect("a line");
            line_has(line, &[("native_pages", pages)]);
        }
        for (what, hugepages) in [
            ("hugepage backed", figures.backed_hugepages),
            ("treated", figures.treated),
            ("skipped collapse", figures.passed_over),
            ("skipped collapse due to backoff", 0),
        ] {
            let line = of("filler_huge_backed", kind, ("what", what));
            line_has(line, &[("hugepages", hugepages), ("all", figures.hugepages)]);
        }
        for (what, free, used) in [
            ("non-hugepage", figures.free_heap_pages_on_small, figures.used_heap_pages_on_small),
            ("hugepage", figures.free_heap_pages_on_huge, figures.used_heap_pages_on_huge),
        ] {
            let line = of("filler_by_backing", kind, ("backing", what));
            line_has(line, &[("free_pages", free), ("used_pages", used)]);
        }
        let title = of("title_trackers", kind, ("kind", kind));
        let behind = report.all().skip_while(|line| line.number_in_text <= title.number_in_text);
        let mut lines = behind.take_while(|line| line.form == "filler_tracker");
        for sample in figures.samples.iter().flatten() {
            let line = lines.next().expect("each has a line");
            let numbers = [
                ("allocations", sample.allocations),
                ("longest_free_range", sample.longest_free_pages),
                ("objects", sample.objects),
                ("huge_backed", sample.backed.into()),
                ("density", sample.dense.into()),
            ];
            line_has(line, &numbers);
            let seconds = line.real("reallocation_seconds").expect("a time");
            let is = sample.between_allocations_ns as f64 / 1e9;
            assert!((seconds - is).abs() <= 0.000_000_51, "{sample:?}");
        }
        assert!(lines.next().is_none());
    }
    let backed = figures.refilled_backed_hugepages;
    assert_eq!(report.number("filler_previously_released_backed_huge_pages"), Some(backed));
}

/// When a class last missed in one way, on the CPUs where that was last and longest ago.
fn miss_ages(line: &Line<'_>, what: &str, ages: Option<&MissAges>) {
    let figure = |name: &str| line.real(&format!("{name}_{what}_us"));
    let id = |name: &str| line.real(&format!("{name}_{what}_cpu"));
    let last = [figure("last"), id("last"), figure("first"), id("first")]
        .map(|figure| figure.unwrap_or_else(|| panic!("all four of {what} in {line:?}")));
    match ages {
        None => assert_eq!(last, [i64::MAX as f64, -1.0, 0.0, -1.0]),
        Some(ages) => assert_eq!(
            last,
            [
                (ages.latest_ns / 1000) as f64,
                f64::from(ages.latest_id),
                (ages.earliest_ns / 1000) as f64,
                f64::from(ages.earliest_id),
            ]
        ),
    }
}

/// What went back and why, and the limits.
fn released<F>(taken: &Taken<F>, report: &Report<'_>) {
    let (heap, page) = (&taken.snapshot.heap.page_heap, taken.snapshot.heap.page_bytes);
    let background = heap.released.policy.wrapping_add(heap.released.idle);
    let limits = &heap.limits;
    same(
        report,
        &[
            ("num_released_release_memory_to_system_pages", heap.released.call / page),
            ("num_released_process_background_actions_pages", background / page),
            ("num_released_soft_limit_exceeded_pages", heap.released.soft_limit / page),
            ("num_released_hard_limit_exceeded_pages", heap.released.hard_limit / page),
            ("soft_limit_hits", limits.soft_hits),
            ("hard_limit_hits", limits.hard_hits),
            ("successful_shrinks_after_soft_limit_hit", limits.soft_successes),
        ],
    );
    let mut lines = report.lines("released_pages");
    for bytes in [
        heap.released.total(),
        heap.released.call,
        background,
        heap.released.soft_limit,
        heap.released.hard_limit,
    ] {
        let Some(line) = lines.next() else { return };
        line_has(line, &[("pages", bytes / page)]);
    }
}

/// Those with a figure of the snapshot behind them.
fn parameters<F>(taken: &Taken<F>, report: &Report<'_>) {
    let of = |name: &str| report.parameter(name).and_then(Figure::number);
    let limits = &taken.snapshot.heap.page_heap.limits.limits;
    let limit = |bytes: u64| Some(if bytes == 0 { u64::MAX } else { bytes });
    assert_eq!(of("desired_usage_limit_bytes"), limit(limits.soft_bytes));
    assert_eq!(of("hard_usage_limit_bytes"), limit(limits.hard_bytes));
    let threads = taken.snapshot.heap.thread_caches.limit_bytes;
    assert_eq!(of("tcmalloc_max_total_thread_cache_bytes"), Some(threads));
    let rate = taken.snapshot.config.release_rate as u64;
    assert_eq!(of("malloc_release_bytes_per_sec"), Some(rate));
    let populated = taken.snapshot.cpus.populated() as u64;
    assert_eq!(of("tcmalloc_cpu_cache_touched"), Some(populated));
    for ((id, misses), line) in taken.details.cpus().zip(report.lines("cpu_misses")) {
        let figures = [
            ("cpu", id as u64),
            ("underflows", misses.underflows),
            ("overflows", misses.overflows),
            ("drains", misses.drains),
            ("resizes", misses.resizes),
        ];
        line_has(line, &figures);
    }
}
