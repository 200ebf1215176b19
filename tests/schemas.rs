//! `schemas/` is generated from the types. `UPDATE_SCHEMAS=1 cargo test --test schemas` writes it anew.

use std::path::Path;

#[test]
fn the_schemas_are_those_of_the_types() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    for (name, schema) in image_census::schemas::all() {
        let path = folder.join(name);
        let expected = format!("{schema:#}\n");
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::write(&path, &expected)?;
        }
        let found = std::fs::read_to_string(&path)?;
        assert!(
            found == expected,
            "schemas/{name} is stale: UPDATE_SCHEMAS=1 cargo test --test schemas"
        );
    }
    Ok(())
}
