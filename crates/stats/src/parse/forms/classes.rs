//! Of each size class: the most frequent lines.

use super::{Form, form, under};

pub(super) const FORMS: &[Form] = &[
    form(
        "class",
        "class {class} [ {object_bytes} bytes ] : {objects} objs; {mib} MiB; {cumulative_mib} cum MiB",
    ),
    form(
        "class",
        "class {class} [ {object_bytes} bytes ] : {objects} objs; {mib} MiB; {cumulative_mib} cum MiB; {live_pages} live \
         pages; spans: {spans_returned} ret / {spans_requested} req = {returned_share}; {objects_per_span} objs/span;",
    ),
    form(
        "span_utilization",
        "class {class} [ {object_bytes} bytes ] : {spans} < {bound} @ {spans} < {bound}",
    ),
    under(
        "title_span_utilization",
        "span_occupancy",
        "class {class} [ {object_bytes} bytes ] : {list}: {spans} @ {list}: {spans}",
    ),
    under(
        "title_spans_a_batch",
        "spans_a_batch",
        "class {class} [ {object_bytes} bytes ] : {bound} : {batches} @ {bound} : {batches}",
    ),
    under(
        "title_same_span_returns",
        "same_span_returns",
        "class {class} [ {object_bytes} bytes ] : @ {returns}",
    ),
    form(
        "span_lifetime",
        "class {class} [ {object_bytes} bytes ] {kind:text} spans: @ {lower_bound_ms} ms < {spans}",
    ),
    form(
        "transfer_cache",
        "class {class} [ {object_bytes} bytes ] : {objects} objs; {mib} MiB; {cumulative_mib} cum MiB; {capacity} \
         capacity; {max_capacity} max_capacity; {insert_hits} insert hits; {insert_misses} insert misses \
         ({insert_object_misses} object misses); {remove_hits} remove hits; {remove_misses} remove misses \
         ({remove_object_misses} object misses); {hit_rate} frontline hit rate",
    ),
    form(
        "class_capacity",
        "class {class} [ {object_bytes} bytes ] : {min_capacity} (minimum), {avg_capacity} (average), {max_capacity} \
         (maximum), {max_allowed_capacity} maximum allowed capacity",
    ),
    form(
        "class_capacity",
        "class {class} [ {object_bytes} bytes ] : {min_capacity} (minimum), {avg_capacity} (average), {max_capacity} \
         (maximum), {max_allowed_capacity} maximum allowed capacity, maximum capacity misses {max_capacity_misses}, \
         (underflow: [{last_underflow_us} us CPU {last_underflow_cpu}, {first_underflow_us} us CPU \
         {first_underflow_cpu}]; overflow [{last_overflow_us} us CPU {last_overflow_cpu}, {first_overflow_us} us CPU \
         {first_overflow_cpu}]",
    ),
];
