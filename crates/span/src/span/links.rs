//! How spans lead to each other: in lists, and in trees of free spans.

use super::{Span, SpanHandle};
use crate::Address;
use core::ptr::NonNull;
use strata_sync::atomic::Ordering;

impl Span {
    /// The next span of the list that this one is on.
    pub fn next(&self) -> Option<SpanHandle> {
        NonNull::new(self.next.load(Ordering::Relaxed)).map(SpanHandle)
    }

    /// The previous span of the list that this one is on.
    pub fn previous(&self) -> Option<SpanHandle> {
        NonNull::new(self.previous.load(Ordering::Relaxed)).map(SpanHandle)
    }

    pub(crate) fn set_next(&self, span: Option<SpanHandle>) {
        self.next.store(raw(span), Ordering::Relaxed);
    }

    pub(crate) fn set_previous(&self, span: Option<SpanHandle>) {
        self.previous.store(raw(span), Ordering::Relaxed);
    }

    pub(crate) fn first_page_number(&self) -> usize {
        self.first_page.load(Ordering::Relaxed)
    }

    /// In a [`SpanTree`](crate::SpanTree): the child below. The word is that of the object map,
    /// which a free span does not have.
    pub(crate) fn low_child(&self) -> Option<SpanHandle> {
        Self::child(self.object_map())
    }

    pub(crate) fn set_low_child(&self, span: Option<SpanHandle>) {
        self.set_object_map(Self::child_word(span));
    }

    /// In a [`SpanTree`](crate::SpanTree): the child above. The words are those of the object
    /// counts, which a free span does not have.
    pub(crate) fn high_child(&self) -> Option<SpanHandle> {
        let (low, high) = (self.thread(), self.object_capacity());
        Self::child(low as usize | (high as usize) << u32::BITS)
    }

    pub(crate) fn set_high_child(&self, span: Option<SpanHandle>) {
        let word = Self::child_word(span) as u64;
        let [a, b, c, d, e, f, g, h] = word.to_le_bytes();
        self.set_thread(u32::from_le_bytes([a, b, c, d]));
        self.set_object_capacity(u32::from_le_bytes([e, f, g, h]));
    }

    fn child(word: usize) -> Option<SpanHandle> {
        Address::new(word).non_null().map(|span| SpanHandle(span.cast()))
    }

    fn child_word(span: Option<SpanHandle>) -> usize {
        span.map_or(0, |span| Address::of(span.0.as_ptr().cast_const()).value())
    }
}

fn raw(span: Option<SpanHandle>) -> *mut Span {
    span.map_or(core::ptr::null_mut(), |span| span.0.as_ptr())
}
