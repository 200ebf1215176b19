//! The schemas of all files, made from the types and the column tables.

use serde_json::{Value, json};

use super::{CONTAINER_COLUMNS, Column, ColumnType, Manifest, ReportDocument, WORKLOAD_COLUMNS};

/// File name in `schemas/` and content of each schema.
pub fn all() -> Vec<(&'static str, Value)> {
    vec![
        (
            "report.schema.json",
            json!(schemars::schema_for!(ReportDocument)),
        ),
        (
            "manifest.schema.json",
            json!(schemars::schema_for!(Manifest)),
        ),
        (
            "containers.tableschema.json",
            table_schema(CONTAINER_COLUMNS),
        ),
        ("workloads.tableschema.json", table_schema(WORKLOAD_COLUMNS)),
    ]
}

/// Data Package, Table Schema v2.
fn table_schema(columns: &[Column]) -> Value {
    let fields: Vec<_> = columns
        .iter()
        .map(|column| {
            let (kind, format) = match column.column_type {
                ColumnType::String => ("string", None),
                ColumnType::Integer => ("integer", None),
                ColumnType::Date => ("date", None),
                ColumnType::Datetime => ("datetime", Some("%Y-%m-%dT%H:%M:%SZ")),
            };
            let mut field =
                json!({"name": column.name, "type": kind, "description": column.description});
            if let (Some(format), Some(field)) = (format, field.as_object_mut()) {
                field.insert("format".into(), format.into());
            }
            field
        })
        .collect();
    json!({
        "$schema": "https://datapackage.org/profiles/2.0/tableschema.json",
        "fields": fields,
        "fieldsMatch": "subset",
        "missingValues": [""],
    })
}
