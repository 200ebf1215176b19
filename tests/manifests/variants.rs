//! The same set-ups, as people write them for kustomize and for Helm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::helm::RELEASE;
use crate::harness::{Result, root, succeed, tool};

/// What is set in all variants that do not come from a file.
pub(crate) const IMAGE: &str = "registry.mine.example/tools/image-census";
const STORE: &str = "IMAGE_CENSUS_STORE=s3://reports/census";
const ROLE: &str = "arn:aws:iam::123456789012:role/image-census";
const REGISTRIES: &str = r#"{"registries":[{"host":"registry.example:5000","concurrency":2}]}"#;

/// The same set-up for kustomize and for Helm.
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    pub(crate) components: &'static [&'static str],
    /// More of the ConfigMap.
    literals: &'static [&'static str],
    pub(crate) values: Value,
}

fn variant(
    name: &'static str,
    components: &'static [&'static str],
    literals: &'static [&'static str],
    values: Value,
) -> Variant {
    Variant {
        name,
        components,
        literals,
        values,
    }
}

pub(crate) fn variants() -> Vec<Variant> {
    let store = "s3://reports/census";
    let team = json!({"team-a": {"secrets": ["registry-login"], "serviceAccounts": ["default"]}});
    let registries = json!({"config": {"registries": [
        {"host": "registry.example:5000", "concurrency": 2},
    ]}});
    vec![
        variant("minimal", &[], &[STORE], json!({"store": store})),
        variant(
            "settings",
            &[],
            &[
                STORE,
                "IMAGE_CENSUS_DEADLINE=50m",
                "IMAGE_CENSUS_CONCURRENCY=4",
                "HTTPS_PROXY=http://proxy.example:3128",
                "AWS_REGION=eu-central-1",
            ],
            json!({
                "store": store,
                "deadline": "50m",
                "s3": {"region": "eu-central-1"},
                "settings": {
                    "IMAGE_CENSUS_CONCURRENCY": 4,
                    "HTTPS_PROXY": "http://proxy.example:3128",
                },
            }),
        ),
        variant(
            "s3",
            &["s3"],
            &[STORE],
            json!({"store": store, "s3": {"keysSecret": "image-census-object-store"}}),
        ),
        variant(
            "minio",
            &["minio"],
            &[STORE, "IMAGE_CENSUS_S3_ENDPOINT=https://minio.example:9000"],
            json!({"store": store, "s3": {
                "endpoint": "https://minio.example:9000", "pathStyle": true, "region": "us-east-1",
            }}),
        ),
        variant(
            "irsa",
            &["irsa"],
            &[
                STORE,
                "ROLE_ARN=arn:aws:iam::123456789012:role/image-census",
            ],
            json!({"store": store, "serviceAccount": {
                "annotations": {"eks.amazonaws.com/role-arn": ROLE},
            }}),
        ),
        variant(
            "volume",
            &["volume"],
            &[],
            json!({"volume": {"enabled": true}}),
        ),
        variant(
            "pull-secrets",
            &["pull-secrets"],
            &[STORE],
            json!({"store": store, "pullSecrets": team}),
        ),
        variant(
            "registry-config",
            &["registry-config"],
            &[STORE],
            json!({"store": store, "registries": registries}),
        ),
        variant(
            "ca-bundle",
            &["ca-bundle"],
            &[STORE],
            json!({"store": store, "caBundleConfigMap": "image-census-ca-bundle"}),
        ),
        variant(
            "signing-key",
            &["signing-key"],
            &[STORE],
            json!({"store": store, "signingKeySecret": "image-census-signing-key"}),
        ),
        variant(
            "network-policy",
            &["network-policy"],
            &[STORE],
            json!({"store": store, "networkPolicy": {"enabled": true}}),
        ),
        variant(
            "pod-identity",
            &["network-policy", "pod-identity"],
            &[STORE],
            json!({"store": store, "networkPolicy": {"enabled": true, "podIdentity": true}}),
        ),
        variant(
            "prune",
            &["prune"],
            &[STORE],
            json!({"store": store, "prune": {"enabled": true}}),
        ),
        variant(
            "pushgateway",
            &["network-policy", "pushgateway"],
            &[STORE],
            json!({
                "store": store,
                "networkPolicy": {"enabled": true},
                "pushgateway": {"url": "http://prometheus-pushgateway.monitoring.svc:9091"},
            }),
        ),
        variant(
            "everything",
            &[
                "prune",
                "s3",
                "minio",
                "irsa",
                "pull-secrets",
                "registry-config",
                "ca-bundle",
                "signing-key",
                "network-policy",
                "pod-identity",
            ],
            &[
                STORE,
                "IMAGE_CENSUS_S3_ENDPOINT=https://minio.example:9000",
                "ROLE_ARN=arn:aws:iam::123456789012:role/image-census",
            ],
            json!({
                "store": store,
                "s3": {
                    "endpoint": "https://minio.example:9000", "pathStyle": true,
                    "region": "us-east-1", "keysSecret": "image-census-object-store",
                },
                "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": ROLE}},
                "pullSecrets": team,
                "registries": registries,
                "caBundleConfigMap": "image-census-ca-bundle",
                "signingKeySecret": "image-census-signing-key",
                "networkPolicy": {"enabled": true, "podIdentity": true},
                "prune": {"enabled": true},
            }),
        ),
        variant(
            "prune-of-a-volume",
            &["prune", "volume", "ca-bundle"],
            &[],
            json!({
                "volume": {"enabled": true},
                "caBundleConfigMap": "image-census-ca-bundle",
                "prune": {"enabled": true},
            }),
        ),
    ]
}

/// Where kustomizations may stand beside a copy of `cronjob/`.
pub(crate) struct Kustomize {
    folder: tempfile::TempDir,
}

impl Kustomize {
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(root().join("cronjob"));
        succeed(copy.arg(folder.path()))?;
        Ok(Self { folder })
    }

    fn write(&self, name: &str, overlay: &Value) -> Result<PathBuf> {
        let folder = self.folder.path().join(name);
        fs::create_dir(&folder)?;
        fs::write(folder.join("kustomization.yaml"), overlay.to_string())?;
        Ok(folder)
    }

    /// The objects of a kustomization as people write it.
    pub(crate) fn variant(&self, variant: &Variant) -> Result<String> {
        let has = |component| variant.components.contains(&component);
        let components = variant
            .components
            .iter()
            .map(|name| format!("../cronjob/components/{name}"));
        let mut literals = vec!["IMAGE_CENSUS_CLUSTER_NAME=prod-eu"];
        literals.extend(variant.literals);
        let mut maps = vec![json!({"name": RELEASE, "behavior": "merge", "literals": literals})];
        if has("registry-config") {
            let files = ["registries.yaml"];
            maps.push(json!({"name": "image-census-registry-config", "files": files}));
        }
        let overlay = json!({
            "namespace": RELEASE,
            "resources": ["../cronjob/base"],
            "components": components.collect::<Vec<_>>(),
            "images": [{"name": "registry.example/image-census", "newName": IMAGE, "newTag": "0.1.0"}],
            "configMapGenerator": maps,
            "generatorOptions": {
                "disableNameSuffixHash": true,
                "labels": {"app.kubernetes.io/name": RELEASE},
            },
        });
        let folder = self.write(variant.name, &overlay)?;
        fs::write(folder.join("registries.yaml"), REGISTRIES)?;
        let mut objects = self.build(&folder)?;
        if has("pull-secrets") {
            let patch = r#"[{"op": "replace", "path": "/rules/0/resourceNames", "value": ["registry-login"]}]"#;
            let team = json!({
                "namespace": "team-a",
                "resources": ["../cronjob/pull-secrets"],
                "patches": [{"target": {"kind": "Role"}, "patch": patch}],
            });
            let folder = self.write(&format!("{}-team-a", variant.name), &team)?;
            objects.push_str("---\n");
            objects.push_str(&self.build(&folder)?);
        }
        Ok(objects)
    }

    pub(crate) fn build(&self, folder: &Path) -> Result<String> {
        let mut command = Command::new(tool("bin/kubectl")?);
        succeed(command.arg("kustomize").arg(folder))
    }
}
