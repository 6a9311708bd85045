//! How much a transfer cache may hold.

use strata_size_classes::ClassInfo;

/// How much a [`TransferCache`](crate::TransferCache) may hold, chosen when the tier's type is written.
pub trait TransferPolicy {
    /// Most batches that one size class may hold; 0 switches transfer caches off. At half, four threads that hand
    /// objects of 64 bytes to four others in parcels of 512 take a tenth more of the processor's time, since many
    /// pass through spans; at twice, nothing was gained.
    const MAX_BATCHES: usize = 128;
    /// Batches that it may hold before its first resize.
    const INITIAL_BATCHES: usize = 16;
    /// Bytes of objects that it may hold before its first resize, a batch in any case.
    const INITIAL_BYTES: usize = 128 << 10;
    /// Objects of up to this size let their cache grow by those that it turned away and missed, however little the
    /// program has; that of larger ones grows so up to [`LONG_EARNS`](Self::LONG_EARNS), or to one part in
    /// [`LONG_SHARE`](Self::LONG_SHARE) of what the program has. 0 leaves growth to the rounds of resizing.
    const GROWS_UP_TO: usize = 2 << 10;
    /// Objects of up to this size are kept although only one cache comes for them. Of larger ones only as many are
    /// kept then as [`LONG_SHARE`](Self::LONG_SHARE) allows, and the others go on to their spans, whose pages serve
    /// other sizes. With half, one thread whose sizes change has 5 % more at its peak, for pages come back one by
    /// one (`phases` of the benchmarks); with all sizes kept, 64 vectors that grow in turn have 0.6 MiB more.
    const KEEPS_FOR_ONE_UP_TO: usize = 8 << 10;
    /// Of the bytes that the program has beyond [`LONG_BEYOND`](Self::LONG_BEYOND), one class of longer objects may
    /// hold one part in so many. A span of such is one object or a few, and its way out of the page heap and back
    /// takes longer than all else.
    const LONG_SHARE: usize = 32;
    /// A program that has no more keeps no long objects but those that are earned. Without it, 64 vectors that grow in
    /// turn to 64 KiB have 0.9 MiB more.
    const LONG_BEYOND: usize = 8 << 20;
    /// Bytes of longer objects that one class may hold in a program of any size, if they are earned: as far as objects
    /// were missed after the cache had turned them away. Without it, a program that allocates a hundred blocks of 16
    /// KiB and frees them, in turn, takes ten times as long a block (see docs/notes/performance.md).
    const LONG_EARNS: usize = 4 << 20;
    /// Most bytes of objects that one size class may hold.
    const MAX_BYTES: usize = 4 << 20;
}

/// TCMalloc's 16 batches at first, but no more than 128 KiB; and at most 128 batches instead of 64, and 4 MiB instead of
/// one, which caches only come to by what they missed.
///
/// With 1 MiB from the start a program that uses forty classes a little keeps 16 MiB for it: see `grow-many` and
/// `threads` of `cargo xtask bench --peers`.
///
/// At an eighth of the bytes, two threads that pass 64 KiB batches to each other miss after eight. Some eighty classes may
/// together keep 320 MiB from the page heap, until nobody wants them for five seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandardTransfer;

impl TransferPolicy for StandardTransfer {}

/// What a policy means for one class, in objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Capacity at first.
    pub(crate) initial: usize,
    /// Greatest capacity.
    pub(crate) max: usize,
}

impl Bounds {
    pub(crate) fn of<T: TransferPolicy>(info: &ClassInfo) -> Self {
        let batch = usize::from(info.batch);
        let by_bytes = T::MAX_BYTES / (info.size as usize).max(1);
        let max = (T::MAX_BATCHES * batch).min(by_bytes);
        let initial = T::INITIAL_BYTES / (info.size as usize).max(1);
        Self { initial: (T::INITIAL_BATCHES * batch).min(initial.max(batch)).min(max), max }
    }
}
