//! The schemas of all files, made from the types and the column tables.

use serde_json::{Value, json};

use crate::diff::{Diff, formats::DIFF_COLUMNS};
use crate::registry::settings::RegistriesFile;
use crate::report::schema::table_schema;
use crate::report::{CONTAINER_COLUMNS, Manifest, ReportDocument, WORKLOAD_COLUMNS};

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
        ("diff.schema.json", json!(schemars::schema_for!(Diff))),
        (
            "registries.schema.json",
            json!(schemars::schema_for!(RegistriesFile)),
        ),
        (
            "containers.tableschema.json",
            table_schema(CONTAINER_COLUMNS),
        ),
        ("workloads.tableschema.json", table_schema(WORKLOAD_COLUMNS)),
        ("diff.tableschema.json", table_schema(DIFF_COLUMNS)),
    ]
}
