//! The choices that are made at start.

use crate::PathText;
use core::fmt;
use strata_upkeep::ReleasePolicy;

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
    /// A heap gets its thread when it has so many bytes in spans and backed free pages.
    pub const LEAST_HEAP_BYTES: u64 = strata_upkeep::THREAD_FROM_BYTES;
}

/// Which system calls are made, by all heaps of the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum SystemCalls {
    /// All that are of use, until somebody calls [`Heap::keep_to_memory_calls`](crate::Heap::keep_to_memory_calls); under `libstrata`,
    /// until the program asks the C library's `prctl` or `syscall` for a filter of system calls.
    #[default]
    Auto,
    /// From the start `mmap`, `munmap`, `mprotect`, `madvise` and `futex` alone. So there is no thread of the heap's own, no CPU's
    /// cache is emptied from outside, mappings have no names, large blocks that move are copied, and what stands in memory
    /// is not asked of the kernel.
    Memory,
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

/// The choices of a heap that are made when it starts. `docs/configuration.md` lists the keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Config {
    /// `page_heap`: which page heap.
    pub page_heap: PageHeapChoice,
    /// `front_end`: which caches.
    pub front_end: FrontEndChoice,
    /// `cpu_id`: which number picks a per-CPU cache.
    pub cpu_id: CpuIdChoice,
    /// `max_per_cpu_cache_size`: most bytes of free objects in one CPU's cache.
    pub max_per_cpu_cache_size: usize,
    /// `max_total_thread_cache_bytes`: most bytes of free objects in all threads' caches.
    pub max_total_thread_cache_bytes: usize,
    /// `exit_report`: what is printed at the end of a program under `libstrata.so`.
    pub exit_report: ExitReport,
    /// `malloc_stats`: what the function of that name prints, under `libstrata.so`.
    pub malloc_stats: MallocStatsForm,
    /// `snapshot_interval`: seconds between two snapshots; 0 for one at the end alone.
    pub snapshot_interval_seconds: u64,
    /// `snapshot_detail`: how much a snapshot's file holds.
    pub snapshot_detail: SnapshotDetail,
    /// `hardened`: whether every call goes past the caches and is checked.
    pub hardened: bool,
    /// `record_file`: whether every call is written to a file. Its path is no part of the options, which are copied about.
    pub record: bool,
    /// `misuse`: what follows the line about a misuse; of several heaps in a process, what the last one that does not
    /// say `abort` says.
    pub misuse: MisuseChoice,
    /// `background_thread`: whether the heap has a thread of its own.
    pub background_thread: BackgroundThread,
    /// `system_calls`: which are made.
    pub system_calls: SystemCalls,
    /// `release_rate`: bytes of free pages that go back to the kernel each second, wanted of late or not.
    pub release_rate: usize,
    /// `release_delay`: milliseconds after which memory that nobody wanted goes back; `u64::MAX` for never.
    pub release_delay_ms: u64,
    /// `skip_subrelease_short_interval`: milliseconds over which fluctuations of demand keep free pages of hugepages in
    /// use from going back; 0: none do. (Of the hugepage-aware page heap; an idle release does not ask.)
    pub skip_subrelease_short_interval_ms: u64,
    /// `skip_subrelease_long_interval`: the same for the floor of demand. At least the short one counts.
    pub skip_subrelease_long_interval_ms: u64,
    /// `release_inside_spans`: whether kernel pages on which no object is in use go back although their span is.
    pub release_inside_spans: bool,
    /// `memory_limit`: the bytes with memory behind them beyond which allocations fail.
    pub memory_limit: MemoryLimit,
    /// `soft_memory_limit`: those beyond which a heap that grows gives back what is free first.
    pub soft_memory_limit: MemoryLimit,
}

impl Config {
    /// What holds if nobody says otherwise.
    pub const DEFAULT: Self = Self {
        page_heap: PageHeapChoice::Temeraire,
        front_end: FrontEndChoice::PerCpu,
        cpu_id: CpuIdChoice::Auto,
        max_per_cpu_cache_size: 3 << 19,
        max_total_thread_cache_bytes: 32 << 20,
        exit_report: ExitReport::None,
        malloc_stats: MallocStatsForm::Glibc,
        snapshot_interval_seconds: 0,
        snapshot_detail: SnapshotDetail::Map,
        hardened: false,
        record: false,
        misuse: MisuseChoice::Abort,
        background_thread: BackgroundThread::Auto,
        system_calls: SystemCalls::Auto,
        release_rate: 36 << 20,
        release_delay_ms: ReleasePolicy::DEFAULT.delay_ms,
        skip_subrelease_short_interval_ms: 60_000,
        skip_subrelease_long_interval_ms: 300_000,
        release_inside_spans: ReleasePolicy::DEFAULT.inside_spans,
        memory_limit: MemoryLimit::None,
        soft_memory_limit: MemoryLimit::None,
    };

    /// The defaults, changed by the pairs of `text` (`key:value`, separated by commas). Each pair that is not
    /// understood changes nothing and is handed to `complain`; of pairs with the same key the last counts.
    ///
    /// ```
    /// use strata_alloc::{Config, PageHeapChoice};
    ///
    /// let mut complaints = 0;
    /// let config = Config::parse(b"page_heap:legacy,front_end:sideways", |_| complaints += 1);
    /// assert_eq!(config.page_heap, PageHeapChoice::Legacy);
    /// assert_eq!(config.front_end, Config::DEFAULT.front_end);
    /// assert_eq!(complaints, 1);
    /// ```
    pub fn parse(text: &[u8], mut complain: impl FnMut(Complaint<'_>)) -> Self {
        let mut config = Self::defaults_over(text);
        for (key, value) in pairs(text) {
            let outcome = value.map_or(Err(Problem::NoValue), |value| config.set(key, value));
            if let Err(problem) = outcome {
                complain(Complaint { key, value: value.unwrap_or_default(), problem });
            }
        }
        config
    }

    /// The defaults over the page heap that `text` chooses: how much goes back by itself differs.
    fn defaults_over(text: &[u8]) -> Self {
        let choices = pairs(text).filter(|(key, _)| *key == b"page_heap");
        let chosen = choices.filter_map(|(_, value)| one_of(value?, PAGE_HEAPS).ok()).last();
        let policy = match chosen {
            Some(PageHeapChoice::Legacy) => ReleasePolicy::WHOLE_SPANS,
            Some(PageHeapChoice::Temeraire) | None => ReleasePolicy::DEFAULT,
        };
        Self {
            release_rate: usize::try_from(policy.rate).unwrap_or(usize::MAX),
            release_delay_ms: policy.delay_ms,
            ..Self::DEFAULT
        }
    }

    /// The path of the last pair of `text` with the key `snapshot_file`, if it can be used. A path is no part of the other
    /// options, which are copied about.
    ///
    /// ```
    /// use strata_alloc::Config;
    ///
    /// let path = Config::snapshot_file(b"front_end:per_thread,snapshot_file:/run/%p.json");
    /// assert_eq!(path.expect("there is one").as_bytes(), b"/run/%p.json");
    /// ```
    pub fn snapshot_file(text: &[u8]) -> Option<PathText> {
        last_path(text, b"snapshot_file")
    }

    /// The same with the key `record_file`.
    pub fn record_file(text: &[u8]) -> Option<PathText> {
        last_path(text, b"record_file")
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        match key {
            b"page_heap" => {
                self.page_heap = one_of(value, PAGE_HEAPS)?;
            }
            b"front_end" => {
                self.front_end = one_of(
                    value,
                    &[
                        (b"per_cpu", FrontEndChoice::PerCpu),
                        (b"per_thread", FrontEndChoice::PerThread),
                    ],
                )?;
            }
            b"cpu_id" => {
                self.cpu_id =
                    one_of(value, &[(b"auto", CpuIdChoice::Auto), (b"cpu", CpuIdChoice::Cpu)])?;
            }
            b"max_per_cpu_cache_size" => self.max_per_cpu_cache_size = bytes(value)?,
            b"max_total_thread_cache_bytes" => self.max_total_thread_cache_bytes = bytes(value)?,
            b"exit_report" => {
                self.exit_report = one_of(
                    value,
                    &[
                        (b"none", ExitReport::None),
                        (b"tcmalloc", ExitReport::Tcmalloc),
                        (b"tcmalloc-today", ExitReport::TcmallocToday),
                        (b"pbtxt", ExitReport::Pbtxt),
                        (b"pbtxt-today", ExitReport::PbtxtToday),
                        (b"brief", ExitReport::Brief),
                        (b"explain", ExitReport::Explain),
                        (b"json", ExitReport::Json),
                    ],
                )?;
            }
            b"malloc_stats" => {
                self.malloc_stats = one_of(
                    value,
                    &[
                        (b"glibc", MallocStatsForm::Glibc),
                        (b"brief", MallocStatsForm::Brief),
                        (b"tcmalloc", MallocStatsForm::Tcmalloc),
                    ],
                )?;
            }
            b"snapshot_file" => {
                // Kept by who writes there: see `snapshot_file`.
                usable_path(value).ok_or(Problem::BadValue)?;
            }
            b"record_file" => {
                usable_path(value).ok_or(Problem::BadValue)?;
                self.record = true;
            }
            b"snapshot_interval" => self.snapshot_interval_seconds = seconds(value)?,
            b"snapshot_detail" => {
                self.snapshot_detail = one_of(
                    value,
                    &[(b"map", SnapshotDetail::Map), (b"figures", SnapshotDetail::Figures)],
                )?;
            }
            b"hardened" => self.hardened = one_of(value, &[(b"true", true), (b"false", false)])?,
            b"misuse" => {
                self.misuse = one_of(
                    value,
                    &[(b"abort", MisuseChoice::Abort), (b"report", MisuseChoice::Report)],
                )?;
            }
            b"background_thread" => {
                self.background_thread = one_of(
                    value,
                    &[
                        (b"auto", BackgroundThread::Auto),
                        (b"true", BackgroundThread::On),
                        (b"false", BackgroundThread::Off),
                    ],
                )?;
            }
            b"system_calls" => {
                self.system_calls = one_of(
                    value,
                    &[(b"auto", SystemCalls::Auto), (b"memory", SystemCalls::Memory)],
                )?;
            }
            b"release_rate" => self.release_rate = bytes(value)?,
            b"memory_limit" => self.memory_limit = limit(value)?,
            b"soft_memory_limit" => self.soft_memory_limit = limit(value)?,
            b"release_inside_spans" => {
                self.release_inside_spans = one_of(value, &[(b"true", true), (b"false", false)])?;
            }
            b"release_delay" => self.release_delay_ms = milliseconds(value)?,
            b"skip_subrelease_short_interval" => {
                self.skip_subrelease_short_interval_ms = interval(value)?;
            }
            b"skip_subrelease_long_interval" => {
                self.skip_subrelease_long_interval_ms = interval(value)?;
            }
            _ => return Err(Problem::UnknownKey),
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why a pair was not understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Problem {
    /// There is no such key.
    UnknownKey,
    /// The key has no value.
    NoValue,
    /// The key does not take this value.
    BadValue,
}

/// A pair that was not understood.
#[derive(Clone, Copy, Debug)]
pub struct Complaint<'a> {
    /// The key, as it was given.
    pub key: &'a [u8],
    /// The value, as it was given.
    pub value: &'a [u8],
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for Complaint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.problem {
            Problem::UnknownKey => "unknown key",
            Problem::NoValue => "no value for key",
            Problem::BadValue => "bad value for key",
        };
        write!(
            f,
            "STRATA_CONF: {what} '{}', value '{}'",
            self.key.escape_ascii(),
            self.value.escape_ascii()
        )?;
        write!(f, ": ignored")
    }
}

/// The pairs of `text`: each key, and its value if it has one.
fn pairs(text: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    let pairs = text.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    pairs.filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = match pair.iter().position(|&byte| byte == b':') {
            Some(colon) => pair.split_at(colon),
            None => (pair, [].as_slice()),
        };
        (key, value.strip_prefix(b":"))
    })
}

/// The path of the last pair with this key that can be used.
fn last_path(text: &[u8], wanted: &[u8]) -> Option<PathText> {
    let paths = pairs(text).filter(|(key, _)| *key == wanted);
    paths.filter_map(|(_, value)| usable_path(value?)).last()
}

/// A path that is not empty and not too long.
fn usable_path(value: &[u8]) -> Option<PathText> {
    PathText::new(value).filter(|path| !path.is_empty())
}

/// Values of `page_heap`.
const PAGE_HEAPS: &[(&[u8], PageHeapChoice)] =
    &[(b"temeraire", PageHeapChoice::Temeraire), (b"legacy", PageHeapChoice::Legacy)];

#[unsafe(link_section = ".text_rarely")]
fn one_of<T: Copy>(value: &[u8], choices: &[(&[u8], T)]) -> Result<T, Problem> {
    choices
        .iter()
        .find(|(name, _)| *name == value)
        .map(|(_, choice)| *choice)
        .ok_or(Problem::BadValue)
}

/// A number of bytes: decimal, or hexadecimal behind `0x`, with an optional suffix K, M, G or T (powers of 1 024).
#[unsafe(link_section = ".text_rarely")]
fn bytes(value: &[u8]) -> Result<usize, Problem> {
    let (digits, shift) = match value.split_last() {
        Some((b'k' | b'K', digits)) => (digits, 10),
        Some((b'm' | b'M', digits)) => (digits, 20),
        Some((b'g' | b'G', digits)) => (digits, 30),
        Some((b't' | b'T', digits)) => (digits, 40),
        _ => (value, 0),
    };
    let text = core::str::from_utf8(digits).map_err(|_| Problem::BadValue)?;
    let number = match text.strip_prefix("0x") {
        Some(hexadecimal) => usize::from_str_radix(hexadecimal, 16),
        None if text.starts_with('+') => return Err(Problem::BadValue),
        None => text.parse::<usize>(),
    };
    let number = number.map_err(|_| Problem::BadValue)?;
    number.checked_mul(1 << shift).ok_or(Problem::BadValue)
}

/// A number of seconds: decimal.
#[unsafe(link_section = ".text_rarely")]
fn seconds(value: &[u8]) -> Result<u64, Problem> {
    let is_number = value.iter().all(u8::is_ascii_digit);
    let text = core::str::from_utf8(value).ok().filter(|_| is_number);
    text.and_then(|text| text.parse().ok()).ok_or(Problem::BadValue)
}

/// A limit on memory: `none`, `cgroup`, or a number of bytes that is not 0.
#[unsafe(link_section = ".text_rarely")]
fn limit(value: &[u8]) -> Result<MemoryLimit, Problem> {
    match value {
        b"none" => Ok(MemoryLimit::None),
        b"cgroup" => Ok(MemoryLimit::Cgroup),
        _ => match bytes(value)? {
            0 => Err(Problem::BadValue),
            bytes => Ok(MemoryLimit::Bytes(bytes as u64)),
        },
    }
}

/// As [`milliseconds`], but that never is none.
fn interval(value: &[u8]) -> Result<u64, Problem> {
    milliseconds(value).ok().filter(|interval| *interval != u64::MAX).ok_or(Problem::BadValue)
}

/// A time in milliseconds: decimal with the unit `ms` or `s`, up to an hour; `never` is `u64::MAX`.
#[unsafe(link_section = ".text_rarely")]
fn milliseconds(value: &[u8]) -> Result<u64, Problem> {
    const LONGEST: u64 = 3_600_000;
    if value == b"never" {
        return Ok(u64::MAX);
    }
    let (digits, unit) = match (value.strip_suffix(b"ms"), value.strip_suffix(b"s")) {
        (Some(digits), _) => (digits, 1),
        (None, Some(digits)) => (digits, 1000),
        (None, None) => return Err(Problem::BadValue),
    };
    let number = bytes(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_digit));
    number
        .and_then(|number| (number as u64).checked_mul(unit))
        .filter(|milliseconds| *milliseconds <= LONGEST)
        .ok_or(Problem::BadValue)
}

#[cfg(test)]
mod tests;

static_assertions::const_assert!(
    Config::DEFAULT.release_rate as u64 == ReleasePolicy::DEFAULT.rate
);
