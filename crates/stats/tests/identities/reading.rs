//! The two text forms of a heap's report.

use strata_alloc::{Core, HeapConfig};
use strata_page_heap::PageHeap;
use strata_stats::{
    Details, Dialect, RenderPageHeap, Report, ReportError, Snapshot, parse_whole, render,
};

/// The texts, read back. All their lines are known.
pub(crate) fn read(texts: &[String; 2]) -> [Report<'_>; 2] {
    texts.each_ref().map(|text| {
        let line = |error: &ReportError| text.lines().nth(error.line - 1).unwrap_or_default();
        parse_whole(text).unwrap_or_else(|error| panic!("{error}: {:?}", line(&error)))
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
        Self::rendered(snapshot, details, page_heap)
    }

    /// Figures, and the texts about them.
    pub(crate) fn rendered(
        snapshot: Box<Snapshot>,
        details: Box<Details>,
        page_heap: Box<F>,
    ) -> Self {
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
