//! Text that is gathered until there is enough of it to be written.

use core::fmt;

/// The beginning of a text, up to `BYTES` bytes, on its way to a sink: a function that takes bytes and says whether it took
/// all of them. Once it did not, the rest of the text is thrown away.
#[derive(Debug)]
pub(crate) struct Gathered<const BYTES: usize> {
    filled: usize,
    failed: bool,
    buffer: [u8; BYTES],
}

impl<const BYTES: usize> Gathered<BYTES> {
    pub(crate) const fn new() -> Self {
        Self { filled: 0, failed: false, buffer: [0; BYTES] }
    }

    /// Adds `text`; what fills the buffer goes to `sink`. An error if the sink failed, now or before.
    pub(crate) fn push(&mut self, text: &str, mut sink: impl FnMut(&[u8]) -> bool) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() && !self.failed {
            let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
            let part = rest.len().min(room.len());
            for (place, byte) in room.iter_mut().zip(rest) {
                *place = *byte;
            }
            rest = rest.get(part..).unwrap_or_default();
            self.filled += part;
            if self.filled == BYTES {
                self.flush(&mut sink);
            }
        }
        if self.failed { Err(fmt::Error) } else { Ok(()) }
    }

    /// Hands what is there to `sink`; says whether all that was ever pushed was taken.
    pub(crate) fn flush(&mut self, sink: impl FnOnce(&[u8]) -> bool) -> bool {
        let text = self.buffer.get(..self.filled).unwrap_or_default();
        if !self.failed && !text.is_empty() {
            self.failed = !sink(text);
        }
        self.filled = 0;
        !self.failed
    }
}

#[cfg(test)]
mod tests;
