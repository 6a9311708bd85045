//! The choices that are made at start.

mod choices;
mod complaint;
mod values;

use crate::PathText;
pub use choices::{
    BackgroundThread, CpuIdChoice, ExitReport, FrontEndChoice, MallocStatsForm, MemoryLimit,
    MisuseChoice, PageHeapChoice, SnapshotDetail, SystemCalls,
};
pub use complaint::{Complaint, Problem};
use strata_upkeep::ReleasePolicy;
use values::{IsGiven, YES_OR_NO, bytes, interval, limit, milliseconds, one_of, seconds};

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
    /// `max_per_cpu_cache_size`: most bytes of free objects in one CPU's cache; as it is by default, it grows with
    /// large programs.
    pub max_per_cpu_cache_size: usize,
    /// Whether a text that was parsed has that key: then it holds as it stands there, be it the default.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) max_per_cpu_cache_size_given: IsGiven,
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
        max_per_cpu_cache_size_given: IsGiven(false),
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
        release_rate: 32 << 20,
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
            let outcome = value
                .map_or(Err(Problem::NoValue), |value| config.set(key, value))
                .and_then(|()| has_what_it_needs(text, key))
                .and_then(|()| has_caches_to_speak_of(text, key));
            if let Err(problem) = outcome {
                complain(Complaint { key, value: value.unwrap_or_default(), problem });
            }
        }
        if config.hardened {
            config = config.without_caches();
        }
        if Self::snapshot_file(text).is_none() {
            config.snapshot_interval_seconds = Self::DEFAULT.snapshot_interval_seconds;
            config.snapshot_detail = Self::DEFAULT.snapshot_detail;
        }
        config
    }

    /// The defaults over the page heap that `text` chooses: how much goes back by itself differs.
    fn defaults_over(text: &[u8]) -> Self {
        let choices = pairs(text).filter(|(key, _)| *key == b"page_heap");
        let chosen =
            choices.filter_map(|(_, value)| one_of(value?, PageHeapChoice::NAMES).ok()).last();
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

    /// The same with what is said of caches by default.
    fn without_caches(self) -> Self {
        Self {
            front_end: Self::DEFAULT.front_end,
            cpu_id: Self::DEFAULT.cpu_id,
            max_per_cpu_cache_size: Self::DEFAULT.max_per_cpu_cache_size,
            max_per_cpu_cache_size_given: Self::DEFAULT.max_per_cpu_cache_size_given,
            max_total_thread_cache_bytes: Self::DEFAULT.max_total_thread_cache_bytes,
            ..self
        }
    }

    /// Whether the limit of CPUs' caches follows the program: where nobody gave one.
    pub(crate) fn lets_caches_follow_program(&self) -> bool {
        !self.max_per_cpu_cache_size_given.0
            && self.max_per_cpu_cache_size == Self::DEFAULT.max_per_cpu_cache_size
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        match key {
            b"page_heap" => self.page_heap = one_of(value, PageHeapChoice::NAMES)?,
            b"front_end" => self.front_end = one_of(value, FrontEndChoice::NAMES)?,
            b"cpu_id" => self.cpu_id = one_of(value, CpuIdChoice::NAMES)?,
            b"max_per_cpu_cache_size" => {
                self.max_per_cpu_cache_size = bytes(value)?;
                self.max_per_cpu_cache_size_given = IsGiven(true);
            }
            b"max_total_thread_cache_bytes" => self.max_total_thread_cache_bytes = bytes(value)?,
            b"exit_report" => self.exit_report = one_of(value, ExitReport::NAMES)?,
            b"malloc_stats" => self.malloc_stats = one_of(value, MallocStatsForm::NAMES)?,
            b"snapshot_file" => {
                // Kept by who writes there: see `snapshot_file`.
                usable_path(value).ok_or(Problem::BadValue)?;
            }
            b"record_file" => {
                usable_path(value).ok_or(Problem::BadValue)?;
                self.record = true;
            }
            b"snapshot_interval" => self.snapshot_interval_seconds = seconds(value)?,
            b"snapshot_detail" => self.snapshot_detail = one_of(value, SnapshotDetail::NAMES)?,
            b"hardened" => self.hardened = one_of(value, YES_OR_NO)?,
            b"misuse" => self.misuse = one_of(value, MisuseChoice::NAMES)?,
            b"background_thread" => {
                self.background_thread = one_of(value, BackgroundThread::NAMES)?
            }
            b"system_calls" => self.system_calls = one_of(value, SystemCalls::NAMES)?,
            b"release_rate" => self.release_rate = bytes(value)?,
            b"memory_limit" => self.memory_limit = limit(value)?,
            b"soft_memory_limit" => self.soft_memory_limit = limit(value)?,
            b"release_inside_spans" => {
                self.release_inside_spans = one_of(value, YES_OR_NO)?;
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

/// Whether what is said of snapshots has a file that it is said of.
fn has_what_it_needs(text: &[u8], key: &[u8]) -> Result<(), Problem> {
    let is_of_snapshots = matches!(key, b"snapshot_interval" | b"snapshot_detail");
    if is_of_snapshots && Config::snapshot_file(text).is_none() {
        return Err(Problem::NoSnapshotFile);
    }
    Ok(())
}

/// Whether what is said of caches has caches that it is said of: a hardened heap has none.
fn has_caches_to_speak_of(text: &[u8], key: &[u8]) -> Result<(), Problem> {
    let is_of_caches = matches!(
        key,
        b"front_end" | b"cpu_id" | b"max_per_cpu_cache_size" | b"max_total_thread_cache_bytes"
    );
    if is_of_caches && is_hardened(text) {
        return Err(Problem::NoCaches);
    }
    Ok(())
}

/// What the last pair with the key `hardened` says that can be understood.
#[unsafe(link_section = ".text_rarely")]
fn is_hardened(text: &[u8]) -> bool {
    let said = pairs(text).filter(|(key, _)| *key == b"hardened");
    said.filter_map(|(_, value)| one_of(value?, YES_OR_NO).ok()).last().unwrap_or(false)
}

/// The path of the last pair with this key that can be used.
#[unsafe(link_section = ".text_rarely")]
fn last_path(text: &[u8], wanted: &[u8]) -> Option<PathText> {
    let paths = pairs(text).filter(|(key, _)| *key == wanted);
    paths.filter_map(|(_, value)| usable_path(value?)).last()
}

/// A path that is not empty and not too long.
fn usable_path(value: &[u8]) -> Option<PathText> {
    PathText::new(value).filter(|path| !path.is_empty())
}

static_assertions::const_assert!(
    Config::DEFAULT.release_rate as u64 == ReleasePolicy::DEFAULT.rate
);

#[cfg(test)]
mod tests;
