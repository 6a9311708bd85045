//! One class's free objects in one thread's cache.

use strata_size_classes::SizeClass;
use strata_sync::{
    atomic::{AtomicPtr, AtomicU32, Ordering},
    const_fn,
};

/// Addresses that a decoded link may have: those of user space, at multiples of 8.
const NOT_AN_OBJECT: usize = !((1 << ADDRESS_BITS) - 1) | 7;

/// Bits that an address of user space may have, and one more.
const ADDRESS_BITS: u32 = 48;

/// A stack of free objects, linked through their first words.
///
/// A link is the next object's address, mixed with the address of the word that it stands in and with a
/// secret: a word that was written by somebody else decodes, but for one in half a million, to an
/// address that no object can have.
///
/// The owner writes all fields; others read them for figures.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct FreeList {
    /// The object that was freed last.
    first: AtomicPtr<u8>,
    /// How many there are.
    length: AtomicU32,
    /// The least that `length` was since the last scavenge.
    low_water: AtomicU32,
    /// How many there may be; 0 before the first use.
    max_length: AtomicU32,
    /// How often the list was too long, since it last shrank for that.
    overruns: AtomicU32,
}

static_assertions::const_assert!(cfg!(strata_loom) || size_of::<FreeList>() == 24);

impl FreeList {
    const_fn! {
        pub(crate) const fn new() -> Self {
            Self {
                first: AtomicPtr::new(core::ptr::null_mut()),
                length: AtomicU32::new(0),
                low_water: AtomicU32::new(0),
                max_length: AtomicU32::new(0),
                overruns: AtomicU32::new(0),
            }
        }
    }

    #[inline(always)]
    pub(crate) fn length(&self) -> u32 {
        self.length.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn max_length(&self) -> u32 {
        self.max_length.load(Ordering::Relaxed)
    }

    pub(crate) fn set_max_length(&self, length: u32) {
        self.max_length.store(length, Ordering::Relaxed);
    }

    pub(crate) fn low_water(&self) -> u32 {
        self.low_water.load(Ordering::Relaxed)
    }

    /// Begins a new period for [`low_water`](Self::low_water).
    pub(crate) fn clear_low_water(&self) {
        self.low_water.store(self.length(), Ordering::Relaxed);
    }

    pub(crate) fn overruns(&self) -> u32 {
        self.overruns.load(Ordering::Relaxed)
    }

    pub(crate) fn set_overruns(&self, count: u32) {
        self.overruns.store(count, Ordering::Relaxed);
    }

    /// The object that was freed last; null if there is none, or if it was written to since.
    ///
    /// # Safety
    ///
    /// The calling thread owns the list, and `secret` is the same as at each [`push`](Self::push).
    #[inline(always)]
    pub(crate) unsafe fn pop_sound(&self, secret: usize) -> *mut u8 {
        let object = self.first.load(Ordering::Relaxed);
        if object.is_null() {
            return object;
        }
        // SAFETY: objects on the list are as large as a pointer, aligned for it, and nobody else's.
        let link = unsafe { object.cast::<*mut u8>().read() };
        let next = mix(link, object, secret);
        if next.addr() & NOT_AN_OBJECT != 0 {
            return core::ptr::null_mut();
        }
        self.first.store(next, Ordering::Relaxed);
        let length = self.length().wrapping_sub(1);
        self.length.store(length, Ordering::Relaxed);
        if length < self.low_water() {
            self.low_water.store(length, Ordering::Relaxed);
        }
        object
    }

    /// Tells of the first object, if there is one, as one that was written to since it was freed. What lies behind
    /// it cannot be found any more: neither it nor they are used again. Says how many they are.
    #[cold]
    #[inline(never)]
    pub(crate) fn forget_damaged(&self, class: SizeClass) -> u32 {
        let object = self.first.load(Ordering::Relaxed);
        if object.is_null() {
            return 0;
        }
        written_after_free(object, class);
        let lost = self.length();
        self.first.store(core::ptr::null_mut(), Ordering::Relaxed);
        self.length.store(0, Ordering::Relaxed);
        self.low_water.store(0, Ordering::Relaxed);
        lost
    }

    /// Whether an object is the first of the list.
    pub(crate) fn is_first(&self, object: *mut u8) -> bool {
        self.first.load(Ordering::Relaxed) == object
    }

    /// Puts an object on the list; says how many there are then. One that is the first already is told of.
    ///
    /// # Safety
    ///
    /// As for [`Self::push_unless_first`].
    #[inline(always)]
    pub(crate) unsafe fn push(&self, secret: usize, class: SizeClass, object: *mut u8) -> u32 {
        // SAFETY: the list is the caller's, and the object free, of this class and the caller's to give.
        unsafe { self.push_unless_first(secret, object) }.unwrap_or_else(|| {
            freed_twice(object, class);
            self.length()
        })
    }

    /// Puts an object on the list, unless it is the first already; says how many there are then.
    ///
    /// # Safety
    ///
    /// The calling thread owns the list; the object is free, of at least 8 bytes and aligned to 8, and
    /// nobody else uses it.
    #[inline(always)]
    pub(crate) unsafe fn push_unless_first(&self, secret: usize, object: *mut u8) -> Option<u32> {
        let first = self.first.load(Ordering::Relaxed);
        if first == object {
            return None;
        }
        // SAFETY: the caller gives the object up, and its first word can hold a pointer.
        unsafe { object.cast::<*mut u8>().write(mix(first, object, secret)) };
        self.first.store(object, Ordering::Relaxed);
        let length = self.length().wrapping_add(1);
        self.length.store(length, Ordering::Relaxed);
        Some(length)
    }
}

/// Turns an address into a link in the word at `place`, and a link back into the address. The lowest 16 bits of the
/// place stand above all bits of an address, the next three in those that are 0 in an object's: a link that was
/// copied from one object into another decodes to no object, unless the two lie a multiple of 512 KiB apart.
#[inline(always)]
fn mix(pointer: *mut u8, place: *mut u8, secret: usize) -> *mut u8 {
    pointer.map_addr(|address| address ^ place.addr().rotate_left(ADDRESS_BITS) ^ secret)
}

#[unsafe(link_section = ".text_rarely")]
#[cold]
#[inline(never)]
fn written_after_free(object: *mut u8, class: SizeClass) {
    let (address, class, thread) = (object.addr(), class.index(), strata_os::thread_id());
    strata_os::misuse(format_args!(
        "write after free: malloc({address:#x}), class {class}, thread {thread}; last: freed by thread {thread}"
    ));
}

#[unsafe(link_section = ".text_rarely")]
#[cold]
#[inline(never)]
fn freed_twice(object: *mut u8, class: SizeClass) {
    let (address, class, thread) = (object.addr(), class.index(), strata_os::thread_id());
    strata_os::misuse(format_args!(
        "double free: free({address:#x}), class {class}, thread {thread}; last: freed by thread {thread}"
    ));
}

#[cfg(all(test, not(strata_loom)))]
mod tests;
