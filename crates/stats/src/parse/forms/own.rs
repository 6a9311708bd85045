//! What only Strata's reports have.

use super::{Form, form};

pub(super) const FORMS: &[Form] = &[
    form("title_ledger", "Ledger of mapped bytes"),
    form("title_background", "Memory given back since the start, and background work"),
    form("ledger_unexplained", "LEDGER: + {unexplained} unexplained"),
    form("ledger_mapped", "LEDGER: = {mapped} ({mib} MiB) mapped"),
    form(
        "ledger_in_use_by_threads",
        "LEDGER: {in_use_by_threads} ({mib} MiB) in use, as the threads count it",
    ),
    form("ledger", "LEDGER: + {bytes} ({mib} MiB) {category:text}"),
    form("ledger", "LEDGER: {bytes} ({mib} MiB) {category:text}"),
    form("released", "RELEASED: {bytes} ({mib} MiB) {reason:text}"),
    form("background", "BACKGROUND: {count} {what:text}"),
];
