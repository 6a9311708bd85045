//! Files of snapshots, read back.

use crate::{
    Backing, Details, Dialect, Figures, HeapApart, PageHeapDetails, PageHeapKind, Reconciliation,
    RenderPageHeap, Snapshot, apart::TAGS, html::Moment, json, render,
};
use core::fmt;
use serde::{Deserialize, Serialize};
use std::boxed::Box;
use std::collections::BTreeMap;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;
use strata_alloc::SelectedFigures;
use strata_page_heap::HugepageUse;

/// A snapshot's file: what [`report_json`](crate::report_json) wrote. `docs/snapshot.schema.json` describes it.
///
/// Fields that this version does not know are passed over, so that older readers read newer files whose meaning did not
/// change; where it did, the file has a higher version and is refused.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Document {
    /// When the snapshot was taken, in seconds since 1970, UTC.
    pub unix_seconds: u64,
    /// The kernel's number of the process.
    pub process_id: u32,
    /// The kernel's name of the process, at most 15 bytes.
    pub process_name: String,
    /// Every layer.
    pub snapshot: Box<Snapshot>,
    /// What the page heap tells beyond it; none for a page heap that Strata does not know.
    pub page_heap: Option<Box<SelectedFigures>>,
    /// The same of the heaps that sampled and cold spans have to themselves, by what reports call these; none where
    /// there are none.
    #[serde(default)]
    pub page_heaps_apart: BTreeMap<String, SelectedFigures>,
    /// What the kernel has of their hugepages, by the same names; none where it does not tell, and in files that
    /// were written before it was asked.
    #[serde(default)]
    pub backing_apart: BTreeMap<String, Option<Backing>>,
    /// What the kernel has of it, if the file has that.
    pub kernel: Option<Box<Reconciliation>>,
    /// How each class's spans and capacities are used, and how often caches missed; if the file has it.
    pub details: Option<Box<Details>>,
    /// Each hugepage, by rising address, if the file has them.
    pub map: Option<Vec<MapRun>>,
}

/// Neighbouring hugepages of one kind.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MapRun {
    /// Where the first begins.
    pub address: u64,
    /// How many they are; one, if it has spans.
    pub hugepages: u64,
    /// Which spans share them.
    pub shared_by: HugepageUse,
    /// Pages in spans, in all of them.
    pub used_pages: u64,
    /// Free pages that the page heap takes for unbacked, in all of them.
    pub unbacked_pages: u64,
    /// What the kernel has in memory, in all of them.
    pub resident_bytes: u64,
    /// Of that, on hugepages.
    pub huge_bytes: u64,
    /// What the kernel has in swap, in all of them.
    pub swapped_bytes: u64,
    /// The spans that begin in it, or their parts in it.
    pub spans: Vec<MapSpan>,
}

/// A span, or the part of it that lies in the hugepage where it begins. In a file it is a list of the four numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(from = "(u16, u16, u8, u32)", into = "(u16, u16, u8, u32)")]
pub struct MapSpan {
    /// Its first page, counted from the beginning of the hugepage.
    pub first_page: u16,
    /// Its pages in this hugepage.
    pub pages: u16,
    /// Its size class; 0 for a large block.
    pub class: u8,
    /// Its objects that are with the program or in a cache.
    pub objects_out: u32,
}

impl From<(u16, u16, u8, u32)> for MapSpan {
    fn from((first_page, pages, class, objects_out): (u16, u16, u8, u32)) -> Self {
        Self { first_page, pages, class, objects_out }
    }
}

impl From<MapSpan> for (u16, u16, u8, u32) {
    fn from(span: MapSpan) -> Self {
        (span.first_page, span.pages, span.class, span.objects_out)
    }
}

impl Document {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// What is wrong with it: see [`ReadError`].
    pub fn read(text: &[u8]) -> Result<Self, ReadError> {
        let head: Head = serde_json::from_slice(text).map_err(|error| corrupt(text, &error))?;
        if head.format != json::FORMAT {
            return Err(ReadError::Foreign);
        }
        if head.version > Snapshot::VERSION {
            return Err(ReadError::Newer { version: head.version });
        }
        serde_json::from_slice(text).map_err(|error| corrupt(text, &error))
    }

    /// The figures, for renderers.
    pub fn figures(&self) -> Figures<'_> {
        let page_heap = self.page_heap.as_deref().map_or(PageHeapDetails::Other, Into::into);
        Figures { snapshot: &self.snapshot, page_heap, kernel: self.kernel.as_deref() }
    }

    /// One line that says what it is of: the program, its number, and when.
    pub fn title(&self) -> String {
        let (name, number) = (&self.process_name, self.process_id);
        format!("{name} (process {number}), {} UTC", Moment(self.unix_seconds))
    }

    /// The snapshot in a form that is text; what the file does not have counts as none.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn render(&self, dialect: Dialect, out: &mut dyn fmt::Write) -> fmt::Result {
        let no_details = Details::EMPTY;
        let details = self.details.as_deref().unwrap_or(&no_details);
        match &self.page_heap {
            Some(page_heap) => {
                let page_heap = Heaps { ordinary: page_heap, document: self };
                render(dialect, &self.snapshot, details, &page_heap, out)
            }
            None => render(dialect, &self.snapshot, details, &(), out),
        }
    }

    /// Writes the file again.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let provenance = json::Provenance {
            unix_seconds: self.unix_seconds,
            process_id: self.process_id,
            process_name: &self.process_name,
        };
        let apart = json::Apart {
            figures: (!self.page_heaps_apart.is_empty()).then_some(&self.page_heaps_apart),
            backing: (!self.backing_apart.is_empty()).then_some(&self.backing_apart),
        };
        let (details, map) = (self.details.as_deref(), self.map.as_ref());
        json::write(self.figures(), provenance, apart, details, map, out)
    }
}

/// The page heaps of a file.
struct Heaps<'a> {
    ordinary: &'a SelectedFigures,
    document: &'a Document,
}

impl RenderPageHeap for Heaps<'_> {
    fn kind(&self) -> PageHeapKind {
        self.ordinary.kind()
    }

    fn details(&self) -> PageHeapDetails<'_> {
        self.ordinary.details()
    }

    fn free_bytes(&self) -> Option<(u64, u64)> {
        self.ordinary.free_bytes()
    }

    fn for_each_apart(&self, each: &mut dyn FnMut(HeapApart<'_>) -> fmt::Result) -> fmt::Result {
        let Document { page_heaps_apart, backing_apart, .. } = self.document;
        TAGS.into_iter().try_for_each(|(tag, _)| match page_heaps_apart.get(tag) {
            Some(figures) => {
                let backing = backing_apart.get(tag).and_then(Option::as_ref);
                each(HeapApart { tag, details: figures.into(), backing })
            }
            None => Ok(()),
        })
    }

    fn render(&self, snapshot: &Snapshot, out: &mut dyn fmt::Write) -> fmt::Result {
        self.ordinary.render(snapshot, out)
    }
}

/// What is read before the rest is believed.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u32,
}

/// Why a file is no snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// It is JSON of another format.
    Foreign,
    /// It is a snapshot of a version that came later.
    Newer {
        /// Which.
        version: u32,
    },
    /// It cannot be read on from some place.
    Corrupt {
        /// How many bytes were right.
        offset: usize,
        /// What is wrong there.
        reason: String,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("not a snapshot of Strata"),
            Self::Newer { version } => {
                write!(
                    f,
                    "a snapshot of version {version}; this reader knows up to {}",
                    Snapshot::VERSION
                )
            }
            Self::Corrupt { offset, reason } => write!(f, "corrupt at byte {offset}: {reason}"),
        }
    }
}

impl core::error::Error for ReadError {}

fn corrupt(text: &[u8], error: &serde_json::Error) -> ReadError {
    let lines = text.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1));
    let before: usize = lines.map(<[u8]>::len).sum();
    let offset = (before + error.column()).min(text.len());
    // The place is told as an offset: these files are one line.
    let whole = error.to_string();
    let reason = whole.rsplit_once(" at line ").map_or(whole.as_str(), |(reason, _)| reason);
    ReadError::Corrupt { offset, reason: reason.to_string() }
}
