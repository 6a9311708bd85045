//! `docs/snapshot.schema.json` describes what is written, each field of it.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use serde_json::Value;
use strata_alloc::{Config, FrontEndChoice, Heap, PageHeapChoice};
use strata_stats::{Extent, report_json};

const SCHEMA: &str = include_str!("../../../docs/snapshot.schema.json");

/// What is wrong with `value`, each with its place: a small part of JSON Schema, and besides that fields without a name in it.
fn faults(schema: &Value, value: &Value, place: &str, found: &mut Vec<String>) {
    if schema.get("const").is_some_and(|only| only != value) {
        found.push(format!("{place}: {value}"));
    }
    let is = |kind: &Value| match kind.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{place}: a type '{other}'"),
    };
    let fits = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(is),
        Some(kind) => is(kind),
        None => true,
    };
    let least = schema.get("minimum").and_then(Value::as_i64).unwrap_or(i64::MIN);
    if !fits || value.as_i64().is_some_and(|number| number < least) {
        found.push(format!("{place}: {value}"));
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        for value in values {
            faults(items, value, &format!("{place}[]"), found);
        }
    }
    let (Some(fields), Some(values)) = (schema.get("properties"), value.as_object()) else {
        return;
    };
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    for name in required.filter_map(Value::as_str).filter(|name| !values.contains_key(*name)) {
        found.push(format!("{place}: no {name}"));
    }
    for (name, value) in values {
        let place = format!("{place}/{name}");
        match fields.get(name) {
            Some(schema) => faults(schema, value, &place, found),
            // The front end's is named for its kind.
            None if place.contains("/front_end/") => {}
            None => found.push(format!("{place}: not described")),
        }
    }
}

#[test]
fn what_is_written_is_what_the_schema_describes() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    for page_heap in [PageHeapChoice::Temeraire, PageHeapChoice::Legacy] {
        for front_end in [FrontEndChoice::PerCpu, FrontEndChoice::PerThread] {
            for extent in [Extent::Figures, Extent::Map] {
                let mut config = Config::DEFAULT;
                config.page_heap = page_heap;
                config.front_end = front_end;
                let heap: Heap = Heap::with(config);
                let blocks: Vec<_> = (1..2000).map(|index| heap.allocate(index * 150)).collect();
                for block in blocks.iter().step_by(2) {
                    // SAFETY: the block is ours.
                    unsafe { heap.deallocate(*block) };
                }
                heap.release(1 << 20);
                let mut text = String::new();
                report_json(heap.core().unwrap(), extent, &mut text).unwrap();
                let mut found = Vec::new();
                faults(&schema, &serde_json::from_str(&text).unwrap(), "", &mut found);
                found.truncate(20);
                assert!(found.is_empty(), "{found:#?}");
                let mut other: Value = serde_json::from_str(&text).unwrap();
                other["snapshot"]["taken_ns"] = Value::from(-1);
                other["snapshot"]["unheard_of"] = Value::Null;
                faults(&schema, &other, "", &mut found);
                assert_eq!(found.len(), 2, "{found:#?}");
                for block in blocks.iter().skip(1).step_by(2) {
                    // SAFETY: the block is ours.
                    unsafe { heap.deallocate(*block) };
                }
            }
        }
    }
}
