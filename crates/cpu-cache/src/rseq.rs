//! The restartable sequences: push, pop, their batches, and a compare-and-store.
//!
//! Each section stores its descriptor in the thread's rseq area, reads the id, works in that id's
//! region, and ends with one committing store, as the kernel's interface asks
//! (`Documentation/rseq`, `rseq(2)`): if the thread is preempted, moved or signalled before the commit, the kernel
//! sends it to the abort handler, which starts anew. Everything before the commit may be repeated:
//! it writes only slots above the top, and buffers of the caller. Words that the kernel owns are read, never written.
//!
//! Callers hand in [`Slabs`] of a cache that is set up, from a thread whose area is registered. Of the same
//! functions there are two more files: `rseq_model.rs`, for loom, and `rseq_absent.rs`, for machines without.

use crate::{
    Header, Pushed,
    cpu_state::{CpuState, RegionWord},
    cpu_words::NOTHING,
    layout::REGION_SHIFT,
};
use core::arch::asm;
use strata_size_classes::CLASS_SLOTS;
use strata_sync::atomic::Ordering;

mod slabs;

pub(crate) use slabs::Slabs;

/// Whether there are restartable sequences at all, for all that is known when compiling.
pub(crate) const IS_SUPPORTED: bool = true;

/// Where a region says whether its cache is stopped, and how long it is.
const WORD_OFFSET: usize = CLASS_SLOTS * size_of::<u64>() + CpuState::REGION_OFFSET;

/// What every section begins with: the descriptor, the abort handler, the start, and the region of the id in
/// `{region}`, by way of the register named. Label 2 is the start, 3 the commit's end, 4 the abort handler, 6 the
/// way in.
macro_rules! begin {
    ($scratch:literal) => {
        concat!(
            ".pushsection __rseq_cs, \"aw\"\n",
            ".balign 32\n",
            "77:\n",
            ".long 0, 0\n",
            ".quad 2f, 3f - 2f, 4f\n",
            ".popsection\n",
            ".pushsection __rseq_failure, \"ax\"\n",
            // The signature stands before the handler, as the operand of an undefined instruction.
            ".byte 0x0f, 0xb9, 0x3d\n",
            ".long 0x53053053\n",
            "4:\n",
            "jmp 66f\n",
            ".popsection\n",
            "66:\n",
            "lea {region}, [rip + 77b]\n",
            "mov ",
            $scratch,
            ", qword ptr [{slabs} + 8]\n",
            "mov qword ptr fs:[",
            $scratch,
            "], {region}\n",
            // Right behind the store: the kernel clears the word of a thread that it finds outside of the section, and what
            // came between would run in a section that nobody sends back any more.
            "2:\n",
            "mov ",
            $scratch,
            ", qword ptr [{slabs} + 16]\n",
            "mov {region:e}, dword ptr fs:[",
            $scratch,
            "]\n",
            "shl {region}, {shift}\n",
            "add {region}, qword ptr [{slabs}]\n",
        )
    };
}

/// A section that begins with the header of a class in `{header}`: its lines, and the operands that are its own
/// besides the register named, which is the scratch of [`begin`]. `{index}` is free.
macro_rules! section {
    ($slabs:ident, $class:ident, $scratch:literal, [$($line:expr),+ $(,)?], $($operands:tt)*) => {
        asm!(
            begin!($scratch),
            "mov {header}, qword ptr [{region} + {class} * 8]",
            $($line,)+
            region = out(reg) _,
            header = out(reg) _,
            index = out(reg) _,
            $($operands)*
            class = in(reg) $class,
            slabs = in(reg) core::ptr::from_ref($slabs),
            shift = const REGION_SHIFT,
            options(nostack),
        )
    };
}

/// Ends a section: the header is stored, and all of it holds.
macro_rules! commit {
    () => {
        "mov qword ptr [{region} + {class} * 8], {header}\n3:"
    };
}

/// Takes the top object of `class` on this thread's CPU; null if there is none.
///
/// # Safety
///
/// The cache that `slabs` describes is set up, this thread's rseq area is registered at the place that
/// `slabs` names, and `class` is below 128.
#[inline(always)]
pub(crate) unsafe fn pop(slabs: &Slabs, class: usize) -> *mut u8 {
    let object: *mut u8;
    // SAFETY: by the caller's promise the descriptor word is this thread's, the id names a
    // region that exists, and its headers' indices stay within the region.
    unsafe {
        section!(slabs, class, "{object}", [
            "movzx {index:e}, {header:x}",
            "mov {object}, qword ptr [{region} + {index} * 8]",
            "test {object}, {object}",
            "je 3f",
            // Two instructions rather than a load more: the processor waits for its loads and stores.
            "movabs {index}, {popped}",
            "add {header}, {index}",
            commit!(),
        ],
            object = out(reg) object,
            popped = const Header::POP,
        );
    }
    object
}

/// Takes the top object of `class` on this thread's CPU; the address of [`NOTHING`] if there is none, so that who
/// is going to look at the object's first word needs no comparison of its own.
///
/// # Safety
///
/// As for [`pop`].
#[inline(always)]
pub(crate) unsafe fn pop_or_nothing(slabs: &Slabs, class: usize) -> *mut u8 {
    let object: *mut u8;
    // SAFETY: the descriptor word is this thread's, the id names a region that exists, and headers' indices stay
    // within it, by the caller's promise; what is answered where there is no object is a word of this crate's.
    unsafe {
        section!(slabs, class, "{object}", [
            "movzx {index:e}, {header:x}",
            "mov {object}, qword ptr [{region} + {index} * 8]",
            "test {object}, {object}",
            "je 5f",
            "movabs {index}, {popped}",
            "add {header}, {index}",
            commit!(),
            ".pushsection __rseq_failure, \"ax\"",
            "5:",
            "mov {object}, qword ptr [rip + {nothing}@GOTPCREL]",
            "jmp 3b",
            ".popsection",
        ],
            object = out(reg) object,
            popped = const Header::POP,
            nothing = sym NOTHING,
        );
    }
    object
}

/// Puts `object` on top of `class` on this thread's CPU. False if there is no room.
///
/// # Safety
///
/// As for [`pop`]; and `object` is a free object of that class, given up by the caller.
#[inline(always)]
pub(crate) unsafe fn push(slabs: &Slabs, class: usize, object: *mut u8) -> bool {
    // SAFETY: the descriptor word is this thread's and the id names a region that exists, by the caller's promise.
    // The slot above the top is within the region, because with room left it is at most the class's end; the object
    // is the caller's to give.
    unsafe {
        section!(slabs, class, "{header}", [
            "test {header:e}, 0xffff0000",
            "je {full}",
            "movzx {index:e}, {header:x}",
            "mov qword ptr [{region} + {index} * 8 + 8], {object}",
            "add {header}, {pushed}",
            commit!(),
        ],
            object = in(reg) object,
            pushed = const Header::PUSH as i64,
            full = label { return false },
        );
    }
    true
}

/// Puts `object` on top of `class` on this thread's CPU, unless it is there already.
///
/// # Safety
///
/// As for [`push`]; only that `object` may be the one on top.
#[inline(always)]
pub(crate) unsafe fn push_unless_top(slabs: &Slabs, class: usize, object: *mut u8) -> Pushed {
    // SAFETY: the descriptor word is this thread's and the id names a region that exists, by the caller's promise.
    // The top, or the marker below all objects, is a slot of the region, and so is the one above as long as there
    // is room.
    unsafe {
        section!(slabs, class, "{header}", [
            "movzx {index:e}, {header:x}",
            "cmp qword ptr [{region} + {index} * 8], {object}",
            "je {again}",
            "test {header:e}, 0xffff0000",
            "je {full}",
            "mov qword ptr [{region} + {index} * 8 + 8], {object}",
            "add {header}, {pushed}",
            commit!(),
        ],
            object = in(reg) object,
            pushed = const Header::PUSH as i64,
            full = label { return Pushed::Full },
            again = label { return Pushed::Again },
        );
    }
    Pushed::Done
}

/// Takes up to `count` objects off the top of `class` into `out`; says how many.
///
/// # Safety
///
/// As for [`pop`]; and `out` has room for `count` pointers.
pub(crate) unsafe fn pop_batch(
    slabs: &Slabs,
    class: usize,
    out: *mut *mut u8,
    count: usize,
) -> usize {
    let taken: usize;
    // SAFETY: the descriptor word is this thread's and the id names a region that exists, by the caller's promise.
    // The loop ends at the marker, which is null and below every object, or after `count` objects, for which `out`
    // has room.
    unsafe {
        section!(slabs, class, "{header}", [
            "movzx {index:e}, {header:x}",
            "xor {taken:e}, {taken:e}",
            "5:",
            "cmp {taken}, {count}",
            "jae 7f",
            "mov {object}, qword ptr [{region} + {index} * 8]",
            "test {object}, {object}",
            "je 7f",
            "mov qword ptr [{out} + {taken} * 8], {object}",
            "sub {index}, 1",
            "add {taken}, 1",
            "jmp 5b",
            "7:",
            // Nothing taken is nothing committed: the header may be another's to write.
            "test {taken:e}, {taken:e}",
            "je 3f",
            "movabs {object}, {popped}",
            "imul {object}, {taken}",
            "add {header}, {object}",
            commit!(),
        ],
            object = out(reg) _,
            taken = out(reg) taken,
            count = in(reg) count,
            out = in(reg) out,
            popped = const Header::POP,
        );
    }
    taken
}

/// Puts up to `count` of `objects` on top of `class`, the front one uppermost; says how many, from the front.
///
/// # Safety
///
/// As for [`pop`]; and `objects` points to `count` free objects of that class, given up by the caller as
/// far as they were taken.
pub(crate) unsafe fn push_batch(
    slabs: &Slabs,
    class: usize,
    objects: *const *mut u8,
    count: usize,
) -> usize {
    let given: usize;
    // SAFETY: the descriptor word is this thread's and the id names a region that exists, by the caller's promise.
    // Of `objects` no more than `count` are read; slots are written up to the class's end, and the header moves by
    // what was written.
    unsafe {
        section!(slabs, class, "{header}", [
            "movzx {index:e}, {header:x}",
            "mov {room:e}, {header:e}",
            "shr {room:e}, 16",
            "lea {index}, [{region} + {index} * 8 + 8]",
            "cmp {room}, {count}",
            "cmova {room}, {count}",
            // The last one taken goes lowest: from here the place moves down as the array is read.
            "lea {index}, [{index} + {room} * 8 - 8]",
            "xor {given:e}, {given:e}",
            "5:",
            "cmp {given}, {room}",
            "jae 7f",
            "mov {object}, qword ptr [{objects} + {given} * 8]",
            "mov qword ptr [{index}], {object}",
            "sub {index}, 8",
            "add {given}, 1",
            "jmp 5b",
            "7:",
            // Nothing given is nothing committed: the header may be another's to write.
            "test {given:e}, {given:e}",
            "je 3f",
            "imul {object}, {given}, {pushed}",
            "add {header}, {object}",
            commit!(),
        ],
            object = out(reg) _,
            room = out(reg) _,
            given = out(reg) given,
            count = in(reg) count,
            objects = in(reg) objects,
            pushed = const Header::PUSH as i64,
        );
    }
    given
}

/// Replaces the header of `class` on `id` by `new` if this thread runs there, the header is `expected`, and the
/// region's word is `word`, by which nobody has stopped the cache or given the region another length. Makes the
/// slot `begin` the class's marker, which it is already if the class has slots here.
///
/// # Safety
///
/// As for [`pop`]; `begin` is the class's marker in the layout of that word's length; and `new` keeps the indices
/// within what the layout of that word's length gives the class; `word` is of a running cache.
pub(crate) unsafe fn exchange(
    slabs: &Slabs,
    id: u32,
    class: usize,
    word: RegionWord,
    begin: u16,
    expected: Header,
    new: Header,
) -> bool {
    // SAFETY: the descriptor word is this thread's and the id names a region that exists, by the caller's promise;
    // `begin` is a slot of the region, and the new header keeps its indices within what the layout gives the class.
    unsafe {
        asm!(
            begin!("{found}"),
            "mov {found:e}, dword ptr fs:[{found}]",
            "cmp {found:e}, {id:e}",
            "jne {refused}",
            "cmp word ptr [{region} + {word_offset}], {word:x}",
            "jne {refused}",
            "cmp qword ptr [{region} + {class} * 8], {expected}",
            "jne {refused}",
            // Objects may have stood there, while the region had another length.
            "mov qword ptr [{region} + {begin} * 8], 0",
            "mov qword ptr [{region} + {class} * 8], {new}",
            "3:",
            region = out(reg) _,
            found = out(reg) _,
            id = in(reg) id,
            word = in(reg) word.bits(),
            begin = in(reg) usize::from(begin),
            expected = in(reg) expected.bits(),
            new = in(reg) new.bits(),
            word_offset = const WORD_OFFSET,
            class = in(reg) class,
            slabs = in(reg) core::ptr::from_ref(slabs),
            shift = const REGION_SHIFT,
            refused = label { return false },
            options(nostack),
        );
    }
    true
}

/// The id of this thread now; it may be another at the next instruction.
///
/// # Safety
///
/// As for [`pop`].
pub(crate) unsafe fn current_id(slabs: &Slabs) -> u32 {
    let id: u32;
    // SAFETY: the id word is this thread's, by the caller's promise.
    unsafe {
        asm!(
            "mov {id:e}, dword ptr fs:[{id_word}]",
            id = out(reg) id,
            id_word = in(reg) slabs.id_word.load(Ordering::Relaxed),
            options(nostack, readonly, preserves_flags),
        );
    }
    id
}
