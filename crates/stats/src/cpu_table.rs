//! What each per-CPU cache holds.

use crate::ClassTable;
use serde::{Deserialize, Serialize};
use strata_alloc::{Core, HeapConfig};
use strata_cpu_cache::{CpuStats, IdKind};
use strata_size_classes::PageSize;

/// One CPU's cache, or one concurrency id's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CpuFigures {
    /// Bytes of free objects in it.
    pub held_bytes: u64,
    /// Bytes of its limit that no class's capacity takes up.
    pub unallocated_bytes: u64,
    /// Whether a thread of the process may run with this id now: a CPU that the thread that asks is allowed on, or a
    /// concurrency id below the number of threads and of allowed CPUs.
    pub active: bool,
    /// Whether it was ever used.
    pub populated: bool,
}

/// The caches for which a table has no lines, together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MoreCpus {
    /// How many they are.
    pub caches: u64,
    /// Bytes of free objects in them.
    pub held_bytes: u64,
    /// Bytes of their limits that no class's capacity takes up.
    pub unallocated_bytes: u64,
}

/// All per-CPU caches of a heap; none if it runs per thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CpuTable {
    #[serde(with = "strata_page_heap::sparse")]
    lines: [CpuFigures; Self::LINES],
    count: usize,
    /// Those behind the last line.
    pub more: MoreCpus,
    /// Most bytes that one cache may hold.
    pub limit_bytes: u64,
}

impl CpuTable {
    /// Caches that have a line of their own, 6 KiB of them: a snapshot lies on the stack. Half as many are too few for
    /// a machine of two sockets; four times as many make the snapshot larger than some threads' stacks.
    pub const LINES: usize = 256;

    /// No caches.
    pub const EMPTY: Self = Self {
        lines: [EMPTY_LINE; Self::LINES],
        count: 0,
        more: MoreCpus { caches: 0, held_bytes: 0, unallocated_bytes: 0 },
        limit_bytes: 0,
    };

    /// The first [`Self::LINES`] caches, by id.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &CpuFigures)> {
        self.lines.iter().enumerate().take(self.count)
    }

    /// Bytes of free objects in all caches.
    pub fn held_bytes(&self) -> u64 {
        self.iter().fold(self.more.held_bytes, |sum, (_, line)| sum.wrapping_add(line.held_bytes))
    }

    /// How many caches were ever used, of those that have a line.
    pub fn populated(&self) -> usize {
        self.iter().filter(|(_, line)| line.populated).count()
    }

    /// Adds the cache of the next id.
    pub fn push(&mut self, figures: CpuFigures) {
        match self.lines.get_mut(self.count) {
            Some(line) => {
                *line = figures;
                self.count += 1;
            }
            None => {
                self.more.caches += 1;
                self.more.held_bytes += figures.held_bytes;
                self.more.unallocated_bytes += figures.unallocated_bytes;
            }
        }
    }

    /// Reads all caches into an empty table, their sums into `total`, and what they hold of each class into
    /// `classes`. Costs a load for each class and id that was ever used, and a system call.
    pub(crate) fn read<C: HeapConfig>(
        &mut self,
        core: &Core<C>,
        threads: u64,
        total: &mut CpuStats,
        classes: &mut ClassTable,
    ) {
        let cache = core.cpu_cache();
        self.limit_bytes = cache.limit_bytes();
        *total = CpuStats::default();
        for id in 0..cache.ids() {
            let mut stats = cache.cpu_stats(id);
            stats.held_bytes = if stats.populated { read_objects(core, id, classes) } else { 0 };
            total.merge(&stats);
            // Caches that were never used have what they did not lend of their limits.
            let unallocated = match stats.populated {
                true => stats.unallocated_bytes,
                false => cache.unused_limit_bytes(),
            };
            self.push(CpuFigures {
                held_bytes: stats.held_bytes,
                unallocated_bytes: unallocated,
                active: false,
                populated: stats.populated,
            });
        }
        self.mark_active(cache.id_kind(), threads);
    }

    fn mark_active(&mut self, id_kind: Option<IdKind>, threads: u64) {
        let lines = &mut self.lines;
        match id_kind {
            Some(IdKind::Concurrency) => {
                let allowed = u64::from(strata_os::allowed_cpus());
                let active = usize::try_from(threads.min(allowed)).unwrap_or(usize::MAX);
                lines.iter_mut().take(active).for_each(|line| line.active = true);
            }
            Some(IdKind::Cpu) => strata_os::for_each_allowed_cpu(|cpu| {
                if let Some(line) = usize::try_from(cpu).ok().and_then(|cpu| lines.get_mut(cpu)) {
                    line.active = true;
                }
            }),
            None => {}
        }
    }
}

/// Adds what the cache of `id` holds to the classes; says how many bytes that is.
fn read_objects<C: HeapConfig>(core: &Core<C>, id: u32, classes: &mut ClassTable) -> u64 {
    let mut bytes = 0;
    for class in C::Pages::TABLE.classes() {
        let objects = core.cpu_cache().objects(id, class);
        bytes += objects * C::Pages::TABLE.size(class) as u64;
        classes.add(class, |figures| figures.per_cpu_objects += objects);
    }
    bytes
}

const EMPTY_LINE: CpuFigures =
    CpuFigures { held_bytes: 0, unallocated_bytes: 0, active: false, populated: false };
