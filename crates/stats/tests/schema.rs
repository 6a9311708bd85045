//! `docs/snapshot.schema.json` describes what is written, each field of it, with its unit.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;
use std::fs;
use std::path::Path;
use strata_alloc::{Config, FrontEndChoice, Heap, PageHeapChoice};
use strata_stats::{Extent, report_json};

const SCHEMA: &str = include_str!("../../../docs/snapshot.schema.json");

/// Units that a number may have.
const UNITS: [&str; 14] = [
    "address",
    "bytes",
    "bytes per second",
    "count",
    "hugepages",
    "id",
    "index",
    "MiB times seconds",
    "milliseconds",
    "nanoseconds",
    "objects",
    "pages",
    "seconds",
    "version",
];

/// The schema as a validator that knows all of JSON Schema has it.
fn compiled() -> (Schemas, SchemaIndex) {
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    let place = "https://strata.invalid/snapshot.schema.json";
    compiler.add_resource(place, serde_json::from_str(SCHEMA).unwrap()).unwrap();
    let index = compiler.compile(place, &mut schemas).unwrap_or_else(|error| panic!("{error}"));
    (schemas, index)
}

/// Calls `each` with every description in the schema and its place.
fn for_each_field(schema: &Value, place: &str, each: &mut impl FnMut(&str, &Value)) {
    for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let place = format!("{place}/{name}");
        each(&place, field);
        for_each_field(field, &place, each);
    }
    for (index, item) in
        schema.get("prefixItems").and_then(Value::as_array).into_iter().flatten().enumerate()
    {
        let place = format!("{place}/{index}");
        each(&place, item);
        for_each_field(item, &place, each);
    }
    if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
        for_each_field(items, &format!("{place}[]"), each);
    }
}

/// Whether a value of this type, or what a list of it has, is a number.
fn is_numeric(field: &Value) -> bool {
    let is = |kind: &Value| kind == "integer" || kind == "number";
    match &field["type"] {
        Value::Array(kinds) => kinds.iter().any(is),
        kind if kind == "array" => field["items"].is_object() && is_numeric(&field["items"]),
        kind => is(kind),
    }
}

#[test]
fn every_field_is_described_and_every_number_has_a_unit() {
    let (mut fields, mut numbers) = (0, 0);
    for_each_field(&serde_json::from_str(SCHEMA).unwrap(), "", &mut |place, field| {
        let description = field["description"].as_str().unwrap_or_default();
        assert!(description.len() > 3 && description.ends_with('.'), "{place}: '{description}'");
        fields += 1;
        if is_numeric(field) {
            let unit = field["x-unit"].as_str().unwrap_or_default();
            assert!(UNITS.contains(&unit), "{place}: '{unit}' is no unit");
            numbers += 1;
        }
    });
    assert!(fields > 500 && numbers > 350, "{fields} fields, {numbers} numbers");
}

/// Fields of `value` that have no name in the schema.
fn unheard_of(schema: &Value, value: &Value, place: &str, found: &mut Vec<String>) {
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        let pairs = schema.get("prefixItems").and_then(Value::as_array);
        for (index, value) in values.iter().enumerate() {
            let item = pairs.map_or(Some(items), |pairs| pairs.get(index));
            unheard_of(item.unwrap_or(&Value::Null), value, &format!("{place}[]"), found);
        }
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let place = format!("{place}/{name}");
        match schema.get("properties").and_then(|fields| fields.get(name)) {
            Some(schema) => unheard_of(schema, value, &place, found),
            // Limits may be a field of their own kind, which their description tells.
            None if place.ends_with("memory_limit/bytes") => {}
            None => found.push(place),
        }
    }
}

/// A snapshot of a program of some kind.
fn snapshot(page_heap: PageHeapChoice, front_end: FrontEndChoice, extent: Extent) -> String {
    let mut config = Config::DEFAULT;
    config.page_heap = page_heap;
    config.front_end = front_end;
    let heap: Heap = Heap::with(config);
    let blocks: Vec<_> = (1..2000).map(|index| heap.allocate(index * 150)).collect();
    let free = |block: &*mut u8| {
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(*block) };
    };
    blocks.iter().step_by(2).for_each(free);
    heap.release(1 << 20);
    let mut text = String::new();
    report_json(heap.core().unwrap(), extent, &mut text).unwrap();
    blocks.iter().skip(1).step_by(2).for_each(free);
    text
}

#[test]
fn what_is_written_is_what_the_schema_describes() {
    let (schemas, index) = compiled();
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    for page_heap in [PageHeapChoice::Temeraire, PageHeapChoice::Legacy] {
        for front_end in [FrontEndChoice::PerCpu, FrontEndChoice::PerThread] {
            for extent in [Extent::Figures, Extent::Map] {
                let written = snapshot(page_heap, front_end, extent);
                let value: Value = serde_json::from_str(&written).unwrap();
                schemas.validate(&value, index).unwrap_or_else(|error| panic!("{error:#}"));
                let mut found = Vec::new();
                unheard_of(&schema, &value, "", &mut found);
                assert!(found.is_empty(), "not described: {found:#?}");
            }
        }
    }
}

#[test]
fn what_is_no_snapshot_is_told_from_one() {
    let (schemas, index) = compiled();
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let written = snapshot(PageHeapChoice::Temeraire, FrontEndChoice::PerCpu, Extent::Figures);
    let whole: Value = serde_json::from_str(&written).unwrap();
    for (place, wrong) in [
        ("/format", Value::from("another")),
        ("/version", Value::from(0)),
        ("/snapshot/taken_ns", Value::from(-1)),
        ("/snapshot/heap/page_heap/free_bytes", Value::from("much")),
        ("/snapshot/classes/classes/0", Value::from(vec![1, 2])),
        ("/ledger/0/bytes", Value::Null),
    ] {
        let mut other = whole.clone();
        *other.pointer_mut(place).unwrap_or_else(|| panic!("no {place}")) = wrong;
        assert!(schemas.validate(&other, index).is_err(), "{place}");
    }
    let mut other = whole;
    other["snapshot"]["unheard_of"] = Value::Null;
    let mut found = Vec::new();
    unheard_of(&schema, &other, "", &mut found);
    assert_eq!(found, ["/snapshot/unheard_of"]);
}

/// Snapshots that other tests keep, of programs of long ago.
#[test]
fn snapshots_of_earlier_versions_are_still_what_the_schema_describes() {
    let (schemas, index) = compiled();
    for file in
        ["golden/earlier.json", "golden/later.json", "forms/temeraire.json", "forms/legacy.json"]
    {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file);
        let value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        schemas.validate(&value, index).unwrap_or_else(|error| panic!("{file}: {error:#}"));
    }
}
