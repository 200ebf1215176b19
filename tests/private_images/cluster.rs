//! The cluster: six namespaces with secrets as people have them, and the program's rights in them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};

use crate::fixtures::api::Api;
use crate::fixtures::tenants::{CONFIG, LEGACY, account, census, names, pod, secret};
use crate::harness::Result;
use crate::harness::docker_registry::{SECRET, docker_config, password};
use crate::registries::Registries;
use crate::table::Case;

/// Each has a user of its name.
pub(crate) const NAMESPACES: [&str; 6] = ["amber", "blue", "coral", "dune", "ember", "fern"];

/// A configuration with entries of users for keys.
fn config(entries: &[(&str, &str)]) -> Value {
    let passwords: Vec<_> = entries.iter().map(|(_, user)| password(user)).collect();
    let entries: Vec<_> = entries
        .iter()
        .zip(&passwords)
        .map(|((key, user), password)| (*key, *user, password.as_str()))
        .collect();
    docker_config(&entries)
}

/// Namespaces, secrets, service accounts and the program's rights.
pub(crate) fn fill(api: &Api, registries: &Registries) -> Result {
    api.add_namespaces(NAMESPACES)?;
    let host = &registries.address("private");
    let port = registries.port();
    let simple = |namespace: &str, name: &str, entries: &[(&str, &str)]| {
        secret(api, namespace, name, CONFIG, &config(entries).to_string())
    };
    for (name, key) in [
        ("host", host.clone()),
        ("address", registries.address("direct")),
        ("address-glob", format!("127.0.*.*:{port}")),
        ("path", format!("{host}/keys")),
        ("whole-path", format!("{host}/keys/whole-path")),
        ("glob", format!("*.localhost:{port}")),
        ("part-glob", format!("pri*te.local*:{port}")),
        ("glob-path", format!("*.localhost:{port}/keys/")),
        ("v1", format!("https://{host}/v1/")),
        ("v2", format!("https://{host}/v2/")),
        ("http", format!("http://{host}")),
        ("slash", format!("https://{host}/")),
        ("https-path", format!("https://{host}/keys")),
        ("other-port", "private.localhost:1".into()),
        ("no-port", "private.localhost".into()),
        ("other-path", format!("{host}/other")),
        ("one-star", format!("*:{port}")),
        ("other-host", format!("publ*.localhost:{port}")),
        ("with-user", format!("https://amber@{host}")),
    ] {
        simple("amber", name, &[(&key, "amber")])?;
    }
    let path = &format!("{host}/keys");
    simple(
        "amber",
        "longest-right",
        &[(host, "ghost-short"), (path, "amber")],
    )?;
    simple(
        "amber",
        "longest-wrong",
        &[(host, "amber"), (path, "ghost-long")],
    )?;
    simple("amber", "host-wrong", &[(host, "ghost-host")])?;
    simple("amber", "path-wrong", &[(path, "ghost-path")])?;
    let wrong = docker_config(&[(host, "amber", &format!("wrong:{SECRET}"))]);
    secret(api, "amber", "wrong-password", CONFIG, &wrong.to_string())?;
    forms(api, host)?;

    simple("blue", "pull", &[(host, "blue")])?;
    simple("blue", "wrong", &[(host, "ghost-blue")])?;
    for (name, secrets) in [
        ("builder", &["pull"][..]),
        ("default", &["pull"]),
        ("two", &["wrong", "pull"]),
        ("bare", &[]),
        ("stale", &["gone"]),
        ("locked", &["pull"]),
    ] {
        account(api, "blue", name, secrets)?;
    }

    simple("coral", "pull", &[(host, "coral")])?;
    account(api, "coral", "default", &[])?;

    broken(api, host)?;
    simple("dune", "good", &[(host, "dune")])?;
    simple("dune", "forbidden", &[(host, "dune")])?;

    simple("ember", "pull", &[(host, "ember")])?;
    account(api, "ember", "default", &["pull"])?;

    let (origin, cache) = (registries.address("mirrored"), registries.address("cache"));
    simple("fern", "all", &[(&format!("*.localhost:{port}"), "fern")])?;
    simple(
        "fern",
        "wrong",
        &[(&format!("*.localhost:{port}"), "ghost-fern")],
    )?;
    simple("fern", "origin", &[(&origin, "fern")])?;
    simple("fern", "cache", &[(&cache, "fern")])?;
    account(api, "fern", "default", &[])?;
    rights(api)
}

/// Secrets of other forms than `auths` with an `auth` each.
fn forms(api: &Api, host: &str) -> Result {
    let add = |name: &str, config: Value| secret(api, "amber", name, CONFIG, &config.to_string());
    let fields =
        json!({"username": "amber", "password": password("amber"), "email": "a@example.com"});
    add("fields", json!({"auths": {host: fields}}))?;
    let unpadded = STANDARD_NO_PAD.encode(format!("amber:{}", password("amber")));
    add("unpadded", json!({"auths": {host: {"auth": unpadded}}}))?;
    let mut hostile = config(&[(host, "amber")]);
    hostile["credHelpers"] = json!({host: "evil"});
    hostile["credsStore"] = json!("evil");
    hostile["HttpHeaders"] = json!({"X-Leak": SECRET});
    hostile["proxies"] = json!({"default": {"httpsProxy": "http://127.0.0.1:1"}});
    add("hostile", hostile)?;
    add(
        "helper-only",
        json!({"auths": {}, "credHelpers": {host: "evil"}}),
    )?;
    add(
        "store-only",
        json!({"auths": {host: {}}, "credsStore": "evil"}),
    )?;
    add("token", json!({"auths": {host: {"identitytoken": SECRET}}}))?;
    let legacy = |key: &str| config(&[(key, "amber")])["auths"].to_string();
    secret(api, "amber", "legacy", LEGACY, &legacy(host))?;
    let v1 = format!("https://{host}/v1/");
    secret(api, "amber", "legacy-v1", LEGACY, &legacy(&v1))?;
    Ok(())
}

/// What the API server takes, and nobody can use.
fn broken(api: &Api, host: &str) -> Result {
    let good = config(&[(host, "dune")]).to_string();
    let not_base64 = json!({"auths": {host: {"auth": format!("{{{SECRET}}}")}}}).to_string();
    for (name, kind, text) in [
        ("opaque", "Opaque", good.as_str()),
        ("shape", CONFIG, &json!({"auths": SECRET}).to_string()),
        ("legacy-shape", LEGACY, &json!({host: SECRET}).to_string()),
        ("auth", CONFIG, &not_base64),
        ("empty", CONFIG, r#"{"auths": {}}"#),
    ] {
        secret(api, "dune", name, kind, text)?;
    }
    let basic = json!({
        "metadata": {"name": "basic"},
        "type": "kubernetes.io/basic-auth",
        "stringData": {"username": "dune", "password": password("dune")},
    });
    api.create("/api/v1/namespaces/dune/secrets", &basic)?;
    Ok(())
}

/// The program may get, by name, what is there and what is missing; not all of it, and nothing in
/// `ember`.
fn rights(api: &Api) -> Result {
    let list = api.get("/api/v1/namespaces/amber/secrets")?;
    let items = list["items"].as_array().ok_or("no list")?;
    let amber = items
        .iter()
        .filter_map(|item| item["metadata"]["name"].as_str());
    let amber: Vec<_> = amber.collect();
    let dune = [
        "opaque",
        "basic",
        "shape",
        "legacy-shape",
        "auth",
        "empty",
        "missing",
        "good",
    ];
    let accounts = ["builder", "default", "two", "bare", "stale", "absent"];
    census(
        api,
        &[
            ("amber", "secrets", &amber),
            ("blue", "secrets", &["pull", "wrong", "gone"]),
            ("blue", "serviceaccounts", &accounts),
            ("coral", "secrets", &["pull", "host"]),
            ("coral", "serviceaccounts", &["default", "builder"]),
            ("dune", "secrets", &dune),
            ("fern", "secrets", &["all", "wrong", "origin", "cache"]),
            ("fern", "serviceaccounts", &["default"]),
        ],
    )?;
    Ok(())
}

/// The pod of a case.
pub(crate) fn run(api: &Api, number: usize, case: &Case, image: &str) -> Result {
    let mut spec = json!({});
    let mut secrets = Vec::new();
    for name in case.names.split_whitespace() {
        match name.strip_prefix('@') {
            Some(account) => spec["serviceAccountName"] = json!(account),
            None => secrets.push(name),
        }
    }
    spec["imagePullSecrets"] = names(&secrets);
    pod(api, case.namespace, &format!("pod-{number}"), image, &spec)?;
    Ok(())
}
