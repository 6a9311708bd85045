//! When something stands out.

use super::{Finding, Findings, WhyNoThread, WhyNotReleased};
use crate::total::{total, total_change};
use crate::{
    Category, ClassFigures, CpuFigures, Figures, Ledger, PageHeapDetails, Part, Place, Snapshot,
};
use strata_alloc::{BackgroundThread, FrontEnd, WhyPerThread};
use strata_cpu_cache::IdKind;
use strata_page_heap::{LimitFigures, ReleasedBytes};

/// A finding is about at least so many bytes: of less, nobody would act.
const LEAST_BYTES: u64 = 1 << 20;

/// And about at least this part of what the heap has, one fiftieth: at twice, a program of 10 GiB would not hear of 300
/// MiB; at half, the list of a large program is of classes that do not matter.
const LEAST_PART: u64 = 50;

/// Free objects in spans stand out, however they are spread, from this part of what the heap has, an eighth: at
/// twice, a program of which a fifth is holes hears nothing; at half, programs hear of what any mix of sizes leaves
/// free.
const HOLES_PART: u64 = 8;

/// Caches stand out from a quarter of what the program has, and from 8 MiB: what 5 CPUs may hold each by default.
const CACHES_PART: u64 = 4;
const CACHES_LEAST_BYTES: u64 = 8 << 20;

/// Free pages stand out from an eighth of what the program has, and from 8 MiB: a few hugepages are what a program that
/// breathes needs.
const FREE_PART: u64 = 8;
const FREE_LEAST_BYTES: u64 = 8 << 20;

pub(super) fn apply(
    figures: &Figures<'_>,
    ledger: &Ledger,
    earlier: Option<&Snapshot>,
    findings: &mut Findings,
) {
    let snapshot = figures.snapshot;
    // What was handed out and never touched is no memory that anybody has.
    let resident = snapshot.process.map_or(u64::MAX, |process| process.resident_bytes as u64);
    let has_bytes = findings.actual_bytes.min(resident);
    let least = LEAST_BYTES.max(has_bytes / LEAST_PART);
    // What went back to the kernel from inside of spans is free, and costs nothing.
    let holes_bytes = ledger.bytes(Category::Central);
    let many = least.max(has_bytes / HOLES_PART);
    fragmented_classes(snapshot, least, (holes_bytes >= many).then_some(many), findings);
    idle_cpus(snapshot, earlier, least, findings);
    caches(ledger, least, findings);
    unreleased_pages(figures, ledger, least, findings);
    hugepages(figures, least, findings);
    limits(snapshot, earlier, findings);
    swapped(figures, least, findings);
    metadata(ledger, least, findings);
    if let Some(earlier) = earlier {
        growth(snapshot, earlier, findings);
    }
    if snapshot.heap.page_heap.release_failures != 0 {
        findings.add(Finding::RefusedReleases {
            times: snapshot.heap.page_heap.release_failures,
            withheld: snapshot.heap.page_heap.releases_withheld,
        });
    }
    if snapshot.heap.mapped_anew != 0 {
        findings.add(Finding::RefusedAccess { times: snapshot.heap.mapped_anew });
    }
    if let FrontEnd::PerThread(why) = snapshot.heap.front_end
        && why != WhyPerThread::Asked
    {
        findings.add(Finding::NoPerCpuCaches { why });
    }
}

/// Free objects that lie in the central free list: more than half of a class's spans, or `many` bytes, if so many
/// are free in all. Classes of which that is too little to be told singly are told together, whatever part of their
/// spans it is where it is many.
fn fragmented_classes(snapshot: &Snapshot, least: u64, many: Option<u64>, findings: &mut Findings) {
    let (mut hollow, mut all) = (Holes::NONE, Holes::NONE);
    for (_, class) in snapshot.classes.iter() {
        let holes = Holes::of(class, snapshot.heap.page_bytes);
        let is_hollow = holes.free_bytes > holes.span_bytes / 2;
        let from_bytes = if is_hollow { Some(least) } else { many };
        if from_bytes.is_some_and(|bytes| holes.free_bytes >= bytes) {
            findings.add(holes.of_one_class());
            continue;
        }
        all.add(&holes);
        if is_hollow {
            hollow.add(&holes);
        }
    }
    if many.is_some_and(|many| all.free_bytes >= many) {
        findings.add(all.of_several_classes());
    } else if hollow.free_bytes >= least {
        findings.add(hollow.of_several_classes());
    }
}

/// What is free in spans of one class or several.
struct Holes {
    classes: u64,
    spans: u64,
    objects_in_use: u64,
    cached_objects: u64,
    span_bytes: u64,
    free_bytes: u64,
    /// Size of an object of the class that has most of it, and how much that is.
    most_object_bytes: u64,
    most_free_bytes: u64,
}

impl Holes {
    const NONE: Self = Self {
        classes: 0,
        spans: 0,
        objects_in_use: 0,
        cached_objects: 0,
        span_bytes: 0,
        free_bytes: 0,
        most_object_bytes: 0,
        most_free_bytes: 0,
    };

    fn of(class: &ClassFigures, page_bytes: u64) -> Self {
        let free_bytes = class.central_objects.saturating_mul(class.object_bytes);
        let objects_in_use = class.objects_in_use();
        Self {
            classes: 1,
            spans: class.spans,
            objects_in_use,
            cached_objects: class.objects_out.saturating_sub(objects_in_use),
            span_bytes: class.live_pages.saturating_mul(page_bytes),
            free_bytes,
            most_object_bytes: class.object_bytes,
            most_free_bytes: free_bytes,
        }
    }

    /// Adds those of another class, if it has any.
    fn add(&mut self, other: &Self) {
        if other.free_bytes == 0 {
            return;
        }
        for (sum, more) in [
            (&mut self.classes, other.classes),
            (&mut self.spans, other.spans),
            (&mut self.objects_in_use, other.objects_in_use),
            (&mut self.cached_objects, other.cached_objects),
            (&mut self.span_bytes, other.span_bytes),
            (&mut self.free_bytes, other.free_bytes),
        ] {
            *sum = sum.saturating_add(more);
        }
        if other.most_free_bytes >= self.most_free_bytes {
            self.most_object_bytes = other.most_object_bytes;
            self.most_free_bytes = other.most_free_bytes;
        }
    }

    const fn of_one_class(&self) -> Finding {
        Finding::FragmentedClass {
            object_bytes: self.most_object_bytes,
            spans: self.spans,
            objects_in_use: self.objects_in_use,
            cached_objects: self.cached_objects,
            span_bytes: self.span_bytes,
            free_bytes: self.free_bytes,
        }
    }

    const fn of_several_classes(&self) -> Finding {
        Finding::FragmentedClasses {
            classes: self.classes,
            spans: self.spans,
            objects_in_use: self.objects_in_use,
            cached_objects: self.cached_objects,
            span_bytes: self.span_bytes,
            free_bytes: self.free_bytes,
            most_object_bytes: self.most_object_bytes,
        }
    }
}

/// Of caches on which no thread may run now; with an earlier snapshot also those that did not change since.
fn idle_cpus(snapshot: &Snapshot, earlier: Option<&Snapshot>, least: u64, findings: &mut Findings) {
    let (mut caches, mut held_bytes, mut since_earlier) = (0, 0u64, false);
    for (id, cpu) in snapshot.cpus.iter() {
        let then = earlier.and_then(|earlier| earlier.cpus.iter().nth(id)).map(|(_, cpu)| cpu);
        let unchanged = then.is_some_and(|then| {
            (then.held_bytes, then.unallocated_bytes) == (cpu.held_bytes, cpu.unallocated_bytes)
        });
        let is_dead = is_beyond_reach(snapshot, id, cpu);
        if cpu.populated && cpu.held_bytes != 0 && (is_dead || unchanged) {
            caches += 1;
            held_bytes = held_bytes.saturating_add(cpu.held_bytes);
            since_earlier |= !is_dead;
        }
    }
    if held_bytes >= least {
        findings.add(Finding::IdleCpuCaches { caches, held_bytes, since_earlier });
    }
}

/// Whether no thread of the process may run with this id now. Concurrency ids are given to the threads of the whole
/// process, from 0 on, whether or not they use this heap.
fn is_beyond_reach(snapshot: &Snapshot, id: usize, cpu: &CpuFigures) -> bool {
    match snapshot.heap.front_end {
        FrontEnd::PerCpu(IdKind::Cpu) => !cpu.active,
        FrontEnd::PerCpu(IdKind::Concurrency) => {
            let threads = snapshot.process.map_or(0, |process| process.threads);
            threads != 0 && id >= threads
        }
        FrontEnd::PerThread(_) | FrontEnd::Observed(_) => false,
    }
}

fn caches(ledger: &Ledger, least: u64, findings: &mut Findings) {
    let [per_cpu_bytes, thread_bytes, transfer_bytes] =
        [Category::PerCpu, Category::Thread, Category::Transfer]
            .map(|category| ledger.bytes(category));
    let all = per_cpu_bytes.saturating_add(thread_bytes).saturating_add(transfer_bytes);
    let in_use_bytes = ledger.in_use_bytes;
    if all >= least.max(CACHES_LEAST_BYTES) && all > in_use_bytes / CACHES_PART {
        findings.add(Finding::LargeCaches {
            per_cpu_bytes,
            thread_bytes,
            transfer_bytes,
            in_use_bytes,
        });
    }
}

fn unreleased_pages(figures: &Figures<'_>, ledger: &Ledger, least: u64, findings: &mut Findings) {
    let free_bytes = ledger.free_pages_bytes();
    if free_bytes < least.max(FREE_LEAST_BYTES) || free_bytes <= ledger.in_use_bytes / FREE_PART {
        return;
    }
    let releasable_bytes = figures.releasable_bytes();
    let why =
        why_not_released(figures, releasable_bytes, free_bytes.saturating_sub(releasable_bytes));
    findings.add(Finding::UnreleasedPages {
        free_bytes,
        between_spans_bytes: ledger.bytes(Category::FillerFree),
        releasable_bytes,
        why,
    });
}

/// The reason for most of it; what could go beside what demand keeps, or the reverse, is told in the words.
fn why_not_released(
    figures: &Figures<'_>,
    releasable_bytes: u64,
    kept_back_bytes: u64,
) -> WhyNotReleased {
    let (heap, config) = (&figures.snapshot.heap, &figures.snapshot.config);
    let skipped_pages = match figures.page_heap {
        PageHeapDetails::Temeraire(temeraire) => temeraire.filler.skipped.pending_pages,
        PageHeapDetails::Legacy(_) | PageHeapDetails::Other => 0,
    };
    let never = config.release_delay_ms == u64::MAX;
    if heap.page_heap.release_failures != 0 {
        WhyNotReleased::Refused { times: heap.page_heap.release_failures }
    } else if heap.background.is_off || (never && config.release_rate == 0) {
        WhyNotReleased::SwitchedOff
    } else if skipped_pages != 0 && kept_back_bytes > releasable_bytes {
        // Nor would a thread, or a call, take it.
        WhyNotReleased::RecentDemand { kept_back_bytes }
    } else if heap.background.has_thread && !never {
        WhyNotReleased::Delay {
            delay_ms: config.release_delay_ms,
            rate_bytes: config.release_rate as u64,
        }
    } else if heap.page_heap.released.total() == 0 {
        WhyNotReleased::NobodyAsked { no_thread: why_no_thread(figures) }
    } else {
        WhyNotReleased::Rate { no_thread: why_no_thread(figures) }
    }
}

fn why_no_thread(figures: &Figures<'_>) -> WhyNoThread {
    let Snapshot { heap, config, .. } = figures.snapshot;
    if config.background_thread == BackgroundThread::Off {
        WhyNoThread::Off
    } else if heap.page_heap.peak_backed_bytes < BackgroundThread::LEAST_HEAP_BYTES {
        WhyNoThread::Small
    } else {
        WhyNoThread::NotAsked
    }
}

fn hugepages(figures: &Figures<'_>, least: u64, findings: &mut Findings) {
    let PageHeapDetails::Temeraire(temeraire) = figures.page_heap else { return };
    let filler = &temeraire.filler;
    let bytes = |pages: u64| pages.saturating_mul(figures.snapshot.heap.page_bytes);
    let used_bytes = bytes(filler.used_pages_in_released);
    // What nobody has touched yet is on no hugepage either, and nothing was lost by that.
    let gave_back = filler.counters.subreleased_pages != 0;
    if gave_back && used_bytes >= least && used_bytes > bytes(filler.used_pages) / 20 {
        findings.add(Finding::BrokenHugepages {
            hugepages: filler.released_hugepages,
            used_bytes,
            released_bytes: bytes(filler.unmapped_pages),
        });
    }
    let abandoned = bytes(filler.abandoned_pages);
    if abandoned >= least {
        findings.add(Finding::AbandonedTails { bytes: abandoned });
    }
}

fn limits(snapshot: &Snapshot, earlier: Option<&Snapshot>, findings: &mut Findings) {
    let released = snapshot.heap.page_heap.released;
    let then = earlier.map_or(ReleasedBytes::NONE, |earlier| earlier.heap.page_heap.released);
    let soft_bytes = released.soft_limit.saturating_sub(then.soft_limit);
    let hard_bytes = released.hard_limit.saturating_sub(then.hard_limit);
    // Where nothing is free, a limit is met and nothing goes for it.
    let met = snapshot.heap.page_heap.limits;
    let then = earlier.map_or(LimitFigures::NONE, |earlier| earlier.heap.page_heap.limits);
    let soft_hits = met.soft_hits.saturating_sub(then.soft_hits);
    let hard_hits = met.hard_hits.saturating_sub(then.hard_hits);
    let refused = met.hard_failures.saturating_sub(then.hard_failures);
    let hits = soft_hits.saturating_add(hard_hits);
    if hits != 0 || soft_bytes.saturating_add(hard_bytes) != 0 {
        let since_earlier = earlier.is_some();
        let reached =
            Finding::LimitReached { hits, refused, soft_bytes, hard_bytes, since_earlier };
        findings.add(reached);
    }
}

fn swapped(figures: &Figures<'_>, least: u64, findings: &mut Findings) {
    let Some(kernel) = figures.kernel else { return };
    let swapped_bytes = total(Place::ALL.map(|place| kernel.place(place).swapped_bytes));
    let free_bytes = kernel.place(Place::FreePages).swapped_bytes;
    if swapped_bytes >= least {
        findings.add(Finding::Swapped { swapped_bytes, free_bytes });
    }
}

fn metadata(ledger: &Ledger, least: u64, findings: &mut Findings) {
    let (metadata_bytes, in_use_bytes) = (ledger.part_bytes(Part::Metadata), ledger.in_use_bytes);
    // Above what every heap has at its start, 1 MiB at most, and a tenth of what the program has.
    if metadata_bytes >= least.max(2 << 20) && metadata_bytes > in_use_bytes / 10 {
        findings.add(Finding::LargeMetadata { metadata_bytes, in_use_bytes });
    }
}

/// In use grew by a tenth and a megabyte. (A program that fills a cache at its start looks the same: the words say so.)
fn growth(snapshot: &Snapshot, earlier: &Snapshot, findings: &mut Findings) {
    let difference = snapshot.diff(earlier);
    let grown_bytes = u64::try_from(difference.part_bytes(Part::InUse)).unwrap_or(0);
    let elapsed_ns = u64::try_from(difference.elapsed_ns()).unwrap_or(0);
    let before = Ledger::of(earlier).in_use_bytes;
    let allocated_bytes = difference.allocated_bytes();
    if grown_bytes < LEAST_BYTES || grown_bytes <= before / 10 {
        return;
    }
    let most = difference.classes().max_by_key(|class| class.in_use_bytes);
    let (class_bytes, class_grown) =
        most.map_or((0, 0), |class| (class.object_bytes, class.in_use_bytes));
    let small = total_change(difference.classes().map(|class| class.in_use_bytes));
    let large = difference.part_bytes(Part::InUse).saturating_sub(small);
    let (class_bytes, class_grown) =
        if large > class_grown { (0, large) } else { (class_bytes, class_grown) };
    findings.add(Finding::Growth {
        grown_bytes,
        elapsed_ns,
        allocated_bytes,
        freed_bytes: difference.deallocated_bytes(),
        class_bytes,
        class_grown_bytes: u64::try_from(class_grown).unwrap_or(0),
    });
}
