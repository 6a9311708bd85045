//! Spans in a row.

use crate::SpanHandle;

/// A doubly linked list of spans, each on one list at a time. All operations take constant time.
///
/// The list's owner guards it; nothing here is safe to use from two threads at once, which
/// `&mut` says.
#[derive(Debug, Default)]
pub struct SpanList {
    first: Option<SpanHandle>,
    last: Option<SpanHandle>,
    length: usize,
}

impl SpanList {
    /// An empty list.
    pub const fn new() -> Self {
        Self { first: None, last: None, length: 0 }
    }

    /// How many spans are on it.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether no span is on it.
    pub const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The span that was put in front last.
    pub const fn first(&self) -> Option<SpanHandle> {
        self.first
    }

    /// The span that has been on the list for longest, if spans enter in front.
    pub const fn last(&self) -> Option<SpanHandle> {
        self.last
    }

    /// Puts a span, which is on no list, in front.
    pub fn push_front(&mut self, span: SpanHandle) {
        span.set_previous(None);
        span.set_next(self.first);
        match self.first {
            Some(second) => second.set_previous(Some(span)),
            None => self.last = Some(span),
        }
        self.first = Some(span);
        self.length += 1;
    }

    /// Puts a span, which is on no list, at the end.
    pub fn push_back(&mut self, span: SpanHandle) {
        span.set_next(None);
        span.set_previous(self.last);
        match self.last {
            Some(before) => before.set_next(Some(span)),
            None => self.first = Some(span),
        }
        self.last = Some(span);
        self.length += 1;
    }

    /// Takes a span, which is on this list, off it.
    pub fn remove(&mut self, span: SpanHandle) {
        let (previous, next) = (span.previous(), span.next());
        match previous {
            Some(previous) => previous.set_next(next),
            None => self.first = next,
        }
        match next {
            Some(next) => next.set_previous(previous),
            None => self.last = previous,
        }
        span.set_next(None);
        span.set_previous(None);
        self.length -= 1;
    }

    /// Takes the first span off the list.
    pub fn pop_front(&mut self) -> Option<SpanHandle> {
        let span = self.first?;
        self.remove(span);
        Some(span)
    }

    /// The spans, from the first to the last.
    pub fn iter(&self) -> impl Iterator<Item = SpanHandle> {
        core::iter::successors(self.first, |span| span.next())
    }
}

#[cfg(test)]
mod tests;
