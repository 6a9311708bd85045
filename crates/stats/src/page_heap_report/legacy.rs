//! The sections of the legacy page heap.

use super::{PageHeapKind, ages, allocations, spans};
use core::fmt::{Result, Write};
use strata_page_heap::LegacyFigures;

pub(super) fn render(figures: &LegacyFigures, out: &mut dyn Write) -> Result {
    let label = PageHeapKind::Legacy.label();
    spans::render(label, || figures.lengths(), figures.large, out)?;
    ages::render(label, &figures.ages, out)?;
    allocations::render(label, &figures.allocations, allocations::Rate::ThreeDigits, out)
}
