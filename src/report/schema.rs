//! Table schemas from the column tables, and the names of closed lists.

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::{Column, ColumnType};

/// Data Package, Table Schema v2.
pub(crate) fn table_schema(columns: &[Column]) -> Value {
    let fields: Vec<_> = columns
        .iter()
        .map(|column| {
            let (kind, format) = match column.column_type {
                ColumnType::String => ("string", None),
                ColumnType::Integer => ("integer", None),
                ColumnType::Date => ("date", None),
                ColumnType::Datetime => ("datetime", Some("%Y-%m-%dT%H:%M:%SZ")),
                ColumnType::Boolean => ("boolean", None),
            };
            let mut field =
                json!({"name": column.name, "type": kind, "description": column.description});
            if let Some(format) = format {
                field["format"] = json!(format);
            }
            let mut constraints = Map::new();
            if column.required {
                constraints.insert("required".into(), json!(true));
            }
            if let Some(values) = column.values {
                constraints.insert("enum".into(), json!(values()));
            }
            if !constraints.is_empty() {
                field["constraints"] = constraints.into();
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

/// The names of an enum without data, as its schema lists them: described variants one by one as
/// `const`, the others together as `enum`.
pub(crate) fn names<T: JsonSchema>() -> Vec<String> {
    fn collect(schema: &Value, names: &mut Vec<String>) {
        for choice in schema["oneOf"].as_array().into_iter().flatten() {
            collect(choice, names);
        }
        let listed = schema["enum"].as_array().into_iter().flatten();
        let texts = listed.chain(schema.get("const")).filter_map(Value::as_str);
        names.extend(texts.map(Into::into));
    }
    let mut names = Vec::new();
    collect(&json!(schemars::schema_for!(T)), &mut names);
    names
}
