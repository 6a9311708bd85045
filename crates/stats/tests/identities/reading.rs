//! The two text forms of a heap's report.

use strata_alloc::{Core, HeapConfig};
use strata_page_heap::PageHeap;
use strata_stats::{Details, Dialect, RenderPageHeap, Report, Snapshot, parse, render};

/// The texts, read back. All their lines are known.
pub(crate) fn read(texts: &[String; 2]) -> [Report<'_>; 2] {
    texts.each_ref().map(|text| {
        let report = parse(text);
        let unknown: Vec<_> = report.unknown().collect();
        assert!(unknown.is_empty(), "{unknown:#?}");
        report
    })
}

/// All figures of a heap at a moment, and both texts about them.
pub(crate) struct Taken<F> {
    pub(crate) snapshot: Box<Snapshot>,
    pub(crate) details: Box<Details>,
    pub(crate) page_heap: Box<F>,
    pub(crate) texts: [String; 2],
}

impl<F: RenderPageHeap> Taken<F> {
    pub(crate) fn of<C: HeapConfig>(core: &Core<C>) -> Self
    where
        C::PageHeap: PageHeap<C::Pages, Figures = F>,
    {
        Self::with(core, Box::new(core.page_heap().figures(core)))
    }

    fn with<C: HeapConfig>(core: &Core<C>, page_heap: Box<F>) -> Self {
        let snapshot = Box::new(Snapshot::take(core));
        let details = Box::new(Details::take(core));
        let texts = [Dialect::TcmallocText, Dialect::TcmallocTextToday].map(|dialect| {
            let mut text = String::new();
            render(dialect, &snapshot, &details, &*page_heap, &mut text)
                .expect("strings take all that is written");
            text
        });
        Self { snapshot, details, page_heap, texts }
    }
}

impl Taken<()> {
    /// Of a page heap whose figures reports know nothing of.
    pub(crate) fn without_page_heap<C: HeapConfig>(core: &Core<C>) -> Self {
        Self::with(core, Box::new(()))
    }
}
