//! Kernel pages on which no object is out go back to the kernel, although their spans are in use.
//!
//! Small objects that survive amid others that were freed keep their span, and so the page heap gets nothing back.
//! Of the kernel pages of such spans most may be empty all the same: where one object of 512 bytes in twenty
//! survives at random, two in three are. They are found by the bitmaps of free objects, so that nothing that goes
//! is read or written.
//!
//! It is work for the background: per-CPU and transfer caches come first, since what they hold is out as far as
//! spans know, and what of the free objects recent demand may want again is for the caller to know
//! ([`Allowances`]).

use crate::{
    MiddleSource, OtherBackEnds, TransferPolicy,
    central_free_list::{Claimed, give_spans_back},
};
use strata_page_heap::{
    HugepageBreak, PageHeap, kernel_page_bytes, release_inside, split_hugepage_around,
};
use strata_size_classes::{CLASS_SLOTS, PageSize, SizeClass};
use strata_span::{Address, Hugepage, PageCount, Platform, SpanHandle};

/// Most runs of pages that go in one call: each is a system call, of some microseconds.
const MOST_RUNS: u32 = 128;

/// How many bytes of each class may go. All zero bits are none of any.
#[derive(Clone, Debug)]
pub struct Allowances {
    by_class: [u64; CLASS_SLOTS],
}

/// What [`MiddleSource::sweep_hugepage`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    /// Bytes that went back to the kernel.
    pub bytes: u64,
    /// System calls for it.
    pub calls: u32,
    /// The kernel refused, and the rest was left alone.
    pub refused: bool,
    /// There is more to give in this hugepage.
    pub more: bool,
}

impl Allowances {
    /// None.
    pub const NONE: Self = Self { by_class: [0; CLASS_SLOTS] };

    /// Says how many bytes of a class may go.
    pub fn set(&mut self, class: SizeClass, bytes: u64) {
        // A class's index is below the array's length, by a mask.
        self.by_class[class.index()] = bytes;
    }

    /// How many may still go.
    pub const fn get(&self, class: SizeClass) -> u64 {
        self.by_class[class.index()]
    }

    fn take(&mut self, class: SizeClass, bytes: u64) {
        self.set(class, self.get(class).saturating_sub(bytes));
    }
}

impl<E, H, R, T> MiddleSource<'_, E, H, R, T>
where
    E: Platform,
    H: PageHeap<E::Pages>,
    R: OtherBackEnds,
    T: TransferPolicy,
{
    /// Gives kernel pages on which no object is out back to the kernel, inside of the spans that lie on one
    /// hugepage, if the page heap thinks that worth the hugepage. What goes is taken off `allowances`.
    ///
    /// Any thread may call it at any time. Costs two short locks and at least a system call for each span that gives
    /// something, at most 128 runs of pages a call, and a look at each span of the hugepage.
    pub fn sweep_hugepage(&self, hugepage: Hugepage, allowances: &mut Allowances) -> Swept {
        let platform = self.back_end.platform;
        let mut wish = 0;
        self.for_each_candidate(hugepage, allowances, |class, span| {
            let most_bytes = allowances.get(class);
            wish += self.tier.central(class).releasable_bytes(platform, class, span, most_bytes);
            true
        });
        if wish == 0 {
            return Swept::default();
        }
        let broken = self.back_end.page_heap.break_hugepage(platform, hugepage, wish);
        if broken == HugepageBreak::Refused {
            return Swept::default();
        }
        let mut swept = Swept::default();
        let mut staying = None;
        let limits = allowances.clone();
        self.for_each_candidate(hugepage, &limits, |class, span| {
            if swept.calls >= MOST_RUNS {
                swept.more = true;
            } else if let Some(claimed) =
                self.tier.central(class).claim(platform, class, span, allowances.get(class))
            {
                staying = staying.or(claimed.staying);
                self.release_claimed(class, &claimed, allowances, &mut swept);
            }
            !swept.more && !swept.refused
        });
        if let (HugepageBreak::Broken, Some(page)) = (broken, staying)
            && swept.bytes > 0
        {
            split_hugepage_around(platform, page);
        }
        swept
    }

    /// Gives what was claimed to the kernel, and frees its objects again.
    fn release_claimed(
        &self,
        class: SizeClass,
        claimed: &Claimed,
        allowances: &mut Allowances,
        swept: &mut Swept,
    ) {
        let mut taken = true;
        claimed.for_each_run(|start: Address, bytes| {
            swept.calls += 1;
            // SAFETY: the run lies in a span of the tier, and every object on it is claimed: nobody has one or gets one
            // before `unclaim`.
            taken &= unsafe { release_inside(self.back_end.platform, start, bytes) };
        });
        let whole = self.tier.central(class).unclaim(self.back_end.platform, claimed, taken);
        give_spans_back(self.back_end, whole);
        swept.refused |= !taken;
        if taken {
            swept.bytes += claimed.bytes() as u64;
            allowances.take(class, claimed.bytes() as u64);
        }
    }

    /// Calls `visit` for each span that begins and ends on the hugepage, has a class with an allowance, and enough free
    /// objects that a kernel page may be empty, until it says that it has enough. The spans are those of some
    /// moment.
    fn for_each_candidate(
        &self,
        hugepage: Hugepage,
        allowances: &Allowances,
        mut visit: impl FnMut(SizeClass, SpanHandle) -> bool,
    ) {
        let map = self.back_end.platform.map();
        let least = kernel_page_bytes(self.back_end.platform);
        let first = hugepage.first_page::<E::Pages>();
        let mut index = 0;
        while index < PageCount::<E::Pages>::PER_HUGEPAGE.get() {
            let page = first + PageCount::new(index);
            index += 1;
            // A byte of the page map says of most pages that there is nothing: in a large heap each look at a span
            // waits for memory.
            if allowances.get(map.class_at(page.address().value())) < least as u64 {
                continue;
            }
            let Some(span) = map.span_of(page).filter(|span| span.first() == page) else {
                continue;
            };
            index += span.pages().saturating_sub(1);
            // What goes on behind the hugepage lies on one that the page heap was not asked about.
            if index > PageCount::<E::Pages>::PER_HUGEPAGE.get() {
                break;
            }
            let class = span.class();
            if class.is_none() || span.back_end() != self.back_end.number {
                continue;
            }
            let out_bytes = span.objects_out() as usize * E::Pages::TABLE.size(class);
            let may_have = span.bytes::<E::Pages>().saturating_sub(out_bytes) >= least;
            if may_have && allowances.get(class) >= least as u64 && !visit(class, span) {
                return;
            }
        }
    }
}
