//! A trace through a heap.

use core::error::Error;
use core::fmt::{self, Display, Formatter};

use rustc_hash::FxHashMap;
use strata_os::{ManualClock, SimulatedPages};
use strata_page_heap::{LegacyPageHeap, PageHeap};
use strata_size_classes::{PageSize, Pages4K, Pages8K, Pages32K, Pages256K};
use strata_temeraire::HugePageAware;
use strata_trace::{DecodeError, Decoder, Event};

use crate::{
    Averages, Moment, PageHeapKind, PageSizeKind, Settings, SimulatedHeap, Unsupported, Upkeep,
};

/// Moments of a trace, spread evenly over its bytes.
const MOMENTS: usize = 400;

/// The shortest stretch of time without any event that is looked at by itself.
const PAUSE_US: u64 = 1_000_000;

/// Moments that one stretch of time without any event is worth.
const MOMENTS_OF_A_PAUSE: u64 = 8;

/// What came of a trace.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// What it was replayed through.
    pub settings: Settings,
    /// The heap over time; the last is the end.
    pub moments: Vec<Moment>,
    /// Events read.
    pub events: u64,
    /// Blocks handed out.
    pub allocations: u64,
    /// Frees of blocks that the trace does not know: they were there before the recording began.
    pub unknown_frees: u64,
    /// Blocks whose address came again without a free between: the trace lost it.
    pub lost_frees: u64,
    /// Requests that the heap could not serve.
    pub refused: u64,
    /// Whether the recording came to its end.
    pub is_complete: bool,
    /// Why reading ended before the file did.
    pub corrupt: Option<DecodeError>,
}

impl Replayed {
    /// All of it in one line.
    pub fn averages(&self) -> Averages {
        Averages::of(&self.moments)
    }
}

/// Why a trace was not replayed at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayError {
    /// It is none.
    Trace(DecodeError),
    /// The layers do not run here.
    Unsupported(Unsupported),
}

impl Display for ReplayError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trace(error) => error.fmt(f),
            Self::Unsupported(error) => error.fmt(f),
        }
    }
}

impl Error for ReplayError {}

impl From<DecodeError> for ReplayError {
    fn from(error: DecodeError) -> Self {
        Self::Trace(error)
    }
}

impl From<Unsupported> for ReplayError {
    fn from(error: Unsupported) -> Self {
        Self::Unsupported(error)
    }
}

/// Runs a trace through the heap that `settings` describe.
///
/// A trace that was cut off, or is corrupt from somewhere on, is replayed up to there. The same trace with the same
/// settings gives the same moments.
///
/// # Errors
///
/// Where `trace` does not begin as traces do, or the layers do not run on this machine.
pub fn replay(trace: &[u8], settings: Settings) -> Result<Replayed, ReplayError> {
    match settings.page_size {
        PageSizeKind::Four => with_pages::<Pages4K>(trace, settings),
        PageSizeKind::Eight => with_pages::<Pages8K>(trace, settings),
        PageSizeKind::ThirtyTwo => with_pages::<Pages32K>(trace, settings),
        PageSizeKind::TwoFiftySix => with_pages::<Pages256K>(trace, settings),
    }
}

fn with_pages<P: PageSize>(trace: &[u8], settings: Settings) -> Result<Replayed, ReplayError> {
    match settings.page_heap {
        PageHeapKind::Temeraire => run::<P, HugePageAware<P>>(trace, settings),
        PageHeapKind::Legacy => run::<P, LegacyPageHeap<P>>(trace, settings),
    }
}

fn run<P: PageSize, H: PageHeap<P>>(
    trace: &[u8],
    settings: Settings,
) -> Result<Replayed, ReplayError> {
    let mut events = Decoder::new(trace)?;
    let pages = SimulatedPages::new().with_faults().with_thp_mode(settings.thp.mode());
    let clock = ManualClock::new(0);
    let upkeep = Upkeep { policy: settings.policy, thread: settings.thread };
    let mut replay = Replay {
        heap: SimulatedHeap::<P, H>::new(&pages, &clock, settings.cpus, upkeep)?,
        blocks: FxHashMap::default(),
        cpu: 0,
        now_us: 0,
        came: Replayed {
            settings,
            moments: Vec::with_capacity(MOMENTS + 1),
            events: 0,
            allocations: 0,
            unknown_frees: 0,
            lost_frees: 0,
            refused: 0,
            is_complete: false,
            corrupt: None,
        },
    };
    let between = (trace.len() / MOMENTS).max(1);
    let mut next = between;
    while let Some(event) = events.next() {
        match event {
            Ok(event) => replay.perform(event),
            Err(error) => replay.came.corrupt = Some(error),
        }
        if events.position() >= next {
            replay.look();
            next = events.position() + between;
        }
    }
    replay.look();
    replay.came.is_complete = events.is_complete();
    Ok(replay.came)
}

/// A block of the trace's in the heap.
#[derive(Clone, Copy)]
struct Block {
    address: usize,
    size: usize,
}

struct Replay<'a, P: PageSize, H: PageHeap<P>> {
    heap: SimulatedHeap<'a, P, H>,
    /// By the address that the recorded program had.
    blocks: FxHashMap<u64, Block>,
    cpu: u32,
    now_us: u64,
    came: Replayed,
}

impl<P: PageSize, H: PageHeap<P>> Replay<'_, P, H> {
    fn perform(&mut self, event: Event) {
        self.came.events += 1;
        match event {
            Event::End => {}
            Event::Time { microseconds } => {
                self.pass(microseconds.saturating_mul(self.came.settings.stretch));
            }
            Event::Thread { number } => {
                let cpus = u64::from(self.came.settings.cpus.max(1));
                self.cpu = u32::try_from(number % cpus).unwrap_or(0);
            }
            Event::Allocate { address, size, align } => self.allocate(address, size, align),
            Event::Deallocate { address } => match self.blocks.remove(&address) {
                Some(block) => self.heap.deallocate(self.cpu, block.address, block.size),
                None => self.came.unknown_frees += 1,
            },
            Event::Reallocate { old, address, size } => self.reallocate(old, address, size),
        }
    }

    fn allocate(&mut self, recorded: u64, size: u64, align: u64) {
        self.came.allocations += 1;
        let wish = usize::try_from(size).ok().zip(usize::try_from(align).ok());
        let had = wish.and_then(|(size, align)| {
            Some(Block { address: self.heap.allocate(self.cpu, size, align)?, size })
        });
        match had {
            Some(block) => self.enter(recorded, block),
            None => self.came.refused += 1,
        }
    }

    fn reallocate(&mut self, old: u64, recorded: u64, size: u64) {
        let Some(block) = self.blocks.remove(&old) else {
            // It was there before the recording began.
            self.came.unknown_frees += 1;
            return self.allocate(recorded, size, 1);
        };
        let moved = usize::try_from(size).ok().and_then(|size| {
            let address = self.heap.reallocate(self.cpu, block.address, block.size, size)?;
            Some(Block { address, size })
        });
        if moved.is_none() {
            self.came.refused += 1;
        }
        self.enter(recorded, moved.unwrap_or(block));
    }

    fn enter(&mut self, recorded: u64, block: Block) {
        if let Some(lost) = self.blocks.insert(recorded, block) {
            self.came.lost_frees += 1;
            self.heap.deallocate(self.cpu, lost.address, lost.size);
        }
    }

    /// Lets time pass, and memory go back meanwhile.
    fn pass(&mut self, microseconds: u64) {
        // A clock beyond five centuries stands still.
        let end = self.now_us.saturating_add(microseconds).min(u64::MAX / 1000);
        if end.saturating_sub(self.now_us) > PAUSE_US {
            let part = (end - self.now_us) / MOMENTS_OF_A_PAUSE;
            for _ in 0..MOMENTS_OF_A_PAUSE {
                self.move_to(self.now_us + part);
                self.look();
            }
        }
        self.move_to(end);
    }

    fn move_to(&mut self, now_us: u64) {
        self.now_us = now_us;
        self.heap.pass_to(now_us.saturating_mul(1000));
    }

    fn look(&mut self) {
        self.came.moments.push(self.heap.moment(self.now_us));
    }
}
