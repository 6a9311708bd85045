use super::*;
use crate::Heap;
use strata_page_heap::PageHeap;

const GROUP: CgroupLimits = CgroupLimits { max_bytes: Some(1 << 30), high_bytes: Some(768 << 20) };

fn limits(options: &str, group: CgroupLimits) -> (u64, u64) {
    let config = Config::parse(options.as_bytes(), |complaint| std::panic!("{complaint}"));
    let limits = limits_with(&config, group);
    (limits.soft_bytes >> 20, limits.hard_bytes >> 20)
}

#[test]
fn limits_are_what_the_options_name() {
    assert_eq!(limits("", GROUP), (0, 0), "nobody asked");
    assert_eq!(limits("memory_limit:500M", GROUP), (0, 500));
    assert_eq!(limits("memory_limit:500M,soft_memory_limit:400M", GROUP), (400, 500));
    assert_eq!(limits("memory_limit:cgroup", GROUP), (768, 1024));
    assert_eq!(limits("memory_limit:cgroup,soft_memory_limit:100M", GROUP), (100, 1024));
    assert_eq!(limits("soft_memory_limit:cgroup", GROUP), (768, 0));
    let hard_alone = CgroupLimits { high_bytes: None, ..GROUP };
    assert_eq!(limits("memory_limit:cgroup", hard_alone), (0, 1024));
    assert_eq!(limits("soft_memory_limit:cgroup", hard_alone), (1024, 0));
    assert_eq!(limits("memory_limit:cgroup", CgroupLimits::default()), (0, 0));
    assert_eq!(limits("memory_limit:none,soft_memory_limit:none", GROUP), (0, 0));
}

#[test]
fn a_heap_at_its_hard_limit_has_no_more_until_something_is_freed() {
    let heap: Heap = Heap::with(Config::parse(b"memory_limit:40M", |_| ()));
    let blocks: std::vec::Vec<_> =
        (0..100).map(|_| heap.allocate(1 << 20)).take_while(|block| !block.is_null()).collect();
    assert!((30..40).contains(&blocks.len()), "{}", blocks.len());
    let stats = heap.core().unwrap().page_heap().stats();
    assert!(stats.limits.hard_failures >= 1, "{stats:?}");
    for block in blocks {
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block) };
    }
    assert!(!heap.allocate(20 << 20).is_null());
}
