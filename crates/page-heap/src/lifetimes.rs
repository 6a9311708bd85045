//! Counts of things by how long they lived.

/// Buckets of a count by lifetime.
pub const LIFETIME_BUCKETS: usize = 8;

/// The least number of milliseconds in each bucket: decades, as in TCMalloc's reports.
pub const LIFETIME_BOUNDS_MS: [u64; LIFETIME_BUCKETS] =
    [0, 1, 10, 100, 1000, 10_000, 100_000, 1_000_000];

/// The bucket of what has lived for `age_ms`; below [`LIFETIME_BUCKETS`].
///
/// ```
/// use strata_page_heap::lifetime_bucket;
/// assert_eq!([0, 1, 9, 10, u64::MAX].map(lifetime_bucket), [0, 1, 1, 2, 7]);
/// ```
pub const fn lifetime_bucket(age_ms: u64) -> usize {
    let mut bucket = 0;
    while bucket + 1 < LIFETIME_BUCKETS && LIFETIME_BOUNDS_MS[bucket + 1] <= age_ms {
        bucket += 1;
    }
    bucket
}

/// Counts what has lived for `age_ms`.
pub const fn count_lifetime(buckets: &mut [u32; LIFETIME_BUCKETS], age_ms: u64) {
    let bucket = lifetime_bucket(age_ms);
    buckets[bucket] = buckets[bucket].wrapping_add(1);
}
