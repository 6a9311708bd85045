//! Memory for the figures that a report is made from: mapped when it begins, unmapped when it is written.
//!
//! They are 200 KiB at most, which a small thread's stack has no room for, and nothing may be allocated. What is
//! not touched of it costs address space alone. Where the kernel maps nothing more, the program has some in reserve
//! for one report at a time.

use crate::page_heap_report::{TRIES, agree};
use crate::{Backing, Details, RenderPageHeap, Snapshot, apart, fork_lock::ForkLock};
use core::{cell::RefCell, mem::MaybeUninit};
use strata_alloc::{Core, ForkWatcher, HeapConfig, SelectedFigures};
use strata_os::{
    AddressRange, PageSource, Purpose, ReserveRequest, SystemPages, kernel_page_bytes,
};
use strata_page_heap::{PageHeap, Temperature, copy_into_place};
use strata_span::Address;

/// Room for all that a report may need, each part filled in where it stands when it is needed.
pub(crate) struct Workspace<F> {
    snapshot: MaybeUninit<Snapshot>,
    page_heap: MaybeUninit<F>,
    details: MaybeUninit<Details>,
    apart: MaybeUninit<F>,
    apart_backing: MaybeUninit<Option<Backing>>,
}

/// What the newer forms need besides, and the older ones do without.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extra {
    Nothing,
    Details,
}

/// The figures of a heap as it is now.
pub(crate) struct Taken<'a, F> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) page_heap: &'a F,
    /// None if they were not asked for.
    pub(crate) details: Option<&'a Details>,
    /// Room for the figures of heaps that spans of one kind have to themselves.
    apart: RefCell<RoomApart<'a, F>>,
}

struct RoomApart<'a, F> {
    figures: &'a mut F,
    backing: &'a mut Option<Backing>,
}

/// What stands behind an associated type: the figures of a configuration's page heap.
pub(crate) type FiguresOf<C> =
    <<C as HeapConfig>::PageHeap as PageHeap<<C as HeapConfig>::Pages>>::Figures;

/// Takes the figures of a heap, and calls `work` with them; none if there is no memory for them.
///
/// Needs little stack whatever the figures are: see `docs/notes/reports.md`.
#[inline(never)]
pub(crate) fn with_figures<C: HeapConfig, R>(
    core: &Core<C>,
    extra: Extra,
    work: impl FnOnce(&Taken<'_, FiguresOf<C>>) -> R,
) -> Option<R>
where
    FiguresOf<C>: RenderPageHeap,
{
    with_workspace(|place| {
        let taken = take(core, extra, place);
        apart_from_taking(&taken, work)
    })
}

/// Renders in a frame of its own, which does not stand yet while the figures are taken.
#[inline(never)]
fn apart_from_taking<T, R>(taken: &T, work: impl FnOnce(&T) -> R) -> R {
    work(taken)
}

/// Takes a snapshot, and calls `work` with it: for threads with small stacks, on which [`Snapshot::take`] would put
/// 20 KiB. None if there is no memory for it: the kernel maps no more, and another thread is using what is kept for
/// then.
///
/// ```
/// use strata_alloc::{Config, Heap};
/// use strata_stats::{Ledger, with_snapshot};
///
/// let heap: Heap = Heap::with(Config::DEFAULT);
/// # let block = heap.allocate(48);
/// let core = heap.core().expect("the first block set it up");
/// assert_eq!(with_snapshot(core, |snapshot| Ledger::of(snapshot).in_use_bytes), Some(48));
/// # // SAFETY: the block is ours.
/// # unsafe { heap.deallocate(block) };
/// ```
#[inline(never)]
pub fn with_snapshot<C: HeapConfig, R>(
    core: &Core<C>,
    work: impl FnOnce(&Snapshot) -> R,
) -> Option<R> {
    with_workspace::<(), R>(|place| {
        let snapshot = begin_snapshot(&mut place.snapshot);
        snapshot.read(core);
        work(snapshot)
    })
}

#[inline(never)]
fn take<'a, C: HeapConfig>(
    core: &Core<C>,
    extra: Extra,
    place: &'a mut Workspace<FiguresOf<C>>,
) -> Taken<'a, FiguresOf<C>>
where
    FiguresOf<C>: RenderPageHeap,
{
    let Workspace { snapshot, page_heap, details, apart, apart_backing } = place;
    let (snapshot, page_heap) = (begin_snapshot(snapshot), begin(page_heap));
    for _ in 0..TRIES {
        core.page_heap().read_figures(core, page_heap);
        snapshot.read(core);
        // Where several heaps have spans, the snapshot has their sums.
        if apart::exist(core) || agree(page_heap, snapshot) {
            break;
        }
    }
    let details = (extra == Extra::Details).then(|| {
        let details = begin_details(details);
        details.read(core);
        &*details
    });
    let apart = RoomApart { figures: begin(apart), backing: apart_backing.write(None) };
    Taken { snapshot, page_heap, details, apart: RefCell::new(apart) }
}

impl<F> Taken<'_, F> {
    /// Calls `each` with the figures of one of the heaps apart, if there is such a one, and what the kernel has of
    /// its hugepages, if details were asked for.
    pub(crate) fn visit_apart<C, R>(
        &self,
        core: &Core<C>,
        temperature: Temperature,
        each: impl FnOnce(&F, Option<&Backing>) -> R,
    ) -> Option<R>
    where
        C: HeapConfig,
        C::PageHeap: PageHeap<C::Pages, Figures = F>,
    {
        let mut room = self.apart.try_borrow_mut().ok()?;
        let RoomApart { figures, backing } = &mut *room;
        if !core.page_heap().read_figures_of(core, temperature, figures) {
            return None;
        }
        **backing = None;
        if self.details.is_some() {
            Backing::read(backing, core, temperature);
        }
        Some(each(figures, backing.as_ref()))
    }
}

/// Figures of nothing. In a frame of its own, which may hold them once where nothing is optimised.
#[inline(never)]
fn begin<F: Default>(place: &mut MaybeUninit<F>) -> &mut F {
    place.write(F::default())
}

fn begin_snapshot(place: &mut MaybeUninit<Snapshot>) -> &mut Snapshot {
    copy_into_place(place, &const { MaybeUninit::new(Snapshot::EMPTY) });
    // SAFETY: it was just written.
    unsafe { place.assume_init_mut() }
}

fn begin_details(place: &mut MaybeUninit<Details>) -> &mut Details {
    copy_into_place(place, &const { MaybeUninit::new(Details::EMPTY) });
    // SAFETY: it was just written.
    unsafe { place.assume_init_mut() }
}

/// Bytes of the reserve: as many as the figures of the standard heap need.
const RESERVE_BYTES: usize = size_of::<Workspace<SelectedFigures>>();

/// What is used where the kernel maps nothing: never touched before.
#[repr(align(64))]
struct Reserve(MaybeUninit<[u8; RESERVE_BYTES]>);

/// Held while a report is written that has no other memory. Rank: above all locks of the heap.
static RESERVE: ForkLock<Reserve> = ForkLock::new(Reserve(MaybeUninit::uninit()));

/// In a child, a report that another thread was writing in the reserve is nobody's.
static FORKS: ForkWatcher = ForkWatcher::new(|| {
    // SAFETY: watchers are called in children of forks, by their only thread; any bytes are a reserve.
    unsafe { RESERVE.forget_others() }
});

/// Memory that goes back when this goes.
struct Mapping(AddressRange);

impl Mapping {
    fn of(bytes: usize) -> Option<Self> {
        let align = kernel_page_bytes();
        let bytes = bytes.checked_next_multiple_of(align)?;
        let request = ReserveRequest { bytes, align, purpose: Purpose::Metadata };
        let mapping = Self(SystemPages.reserve(request).ok()?.range);
        SystemPages.commit(mapping.0).ok()?;
        Some(mapping)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `of` reserved it, and who was lent the memory has given it back. What the kernel does not take stays.
        let _ = unsafe { SystemPages.unreserve(self.0) };
    }
}

fn with_workspace<F, R>(work: impl FnOnce(&mut Workspace<F>) -> R) -> Option<R> {
    const { assert!(align_of::<Workspace<F>>() <= align_of::<Reserve>()) };
    let bytes = size_of::<Workspace<F>>();
    if let Some(mapping) = Mapping::of(bytes) {
        let place: *mut Workspace<F> = Address::new(mapping.0.start).pointer().cast();
        // SAFETY: it is mapped, at the beginning of a page and nobody else's, as long as the mapping is here; any
        // bytes are a workspace.
        return Some(work(unsafe { &mut *place }));
    }
    if bytes > RESERVE_BYTES {
        return None;
    }
    FORKS.register();
    let mut reserve = RESERVE.lock_for_figures()?;
    let place: *mut Workspace<F> = reserve.0.as_mut_ptr().cast();
    // SAFETY: it is as long and as aligned as that, and lent with the lock; any bytes are a workspace.
    Some(work(unsafe { &mut *place }))
}
