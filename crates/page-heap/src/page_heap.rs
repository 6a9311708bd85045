//! The trait at which page heaps meet the layers above.

use crate::{HugepageFigures, MemoryLimits, PageHeapStats, SharedHugepage, reserve::next_from};
use strata_os::AddressRange;
use strata_span::{Hugepage, PageCount, PageSize, Platform, SpanHandle};

/// How many objects a span is going to hold; spans of different density age differently.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Density {
    /// Few objects, or one.
    #[default]
    Sparse,
    /// Many small objects: the span is one page and lives long.
    Dense,
}

/// Whether a span is apart from the others: what is alike in how long it lives and how often it is touched belongs on the
/// same hugepages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Temperature {
    /// As most.
    #[default]
    Normal,
    /// It holds a sampled object: few, here and there, of every lifetime.
    Sampled,
    /// It is not going to be touched often. First to go back to the kernel.
    Cold,
}

/// A wish for a span.
#[derive(Clone, Copy, Debug)]
pub struct SpanRequest<P: PageSize> {
    /// Its length, at least one page.
    pub pages: PageCount<P>,
    /// Alignment of its first page, in pages: a power of two.
    pub align: PageCount<P>,
    /// What it is going to hold.
    pub density: Density,
    /// With which others it may share a hugepage. A hint, which a heap without hugepages ignores.
    pub temperature: Temperature,
}

impl<P: PageSize> SpanRequest<P> {
    /// A span of `pages` pages anywhere, for few objects.
    pub const fn of(pages: PageCount<P>) -> Self {
        Self {
            pages,
            align: PageCount::ONE,
            density: Density::Sparse,
            temperature: Temperature::Normal,
        }
    }
}

/// Why memory is given back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ReleaseReason {
    /// The program asked.
    Call,
    /// The background work or a slow path, at the rate that the policy allows, whether it was wanted of late or not.
    Policy,
    /// The same, because nobody wanted it for as long as the policy waits: what recent demand may want again was taken
    /// off the wish by who asks.
    Idle,
    /// A free, in a heap of which the program has freed most and that nobody else looks after: whatever moved just
    /// now. Counted with what the policy allows.
    Fallen,
    /// A slow path, in a heap that has come to have more than it was ever let have, most of which is free: whatever
    /// moved just now. Counted with what the policy allows.
    Growth,
    /// The soft limit was reached.
    SoftLimit,
    /// The hard limit was reached, or the kernel has no more.
    HardLimit,
}

impl ReleaseReason {
    /// Whether it may be left for later where the kernel has just refused several times: not if somebody waits for
    /// the answer, or gets no memory without it.
    pub const fn may_wait(self) -> bool {
        !matches!(self, Self::Call | Self::HardLimit)
    }
}

/// What became of a hugepage, inside of whose spans kernel pages are about to be given back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HugepageBreak {
    /// It is worth more whole, or as many were broken as may be: its spans are to be left alone.
    Refused,
    /// The kernel makes no hugepages here: pages can go one by one.
    NotHuge,
    /// The kernel was told, now or before, not to make a hugepage of it. What goes is free for others when the kernel
    /// has split what it has there.
    Broken,
}

/// What became of a span that was to go to the kernel as it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The application had not had it: that is reported as a misuse.
    NotInUse,
    /// It is free, and stays backed.
    Kept,
    /// The kernel has its memory, as far as it shares no hugepage with others.
    Released,
}

/// A source of spans.
///
/// Any thread may call any method at any time; an implementation has its own lock, drops it around
/// system calls that give memory back, and takes only locks of the platform under it.
///
/// A page heap owns the page-map entries of the first and the last page of each of its spans, free
/// or handed out, and enters them with class 0 before it hands a span out. The caller may enter the
/// other pages and a class while it has the span, and takes these entries out before it gives the
/// span back.
///
/// # Safety
///
/// An implementation promises:
/// 1. Spans that are out at the same time do not overlap, and lie in memory that the platform's
///    source committed.
/// 2. A span is as long and as aligned as wished, has [`SpanPlace::InUse`](strata_span::SpanPlace), and
///    [`is_zeroed`](strata_span::Span::is_zeroed) only if all of it reads as zero.
/// 3. A span's structure and range are left alone until the span is given back.
/// 4. Nothing behind the pages is read or written: the memory may be simulated.
pub unsafe trait PageHeap<P: PageSize>: Sized + Send + Sync {
    /// A heap that has nothing yet. (A constant, so that a program's heap is a static.)
    ///
    /// Not under loom, whose atomics cannot be constants.
    #[cfg(not(strata_loom))]
    const EMPTY: Self;

    /// Whether all zero bits are such a heap too. Then a program's heap needs no copy of [`Self::EMPTY`], and what
    /// it does not use of its page heap costs no memory.
    const EMPTY_IS_ZERO: bool = false;

    /// What it tells about itself beyond [`PageHeapStats`]; by default that of a heap without pages.
    type Figures: Default;

    /// A span as wished, or none when the source has no more or the hard limit of [`Self::set_limits`] allows no more.
    fn allocate<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        request: SpanRequest<P>,
    ) -> Option<SpanHandle>;

    /// Takes a span back, and says so. One that is not in use, since another thread gave it back a moment ago, is
    /// reported as a misuse, and left alone if the process goes on.
    ///
    /// # Safety
    ///
    /// The span came from this heap's `allocate` on the same platform, and nobody uses it or its
    /// pages.
    unsafe fn deallocate<E: Platform<Pages = P>>(&self, platform: &E, span: SpanHandle) -> bool;

    /// The same of a span in whose memory nobody is to read what stands there: what of it the heap keeps as a run of its
    /// own goes to the kernel at once, is entered as not backed, and counts as given back. What shares a hugepage with
    /// others, and what the kernel does not take, is as after [`deallocate`](Self::deallocate); so is all by default. Says
    /// what became of the span.
    ///
    /// # Safety
    ///
    /// As for `deallocate`.
    unsafe fn deallocate_to_kernel<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        span: SpanHandle,
    ) -> Ended {
        // SAFETY: the caller's promise is the same.
        let was_in_use = unsafe { self.deallocate(platform, span) };
        if was_in_use { Ended::Kept } else { Ended::NotInUse }
    }

    /// Makes a span that is out longer, to `pages` pages in all, if the pages behind it are free; says whether it has
    /// so many now. The entry of its last page moves along, the contents stay, and so does
    /// [`is_zeroed`](strata_span::Span::is_zeroed), which says nothing about what was added. A span that is that long
    /// already stays as it is, and so does one that cannot grow: a heap may refuse always.
    ///
    /// # Safety
    ///
    /// The span came from this heap's `allocate` on the same platform, the caller has it, and it has no class and no
    /// page entered but its ends.
    unsafe fn extend<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        span: SpanHandle,
        pages: PageCount<P>,
    ) -> bool {
        let _ = platform;
        pages <= span.page_count()
    }

    /// Gives at least `wanted` pages back to the kernel, if so many are free; says how many it
    /// gave. More may go, up to the end of the span or hugepage at hand.
    fn release<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        wanted: PageCount<P>,
        reason: ReleaseReason,
    ) -> PageCount<P>;

    /// Limits what may be backed, from the next growth on: nothing is given back before that. A heap keeps to the limits in
    /// [`Self::allocate`] and [`Self::extend`]: above the soft one it releases for
    /// [`ReleaseReason::SoftLimit`], above the hard one for [`ReleaseReason::HardLimit`], and where that is not enough it
    /// hands out nothing; each is counted in [`PageHeapStats::limits`]. Threads that grow at the same time may
    /// each find that the other went too far.
    fn set_limits(&self, limits: MemoryLimits);

    /// Does one bounded step of work that no allocation waits for, such as making hugepages whole again, if one is due at
    /// `now_ns`, a time of the platform's clock; says when the next one is due. A heap without such work is never due.
    ///
    /// The heap's background work calls it every few seconds; any thread may call it at any time.
    fn maintain<E: Platform<Pages = P>>(&self, platform: &E, now_ns: u64) -> u64 {
        let _ = (platform, now_ns);
        u64::MAX
    }

    /// Calls `visit` with the name of each part that the heap is made of, and how often the part came into play so far.
    /// The conformance suite fails for a heap of which a part stays at 0 over all its programs: what no program reaches is
    /// not built. A heap of one piece has no parts.
    fn for_each_part(&self, visit: impl FnMut(&'static str, u64)) {
        let _ = visit;
    }

    /// Says whether `bytes` bytes of kernel pages may be given back inside of spans of `hugepage` that are out, and has the
    /// kernel treat it accordingly. A heap that keeps no books on hugepages refuses.
    ///
    /// Costs at most one system call, with no lock held.
    fn break_hugepage<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        hugepage: Hugepage,
        bytes: usize,
    ) -> HugepageBreak {
        let _ = (platform, hugepage, bytes);
        HugepageBreak::Refused
    }

    /// The most bytes that were in spans at any moment since the last call, which begins anew; what is in use now where
    /// that is not kept. There is one asker: the heap's background work.
    fn take_peak_bytes(&self) -> u64 {
        self.in_use_bytes()
    }

    /// Gives address space that was reserved ahead, and that no span was ever in, back to the source, a part of it at a
    /// time; says how many bytes. The caller tries again then what found no address space, which may have been metadata
    /// for what is free here. A heap that reserves nothing ahead has nothing to give.
    fn give_back_reserve<E: Platform<Pages = P>>(&self, platform: &E) -> usize {
        let _ = platform;
        0
    }

    /// The figures that every page heap has, over all that it is made of.
    fn stats(&self) -> PageHeapStats;

    /// Bytes of the spans that are out, as [`Self::stats`] has them: for who asks often, and for nothing else. Takes no
    /// lock.
    fn in_use_bytes(&self) -> u64 {
        self.stats().in_use_bytes
    }

    /// The same of the spans of one temperature, where these have a heap of their own; none where they have not, or
    /// there was no such span yet. What it has in a heap that keeps all spans together is what [`Self::stats`]
    /// says, for [`Temperature::Normal`].
    fn stats_of(&self, temperature: Temperature) -> Option<PageHeapStats> {
        (temperature == Temperature::Normal).then(|| self.stats())
    }

    /// Makes `figures` those that only this one has, whatever stands there; where spans of several temperatures
    /// have heaps of their own, those of the normal ones. In place, since they are larger than small stacks.
    fn read_figures<E: Platform<Pages = P>>(&self, platform: &E, figures: &mut Self::Figures);

    /// The same of one temperature, as in [`Self::stats_of`]; false, and `figures` as they were, where there are none.
    fn read_figures_of<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        temperature: Temperature,
        figures: &mut Self::Figures,
    ) -> bool {
        let there_are = temperature == Temperature::Normal;
        if there_are {
            self.read_figures(platform, figures);
        }
        there_are
    }

    /// The figures that only this one has, on the stack.
    fn figures<E: Platform<Pages = P>>(&self, platform: &E) -> Self::Figures {
        let mut figures = Self::Figures::default();
        self.read_figures(platform, &mut figures);
        figures
    }

    /// The same of one temperature, as in [`Self::stats_of`].
    fn figures_of<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        temperature: Temperature,
    ) -> Option<Self::Figures> {
        let mut figures = Self::Figures::default();
        self.read_figures_of(platform, temperature, &mut figures).then_some(figures)
    }

    /// Calls `visit` with each hugepage that spans share, by rising address, as it is at some moment, with no lock
    /// held: what is known of each that no sum tells. A page heap that does not look at hugepages has none.
    fn for_each_shared_hugepage<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        visit: impl FnMut(&SharedHugepage),
    ) {
        let _ = (platform, visit);
    }

    /// The same of the spans of one temperature, as in [`Self::stats_of`].
    fn for_each_shared_hugepage_of<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        temperature: Temperature,
        visit: impl FnMut(&SharedHugepage),
    ) {
        if temperature == Temperature::Normal {
            self.for_each_shared_hugepage(platform, visit);
        }
    }

    /// What it keeps in `hugepage`, which lies in one of its reservations: for a map of the heap. Takes the lock for a
    /// few instructions. Unless a page heap says otherwise, it does not look at hugepages.
    fn hugepage_figures<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        hugepage: Hugepage,
    ) -> HugepageFigures {
        let _ = (platform, hugepage);
        HugepageFigures::default()
    }

    /// Calls `visit` for each range that it reserved from the source, in no order.
    fn for_each_reservation(&self, visit: impl FnMut(AddressRange));

    /// What it reserved from `address` on, up to the end of the lowest reservation that ends behind that; none
    /// behind the last one. Who walks over all of them asks again from that end on: reservations may come
    /// meanwhile, wherever they lie.
    fn next_reservation(&self, address: usize) -> Option<AddressRange> {
        next_from(address, |visit| self.for_each_reservation(visit))
    }

    /// Takes its lock, so that a fork finds it at rest.
    fn acquire(&self);

    /// Gives the lock back after the fork.
    ///
    /// # Safety
    ///
    /// This thread took it with [`Self::acquire`], or is the child of the thread that did.
    unsafe fn release_lock(&self);
}
