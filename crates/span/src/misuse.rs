//! The line about a pointer that is not what it should be.

use crate::{Address, PageId, Span, SpanPlace};
use core::fmt;
use strata_os::thread_id;
use strata_size_classes::PageSize;

/// What a program did wrong with a pointer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Offence {
    /// A block was freed that is free.
    DoubleFree,
    /// A pointer was given back that nobody was given.
    NeverHandedOut,
    /// A pointer was given back that leads into memory of the heap in which there is no block now.
    FreeMemory,
    /// A pointer was given back that leads into a block.
    InsideABlock,
    /// A block was given back with a size that it was not asked for with.
    WrongSize,
    /// A block that is free was resized, or its size asked for.
    UseOfFreedBlock,
    /// The program wrote beyond the end of a block.
    Overflow,
    /// The program wrote before the beginning of a block.
    Underflow,
    /// The program wrote into a block that was free.
    WriteAfterFree,
    /// A block in a cache is not as it was when it was freed: it was handed out since, and so freed twice, or written into.
    FreedTwiceOrWritten,
}

impl Offence {
    /// Its name, with which the line begins.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DoubleFree => "double free",
            Self::NeverHandedOut => "pointer that was never handed out",
            Self::FreeMemory => "pointer into free memory",
            Self::InsideABlock => "pointer into a block",
            Self::WrongSize => "wrong size",
            Self::UseOfFreedBlock => "use of a freed block",
            Self::Overflow => "write beyond the end of a block",
            Self::Underflow => "write before the beginning of a block",
            Self::WriteAfterFree => "write after free",
            Self::FreedTwiceOrWritten => "block freed twice, or written after free",
        }
    }
}

/// What was going on when an [`Offence`] was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Function {
    /// `free`, and every other function that takes a block back without its size.
    Free,
    /// A function that takes a block back with its size: `free_sized`, C++'s sized delete, Rust's `dealloc`.
    SizedFree,
    /// `realloc`.
    Realloc,
    /// `malloc_usable_size`.
    UsableSize,
    /// A cache gave its objects back: when the pointer came into it, nothing was asked.
    Flush,
    /// A block was to be handed out anew.
    Malloc,
    /// The background looked.
    Sweep,
}

impl Function {
    /// Its name in the line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::SizedFree => "sized free",
            Self::Realloc => "realloc",
            Self::UsableSize => "malloc_usable_size",
            Self::Flush => "flush of a cache",
            Self::Malloc => "malloc",
            Self::Sweep => "sweep",
        }
    }
}

/// The last thing that is known of the block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LastOperation {
    /// Nothing is.
    Unknown,
    /// It was never handed out.
    None,
    /// It was handed out to a thread, asked for with so many bytes.
    Allocated {
        /// The kernel's number of the thread; 0 if it has none.
        thread: u32,
        /// What it asked for.
        bytes: usize,
    },
    /// It was given back; by which thread is not known.
    Freed,
    /// It was given back as one of so many bytes, rounded as the block would be.
    FreedWith {
        /// What was said, or believed.
        bytes: usize,
    },
    /// It was given back by a thread.
    FreedBy {
        /// The kernel's number of the thread; 0 if it has none.
        thread: u32,
    },
    /// It is in a cache, as one that was given back.
    FreedIntoCache,
}

impl fmt::Display for LastOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Unknown => write!(f, "unknown"),
            Self::None => write!(f, "none"),
            Self::Allocated { thread, bytes } => {
                write!(f, "allocated with {bytes} bytes by thread {thread}")
            }
            Self::Freed => write!(f, "freed"),
            Self::FreedWith { bytes } => write!(f, "freed with {bytes} bytes"),
            Self::FreedBy { thread } => write!(f, "freed by thread {thread}"),
            Self::FreedIntoCache => write!(f, "freed into a cache"),
        }
    }
}

/// A misuse, as it is told in one line.
#[derive(Clone, Copy, Debug)]
pub struct Misuse<'a> {
    /// What is wrong.
    pub offence: Offence,
    /// Where it was seen.
    pub function: Function,
    /// The pointer.
    pub address: Address,
    /// The span that it lies in, if it lies in one.
    pub span: Option<&'a Span>,
    /// The last thing that is known of the block.
    pub last: LastOperation,
}

impl Misuse<'_> {
    /// Writes the line, which names function, pointer, class, span, thread, and what is known of the block; then ends
    /// the program, unless [`OnMisuse::Report`](strata_os::OnMisuse) was chosen: then the caller leaves the pointer alone,
    /// for ever.
    ///
    /// ```text
    /// strata: double free: free(0x7f31c0a02070), class 8 of 112 bytes, span 0x7f31c0a02000 of 1 pages, thread 4711; last: freed
    /// ```
    #[unsafe(link_section = ".text_rarely")]
    #[cold]
    #[inline(never)]
    pub fn report<P: PageSize>(&self) {
        let Self { offence, function, address, last, .. } = *self;
        let (offence, function, address) = (offence.as_str(), function.as_str(), address.value());
        let place = Where::<P>::of(self.span);
        let thread = thread_id();
        strata_os::misuse(format_args!(
            "{offence}: {function}({address:#x}), {place}, thread {thread}; last: {last}"
        ));
    }
}

/// The line about a span that is given back and is not in use: two threads freed one block at the same moment, or
/// what stands in a span was overwritten.
#[cold]
#[inline(never)]
pub fn report_not_in_use<P: PageSize>(first: PageId<P>, span: &Span) {
    let (offence, function, last) = (Offence::DoubleFree, Function::Free, LastOperation::Freed);
    Misuse { offence, function, address: first.address(), span: Some(span), last }.report::<P>();
}

/// Where the pointer leads, in words.
enum Where<'a, P> {
    NoSpan,
    Span(&'a Span, core::marker::PhantomData<P>),
}

impl<'a, P: PageSize> Where<'a, P> {
    fn of(span: Option<&'a Span>) -> Self {
        span.map_or(Self::NoSpan, |span| Self::Span(span, core::marker::PhantomData))
    }
}

impl<P: PageSize> fmt::Display for Where<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Span(span, _) = self else { return write!(f, "in no span") };
        let class = span.class();
        match span.place() {
            SpanPlace::InUse if class.is_none() => write!(f, "large block")?,
            SpanPlace::InUse => {
                write!(f, "class {} of {} bytes", class.index(), P::TABLE.size(class))?;
            }
            _ => write!(f, "no block")?,
        }
        let free = if span.place() == SpanPlace::InUse { "span" } else { "free span" };
        write!(f, ", {free} {:#x} of {} pages", span.start::<P>().value(), span.pages())
    }
}

#[cfg(all(test, not(strata_loom)))]
mod tests;
