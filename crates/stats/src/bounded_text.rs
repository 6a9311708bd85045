//! A text in a buffer that may be too short for it.

use core::fmt::{Result, Write};

/// A text of which as many whole lines are kept as a buffer has room for, and all of which is measured.
///
/// ```
/// use core::fmt::Write;
/// use strata_stats::BoundedText;
///
/// let mut buffer = [0; 10];
/// let mut text = BoundedText::new(&mut buffer);
/// write!(text, "one\ntwo\nthree\n").expect("it takes all");
/// let (written, needed) = text.finish();
/// assert_eq!(needed, 14);
/// assert_eq!(&buffer[..written], b"one\ntwo\n");
/// ```
#[derive(Debug)]
pub struct BoundedText<'a> {
    buffer: &'a mut [u8],
    needed: usize,
}

impl<'a> BoundedText<'a> {
    /// An empty text.
    pub const fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, needed: 0 }
    }

    /// Bytes that were written, those included for which there was no room.
    pub const fn needed(&self) -> usize {
        self.needed
    }

    /// How many bytes of the buffer are the text, and how many all of it would be. Of a text that did not fit the
    /// last line that is not whole is left out; if not even one line fits, what is behind the last blank.
    pub fn finish(self) -> (usize, usize) {
        if self.needed <= self.buffer.len() {
            return (self.needed, self.needed);
        }
        let last = |byte: u8| self.buffer.iter().rposition(|kept| *kept == byte);
        let written = last(b'\n').or_else(|| last(b' ')).map_or(0, |place| place + 1);
        (written, self.needed)
    }
}

impl Write for BoundedText<'_> {
    /// Never fails.
    fn write_str(&mut self, text: &str) -> Result {
        let room = self.buffer.get_mut(self.needed..).unwrap_or_default();
        let kept = room.len().min(text.len());
        if let (Some(room), Some(text)) = (room.get_mut(..kept), text.as_bytes().get(..kept)) {
            room.copy_from_slice(text);
        }
        self.needed = self.needed.saturating_add(text.len());
        Ok(())
    }
}
