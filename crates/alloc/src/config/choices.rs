//! What can be chosen, and what the options call it.

/// Which page heap a [`Standard`](crate::Standard) heap uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum PageHeapChoice {
    /// The hugepage-aware page heap.
    #[default]
    Temeraire,
    /// The page heap of lists by length.
    Legacy,
}

impl PageHeapChoice {
    /// What the option calls them.
    pub(super) const NAMES: &[(&[u8], Self)] =
        &[(b"temeraire", Self::Temeraire), (b"legacy", Self::Legacy)];
}

/// Which caches stand in front.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum FrontEndChoice {
    /// Per CPU where the kernel and the C library allow it, per thread otherwise. (So is
    /// `per_cpu`: where it cannot be had, the heap runs per thread and says why.)
    #[default]
    PerCpu,
    /// Per thread.
    PerThread,
}

impl FrontEndChoice {
    /// What the option calls them.
    pub(super) const NAMES: &[(&[u8], Self)] =
        &[(b"per_cpu", Self::PerCpu), (b"per_thread", Self::PerThread)];
}

/// Which of the kernel's numbers picks a per-CPU cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum CpuIdChoice {
    /// The concurrency id where the kernel has it, the CPU's number otherwise.
    #[default]
    Auto,
    /// The CPU's number.
    Cpu,
}

impl CpuIdChoice {
    /// What the option calls them.
    pub(super) const NAMES: &[(&[u8], Self)] = &[(b"auto", Self::Auto), (b"cpu", Self::Cpu)];
}

/// Whether a heap has a thread of its own, which gives back what nobody uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum BackgroundThread {
    /// As the heap was made: see [`Heap::with_background_thread`](crate::Heap::with_background_thread).
    #[default]
    Auto,
    /// Yes, once it has grown.
    On,
    /// No: threads that miss their caches do it in small steps.
    Off,
}

impl BackgroundThread {
    /// What the option calls them.
    pub(super) const NAMES: &[(&[u8], Self)] =
        &[(b"auto", Self::Auto), (b"true", Self::On), (b"false", Self::Off)];
}

impl BackgroundThread {
    /// A heap gets its thread when it has so many bytes in spans and backed free pages.
    pub const LEAST_HEAP_BYTES: u64 = strata_upkeep::THREAD_FROM_BYTES;
}

/// Which system calls are made, by all heaps of the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum SystemCalls {
    /// All that are of use, until somebody calls [`Heap::keep_to_memory_calls`](crate::Heap::keep_to_memory_calls);
    /// under `libstrata`, until the program asks the C library's `prctl` or `syscall` for a filter of system calls.
    #[default]
    Auto,
    /// From the start `mmap`, `munmap`, `mprotect`, `madvise` and `futex` alone. So there is no thread of the
    /// heap's own, no CPU's cache is emptied from outside, mappings have no names, large blocks that move are
    /// copied, and what stands in memory is not asked of the kernel.
    Memory,
}

impl SystemCalls {
    /// What the option calls them.
    pub(super) const NAMES: &[(&[u8], Self)] = &[(b"auto", Self::Auto), (b"memory", Self::Memory)];
}

/// How much memory a heap may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum MemoryLimit {
    /// As much as there is.
    #[default]
    None,
    /// So many bytes.
    Bytes(u64),
    /// What the control group of the process may have, as it is when the heap starts.
    Cgroup,
}

/// What is printed to stderr when the program ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum ExitReport {
    /// Nothing.
    #[default]
    None,
    /// The report in TCMalloc's form of April 2020.
    Tcmalloc,
    /// The report in the form that TCMalloc has today.
    TcmallocToday,
    /// The figures as protobuf text, with the fields of April 2020.
    Pbtxt,
    /// The same with the fields of today.
    PbtxtToday,
    /// One screen of summary.
    Brief,
    /// What stands out, and what to do about it.
    Explain,
    /// The figures as JSON, on one line.
    Json,
}

impl ExitReport {
    /// What the option calls them.
    pub(super) const NAMES: &[(&[u8], Self)] = &[
        (b"none", Self::None),
        (b"tcmalloc", Self::Tcmalloc),
        (b"tcmalloc-today", Self::TcmallocToday),
        (b"pbtxt", Self::Pbtxt),
        (b"pbtxt-today", Self::PbtxtToday),
        (b"brief", Self::Brief),
        (b"explain", Self::Explain),
        (b"json", Self::Json),
    ];
}

/// What `malloc_stats` prints.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum MallocStatsForm {
    /// What glibc's prints, with numbers of 64 bits.
    #[default]
    Glibc,
    /// One screen of summary.
    Brief,
    /// The report in TCMalloc's form.
    Tcmalloc,
}

impl MallocStatsForm {
    /// What the option calls them.
    pub(super) const NAMES: &[(&[u8], Self)] =
        &[(b"glibc", Self::Glibc), (b"brief", Self::Brief), (b"tcmalloc", Self::Tcmalloc)];
}

/// How much the files of snapshots hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum SnapshotDetail {
    /// The figures, and each hugepage with its spans.
    #[default]
    Map,
    /// The figures alone.
    Figures,
}

impl SnapshotDetail {
    /// What the option calls them.
    pub(super) const NAMES: &[(&[u8], Self)] = &[(b"map", Self::Map), (b"figures", Self::Figures)];
}

/// What follows the line about a misuse.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum MisuseChoice {
    /// The program ends.
    #[default]
    Abort,
    /// The call has no effect, and what it was about is never used again.
    Report,
}

impl MisuseChoice {
    /// What the option calls them.
    pub(super) const NAMES: &[(&[u8], Self)] =
        &[(b"abort", Self::Abort), (b"report", Self::Report)];
}
