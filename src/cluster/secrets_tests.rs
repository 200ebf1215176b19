//! Pull secrets against a faked API server: what is asked for, and what becomes of each answer.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::fake::{Act, server, status};
use super::secrets::PullSecrets;
use crate::image::{ImageReference, Repository};
use crate::registry::credentials::render_config;
use crate::registry::source::{TenantCredentials, TenantKeyring};
use crate::snapshot::Puller;
use crate::sync::lock;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn auths(user: &str) -> Value {
    json!({"registry.example": {"auth": STANDARD.encode(format!("{user}:hunter2"))}})
}

fn answer(value: &Value) -> Act {
    Act::Answer(200, None, value.to_string())
}

fn secret(kind: &str, key: &str, content: &str) -> Act {
    answer(&json!({
        "kind": "Secret", "apiVersion": "v1",
        "metadata": {"name": "s", "annotations": {"note": "PASSWORD"}},
        "type": kind,
        "data": {key: STANDARD.encode(content), "other": "bm90aGluZw=="},
    }))
}

fn config(user: &str) -> Act {
    let content = json!({"auths": auths(user), "credHelpers": {"registry.example": "evil"}});
    secret(
        "kubernetes.io/dockerconfigjson",
        ".dockerconfigjson",
        &content.to_string(),
    )
}

fn account(secrets: &[&str]) -> Act {
    let secrets: Vec<_> = secrets.iter().map(|name| json!({"name": name})).collect();
    answer(&json!({"kind": "ServiceAccount", "imagePullSecrets": secrets}))
}

fn puller(secrets: &[&str]) -> Puller {
    Puller {
        namespace: "team-a".into(),
        secrets: secrets.iter().map(|name| Arc::from(*name)).collect(),
        service_account: "builder".into(),
    }
}

/// The users that are offered, and what is wrong.
fn offered(found: &TenantKeyring) -> Result<(Vec<String>, Vec<String>)> {
    let repository: Repository = "registry.example/a".parse::<ImageReference>()?.repository;
    let mut users = Vec::new();
    for credential in found.keyring.lookup(&repository) {
        let config: Value = serde_json::from_slice(&render_config("r", Some(&credential)))?;
        users.push(
            config["auths"]["r"]["username"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        );
    }
    Ok((users, found.problems.clone()))
}

async fn ask(acts: &[Act], puller: &Puller) -> Result<(Vec<String>, Vec<String>, Vec<String>)> {
    let (fetcher, asked) = server(acts);
    let (users, problems) = offered(&PullSecrets::with(fetcher).keyring(puller).await)?;
    let asked = lock(&asked).clone();
    for problem in &problems {
        assert!(
            !problem.contains("hunter2") && !problem.contains("PASSWORD"),
            "{problem}"
        );
    }
    Ok((users, problems, asked))
}

#[tokio::test]
async fn a_pods_own_secrets_come_first_and_each_is_asked_for_by_name() -> Result {
    let legacy = secret(
        "kubernetes.io/dockercfg",
        ".dockercfg",
        &auths("legacy").to_string(),
    );
    let acts = [account(&["shared", "own"]), config("own"), legacy];
    let (users, problems, asked) = ask(&acts, &puller(&["own"])).await?;
    assert_eq!(
        (users, problems),
        (vec!["own".into(), "legacy".into()], vec![])
    );
    assert_eq!(
        asked,
        [
            "/api/v1/namespaces/team-a/serviceaccounts/builder",
            "/api/v1/namespaces/team-a/secrets/own",
            "/api/v1/namespaces/team-a/secrets/shared",
        ]
    );
    Ok(())
}

#[tokio::test]
async fn what_was_asked_once_is_known_for_the_run_failures_too() -> Result {
    let (fetcher, asked) = server(&[account(&["gone"]), config("own"), status(404)]);
    let secrets = PullSecrets::with(fetcher);
    for _ in 0..3 {
        let (users, problems) = offered(&secrets.keyring(&puller(&["own"])).await)?;
        assert_eq!(users, ["own"]);
        assert_eq!(problems, ["secret team-a/gone does not exist"]);
    }
    assert_eq!(lock(&asked).len(), 3);
    Ok(())
}

#[tokio::test]
async fn what_may_pass_is_asked_for_again() -> Result {
    let throttled = Act::Answer(429, Some(("retry-after", "0")), String::new());
    let cut = Act::Answer(200, None, r#"{"kind":"Secret","data":{"#.into());
    for trouble in [
        throttled,
        status(503),
        Act::Hang,
        Act::Reset,
        Act::BreakOff,
        cut,
    ] {
        let acts = [account(&[]), trouble.clone(), trouble, config("own")];
        let (users, problems, asked) = ask(&acts, &puller(&["own"])).await?;
        assert_eq!((users, problems), (vec!["own".into()], vec![]));
        assert_eq!(asked.len(), 4);
    }
    Ok(())
}

#[tokio::test]
async fn what_is_missing_forbidden_or_malformed_is_a_reason_that_says_what_to_do() -> Result {
    let json = "kubernetes.io/dockerconfigjson";
    let key = ".dockerconfigjson";
    let large = format!(r#"{{"kind":"Secret","x":"{}"}}"#, "a".repeat(4 << 20));
    for (act, expected) in [
        (status(404), "secret team-a/own does not exist"),
        (
            status(403),
            r#"secret team-a/own may not be read: bind a Role in namespace team-a with the rule {apiGroups: [""], resources: ["secrets"], resourceNames: ["own"], verbs: ["get"]}"#,
        ),
        (
            status(401),
            "secret team-a/own could not be read: the API server answered 401: log in again",
        ),
        (secret("Opaque", key, "{}"), "its type is neither"),
        (
            secret("kubernetes.io/dockercfg", key, "{}"),
            "it has no data of its type",
        ),
        (
            secret(json, ".dockercfg", "{}"),
            "it has no data of its type",
        ),
        (
            secret(json, key, "hunter2"),
            "not a Docker configuration in JSON, at line 1",
        ),
        (
            secret(json, key, r#"{"auths":{"r":{"auth":"hunter2!"}}}"#),
            "auth is not base64",
        ),
        (
            secret(json, key, r#"{"auths":{}}"#),
            "it holds no credentials",
        ),
        (
            secret(json, key, r#"{"credsStore":"evil"}"#),
            "it holds no credentials",
        ),
        (
            answer(&json!({"kind": "Secret", "type": json, "data": {key: "hunter2!"}})),
            "its data is not base64",
        ),
        (
            answer(&json!({"kind": "Secret", "type": json})),
            "it has no data of its type",
        ),
        (
            answer(&json!({"kind": "ConfigMap", "type": json})),
            "the answer is not what was asked for",
        ),
        (
            answer(&json!({"kind": "Secret", "data": {key: {"PASSWORD": 7}}})),
            "the answer is not what",
        ),
        (
            Act::Answer(200, None, "<html>PASSWORD=hunter2".into()),
            "the answer is not what",
        ),
        (
            Act::Answer(200, None, large),
            "the answer is larger than 4 MiB",
        ),
    ] {
        let (users, problems, _) = ask(&[account(&[]), act], &puller(&["own"])).await?;
        assert!(users.is_empty());
        assert!(
            problems.len() == 1 && problems[0].contains(expected),
            "{expected}: {problems:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn an_account_that_may_not_be_read_matters_to_pods_without_secrets_of_their_own_only()
-> Result {
    let (users, problems, _) = ask(&[status(403), config("own")], &puller(&["own"])).await?;
    assert_eq!((users, problems), (vec!["own".into()], vec![]));
    let (_, problems, _) = ask(&[status(403)], &puller(&[])).await?;
    assert!(
        problems[0].contains(r#"resources: ["serviceaccounts"], resourceNames: ["builder"]"#),
        "{problems:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_name_that_is_a_path_is_asked_for_nowhere() -> Result {
    for name in [
        "../../../nodes",
        "a/b",
        "a?x=1",
        "",
        ".",
        "..",
        "A",
        "a%2fb",
        "-a",
        "a\nb",
        &"a".repeat(254),
    ] {
        let (users, problems, asked) = ask(&[account(&[])], &puller(&[name])).await?;
        assert_eq!((users.len(), asked.len()), (0, 1), "{name}");
        assert_eq!(
            problems,
            ["a secret in namespace team-a has a name that Kubernetes does not allow"]
        );
    }
    let mut odd = puller(&["own"]);
    odd.namespace = "../kube-system".into();
    let (_, problems, asked) = ask(&[], &odd).await?;
    assert!(
        asked.is_empty()
            && problems
                .iter()
                .all(|problem| !problem.contains("kube-system")),
        "{problems:?}"
    );
    Ok(())
}
