//! Fields and messages of protobuf text.

use core::fmt::{Display, Result, Write};

/// A message that is being written.
pub(crate) struct Message<'a> {
    out: &'a mut dyn Write,
}

impl<'a> Message<'a> {
    pub(crate) fn new(out: &'a mut dyn Write) -> Self {
        Self { out }
    }

    /// Where it is written to.
    pub(crate) fn out(&mut self) -> &mut dyn Write {
        self.out
    }

    /// A blank, the name, a colon, a blank and the value.
    pub(crate) fn field(&mut self, name: impl Display, value: impl Display) -> Result {
        write!(self.out, " {name}: {value}")
    }

    /// Fields of numbers.
    pub(crate) fn numbers<const N: usize>(&mut self, fields: [(&str, u64); N]) -> Result {
        fields.into_iter().try_for_each(|(name, number)| self.field(name, number))
    }

    /// A message in the message.
    pub(crate) fn message(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut Message<'_>) -> Result,
    ) -> Result {
        write!(self.out, " {name} {{")?;
        write(&mut Message { out: self.out })?;
        write!(self.out, " }}")
    }
}
