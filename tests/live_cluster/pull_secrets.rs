//! Private images in several namespaces, with secrets as people have them: which are inspected, with
//! whose credentials, and what the others' rows say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};

use crate::fixtures::api::Api;
use crate::fixtures::distributions;
use crate::fixtures::images::{ImageSpec, Platform};
use crate::fixtures::tenants::{self, CONFIG, LEGACY, account, census, names};
use crate::harness::control_plane::ControlPlane;
use crate::harness::docker_registry::{
    DockerRegistry, SECRET, docker_config, notes, noting_crane, password,
};
use crate::harness::{Result, Row, files_below, program, rows, stderr};
use crate::rows::log_in;
use crate::{Scratch, fixtures};

/// Who may push everything.
const PUSHER: &str = "pusher";

#[test]
fn a_namespaces_secrets_serve_its_own_pods_images_and_nothing_else() -> Result {
    let spaces = [
        "own",
        "account",
        "rotated",
        "legacy",
        "missing",
        "forbidden",
        "malformed",
        "foreign",
        "none",
    ];
    let users: Vec<_> = [PUSHER].into_iter().chain(spaces).collect();
    let registry = DockerRegistry::start(&users)?;
    let pusher = registry.crane_as(PUSHER)?;
    let plane = ControlPlane::start()?;
    let api = Api::connect(&plane.kubeconfig())?;
    api.add_namespaces(spaces)?;
    let host = &registry.address;
    let image = |namespace: &str| format!("{host}/{namespace}/app:1");
    for namespace in spaces {
        let built = ImageSpec::new(Platform::linux("amd64")).layer(distributions::debian_12());
        let built = built
            .label("org.opencontainers.image.title", namespace)
            .build();
        fixtures::registry::push(&built, &pusher, &image(namespace))?;
    }

    let secret = |namespace: &str, name: &str, kind: &str, config: &str| {
        tenants::secret(&api, namespace, name, kind, config)
    };
    let pod = |namespace: &str, image: &str, more: &Value| {
        tenants::pod(&api, namespace, "app", image, more)
    };
    let good = |user: &str| docker_config(&[(host, user, &password(user))]).to_string();
    secret("own", "pull", CONFIG, &good("own"))?;
    pod(
        "own",
        &image("own"),
        &json!({"imagePullSecrets": names(&["pull"])}),
    )?;
    // A tenant's helper and headers run and go nowhere.
    let mut hostile: Value = serde_json::from_str(&good("account"))?;
    hostile["credHelpers"] = json!({host: "evil"});
    hostile["HttpHeaders"] = json!({"X-Leak": SECRET});
    secret("account", "pull", CONFIG, &hostile.to_string())?;
    account(&api, "account", "builder", &["pull"])?;
    pod(
        "account",
        &image("account"),
        &json!({"serviceAccountName": "builder"}),
    )?;
    secret(
        "rotated",
        "old",
        CONFIG,
        &docker_config(&[(host, "rotated", "wrong")]).to_string(),
    )?;
    secret("rotated", "new", CONFIG, &good("rotated"))?;
    pod(
        "rotated",
        &image("rotated"),
        &json!({"imagePullSecrets": names(&["old", "new"])}),
    )?;
    let auths = docker_config(&[(
        &format!("https://{host}/v2/"),
        "legacy",
        &password("legacy"),
    )]);
    secret("legacy", "pull", LEGACY, &auths["auths"].to_string())?;
    pod(
        "legacy",
        &image("legacy"),
        &json!({"imagePullSecrets": names(&["pull"])}),
    )?;
    pod(
        "missing",
        &image("missing"),
        &json!({"imagePullSecrets": names(&["pull"])}),
    )?;
    secret("forbidden", "pull", CONFIG, &good("forbidden"))?;
    pod(
        "forbidden",
        &image("forbidden"),
        &json!({"imagePullSecrets": names(&["pull"])}),
    )?;
    secret("malformed", "pull", CONFIG, "{\"auths\": {}}")?;
    pod(
        "malformed",
        &image("malformed"),
        &json!({"imagePullSecrets": names(&["pull"])}),
    )?;
    secret(
        "foreign",
        "pull",
        CONFIG,
        &docker_config(&[("registry.example", "foreign", &password("foreign"))]).to_string(),
    )?;
    pod(
        "foreign",
        &image("foreign"),
        &json!({"imagePullSecrets": names(&["pull"])}),
    )?;
    // A secret that no pod names.
    secret("none", "pull", CONFIG, &good("none"))?;
    pod("none", &image("none"), &json!({}))?;

    let readable: Vec<_> = [
        "own",
        "account",
        "rotated",
        "legacy",
        "missing",
        "malformed",
        "foreign",
        "none",
    ]
    .into_iter()
    .map(|namespace| (namespace, "secrets", &["pull", "old", "new"][..]))
    .chain([("account", "serviceaccounts", &["builder"][..])])
    .collect();
    census(&api, &readable)?;
    let kubeconfig = log_in(&api, &plane, "census")?;
    let scratch = Scratch::new()?;
    let folder = tempfile::tempdir()?;
    let (crane, noted) = noting_crane(folder.path())?;
    let mut command = program();
    command.args([
        "snapshot",
        "--cluster-name",
        "test",
        "--pull-secrets",
        "namespace",
        "--crane",
    ]);
    command.arg(&crane).arg("--store").arg(scratch.store());
    command.env("KUBECONFIG", kubeconfig);
    command
        .env("SSL_CERT_FILE", registry.authority())
        .env("HOME", folder.path());
    let output = command.output()?;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        stderr(&output)
    );
    assert!(output.status.success(), "{said}");

    let found: BTreeMap<_, _> = rows(&scratch.store())?
        .into_iter()
        .map(|row| (row["namespace"].clone(), row))
        .collect();
    let outcome = |row: &Row| {
        ["inspection_status", "error_kind", "distro_id"]
            .map(|name| row[name].clone())
            .join(" ")
    };
    for (namespace, expected, message) in [
        ("own", "ok  debian", ""),
        ("account", "ok  debian", ""),
        ("rotated", "ok  debian", ""),
        ("legacy", "ok  debian", ""),
        (
            "missing",
            "failed unauthorized ",
            "secret missing/pull does not exist",
        ),
        (
            "forbidden",
            "failed unauthorized ",
            r#"bind a Role in namespace forbidden with the rule {apiGroups: [""], resources: ["secrets"], resourceNames: ["pull"], verbs: ["get"]}"#,
        ),
        (
            "malformed",
            "failed unauthorized ",
            "secret malformed/pull cannot be used: it holds no credentials",
        ),
        ("foreign", "failed unauthorized ", "wants other credentials"),
        (
            "none",
            "failed unauthorized ",
            r#"resources: ["serviceaccounts"], resourceNames: ["default"], verbs: ["get"]"#,
        ),
    ] {
        let row = &found[namespace];
        assert_eq!(
            outcome(row),
            expected,
            "{namespace}: {}",
            row["error_message"]
        );
        assert!(
            row["error_message"].contains(message),
            "{namespace}: {}",
            row["error_message"]
        );
    }
    assert_eq!(found.len(), spaces.len());

    // Each request was made by the pods' own user, or by nobody.
    let mut users = BTreeSet::new();
    for note in notes(&noted)? {
        let (_, reference) = note.request.split_once(' ').ok_or("no reference")?;
        let namespace = reference.split('/').nth(1).ok_or("no repository")?;
        for (key, user) in note.entries {
            assert_eq!(
                (key.as_str(), user.as_str()),
                (host.as_str(), namespace),
                "{reference}"
            );
            users.insert(user);
        }
    }
    assert_eq!(
        users.into_iter().collect::<Vec<_>>(),
        ["account", "legacy", "own", "rotated"]
    );
    assert!(!said.contains(SECRET), "{said}");
    for file in files_below(&scratch.store())? {
        let bytes = fs::read(scratch.store().join(&file))?;
        assert!(!String::from_utf8_lossy(&bytes).contains(SECRET), "{file}");
    }
    Ok(())
}
