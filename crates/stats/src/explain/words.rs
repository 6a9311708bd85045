//! How findings are put.

use super::{Finding, WhyNoThread, WhyNotReleased};
use crate::amount::{Amount, Percent};
use core::fmt::{Display, Formatter, Result};

/// What is said when nothing stands out.
pub(super) fn nothing_found(actual_bytes: u64, f: &mut Formatter<'_>) -> Result {
    writeln!(
        f,
        "Nothing stands out in {}: no class is fragmented, no cache is large or idle, and no free pages lie about.",
        Amount(actual_bytes)
    )
}

/// Starts the part that says what to do.
const DO: &str = "\n   What to do: ";

impl Display for Finding {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::FragmentedClass { .. } => fragmented_class(self, f),
            Self::FragmentedClasses { .. } => fragmented_classes(self, f),
            Self::IdleCpuCaches { caches, held_bytes, since_earlier } => {
                let why = if *since_earlier {
                    "nothing moved in them since the earlier snapshot"
                } else {
                    "the program has no thread that may run there now"
                };
                write!(
                    f,
                    "Idle caches: {} in the caches of {caches} CPUs.\n   They hold free objects, and {why}.{DO}malloc_trim(0) \
                     empties all caches. A lower max_per_cpu_cache_size keeps them smaller; fewer CPUs (taskset) make fewer \
                     of them.",
                    Amount(*held_bytes),
                )
            }
            Self::LargeCaches { per_cpu_bytes, thread_bytes, transfer_bytes, in_use_bytes } => {
                write!(
                    f,
                    "Large caches: {} of free objects, where the program holds {}.\n   {} lie in caches of CPUs, {} in \
                 caches of threads, {} between them.{DO}this is what speed is bought with. If memory is short, lower \
                 max_per_cpu_cache_size or max_total_thread_cache_bytes in STRATA_CONF; malloc_trim(0) empties all caches \
                 once.",
                    Amount(self.weight_bytes()),
                    Amount(*in_use_bytes),
                    Amount(*per_cpu_bytes),
                    Amount(*thread_bytes),
                    Amount(*transfer_bytes),
                )
            }
            Self::UnreleasedPages { free_bytes, between_spans_bytes, releasable_bytes, why } => {
                write!(
                    f,
                    "Free memory: {} in free pages that still have memory behind them.\n   ",
                    Amount(*free_bytes)
                )?;
                if *between_spans_bytes != 0 {
                    write!(
                        f,
                        "{} of it lie between spans in use, on hugepages with them. ",
                        Amount(*between_spans_bytes)
                    )?;
                }
                write!(f, "{why}")?;
                what_goes_now(why, *free_bytes, *releasable_bytes, f)
            }
            Self::BrokenHugepages { hugepages, used_bytes, released_bytes } => write!(
                f,
                "Broken hugepages: {} of the program's spans lie on hugepages that gave pages back.\n   {} were given back out of {hugepages} \
                 hugepages that are in use, which the hardware can no longer map as one: more misses of its address \
                 caches.{DO}give less back, or less often (fewer calls of malloc_trim, a longer release_delay, a lower release_rate), if \
                 the program will want the memory again soon. Where memory matters more than time, this is as it should be.",
                Amount(*used_bytes),
                Amount(*released_bytes),
            ),
            Self::Swapped { swapped_bytes, free_bytes } => {
                write!(
                    f,
                    "Swap: {} of the heap's memory are in swap.\n   The machine, or the group that the process is in, was \
                     short of memory, and took what had not been used for longest; whoever touches it next waits for the disk.",
                    Amount(*swapped_bytes),
                )?;
                if *free_bytes != 0 {
                    write!(
                        f,
                        " {} of it lie in free pages, which nobody needs.",
                        Amount(*free_bytes)
                    )?;
                }
                write!(
                    f,
                    "{DO}malloc_trim(0) gives free pages back, those in swap too; soft_memory_limit keeps the heap from \
                     growing into swap. What the program holds and does not use is the program's to free."
                )
            }
            Self::RefusedReleases { times, withheld } => write!(
                f,
                "Refused releases: the kernel refused {times} times to take memory back, and was not asked {withheld} times \
                 more.\n   Memory that is locked (mlock, mlockall) cannot be given back, nor can any where a filter (seccomp) lets no \
                 madvise through.{DO}unlock it, let it through, or do without the release."
            ),
            Self::RefusedAccess { times } => write!(
                f,
                "Refused access: the kernel refused {times} times to make memory accessible (mprotect), which was mapped anew \
                 instead.\n   A filter (seccomp) does so. It costs a second call each time, and the mapping has no \
                 name.{DO}let mprotect through."
            ),
            Self::Growth { .. } => growth(self, f),
            Self::LimitReached { hits, refused, soft_bytes, hard_bytes, since_earlier } => write!(
                f,
                "A limit is reached: {} were given back because of it {}.\n   The heap met a limit {hits} times, and handed out \
                 nothing {refused} times. {} went for the soft limit, {} for the hard limit \
                 or because the system had no more. What is given back so is often wanted again at once, and faulted \
                 in.{DO}raise the limit, or find what grew: two snapshots and --diff tell.",
                Amount(self.weight_bytes()),
                if *since_earlier { "since the earlier snapshot" } else { "since the start" },
                Amount(*soft_bytes),
                Amount(*hard_bytes),
            ),
            Self::LargeMetadata { metadata_bytes, in_use_bytes } => write!(
                f,
                "Large books: {} of the allocator's own, where the program holds {}.\n   They grow with the most spans \
                 and threads that there ever were, and never shrink.{DO}nothing, if the program holds less now than it \
                 did; else the kinds of metadata in the ledger tell what it is.",
                Amount(*metadata_bytes),
                Amount(*in_use_bytes),
            ),
            Self::AbandonedTails { bytes } => write!(
                f,
                "Abandoned hugepages: {} of large blocks that are gone, on hugepages whose tails are still in use.\n   The \
                 unused end of a large block was lent to small ones, which outlived it.{DO}sizes of large blocks just above \
                 a multiple of 2 MiB waste most; round them, or reuse the blocks.",
                Amount(*bytes)
            ),
            Self::NoPerCpuCaches { why } => write!(
                f,
                "No caches per CPU: {}.\n   Each thread has a cache of its own instead, which costs memory by the number of \
                 threads.{DO}a kernel and a C library with restartable sequences (Linux 4.18, glibc 2.35) are what it needs.",
                why.as_str()
            ),
        }
    }
}

/// Less than this is not worth a half sentence.
const LEAST_TOLD_BYTES: u64 = 1 << 20;

/// What a call would give back of free pages, and what it would not.
fn what_goes_now(
    why: &WhyNotReleased,
    free_bytes: u64,
    releasable_bytes: u64,
    f: &mut Formatter<'_>,
) -> Result {
    match why {
        WhyNotReleased::Refused { .. } => Ok(()),
        WhyNotReleased::RecentDemand { .. } if releasable_bytes < LEAST_TOLD_BYTES => Ok(()),
        WhyNotReleased::RecentDemand { .. } => {
            write!(f, " malloc_trim(0) gives {} of the rest back now.", Amount(releasable_bytes))
        }
        _ => {
            let releasable = Amount(releasable_bytes);
            write!(f, " malloc_trim(0) gives {releasable} of it back now, and what is in caches")?;
            match free_bytes.saturating_sub(releasable_bytes) {
                0..LEAST_TOLD_BYTES => f.write_str("."),
                kept_bytes => write!(
                    f,
                    "; {} stay, on hugepages that are in use: the program wanted as much within the last minutes.",
                    Amount(kept_bytes)
                ),
            }
        }
    }
}

/// Nanoseconds of an hour.
const HOUR_NS: f64 = 3.6e12;

/// What grew in less than ten seconds says nothing about an hour.
const LEAST_RATED_NS: u64 = 10_000_000_000;

fn growth(finding: &Finding, f: &mut Formatter<'_>) -> Result {
    let Finding::Growth {
        grown_bytes,
        elapsed_ns,
        allocated_bytes,
        freed_bytes,
        class_bytes,
        class_grown_bytes,
    } = finding
    else {
        return Ok(());
    };
    let seconds = *elapsed_ns as f64 / 1e9;
    write!(f, "Growth: {} more in use than {seconds:.1} s before", Amount(*grown_bytes))?;
    if *elapsed_ns >= LEAST_RATED_NS {
        let an_hour = (*grown_bytes as f64 * HOUR_NS / *elapsed_ns as f64) as u64;
        write!(f, ", {} an hour", Amount(an_hour))?;
    }
    write!(
        f,
        ".\n   Of {} that were allocated since, {} were freed. ",
        Amount(*allocated_bytes),
        Amount(*freed_bytes),
    )?;
    match class_bytes {
        0 => write!(f, "Most of it, {}, are large blocks.", Amount(*class_grown_bytes))?,
        size => {
            write!(f, "Most of it, {}, are objects of {size} bytes.", Amount(*class_grown_bytes))?
        }
    }
    write!(
        f,
        "{DO}a program that starts, or fills a cache of its own, looks like this once; one that leaks, at each pair of \
         snapshots. If it goes on, look for what allocates such blocks."
    )
}

impl Display for WhyNotReleased {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::NobodyAsked { no_thread } => write!(f, "Nothing went back so far. {no_thread}"),
            Self::RecentDemand { kept_back_bytes } => write!(
                f,
                "{} of it are kept because the program wanted as much within the last minutes (skip intervals).{DO}nothing: \
                 it goes back when demand stays low for some minutes.",
                Amount(*kept_back_bytes)
            ),
            Self::Refused { times } => write!(
                f,
                "The kernel refused {times} times to take memory back.{DO}see whether the program locks its memory (mlock, \
                 mlockall)."
            ),
            Self::Rate { no_thread } => {
                write!(f, "Some was given back, and this is left. {no_thread}")
            }
            Self::Delay { delay_ms, rate_bytes } => write!(
                f,
                "The heap's own thread gives back what nobody wanted for {:.1} s, and {} a second before that; of a hugepage \
                 in use, if a quarter of it would go.{DO}nothing, if it was in use a moment ago; if it stays, lower \
                 release_delay or raise release_rate.",
                *delay_ms as f64 / 1e3,
                Amount(*rate_bytes)
            ),
            Self::SwitchedOff => write!(
                f,
                "What gives memory back by itself is switched off (release_delay:never with release_rate:0, or \
                 MallocExtension_SetBackgroundProcessActionsEnabled).{DO}switch it on."
            ),
        }
    }
}

fn fragmented_class(finding: &Finding, f: &mut Formatter<'_>) -> Result {
    let Finding::FragmentedClass {
        object_bytes,
        spans,
        objects_in_use,
        cached_objects,
        span_bytes,
        free_bytes,
    } = finding
    else {
        return Ok(());
    };
    let used = objects_in_use.saturating_mul(*object_bytes);
    write!(
        f,
        "Fragmentation: {} free in spans of objects of {object_bytes} bytes.\n   {spans} spans, {} in all, are held by ",
        Amount(*free_bytes),
        Amount(*span_bytes),
    )?;
    holders(*objects_in_use, *cached_objects, f)?;
    write!(
        f,
        "; the program's fill {:.1} of them.{DO}",
        Percent { part: used, whole: *span_bytes }
    )?;
    if is_held_by_caches(*objects_in_use, *cached_objects) {
        return f.write_str(HELD_BY_CACHES);
    }
    f.write_str(
        "a span goes back when its last object is freed. Find what keeps objects of this size for long among many that come \
         and go, and allocate it apart, in one piece, or at another time. Until then the room is used again for objects of \
         this size, and for nothing else.",
    )
}

fn fragmented_classes(finding: &Finding, f: &mut Formatter<'_>) -> Result {
    let Finding::FragmentedClasses {
        classes,
        spans,
        objects_in_use,
        cached_objects,
        span_bytes,
        free_bytes,
        most_object_bytes,
    } = finding
    else {
        return Ok(());
    };
    write!(
        f,
        "Fragmentation: {} free in spans of objects of {classes} sizes.\n   {spans} spans, {} in all, are held by ",
        Amount(*free_bytes),
        Amount(*span_bytes),
    )?;
    holders(*objects_in_use, *cached_objects, f)?;
    write!(f, "; most of it is in those of {most_object_bytes} bytes.{DO}")?;
    if is_held_by_caches(*objects_in_use, *cached_objects) {
        return f.write_str(HELD_BY_CACHES);
    }
    f.write_str(
        "a span goes back when its last object is freed. Something frees much of what it allocated, of many sizes, and keeps \
         some of it: allocate what stays apart, or at another time. Until then the room is used again for objects of the same \
         sizes.",
    )
}

/// Who keeps spans from going back.
fn holders(objects_in_use: u64, cached_objects: u64, f: &mut Formatter<'_>) -> Result {
    let objects = if objects_in_use == 1 { "object" } else { "objects" };
    write!(f, "{objects_in_use} {objects} of the program")?;
    match cached_objects {
        0 => Ok(()),
        1 => write!(f, " and a free one in a cache"),
        _ => write!(f, " and {cached_objects} free ones in caches"),
    }
}

/// Whether spans would go back if caches were empty, more or less.
const fn is_held_by_caches(objects_in_use: u64, cached_objects: u64) -> bool {
    cached_objects > objects_in_use
}

const HELD_BY_CACHES: &str = "malloc_trim(0) empties the caches, and spans of which all objects are free go back. Caches that stay unused are emptied \
     by the background work.";

impl Display for WhyNoThread {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let why = match self {
            Self::Small => "since it was never larger than 32 MiB, and few threads ended",
            Self::Off => "since background_thread:false says so",
            Self::NotAsked => "since nobody asked for one, or none could be made",
        };
        write!(
            f,
            "The heap has no thread of its own, {why}; without one memory goes back only while threads of the program miss \
             their caches, and a program that sleeps keeps it.{DO}"
        )?;
        f.write_str(match self {
            Self::Small => "nothing, unless the program sleeps now.",
            Self::Off => "let it have one.",
            Self::NotAsked => "background_thread:true in STRATA_CONF.",
        })
    }
}
