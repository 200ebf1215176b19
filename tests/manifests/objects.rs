//! Objects as the API server would keep them, and in what those of kustomize and Helm may differ.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::harness::control_plane::ControlPlane;
use crate::harness::{Result, stderr};

/// Objects by kind, namespace and name.
pub(crate) type Objects = BTreeMap<String, Value>;

/// Objects as the API server would keep them: with its defaults, without what it adds to tell who, when and
/// how. It must accept them all, and warn of none.
pub(crate) fn accepted(cluster: &ControlPlane, name: &str, objects: &str) -> Result<Objects> {
    let arguments = [
        "apply",
        "--server-side",
        "--dry-run=server",
        "--warnings-as-errors",
        "-o",
        "json",
    ];
    let output = cluster.kubectl_with(&arguments, objects)?;
    assert!(output.status.success(), "{name}: {}", stderr(&output));
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    let mut objects = Objects::new();
    for object in answer["items"].as_array().ok_or("no list")? {
        let mut object = object.clone();
        let metadata = object["metadata"].as_object_mut().ok_or("no metadata")?;
        for field in [
            "uid",
            "creationTimestamp",
            "resourceVersion",
            "generation",
            "managedFields",
        ] {
            metadata.remove(field);
        }
        let text = |name: &str| metadata[name].as_str().unwrap_or_default().to_owned();
        let place = match metadata.get("namespace") {
            Some(_) => format!("{}/{}", text("namespace"), text("name")),
            None => text("name"),
        };
        // Both write the same settings, each in its own way.
        if let Some(registries) = object.pointer_mut("/data/registries.yaml") {
            let yaml = registries.as_str().ok_or("no text")?;
            *registries = serde_saphyr::from_str(yaml)?;
        }
        sort(&mut object);
        let kind = object["kind"].as_str().ok_or("no kind")?.to_owned();
        let before = objects.insert(format!("{kind} {place}"), object);
        assert!(before.is_none(), "{name}: {kind} {place} twice");
    }
    Ok(objects)
}

/// Lists of what has a name, such as variables and volumes, have no order that matters.
fn sort(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.iter_mut().for_each(sort);
            if items.iter().all(|item| item["name"].is_string()) {
                items.sort_by_key(|item| item["name"].to_string());
            }
        }
        Value::Object(fields) => fields.values_mut().for_each(sort),
        _ => {}
    }
}

/// Asserts that both make the same objects, but for what one of them cannot or must not do.
pub(crate) fn assert_same(name: &str, kustomize: &Objects, helm: &Objects) -> Result {
    let mut kustomize = kustomize.clone();
    let mut helm = helm.clone();
    // A release lies in a namespace that was there before it: `cronjob/base/namespace.yaml`.
    let namespace = kustomize.remove("Namespace image-census");
    assert!(namespace.is_some(), "{name}");
    // "helm uninstall" must not remove the reports.
    if let Some(claim) = helm.get_mut("PersistentVolumeClaim image-census/image-census-reports") {
        let metadata = claim["metadata"].as_object_mut().ok_or("no metadata")?;
        let annotations = metadata.remove("annotations");
        assert_eq!(
            annotations,
            Some(json!({"helm.sh/resource-policy": "keep"}))
        );
    }
    // For Helm it is somebody else's, as Secrets are for both; the overlay makes it of a file.
    if let Some(bundle) = kustomize.remove("ConfigMap image-census/image-census-ca-bundle") {
        let pem = bundle["data"]["ca.pem"].as_str();
        assert!(pem.is_some_and(|pem| pem.contains("BEGIN CERTIFICATE")));
    }
    let names = |objects: &Objects| objects.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(
        names(&kustomize),
        names(&helm),
        "{name}: kustomize, then Helm"
    );
    for (object, one) in &kustomize {
        let (one, other) = (lines(one)?, lines(&helm[object])?);
        let only = |lines: &[String], others: &[String]| -> Vec<String> {
            let lines = lines.iter().filter(|line| !others.contains(line));
            lines.map(|line| line.trim().to_owned()).collect()
        };
        assert!(
            one == other,
            "{name}: {object} differs: only kustomize has {:?}, only Helm {:?}\n{}\n{}",
            only(&one, &other),
            only(&other, &one),
            one.join("\n"),
            other.join("\n")
        );
    }
    Ok(())
}

/// An object so that a difference is readable.
fn lines(object: &Value) -> Result<Vec<String>> {
    let text = serde_json::to_string_pretty(object)?;
    Ok(text.lines().map(Into::into).collect())
}
