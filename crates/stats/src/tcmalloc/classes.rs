//! Free objects by size class.

use super::RULE;
use crate::{ClassTable, figure::Mebibytes};
use core::fmt::{Result, Write};

/// All classes, also those that hold nothing; the cumulative column is a sum of bytes, rounded only here.
pub(super) fn render(classes: &ClassTable, out: &mut dyn Write) -> Result {
    writeln!(out, "{RULE}")?;
    writeln!(out, "Total size of freelists for per-thread and per-CPU caches,")?;
    writeln!(out, "transfer cache, and central cache, by size class")?;
    writeln!(out, "{RULE}")?;
    let mut cumulative = 0u64;
    for (index, class) in classes.iter() {
        cumulative = cumulative.wrapping_add(class.free_bytes());
        writeln!(
            out,
            "class {index:3} [ {:8} bytes ] : {:8} objs; {:5.1} MiB; {:5.1} cum MiB",
            class.object_bytes,
            class.free_objects(),
            Mebibytes(class.free_bytes()),
            Mebibytes(cumulative),
        )?;
    }
    Ok(())
}
