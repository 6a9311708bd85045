//! Every mapped byte once more, category by category: what TCMalloc's report has no line for.

use super::RULE;
use crate::{Category, Ledger, figure::Mebibytes};
use core::fmt::{Result, Write};

pub(super) fn render(ledger: &Ledger, out: &mut dyn Write) -> Result {
    writeln!(out)?;
    writeln!(out, "{RULE}")?;
    writeln!(out, "Ledger of mapped bytes")?;
    writeln!(out, "{RULE}")?;
    let mut sign = ' ';
    for category in Category::all() {
        line(out, sign, ledger.bytes(category), category.name())?;
        sign = '+';
    }
    let unexplained = ledger.unexplained();
    writeln!(out, "LEDGER: + {unexplained:12}               unexplained")?;
    writeln!(out, "LEDGER:   ------------")?;
    line(out, '=', ledger.mapped_bytes, "mapped")?;
    line(out, ' ', ledger.in_use_by_threads_bytes, "in use, as the threads count it")
}

fn line(out: &mut dyn Write, sign: char, bytes: u64, name: &str) -> Result {
    writeln!(out, "LEDGER: {sign} {bytes:12} ({:7.1} MiB) {name}", Mebibytes(bytes))
}
