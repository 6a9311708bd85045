//! Where bitmaps live that do not fit into a span's own word, and records of single objects.

use core::ptr::NonNull;
use strata_span::{MetadataKind, Platform};
use strata_sync::{
    LockStats, Mutex,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    const_fn,
};

/// Bitmaps by the power of two of their words, from 1 word to 65 536: as many records as a span has objects at most.
const SIZES: usize = 17;

/// Longer spans than this are not touched before their objects are used: two of the kernel's pages, of which a program
/// uses one at once.
pub const MARKED_BYTES: usize = 8 << 10;

/// Bitmaps of free objects, taken from the metadata arena and used again.
///
/// Any thread may call; one lock, held for a few instructions, taken once in the life of a span. All zero
/// bits are a value that has made nothing yet.
#[derive(Debug)]
pub struct ObjectMaps {
    /// Guards the lists of free maps, linked through their first word.
    /// Rank: under it only the metadata arena's lock is taken.
    free: Mutex<FreeMaps>,
    /// Both written under the lock, read by figures.
    in_use_bytes: AtomicU64,
    created_bytes: AtomicU64,
    /// Whether spans have records. Written before the first span, read with each.
    has_records: AtomicBool,
    /// What stands first in objects that nobody had yet; 0 where nothing is written. As above.
    first_word: AtomicU64,
    /// Objects of up to so many bytes have it when they come back; larger ones may have 0. As above.
    always_up_to: AtomicUsize,
}

/// What the bitmaps take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct ObjectMapsStats {
    /// Bytes of bitmaps of spans.
    pub in_use_bytes: u64,
    /// Bytes ever taken from the arena; the rest is free for other spans.
    pub created_bytes: u64,
    /// The lock.
    pub lock: LockStats,
}

#[derive(Debug)]
struct FreeMaps {
    lists: [Option<NonNull<FreeMap>>; SIZES],
}

/// A bitmap that no span uses.
#[derive(Debug)]
struct FreeMap {
    next: Option<NonNull<FreeMap>>,
}

// SAFETY: the maps on the lists belong to nobody, so they go with the lists wherever these go.
unsafe impl Send for FreeMaps {}

impl ObjectMaps {
    const_fn! {
        /// Nothing yet.
        pub const fn new() -> Self {
            Self {
                free: Mutex::new(FreeMaps { lists: [None; SIZES] }),
                in_use_bytes: AtomicU64::new(0),
                created_bytes: AtomicU64::new(0),
                has_records: AtomicBool::new(false),
                first_word: AtomicU64::new(0),
                always_up_to: AtomicUsize::new(0),
            }
        }
    }

    /// From now on each new span has a word for each object, zero at first, for who stands above: see
    /// [`Span::records`](strata_span::Span::records). Only before the first span.
    pub fn keep_records(&self) {
        self.has_records.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_records(&self) -> bool {
        self.has_records.load(Ordering::Relaxed)
    }

    /// From now on the first word of each object of a new span is `word`, or 0; `word` on the first kernel page of
    /// spans of at most [`MARKED_BYTES`]. It is 0 again where a kernel page without objects in use went back. Only
    /// before the first span, and only where the program may touch what the page heap hands out.
    ///
    /// Objects of up to `always_up_to` bytes come back with that word, as their caches have them, larger ones with
    /// it or 0. One that has another is somebody's, or was written to since it was freed: it is told of, and left
    /// alone.
    pub fn begin_objects_with(&self, word: u64, always_up_to: usize) {
        self.first_word.store(word, Ordering::Relaxed);
        self.always_up_to.store(always_up_to, Ordering::Relaxed);
    }

    /// The words with which objects of `bytes` may come back; none where nobody says so.
    pub(crate) fn words_of_freed(&self, bytes: usize) -> Option<[u64; 2]> {
        let word = self.first_word()?;
        let is_always = bytes <= self.always_up_to.load(Ordering::Relaxed);
        Some([word, if is_always { word } else { 0 }])
    }

    pub(crate) fn first_word(&self) -> Option<u64> {
        let word = self.first_word.load(Ordering::Relaxed);
        (word != 0).then_some(word)
    }

    /// A bitmap of at least `words` words, of any content. None when there is no memory, or no bitmap is
    /// that long.
    pub(crate) fn allocate<E: Platform>(&self, platform: &E, words: usize) -> Option<NonNull<u64>> {
        let (list, bytes) = Self::list_of(words);
        let mut free = self.free.lock();
        let first = free.lists.get_mut(list)?;
        let map = if let Some(map) = *first {
            // SAFETY: maps on the list were given back by `deallocate`, which wrote their links; the
            // lock is held.
            *first = unsafe { map.read() }.next;
            map.cast()
        } else {
            let align = bytes.clamp(align_of::<u64>(), 64);
            let map = platform.arena().allocate(
                platform.metadata(),
                bytes,
                align,
                MetadataKind::ObjectMaps,
            )?;
            self.created_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            map.cast()
        };
        self.in_use_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        Some(map)
    }

    /// Takes a bitmap back.
    ///
    /// # Safety
    ///
    /// It came from `allocate` of these maps with the same `words`, and no span refers to it.
    pub(crate) unsafe fn deallocate(&self, map: NonNull<u64>, words: usize) {
        let (list, bytes) = Self::list_of(words);
        let mut free = self.free.lock();
        let Some(first) = free.lists.get_mut(list) else { return };
        let link = map.cast::<FreeMap>();
        // SAFETY: the caller gives the map up; it has a word, which is as large as a link.
        unsafe { link.write(FreeMap { next: *first }) };
        *first = Some(link);
        self.in_use_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    /// The figures. Takes no lock.
    pub fn stats(&self) -> ObjectMapsStats {
        ObjectMapsStats {
            in_use_bytes: self.in_use_bytes.load(Ordering::Relaxed),
            created_bytes: self.created_bytes.load(Ordering::Relaxed),
            lock: self.free.stats(),
        }
    }

    /// Takes the lock, so that a fork finds the lists at rest.
    pub fn acquire(&self) {
        self.free.acquire();
    }

    /// Gives it back after the fork.
    ///
    /// # Safety
    ///
    /// This thread took it with [`Self::acquire`], or is the child of the thread that did.
    pub unsafe fn release(&self) {
        // SAFETY: `acquire` took the lock, in this thread or in the one that forked it, and no guard of it lives.
        unsafe { self.free.release() };
    }

    /// The list of bitmaps of at least `words` words, and their bytes.
    fn list_of(words: usize) -> (usize, usize) {
        let rounded = words.max(1).checked_next_power_of_two().unwrap_or(usize::MAX / 8);
        (rounded.trailing_zeros() as usize, rounded.wrapping_mul(size_of::<u64>()))
    }
}

impl Default for ObjectMaps {
    fn default() -> Self {
        Self::new()
    }
}

static_assertions::assert_eq_size!(FreeMap, u64);
