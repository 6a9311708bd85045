//! glibc's introspection: the same functions, with this heap's figures. What glibc's words mean here, `strata_stats` says.
//!
//! A program that has them all sees one allocator; left to glibc, they would speak of its own heap, which nobody uses.

use crate::heap::HEAP;
use core::ffi::{c_int, c_void};
use strata_alloc::MallocStatsForm;
use strata_os::CStream;
use strata_stats::{
    Dialect, GlibcFigures, render_malloc_info, render_malloc_stats, report, with_snapshot,
};

/// `struct mallinfo2` of `<malloc.h>` (glibc 2.33).
#[repr(C)]
pub(crate) struct Mallinfo2 {
    arena: usize,
    ordblks: usize,
    smblks: usize,
    hblks: usize,
    hblkhd: usize,
    usmblks: usize,
    fsmblks: usize,
    uordblks: usize,
    fordblks: usize,
    keepcost: usize,
}

/// `struct mallinfo` of `<malloc.h>`.
#[repr(C)]
pub(crate) struct Mallinfo {
    arena: c_int,
    ordblks: c_int,
    smblks: c_int,
    hblks: c_int,
    hblkhd: c_int,
    usmblks: c_int,
    fsmblks: c_int,
    uordblks: c_int,
    fordblks: c_int,
    keepcost: c_int,
}

/// Writes to `stderr` what the heap has: in glibc's form, with numbers of 64 bits, or as `STRATA_CONF=malloc_stats:…` says.
/// (malloc_stats(3))
#[unsafe(no_mangle)]
pub(crate) extern "C" fn malloc_stats() {
    let Some(core) = core() else { return };
    let Some(mut out) = CStream::stderr() else { return };
    // What the stream does not take is lost, as glibc's is.
    let _ = match core.config().malloc_stats {
        MallocStatsForm::Glibc => {
            let figures = with_snapshot(core, GlibcFigures::of);
            figures.map_or(Ok(()), |figures| render_malloc_stats(&figures, &mut out))
        }
        MallocStatsForm::Brief => report(core, Dialect::Brief, &mut out),
        MallocStatsForm::Tcmalloc => report(core, Dialect::TcmallocText, &mut out),
    };
}

/// Writes the heap's figures as XML of glibc's shape: answers 0, also when the stream failed, whose own flag says
/// so; or `EINVAL`, not in `errno`, if `options` is not 0. (malloc_info(3), as glibc does it)
///
/// # Safety
///
/// `stream` is an open `FILE *`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn malloc_info(options: c_int, stream: *mut c_void) -> c_int {
    if options != 0 {
        return libc::EINVAL;
    }
    let Some(core) = core() else { return libc::ENOMEM };
    // SAFETY: null, or a stream that the program keeps open while this runs.
    let Some(mut out) = (unsafe { CStream::new(stream) }) else { return libc::EINVAL };
    // As above.
    let written = with_snapshot(core, |snapshot| render_malloc_info(snapshot, &mut out));
    if written.is_some() { 0 } else { libc::ENOMEM }
}

/// The heap's figures. (mallinfo(3))
#[unsafe(no_mangle)]
pub(crate) extern "C" fn mallinfo2() -> Mallinfo2 {
    figures()
}

/// The same as far as an `int` can hold them: `INT_MAX` stands for more, where glibc's wrap.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn mallinfo() -> Mallinfo {
    cut_to_int(&figures())
}

/// `mallinfo`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn __libc_mallinfo() -> Mallinfo {
    cut_to_int(&figures())
}

/// The heap's state, made if it is not there yet; none if there is no memory for it.
pub(crate) fn core() -> Option<&'static strata_alloc::Core<crate::heap::Program>> {
    if HEAP.core().is_none() {
        let block = HEAP.allocate(1);
        // SAFETY: null, or a block that nobody else knows.
        unsafe { HEAP.deallocate(block) };
    }
    HEAP.core()
}

fn figures() -> Mallinfo2 {
    let figures = core().and_then(|core| with_snapshot(core, GlibcFigures::of)).unwrap_or_default();
    let size = |figure: u64| usize::try_from(figure).unwrap_or(usize::MAX);
    Mallinfo2 {
        arena: size(figures.system),
        ordblks: size(figures.rest.count),
        smblks: size(figures.fast.count),
        hblks: size(figures.mapped.count),
        hblkhd: size(figures.mapped.bytes),
        usmblks: 0, // glibc's own meaning: not used
        fsmblks: size(figures.fast.bytes),
        uordblks: size(figures.in_use()),
        fordblks: size(figures.free()),
        keepcost: size(figures.releasable),
    }
}

fn cut_to_int(figures: &Mallinfo2) -> Mallinfo {
    let cut = |figure: usize| c_int::try_from(figure).unwrap_or(c_int::MAX);
    Mallinfo {
        arena: cut(figures.arena),
        ordblks: cut(figures.ordblks),
        smblks: cut(figures.smblks),
        hblks: cut(figures.hblks),
        hblkhd: cut(figures.hblkhd),
        usmblks: cut(figures.usmblks),
        fsmblks: cut(figures.fsmblks),
        uordblks: cut(figures.uordblks),
        fordblks: cut(figures.fordblks),
        keepcost: cut(figures.keepcost),
    }
}
