//! The manifests on a real API server, as kustomize and as Helm make them: every component, overlay and
//! example of values is accepted without a warning, both make the same objects, their times and exit codes
//! agree, and values that make no sense are refused.

#[path = "../harness/mod.rs"]
mod harness;
mod objects;
mod promises;
mod refused;
mod variants;

use std::collections::BTreeSet;
use std::fs;

use harness::control_plane::{ControlPlane, pod_of};
use harness::helm::Helm;
use harness::{Result, root, stderr, succeed};
use serde_json::json;

use objects::{accepted, assert_same};
use promises::{assert_labelled, assert_rights, assert_times_agree};
use variants::{IMAGE, Kustomize, variants};

/// The names in a folder of the project.
fn names_in(folder: &str) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(root().join(folder))? {
        let path = entry?.path();
        let name = path.file_stem().ok_or("no name")?;
        names.insert(name.to_string_lossy().into_owned());
    }
    Ok(names)
}

/// A control plane with the namespaces that an installation finds.
fn cluster_with_namespaces() -> Result<ControlPlane> {
    let cluster = ControlPlane::start()?;
    let namespace = "cronjob/base/namespace.yaml";
    let mut apply = cluster.kubectl(&["apply", "--server-side", "-f", namespace])?;
    succeed(apply.current_dir(root()))?;
    for team in ["team-a", "team-b"] {
        succeed(&mut cluster.kubectl(&["create", "namespace", team])?)?;
    }
    Ok(cluster)
}

#[test]
fn kustomize_and_helm_make_the_same_objects_and_the_api_server_accepts_them_all_without_a_warning()
-> Result {
    let cluster = cluster_with_namespaces()?;
    let helm = Helm::new()?;
    let kustomize = Kustomize::new()?;
    let mut pods = Vec::new();
    let mut check = |name: &str, kustomized: &str, values: &str| -> Result {
        succeed(helm.lint()?.args(["-f", values]))?;
        let templated = succeed(helm.template()?.args(["-f", values]))?;
        let kustomized = accepted(&cluster, name, kustomized)?;
        let templated = accepted(&cluster, name, &templated)?;
        assert_same(name, &kustomized, &templated)?;
        for (maker, objects) in [("kustomize", &kustomized), ("helm", &templated)] {
            let name = format!("{name}-{maker}");
            assert_labelled(&name, objects);
            assert_times_agree(&name, objects)?;
            assert_rights(&name, objects);
            let jobs = objects
                .values()
                .filter(|object| object["kind"] == "CronJob");
            for job in jobs {
                let own = job["metadata"]["name"].as_str().ok_or("no name")?;
                pods.push(pod_of(job, &format!("{name}-{own}")));
            }
        }
        Ok(())
    };

    let mut seen = BTreeSet::new();
    for variant in variants() {
        seen.extend(variant.components.iter().map(|&name| name.to_owned()));
        let mut values = json!({"clusterName": "prod-eu", "image": {"repository": IMAGE}});
        let own = variant.values.as_object().ok_or("no values")?.clone();
        values.as_object_mut().ok_or("no values")?.extend(own);
        let values = helm.values(variant.name, &values)?;
        check(variant.name, &kustomize.variant(&variant)?, &values)?;
    }
    assert_eq!(seen, names_in("cronjob/components")?);
    for overlay in names_in("cronjob/overlays")? {
        let folder = root().join("cronjob/overlays").join(&overlay);
        let values = format!("cronjob/chart/examples/{overlay}.yaml");
        check(&overlay, &kustomize.build(&folder)?, &values)?;
    }

    let admitted = cluster.admit(&pods)?;
    assert!(admitted.status.success(), "{}", stderr(&admitted));
    let answers = String::from_utf8(admitted.stdout)?;
    assert_eq!(answers.lines().count(), pods.len(), "{answers}");
    Ok(())
}

#[test]
fn every_example_of_values_is_accepted_and_so_are_the_registry_settings_beside_the_overlays()
-> Result {
    let cluster = cluster_with_namespaces()?;
    let helm = Helm::new()?;
    for name in names_in("cronjob/chart/examples")? {
        let values = format!("cronjob/chart/examples/{name}.yaml");
        succeed(helm.lint()?.args(["-f", &values]))?;
        let objects = succeed(helm.template()?.args(["-f", &values]))?;
        let objects = accepted(&cluster, &name, &objects)?;
        assert_labelled(&name, &objects);
        assert_times_agree(&name, &objects)?;
        assert_rights(&name, &objects);
    }
    let folder = tempfile::tempdir()?;
    let pods = folder.path().join("pods.json");
    fs::write(
        &pods,
        json!({"apiVersion": "v1", "kind": "PodList", "items": []}).to_string(),
    )?;
    for file in ["eks/census/registries.yaml", "on-premises/registries.yaml"] {
        let mut snapshot = harness::snapshot_of(&pods, &folder.path().join("store"))?;
        let file = root().join("cronjob/overlays").join(file);
        succeed(snapshot.arg("--registries").arg(file))?;
    }
    Ok(())
}
