//! Secrets of tenants, which hold more than a credential: programs to run, headers to send, tokens.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::fixtures::manifests;
use crate::harness::bad_registry::{BadRegistry, Fault, PING};
use crate::harness::engines::expect_same_rows;
use crate::harness::{Result, crane, program};
use crate::outside::Outside;
use crate::secrets::{auth, secret};
use crate::site::{OK, debian, run};

/// An API server that answers what it was given, and does not know anything else.
struct Api(BadRegistry);

impl Api {
    fn start() -> Result<Self> {
        Ok(Self(BadRegistry::start()?))
    }

    fn answer(&self, path: &str, object: &Value) {
        let fault = Fault::Status {
            status: 200,
            header: "Content-Type: application/json".to_owned(),
            body: object.to_string().into_bytes(),
        };
        self.0.misbehave(path, fault);
    }

    fn secret(&self, namespace: &str, config: &Value) {
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "pull", "namespace": namespace},
            "type": "kubernetes.io/dockerconfigjson",
            "data": {".dockerconfigjson": STANDARD.encode(config.to_string())},
        });
        self.answer(
            &format!("/api/v1/namespaces/{namespace}/secrets/pull"),
            &secret,
        );
    }

    fn kubeconfig(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": {"server": format!("http://{}", self.0.address)}}],
            "users": [{"name": "test", "user": {"token": "of-the-api-server"}}],
        })
    }
}

#[test]
fn a_tenants_secret_is_a_user_and_a_password_for_its_own_pods_and_nothing_else() -> Result {
    let mut outside = Outside::new()?;
    let api = Api::start()?;
    outside.registry("tenant", None, OK)?;
    outside.must_have_its_secret("tenant");
    outside.registry("neighbour", None, OK)?;
    outside.registry(
        "tenant-realm",
        None,
        ("skipped", "policy", "a credential is in play"),
    )?;
    let realm = Fault::token_from("https://evil-tenant.example/token");
    outside.of("tenant-realm")?.misbehave(PING, realm);
    outside.never("tenant-realm", "evil-tenant.example:443");

    let folder = outside.site.folder.path().to_owned();
    let (bin, ran) = (folder.join("bin"), folder.join("ran"));
    fs::create_dir(&bin)?;
    let helper = bin.join("docker-credential-evil");
    fs::write(
        &helper,
        format!("#!/bin/sh\ntouch '{}'\nexit 1\n", ran.display()),
    )?;
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755))?;
    let mut own = auth("tenant");
    own["identitytoken"] = secret("tenant-identity-token").into();
    own["registrytoken"] = secret("tenant-registry-token").into();
    api.secret(
        "n",
        &json!({
            "auths": {"tenant.example": own, "tenant-realm.example": auth("tenant-realm")},
            "HttpHeaders": {"X-Leak": secret("tenant-header")},
            "credHelpers": {"tenant.example": "evil", "neighbour.example": "evil"},
            "credsStore": "evil",
        }),
    );
    // Another namespace's secret is for a registry that this one's pod wants to be asked.
    api.secret(
        "m",
        &json!({"auths": {"neighbour.example": auth("neighbour")}}),
    );
    let mut list: Value = serde_json::from_str(&manifests::pod_list(&outside.site.pods)?)?;
    for pod in list["items"].as_array_mut().ok_or("no pods")? {
        pod["spec"]["imagePullSecrets"] = json!([{"name": "pull"}]);
    }
    let items = list["items"].as_array_mut().ok_or("no pods")?;
    let mut other = items[0].clone();
    other["metadata"]["namespace"] = "m".into();
    other["metadata"]["name"] = "other".into();
    other["metadata"]["ownerReferences"] = json!([]);
    let image = debian("other");
    outside.registry("other", None, OK)?;
    outside.site.pods.pop();
    other["spec"]["containers"][0]["image"] = "other.example/other:1".into();
    let id = format!("other.example/other@{}", image.digest());
    other["status"]["containerStatuses"][0]["imageID"] = id.into();
    items.push(other);
    list["kind"] = "PodList".into();
    api.answer("/api/v1/pods", &list);
    api.answer(
        "/api/v1/nodes",
        &json!({"kind": "NodeList", "apiVersion": "v1", "metadata": {}, "items": []}),
    );

    let kubeconfig = folder.join("kubeconfig");
    fs::write(&kubeconfig, api.kubeconfig().to_string())?;
    outside.world.add_plain(&api.0.address, &api.0.address);
    outside.may_ask_for(&api.0.address);
    let mut command = program();
    command.args([
        "snapshot",
        "--cluster-name",
        "test",
        "--pull-secrets",
        "namespace",
    ]);
    command
        .arg("--store")
        .arg(outside.site.store())
        .arg("--crane")
        .arg(crane()?);
    outside.prepare(&mut command);
    let path = std::env::var("PATH")?;
    command
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("HOME", &folder)
        .env("KUBECONFIG", &kubeconfig);
    let ended = run(&mut command)?;
    expect_same_rows(&command, &outside.site.store())?;
    assert!(!ran.exists(), "a tenant's helper was run");
    outside.expect_no_leak(&ended)
}
