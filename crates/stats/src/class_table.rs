//! What each size class holds, and where.

use serde::{Deserialize, Serialize};
use strata_alloc::{Core, HeapConfig};
use strata_central::{ClassStats, MiddleStats};
use strata_size_classes::{CLASS_SLOTS, PageSize, SizeClass};

/// What the layers hold of one size class; counts of objects unless named otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ClassFigures {
    /// Size of an object in bytes.
    pub object_bytes: u64,
    /// In per-CPU caches.
    pub per_cpu_objects: u64,
    /// In threads' caches.
    pub thread_objects: u64,
    /// In the transfer cache.
    pub transfer_objects: u64,
    /// In the central free list.
    pub central_objects: u64,
    /// Handed out by spans: with the application, or in a cache.
    pub objects_out: u64,
    /// Spans of this class, as a number.
    pub spans: u64,
    /// Spans that it ever got, as a number.
    pub spans_requested: u64,
    /// Spans that it ever gave back, as a number.
    pub spans_returned: u64,
    /// Pages of its spans, as a number.
    pub live_pages: u64,
    /// Bytes of its spans behind their last objects.
    pub tail_bytes: u64,
}

impl ClassFigures {
    /// Free objects in all caches and the central free list.
    pub const fn free_objects(&self) -> u64 {
        self.per_cpu_objects
            .wrapping_add(self.thread_objects)
            .wrapping_add(self.transfer_objects)
            .wrapping_add(self.central_objects)
    }

    /// Bytes of them.
    pub const fn free_bytes(&self) -> u64 {
        self.bytes(self.free_objects())
    }

    /// Objects that the application has; no less than none, while threads move objects about.
    pub const fn objects_in_use(&self) -> u64 {
        self.objects_out
            .saturating_sub(self.per_cpu_objects)
            .saturating_sub(self.thread_objects)
            .saturating_sub(self.transfer_objects)
    }

    const fn bytes(&self, objects: u64) -> u64 {
        objects.wrapping_mul(self.object_bytes)
    }
}

/// All size classes of a heap.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClassTable {
    #[serde(with = "strata_page_heap::sparse")]
    classes: [ClassFigures; CLASS_SLOTS],
    count: usize,
}

impl ClassTable {
    /// No classes.
    pub const EMPTY: Self = Self { classes: [EMPTY_CLASS; CLASS_SLOTS], count: 0 };

    /// The classes with their numbers, from 1 on.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &ClassFigures)> {
        self.classes.iter().enumerate().take(self.count).skip(1)
    }

    /// Enters the figures of a class. (A snapshot comes with them; this is for snapshots that are made by hand.)
    pub fn set(&mut self, class: SizeClass, figures: ClassFigures) {
        if let Some(place) = self.classes.get_mut(class.index()) {
            *place = figures;
            self.count = self.count.max(class.index() + 1);
        }
    }

    /// Reads all classes into an empty table, without what per-CPU caches hold; says whether the figures of each
    /// are of one moment. Costs a lock a class, another for the list of thread caches, and a load for each class
    /// and thread.
    pub(crate) fn read<C: HeapConfig>(&mut self, core: &Core<C>) -> bool {
        let mut is_complete = true;
        for class in C::Pages::TABLE.classes() {
            let stats = core.middle().class_stats(class);
            is_complete &= !stats.central.is_unknown;
            self.set(class, of_middle(&stats));
        }
        core.thread_caches().for_each(|cache| {
            for class in C::Pages::TABLE.classes() {
                self.add(class, |figures| {
                    figures.thread_objects += u64::from(cache.length(class));
                });
            }
        });
        is_complete
    }

    /// Changes the figures of a class.
    pub(crate) fn add(&mut self, class: SizeClass, add: impl FnOnce(&mut ClassFigures)) {
        if let Some(figures) = self.classes.get_mut(class.index()) {
            add(figures);
        }
    }

    /// Bytes that `objects` of all classes are.
    pub(crate) fn bytes_of(&self, objects: impl Fn(&ClassFigures) -> u64) -> u64 {
        self.iter().map(|(_, class)| class.bytes(objects(class))).fold(0, u64::wrapping_add)
    }

    /// Makes the sums of the middle tier those of this table.
    pub(crate) fn sum_into(&self, middle: &mut MiddleStats, page_bytes: u64) {
        let sum =
            |count: fn(&ClassFigures) -> u64| self.iter().map(|(_, class)| count(class)).sum();
        middle.transfer_bytes = self.bytes_of(|class| class.transfer_objects);
        middle.tail_bytes = sum(|class| class.tail_bytes);
        middle.central_bytes = self.bytes_of(|class| class.central_objects) + middle.tail_bytes;
        middle.out_bytes = self.bytes_of(|class| class.objects_out);
        middle.objects_out = sum(|class| class.objects_out);
        middle.spans_in_use = sum(|class| class.spans);
        let pages: u64 = sum(|class| class.live_pages);
        middle.span_bytes = pages * page_bytes;
    }
}

const EMPTY_CLASS: ClassFigures = ClassFigures {
    object_bytes: 0,
    per_cpu_objects: 0,
    thread_objects: 0,
    transfer_objects: 0,
    central_objects: 0,
    objects_out: 0,
    spans: 0,
    spans_requested: 0,
    spans_returned: 0,
    live_pages: 0,
    tail_bytes: 0,
};

const fn of_middle(stats: &ClassStats) -> ClassFigures {
    ClassFigures {
        object_bytes: stats.object_bytes,
        transfer_objects: stats.transfer.used,
        central_objects: stats.central.free_objects,
        objects_out: stats.central.objects_out,
        spans: stats.central.spans_in_use,
        spans_requested: stats.central.spans_requested,
        spans_returned: stats.central.spans_returned,
        live_pages: stats.central.live_pages,
        tail_bytes: stats.central.tail_bytes,
        ..EMPTY_CLASS
    }
}
