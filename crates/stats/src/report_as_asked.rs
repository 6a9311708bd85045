//! Reports and snapshots of a Rust program, as its user asks for them.

use crate::{RenderPageHeap, reporting};
use core::ptr;
use strata_alloc::{Heap, HeapConfig};
use strata_os::at_exit;
use strata_page_heap::PageHeap;
use strata_sync::atomic::{AtomicPtr, Ordering};

/// The heap that is reported; null for none yet. Its type is the one of the `at_the_end` that was registered.
static HEAP: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Does what the options ask for by `exit_report`, `snapshot_file` and `snapshot_interval`, and ends a recording in
/// good order, as `libstrata` does for programs that it is preloaded to. Call it at the beginning of main; says
/// whether it is done for this heap: not if it was called before, or the C library takes no more functions for a
/// program's end.
///
/// The report goes to standard error when the program ends by `exit` or by returning from main.
///
/// ```
/// use strata_alloc::Heap;
///
/// #[global_allocator]
/// static HEAP: Heap = Heap::new();
///
/// fn main() {
///     strata_stats::report_as_asked(&HEAP);
///     // From here on the program: STRATA_CONF=exit_report:brief prints a screen about it when it is through.
/// }
/// ```
pub fn report_as_asked<C: HeapConfig>(heap: &'static Heap<C>) -> bool
where
    <C::PageHeap as PageHeap<C::Pages>>::Figures: RenderPageHeap,
{
    let address = ptr::from_ref(heap).cast_mut().cast();
    let is_first = HEAP
        .compare_exchange(ptr::null_mut(), address, Ordering::Relaxed, Ordering::Relaxed)
        .is_ok();
    if !is_first {
        return false;
    }
    reporting::prepare(heap);
    reporting::begin(heap);
    at_exit(at_the_end::<C>)
}

extern "C" fn at_the_end<C: HeapConfig>()
where
    <C::PageHeap as PageHeap<C::Pages>>::Figures: RenderPageHeap,
{
    let heap: *const Heap<C> = HEAP.load(Ordering::Relaxed).cast();
    // SAFETY: `report_as_asked` registers this function for the type of the heap that it stored, which lives as long as the
    // program.
    reporting::end(unsafe { &*heap });
}
