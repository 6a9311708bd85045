use super::render;
use std::string::String;
use strata_page_heap::FreeSpans;

/// Free spans of `pages` pages of 32 KiB each: `backed` of them backed, `unmapped` not.
fn of_length(pages: u64, backed: u64, unmapped: u64) -> FreeSpans {
    FreeSpans {
        pages,
        backed_spans: backed,
        unmapped_spans: unmapped,
        backed_bytes: (backed * pages) << 15,
        unmapped_bytes: (unmapped * pages) << 15,
    }
}

/// The figures of the reference's sample: 341, 469, 462 and 119 spans of 1 to 4 pages of 32 KiB.
#[test]
fn the_first_lines_are_those_of_the_sample() {
    let lengths =
        [of_length(1, 280, 61), of_length(2, 469, 0), of_length(3, 427, 35), of_length(4, 118, 1)];
    let mut text = String::new();
    render("PageHeap", || lengths.into_iter(), of_length(32, 0, 0), &mut text).expect("written");
    assert_eq!(
        text,
        "\
------------------------------------------------
PageHeap: 4 sizes;   92.8 MiB free;    5.3 MiB unmapped
------------------------------------------------
     1 pages *    341 spans ~   10.7 MiB;   10.7 MiB cum; unmapped:    1.9 MiB;    1.9 MiB cum
     2 pages *    469 spans ~   29.3 MiB;   40.0 MiB cum; unmapped:    0.0 MiB;    1.9 MiB cum
     3 pages *    462 spans ~   43.3 MiB;   83.3 MiB cum; unmapped:    3.3 MiB;    5.2 MiB cum
     4 pages *    119 spans ~   14.9 MiB;   98.2 MiB cum; unmapped:    0.1 MiB;    5.3 MiB cum
  >=32 large *      0 spans ~    0.0 MiB;   98.2 MiB cum; unmapped:    0.0 MiB;    5.3 MiB cum
"
    );
}

#[test]
fn the_line_of_long_spans_counts_as_no_size() {
    let large =
        FreeSpans { pages: 256, backed_spans: 1, backed_bytes: 5 << 20, ..FreeSpans::default() };
    let mut text = String::new();
    render("HugePageAware", || [].into_iter(), large, &mut text).expect("written");
    assert!(text.contains("HugePageAware: 0 sizes;    5.0 MiB free;    0.0 MiB unmapped\n"));
    assert!(text.contains("\n >=256 large *      1 spans ~    5.0 MiB;    5.0 MiB cum;"));
}
