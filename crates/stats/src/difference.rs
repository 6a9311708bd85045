//! What changed between two snapshots.

use crate::{Category, ClassFigures, Ledger, Part, Snapshot};
use serde::{Serialize, Serializer, ser::SerializeStruct};

/// Two snapshots of one heap, and what changed from the earlier to the later: see [`Snapshot::diff`].
///
/// Differences of counters that only grow are counts; those of figures that go both ways have a sign.
#[derive(Clone, Copy, Debug)]
pub struct Difference<'a> {
    /// The one that was taken first.
    pub earlier: &'a Snapshot,
    /// The one that was taken later.
    pub later: &'a Snapshot,
    ledgers: [Ledger; 2],
}

/// One size class in both.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct ClassDifference {
    /// Its number.
    pub class: usize,
    /// Size of an object in bytes.
    pub object_bytes: u64,
    /// Objects that the application has, more than then.
    pub objects_in_use: i64,
    /// Bytes of them.
    pub in_use_bytes: i64,
    /// Spans of the class, more than then.
    pub spans: i64,
    /// Bytes of free objects of the class, wherever they are, more than then.
    pub free_bytes: i64,
}

impl Snapshot {
    /// What changed since `earlier`, another snapshot of the same heap.
    ///
    /// ```
    /// use strata_alloc::{Config, Heap};
    /// use strata_stats::{Category, Snapshot};
    ///
    /// let heap: Heap = Heap::with(Config::DEFAULT);
    /// heap.allocate(48);
    /// let core = heap.core().expect("the first block set it up");
    /// let earlier = Snapshot::take(core);
    /// let blocks = [(); 10].map(|()| heap.allocate(48));
    /// let later = Snapshot::take(core);
    ///
    /// let difference = later.diff(&earlier);
    /// assert_eq!(difference.bytes(Category::InUse), 480);
    /// assert_eq!(difference.allocated_bytes(), 480);
    /// let grown = difference.classes().find(|class| class.objects_in_use > 0).expect("one class grew");
    /// assert_eq!((grown.object_bytes, grown.objects_in_use), (48, 10));
    /// // SAFETY: the blocks are ours.
    /// blocks.iter().for_each(|block| unsafe { heap.deallocate(*block) });
    /// ```
    pub fn diff<'a>(&'a self, earlier: &'a Self) -> Difference<'a> {
        Difference { earlier, later: self, ledgers: [Ledger::of(earlier), Ledger::of(self)] }
    }
}

impl Difference<'_> {
    /// Nanoseconds from one to the other, by the heap's clock; below zero if they were given in the wrong order.
    pub fn elapsed_ns(&self) -> i64 {
        signed(self.later.taken_ns, self.earlier.taken_ns)
    }

    /// Bytes in a category, more than then.
    pub fn bytes(&self, category: Category) -> i64 {
        let [earlier, later] = &self.ledgers;
        signed(later.bytes(category), earlier.bytes(category))
    }

    /// Bytes in all categories of a part, more than then.
    pub fn part_bytes(&self, part: Part) -> i64 {
        let [earlier, later] = &self.ledgers;
        signed(later.part_bytes(part), earlier.part_bytes(part))
    }

    /// Bytes mapped, more than then.
    pub fn mapped_bytes(&self) -> i64 {
        let [earlier, later] = &self.ledgers;
        signed(later.mapped_bytes, earlier.mapped_bytes)
    }

    /// Bytes that threads allocated in between.
    pub fn allocated_bytes(&self) -> u64 {
        let allocated = |snapshot: &Snapshot| snapshot.heap.threads.allocated_bytes;
        allocated(self.later).saturating_sub(allocated(self.earlier))
    }

    /// Bytes that threads freed in between.
    pub fn deallocated_bytes(&self) -> u64 {
        let freed = |snapshot: &Snapshot| snapshot.heap.threads.deallocated_bytes;
        freed(self.later).saturating_sub(freed(self.earlier))
    }

    /// Bytes that were given back to the kernel in between.
    pub fn released_bytes(&self) -> u64 {
        let released = |snapshot: &Snapshot| snapshot.heap.page_heap.released.total();
        released(self.later).saturating_sub(released(self.earlier))
    }

    /// Bytes of the process in memory, more than then, where both are known.
    pub fn process_resident_bytes(&self) -> Option<i64> {
        let (then, now) = (self.earlier.process?, self.later.process?);
        Some(signed(now.resident_bytes as u64, then.resident_bytes as u64))
    }

    /// The size classes that changed, by rising size.
    pub fn classes(&self) -> impl Iterator<Item = ClassDifference> + '_ {
        let pairs = self.earlier.classes.iter().zip(self.later.classes.iter());
        let all = pairs.map(|((_, then), (class, now))| ClassDifference::of(class, then, now));
        all.filter(|difference| {
            let ClassDifference { objects_in_use, spans, free_bytes, .. } = difference;
            (*objects_in_use, *spans, *free_bytes) != (0, 0, 0)
        })
    }
}

impl ClassDifference {
    fn of(class: usize, then: &ClassFigures, now: &ClassFigures) -> Self {
        let objects = signed(now.objects_in_use(), then.objects_in_use());
        Self {
            class,
            object_bytes: now.object_bytes,
            objects_in_use: objects,
            in_use_bytes: objects.wrapping_mul(now.object_bytes.cast_signed()),
            spans: signed(now.spans, then.spans),
            free_bytes: signed(now.free_bytes(), then.free_bytes()),
        }
    }
}

impl Serialize for Difference<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Difference", 8)?;
        fields.serialize_field("elapsed_ns", &self.elapsed_ns())?;
        fields.serialize_field("mapped_bytes", &self.mapped_bytes())?;
        fields.serialize_field("allocated_bytes", &self.allocated_bytes())?;
        fields.serialize_field("deallocated_bytes", &self.deallocated_bytes())?;
        fields.serialize_field("released_bytes", &self.released_bytes())?;
        fields.serialize_field("process_resident_bytes", &self.process_resident_bytes())?;
        fields.serialize_field("ledger", &Lines(self))?;
        fields.serialize_field("classes", &Classes(self))?;
        fields.end()
    }
}

/// The ledger's lines.
struct Lines<'a>(&'a Difference<'a>);

#[derive(Serialize)]
struct Line {
    category: &'static str,
    part: &'static str,
    bytes: i64,
}

impl Serialize for Lines<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(Category::all().map(|category| Line {
            category: category.name(),
            part: category.part().name(),
            bytes: self.0.bytes(category),
        }))
    }
}

/// The classes that changed.
struct Classes<'a>(&'a Difference<'a>);

impl Serialize for Classes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.classes())
    }
}

fn signed(now: u64, then: u64) -> i64 {
    now.wrapping_sub(then).cast_signed()
}
