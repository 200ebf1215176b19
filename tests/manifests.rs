//! The manifests on a real API server, as kustomize and as Helm make them: every component, overlay and
//! example of values is accepted without a warning, both make the same objects, their times and exit codes
//! agree, and values that make no sense are refused.

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::control_plane::{ControlPlane, pod_of};
use harness::helm::{Helm, RELEASE};
use harness::{Result, program, root, stderr, succeed, tool};
use serde_json::{Value, json};

/// What is set in all variants that do not come from a file.
const IMAGE: &str = "registry.mine.example/tools/image-census";
const STORE: &str = "IMAGE_CENSUS_STORE=s3://reports/census";
const ROLE: &str = "arn:aws:iam::123456789012:role/image-census";
const REGISTRIES: &str = r#"{"registries":[{"host":"registry.example:5000","concurrency":2}]}"#;

/// The same set-up for kustomize and for Helm.
struct Variant {
    name: &'static str,
    components: &'static [&'static str],
    /// More of the ConfigMap.
    literals: &'static [&'static str],
    values: Value,
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

fn variants() -> Vec<Variant> {
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
            "everything",
            &[
                "prune",
                "s3",
                "minio",
                "irsa",
                "pull-secrets",
                "registry-config",
                "ca-bundle",
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
struct Kustomize {
    folder: tempfile::TempDir,
}

impl Kustomize {
    fn new() -> Result<Self> {
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
    fn variant(&self, variant: &Variant) -> Result<String> {
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

    fn build(&self, folder: &Path) -> Result<String> {
        let mut command = Command::new(tool("bin/kubectl")?);
        succeed(command.arg("kustomize").arg(folder))
    }
}

/// Objects by kind, namespace and name.
type Objects = BTreeMap<String, Value>;

/// Objects as the API server would keep them: with its defaults, without what it adds to tell who, when and
/// how. It must accept them all, and warn of none.
fn accepted(cluster: &ControlPlane, name: &str, objects: &str) -> Result<Objects> {
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
fn assert_same(name: &str, kustomize: &Objects, helm: &Objects) -> Result {
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

/// All that is ours is found by one label, in what the CronJobs make, too.
fn assert_labelled(name: &str, objects: &Objects) {
    for (object, value) in objects {
        let job = &value["spec"]["jobTemplate"];
        let mut all = vec![value];
        if !job.is_null() {
            all.extend([job, &job["spec"]["template"]]);
        }
        for part in all {
            assert_eq!(
                part["metadata"]["labels"]["app.kubernetes.io/name"], RELEASE,
                "{name}: {object}"
            );
        }
    }
}

/// What the accounts may do, and what their pods may reach, whatever is chosen.
fn assert_rights(name: &str, objects: &Objects) {
    for (object, value) in objects {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        if object.starts_with("ClusterRole ") {
            let listed =
                json!([{"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["list"]}]);
            assert_eq!(value["rules"], listed, "{name}: {object}");
        }
        if object.starts_with("Role ") {
            for rule in list(&value["rules"]) {
                assert_eq!(rule["verbs"], json!(["get"]), "{name}: {object}");
                assert!(!list(&rule["resourceNames"]).is_empty(), "{name}: {object}");
            }
        }
        // The account that may delete objects has no rights in the cluster.
        for subject in list(&value["subjects"]) {
            assert_eq!(subject["name"], RELEASE, "{name}: {object}");
        }
        // One account has no use of the other's keys.
        if object.starts_with("CronJob ") {
            let text = value.to_string();
            let is_prune = object.ends_with("-prune");
            assert_eq!(text.contains("image-census-prune-object-store"), is_prune);
            let nightly = text.contains("\"image-census-object-store\"");
            assert!(!(nightly && is_prune), "{name}: {object}");
        }
        if object.starts_with("NetworkPolicy ") {
            let mut open = Vec::new();
            for rule in list(&value["spec"]["egress"]) {
                let ports: Vec<_> = list(&rule["ports"])
                    .iter()
                    .map(|port| port["port"].clone())
                    .collect();
                for peer in list(&rule["to"]) {
                    open.push(json!([peer["ipBlock"], ports]));
                }
                if list(&rule["to"]).is_empty() {
                    assert_eq!(ports, [53, 53], "{name}");
                }
            }
            let mut expected = vec![
                json!([{"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}, [443, 6443]]),
                json!([{"cidr": "::/0", "except": ["fe80::/10", "fd00:ec2::/32"]}, [443, 6443]]),
            ];
            if name.starts_with("pod-identity") || name.starts_with("everything") {
                expected.push(json!([{"cidr": "169.254.170.23/32"}, [80]]));
                expected.push(json!([{"cidr": "fd00:ec2::23/128"}, [80]]));
            }
            assert_eq!(open, expected, "{name}");
        }
    }
}

/// What each attempt needs beside the deadline: to write the report, and to start.
const WRITING: u64 = 5 * 60;
const STARTING: u64 = 5 * 60;

/// The Job leaves its attempts the time that the program may take, and repeats none in vain.
fn assert_times_agree(name: &str, objects: &Objects) -> Result {
    let settings = &objects["ConfigMap image-census/image-census"]["data"];
    let minutes = settings["IMAGE_CENSUS_DEADLINE"].as_str();
    let minutes = minutes.and_then(|time| time.strip_suffix('m'));
    let deadline = minutes.ok_or("no deadline in minutes")?.parse::<u64>()? * 60;
    let cron_job = &objects["CronJob image-census/image-census"]["spec"];
    let job = &cron_job["jobTemplate"]["spec"];
    let number = |value: &Value| value.as_u64().ok_or(format!("{name}: {value}"));
    let attempts = number(&job["backoffLimit"])? + 1;
    assert_eq!(attempts, 2, "{name}: one retry");
    let needed = attempts * (deadline + WRITING + STARTING);
    let active = number(&job["activeDeadlineSeconds"])?;
    assert!(active >= needed, "{name}: {active} s, and {needed} needed");
    let pod = &job["template"]["spec"];
    assert_eq!(pod["terminationGracePeriodSeconds"], 120, "{name}");
    // Attempts are the Job's: the kubelet starts no container anew.
    assert_eq!(pod["restartPolicy"], "Never", "{name}");
    assert_eq!(cron_job["concurrencyPolicy"], "Forbid", "{name}");
    let failed = |container: &str, codes: &Value| {
        json!([
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": {
                "containerName": container, "operator": "In", "values": codes,
            }},
        ])
    };
    assert_eq!(
        job["podFailurePolicy"]["rules"],
        failed(RELEASE, &json!([2, 3])),
        "{name}"
    );
    if let Some(prune) = objects.get("CronJob image-census/image-census-prune") {
        let job = &prune["spec"]["jobTemplate"]["spec"];
        let rules = &job["podFailurePolicy"]["rules"];
        assert_eq!(*rules, failed("prune", &json!([2])), "{name}");
        let pod = &job["template"]["spec"];
        assert_eq!(pod["serviceAccountName"], "image-census-prune", "{name}");
        assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
    }
    Ok(())
}

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

/// Values that make no sense, each beside what Helm's message must name.
const REFUSED: &[(&[&str], &str)] = &[
    (&["clusterName="], "'/clusterName'"),
    (&["clusterName=Prod EU"], "'/clusterName'"),
    (&["clusterName=null"], "'clusterName'"),
    (&["store="], "'/store'"),
    (&["store=reports"], "'/store'"),
    (&["store=https://reports.example/census"], "'/store'"),
    (&["volume.enabled=true"], "'/store'"),
    (
        &[
            "store=",
            "volume.enabled=true",
            "s3.endpoint=http://minio.example",
        ],
        "'/s3/endpoint'",
    ),
    (
        &["store=", "volume.enabled=true", "s3.keysSecret=keys"],
        "'/s3/keysSecret'",
    ),
    (&["volume.enabled=yes"], "'/volume/enabled'"),
    (&["volume.size=ten"], "'/volume/size'"),
    (&["s3.endpoint=minio.example:9000"], "'/s3/endpoint'"),
    (&["s3.keysSecret=My Keys"], "'/s3/keysSecret'"),
    (&["s3.secretKey=c2VjcmV0"], "'secretKey'"),
    (&["image.repository="], "'/image/repository'"),
    (
        &["image.repository=registry.example/image-census:0.1.0"],
        "'/image/repository'",
    ),
    (&["image.digest=sha256:abc"], "'/image/digest'"),
    (&["replicas=3"], "'replicas'"),
    (&["clustername=prod-eu"], "'clustername'"),
    (&["schedule=nightly"], "'/schedule'"),
    (&["schedule=0 2 * *"], "'/schedule'"),
    (&["timeZone="], "'/timeZone'"),
    (&["deadline=2h"], "'/deadline'"),
    (&["deadline=51m"], "'/deadline'"),
    (&["deadline=45"], "'/deadline'"),
    (
        &["settings.AWS_SECRET_ACCESS_KEY=c2VjcmV0"],
        "'AWS_SECRET_ACCESS_KEY'",
    ),
    (&["settings.AWS_ACCESS_KEY_ID=AKIA"], "'AWS_ACCESS_KEY_ID'"),
    (
        &["settings.AZURE_CLIENT_SECRET=c2VjcmV0"],
        "'AZURE_CLIENT_SECRET'",
    ),
    (
        &["settings.IMAGE_CENSUS_STORE=s3://other"],
        "'IMAGE_CENSUS_STORE'",
    ),
    (
        &["settings.IMAGE_CENSUS_CONCURENCY=4"],
        "'IMAGE_CENSUS_CONCURENCY'",
    ),
    (&["registries.config.registry[0].host=a"], "'registry'"),
    (
        &["registries.config.registries[0].insecure=true"],
        "'/registries/config/registries/0'",
    ),
    (&["registries.files.ca=x"], "'/registries/config'"),
    (&["pullSecrets.Team_A.secrets={login}"], "'Team_A'"),
    (
        &["pullSecrets.team-a.secrets={}"],
        "'/pullSecrets/team-a/secrets/0'",
    ),
    (&["pullSecrets.team-a.names={login}"], "'secrets'"),
    (
        &["pullSecrets.team-a.secrets={*}"],
        "'/pullSecrets/team-a/secrets/0'",
    ),
    (
        &["networkPolicy.podIdentity=true"],
        "'/networkPolicy/enabled'",
    ),
    (&["prune.keep.daily=-1"], "'/prune/keep/daily'"),
    (&["prune.keep.hourly=1"], "'hourly'"),
    (&["prune.schedule=weekly"], "'/prune/schedule'"),
    (
        &["prune.enabled=true", "prune.keep=null"],
        "prune.keep: say what to keep",
    ),
    (&["resources.limit.memory=1Gi"], "'limit'"),
    (
        &["serviceAccount.annotations.a=1"],
        "'/serviceAccount/annotations/a'",
    ),
];

#[test]
fn values_that_make_no_sense_are_refused_with_the_name_of_their_key() -> Result {
    let helm = Helm::new()?;
    let template = |values: &[&str]| -> Result<std::process::Output> {
        let mut command = helm.template()?;
        for value in [
            "clusterName=prod-eu",
            "store=s3://reports/census",
            "image.repository=registry.mine.example/image-census",
        ]
        .iter()
        .chain(values)
        {
            command.args(["--set", value]);
        }
        Ok(command.output()?)
    };
    let sensible = template(&[])?;
    assert!(sensible.status.success(), "{}", stderr(&sensible));
    for (values, key) in REFUSED {
        let output = template(values)?;
        let said = stderr(&output);
        assert!(!output.status.success(), "{values:?} is accepted");
        assert!(said.contains(key), "{values:?}: no {key} in: {said}");
        assert!(
            !said.contains("c2VjcmV0"),
            "{values:?}: a secret in: {said}"
        );
    }
    Ok(())
}

/// Settings that have no place in `settings`, and why.
const ELSEWHERE: &[&str] = &[
    // Values of their own.
    "IMAGE_CENSUS_STORE",
    "IMAGE_CENSUS_CLUSTER_NAME",
    "IMAGE_CENSUS_DEADLINE",
    "IMAGE_CENSUS_S3_ENDPOINT",
    "IMAGE_CENSUS_S3_PATH_STYLE",
    "IMAGE_CENSUS_S3_REGION",
    "IMAGE_CENSUS_PULL_SECRETS",
    "IMAGE_CENSUS_REGISTRIES",
    // Files, which nothing mounts.
    "IMAGE_CENSUS_EOL_DATA",
    "IMAGE_CENSUS_S3_CA_BUNDLE",
    "IMAGE_CENSUS_SIGNING_KEY_FILE",
    // Not in a cluster.
    "IMAGE_CENSUS_CONTEXT",
    "IMAGE_CENSUS_CRANE",
    "IMAGE_CENSUS_NODES",
    "IMAGE_CENSUS_PODS",
    "IMAGE_CENSUS_SNAPSHOT_TIME",
];

#[test]
fn the_schema_of_the_values_knows_every_setting_of_the_program_and_no_other() -> Result {
    let help = succeed(program().args(["snapshot", "--help"]))?;
    let names = help.split("[env: ").skip(1);
    let names = names.filter_map(|rest| rest.split_once('='));
    let own: BTreeSet<_> = names.map(|(name, _)| name).collect();
    let elsewhere: BTreeSet<_> = ELSEWHERE.iter().copied().collect();
    assert!(elsewhere.is_subset(&own), "{elsewhere:?}");
    let schema = fs::read(root().join("cronjob/chart/values.schema.json"))?;
    let schema: Value = serde_json::from_slice(&schema)?;
    let settings = schema["properties"]["settings"]["properties"].as_object();
    let known: BTreeSet<_> = settings
        .ok_or("no settings")?
        .keys()
        .map(String::as_str)
        .collect();
    let wanted: BTreeSet<_> = own.difference(&elsewhere).copied().collect();
    assert_eq!(
        known, wanted,
        "values.schema.json, then the program: name it there, or in ELSEWHERE"
    );
    Ok(())
}
