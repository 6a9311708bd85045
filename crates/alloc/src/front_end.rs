//! Which caches stand in front, and why.

use crate::{Config, CpuIdChoice, FrontEndChoice, Observer, recorder};
use strata_cpu_cache::{CpuCache, IdKind, Setup};
use strata_os::{PageSource, possible_cpus, rseq, warn_line};
use strata_size_classes::SizeClassTable;
use strata_span::Address;
use strata_sync::{
    asymmetric::prepare_heavy_fence,
    thread_block::{self, Slot},
};

/// The caches that a heap runs with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum FrontEnd {
    /// Per CPU; which number picks the cache.
    PerCpu(IdKind),
    /// Per thread; why.
    PerThread(WhyPerThread),
    /// None: every call goes to the observer.
    Observed(Observer),
}

/// What holds where nothing is known, as in figures of no heap.
impl Default for FrontEnd {
    fn default() -> Self {
        Self::PerThread(WhyPerThread::Asked)
    }
}

/// Why a heap's caches are per thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum WhyPerThread {
    /// The options say so.
    Asked,
    /// The kernel or the C library refuses restartable sequences.
    NoRseq,
    /// There was no address space for the CPUs' slabs.
    NoAddressSpace,
    /// Two heaps of this process have the words that threads keep for a heap already.
    NoSlot,
}

impl WhyPerThread {
    /// The reason, in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "front_end:per_thread",
            Self::NoRseq => "no restartable sequences",
            Self::NoAddressSpace => "no address space for slabs",
            Self::NoSlot => "two other heaps have the threads' words",
        }
    }
}

/// Who registers the threads' rseq areas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Registration {
    /// The C library did it when the thread began.
    Libc,
    /// The heap does it at the thread's first use, in the thread's own words.
    Own,
}

/// Decides, and sets the caches up if they are per CPU.
pub(crate) fn choose<S: PageSource>(
    config: &Config,
    slot: Slot,
    source: &S,
    table: &'static SizeClassTable,
    cpu: &CpuCache,
) -> (FrontEnd, Registration) {
    let per_thread = |why| {
        // Now, before there are threads: later it takes milliseconds. Without it idle threads keep their caches.
        prepare_heavy_fence();
        (FrontEnd::PerThread(why), Registration::Libc)
    };
    if config.hardened {
        if config.record {
            warn_line!("record_file: a hardened heap is not recorded: ignored");
        }
        return (FrontEnd::Observed(Observer::Hardened), Registration::Libc);
    }
    if config.record && recorder::is_asked() {
        return (FrontEnd::Observed(Observer::Recording), Registration::Libc);
    }
    if slot == Slot::UNBOUND {
        return (FrontEnd::PerThread(WhyPerThread::NoSlot), Registration::Libc);
    }
    if config.front_end == FrontEndChoice::PerThread {
        return per_thread(WhyPerThread::Asked);
    }
    // An area is registered only for who can use it.
    let area = if CpuCache::IS_SUPPORTED { area(slot) } else { None };
    let Some((area, registration)) = area else { return per_thread(WhyPerThread::NoRseq) };
    let has_concurrency_id = rseq::feature_bytes() as usize >= rseq::MM_CID + size_of::<u32>();
    let id_kind = match config.cpu_id {
        CpuIdChoice::Auto if has_concurrency_id => IdKind::Concurrency,
        CpuIdChoice::Auto | CpuIdChoice::Cpu => IdKind::Cpu,
    };
    let limit_bytes = config.max_per_cpu_cache_size;
    let setup = Setup { table, ids: possible_cpus(), id_kind, area, limit_bytes };
    // SAFETY: a thread's counters are opened only after `is_registered` answered for it, both kinds of
    // id are below the number of possible CPUs, and nobody uses the caches yet.
    match unsafe { cpu.set_up(source, setup) } {
        Ok(()) => {
            if config.lets_caches_follow_program() {
                cpu.let_limit_follow_program();
            }
            (FrontEnd::PerCpu(id_kind), registration)
        }
        Err(_) => per_thread(WhyPerThread::NoAddressSpace),
    }
}

/// Whether this thread has a registered area, after registering it if that is the heap's to do.
pub(crate) fn is_registered(registration: Registration) -> bool {
    match registration {
        Registration::Libc => rseq::glibc_area().is_some_and(|area| {
            let area = Address::new(area.of_this_thread());
            // SAFETY: the C library says that the thread's storage has the area.
            let answer = unsafe { rseq::is_registered(area.pointer()) };
            answer.unwrap_or_else(|| has_id(area))
        }),
        Registration::Own => register_own(),
    }
}

/// Whether the kernel or the C library has written an id into an area: glibc leaves −1 or −2 where it could not register
/// it. For kernels that do not answer the better question.
fn has_id(area: Address) -> bool {
    let id = area.add(rseq::CPU_ID).pointer().cast::<i32>();
    // SAFETY: the area is part of this thread's storage; the kernel alone writes it.
    unsafe { id.read_volatile() >= 0 }
}

/// Where threads have their areas, and who registers them.
fn area(slot: Slot) -> Option<(isize, Registration)> {
    if let Some(area) = rseq::glibc_area() {
        return Some((area.offset, Registration::Libc));
    }
    // Our own areas lie where the second slot would be.
    if slot != Slot::FIRST || !register_own() {
        return None;
    }
    let area = Address::of(thread_block::rseq_area());
    Some((
        area.offset_from(Address::new(strata_os::thread_pointer())).cast_signed(),
        Registration::Own,
    ))
}

/// Takes this thread's own area back from the kernel, if it has one: the thread ends, and a C library may unmap what the
/// area lies in (musl does, for a detached thread) before the kernel has written there for the last time.
pub(crate) fn unregister_own() {
    if rseq::glibc_area().is_none() {
        // SAFETY: no section runs any more, since the thread's limits are 0 and stay so. If the area is not registered,
        // the kernel says so, and nothing is done.
        let _ = unsafe { rseq::unregister(thread_block::rseq_area(), rseq::AREA_BYTES) };
    }
}

/// Registers this thread's own area; true if it is registered afterwards.
fn register_own() -> bool {
    /// The kernel's answer for an area that is registered already.
    const BUSY: i32 = 16;
    // SAFETY: the area is part of this thread's words, 32 bytes, aligned to 32, zero until it is registered, and
    // there until the thread has ended.
    match unsafe { rseq::register(thread_block::rseq_area(), rseq::AREA_BYTES) } {
        Ok(()) => true,
        Err(errno) => errno == BUSY,
    }
}
