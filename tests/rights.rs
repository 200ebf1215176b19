//! The rights that the CronJob's README names, on a real API server: with all of them nothing is refused,
//! without one what the README says happens, and no Secret is read that need not be.

mod fixtures;
mod harness;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use fixtures::api::Api;
use fixtures::distributions;
use fixtures::images::{ImageSpec, Platform};
use fixtures::tenants::{self, CONFIG, account, names};
use harness::control_plane::{Access, ControlPlane};
use harness::docker_registry::{DockerRegistry, docker_config, password};
use harness::{Result, Row, crane, program, rows, stderr, succeed};
use serde_json::json;

const USER: &str = "system:serviceaccount:image-census:image-census";
/// A pod names a secret; a pod's account names one.
const TEAMS: [&str; 2] = ["team-a", "team-b"];

struct Site {
    registry: DockerRegistry,
    plane: ControlPlane,
    folder: tempfile::TempDir,
    kubeconfig: PathBuf,
    runs: usize,
    events: usize,
}

/// What a night came to.
struct Night {
    code: Option<i32>,
    said: String,
    rows: BTreeMap<String, Row>,
    /// Verb and resource, with the name that was asked for, and how often; and how often it was refused.
    asked: BTreeMap<String, usize>,
    refused: usize,
}

impl Site {
    fn new() -> Result<Self> {
        let registry = DockerRegistry::start(&["pusher", "team-a", "team-b"])?;
        let plane = ControlPlane::start()?;
        let api = Api::connect(&plane.kubeconfig())?;
        api.add_namespaces(TEAMS)?;
        let pusher = registry.crane_as("pusher")?;
        for team in TEAMS {
            let image = ImageSpec::new(Platform::linux("amd64")).layer(distributions::debian_12());
            let image = image.label("org.opencontainers.image.title", team).build();
            let reference = format!("{}/{team}/app:1", registry.address);
            fixtures::registry::push(&image, &pusher, &reference)?;
            let config = docker_config(&[(&registry.address, team, &password(team))]);
            tenants::secret(&api, team, "login", CONFIG, &config.to_string())?;
            let spec = match team {
                "team-a" => json!({"imagePullSecrets": names(&["login"])}),
                _ => {
                    account(&api, team, "builder", &["login"])?;
                    json!({"serviceAccountName": "builder"})
                }
            };
            tenants::pod(&api, team, "app", &reference, &spec)?;
        }
        let folder = tempfile::tempdir()?;
        deploy(&plane, &folder)?;
        let token = ["create", "token", "image-census", "-n", "image-census"];
        let token = succeed(&mut plane.kubectl(&token)?)?.trim().to_owned();
        let access = Access {
            token: Some(token),
            ..Access::default()
        };
        let kubeconfig = plane.kubeconfig_for("census", &access)?;
        Ok(Self {
            registry,
            plane,
            folder,
            kubeconfig,
            runs: 0,
            events: 0,
        })
    }

    fn night(&mut self, arguments: &[&str]) -> Result<Night> {
        self.runs += 1;
        let store = self.folder.path().join(format!("store-{}", self.runs));
        let mut command = program();
        command.args(["snapshot", "--cluster-name", "test", "--crane"]);
        command
            .arg(crane()?)
            .arg("--store")
            .arg(&store)
            .args(arguments);
        command.env("KUBECONFIG", &self.kubeconfig);
        command.env("SSL_CERT_FILE", self.registry.authority());
        command.env("HOME", self.folder.path());
        let output = command.output()?;
        let events = self.plane.audit()?;
        let (mut asked, mut refused) = (BTreeMap::new(), 0);
        for event in events.iter().skip(self.events) {
            assert_eq!(event["user"]["username"], USER, "{event}");
            let of = &event["objectRef"];
            let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let words = [
                &event["verb"],
                &of["resource"],
                &of["namespace"],
                &of["name"],
            ];
            let key = words.map(word).join(" ").trim_end().to_owned();
            *asked.entry(key).or_default() += 1;
            refused += usize::from(event["responseStatus"]["code"] == 403);
        }
        self.events = events.len();
        let rows = if store.join("latest").exists() {
            rows(&store)?
        } else {
            Vec::new()
        };
        Ok(Night {
            code: output.status.code(),
            said: stderr(&output),
            rows: rows
                .into_iter()
                .map(|row| (row["namespace"].clone(), row))
                .collect(),
            asked,
            refused,
        })
    }

    /// Changes a role by a JSON patch, for a night.
    fn without(&mut self, role: &[&str], patch: &str, arguments: &[&str]) -> Result<Night> {
        let kept = self.plane.read(&[&["get"], role].concat())?;
        let change = [&["patch"], role, &["--type=json", "-p", patch]].concat();
        succeed(&mut self.plane.kubectl(&change)?)?;
        let night = self.night(arguments)?;
        let restored = json!([{"op": "replace", "path": "/rules", "value": kept["rules"]}]);
        let restored = restored.to_string();
        let restore = [&["patch"], role, &["--type=json", "-p", &restored]].concat();
        succeed(&mut self.plane.kubectl(&restore)?)?;
        Ok(night)
    }
}

/// Applies the kustomization with the rights in both teams' namespaces, as its README says.
fn deploy(plane: &ControlPlane, folder: &tempfile::TempDir) -> Result {
    let cronjob = folder.path().join("cronjob");
    let from = harness::root().join("cronjob");
    succeed(
        std::process::Command::new("cp")
            .arg("-r")
            .arg(from)
            .arg(&cronjob),
    )?;
    let write = |name: &str, text: String| -> Result {
        let place = cronjob.join("mine").join(name);
        fs::create_dir_all(&place)?;
        Ok(fs::write(place.join("kustomization.yaml"), text)?)
    };
    let head = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n";
    write(
        "census",
        format!("{head}resources: [../../base]\ncomponents: [../../components/pull-secrets]\n"),
    )?;
    for team in TEAMS {
        let patch = "- {op: replace, path: /rules/0/resourceNames, value: [login]}\n    - {op: replace, path: /rules/1/resourceNames, value: [default, builder]}";
        write(
            team,
            format!(
                "{head}namespace: {team}\nresources: [../../pull-secrets]\npatches:\n- target: {{kind: Role, name: image-census-pull-secrets}}\n  patch: |-\n    {patch}\n"
            ),
        )?;
    }
    succeed(
        plane
            .kubectl(&["apply", "-f"])?
            .arg(cronjob.join("base/namespace.yaml")),
    )?;
    for name in ["census"].into_iter().chain(TEAMS) {
        succeed(
            plane
                .kubectl(&["apply", "-k"])?
                .arg(cronjob.join("mine").join(name)),
        )?;
    }
    Ok(())
}

fn outcome(night: &Night, team: &str) -> Result<String> {
    let row = night
        .rows
        .get(team)
        .ok_or_else(|| format!("no row: {}", night.said))?;
    Ok(["inspection_status", "error_kind", "error_message"]
        .map(|name| &*row[name])
        .join(" "))
}

#[test]
fn each_right_is_needed_for_what_the_readme_says_and_no_other_is() -> Result {
    let mut site = Site::new()?;
    let secrets = ["--pull-secrets", "namespace"];

    // All of them: nothing is refused, and each Secret is read once, by its name.
    let night = site.night(&secrets)?;
    assert_eq!(night.code, Some(0), "{}", night.said);
    for team in TEAMS {
        assert_eq!(outcome(&night, team)?, "ok  ");
    }
    let expected = [
        "get secrets team-a login",
        "get secrets team-b login",
        "get serviceaccounts team-a default",
        "get serviceaccounts team-b builder",
        "list nodes",
        "list pods",
    ];
    let asked: Vec<_> = night
        .asked
        .iter()
        .map(|(what, times)| (&**what, *times))
        .collect();
    assert_eq!(asked, expected.map(|what| (what, 1)));
    assert_eq!(night.refused, 0);

    // Not asked for, no Secret is read.
    let night = site.night(&[])?;
    assert_eq!(night.code, Some(0), "{}", night.said);
    let asked: Vec<_> = night.asked.keys().map(String::as_str).collect();
    assert_eq!((asked, night.refused), (vec!["list nodes", "list pods"], 0));
    assert!(outcome(&night, "team-a")?.starts_with("failed unauthorized"));

    let cluster = ["clusterrole", "image-census"];
    let only = |resource: &str| {
        json!([{"op": "replace", "path": "/rules/0/resources", "value": [resource]}]).to_string()
    };
    let night = site.without(&cluster, &only("nodes"), &[])?;
    assert_eq!(night.code, Some(1), "{}", night.said);
    assert!(
        night.said.contains("bind a ClusterRole with the rule"),
        "{}",
        night.said
    );
    assert!(night.rows.is_empty());

    let night = site.without(&cluster, &only("pods"), &secrets)?;
    assert_eq!(night.code, Some(0), "{}", night.said);
    assert!(
        night.said.contains("platforms come from node selectors"),
        "{}",
        night.said
    );
    assert_eq!(night.rows["team-a"]["platform_source"], "default");
    assert_eq!(outcome(&night, "team-a")?, "ok  ");

    for (team, rule, words) in [
        ("team-a", 0, ["Secret", "login", "get"]),
        ("team-b", 0, ["Secret", "login", "get"]),
        ("team-b", 1, ["ServiceAccount", "builder", "get"]),
    ] {
        let role = ["role", "image-census-pull-secrets", "-n", team];
        let patch = json!([{"op": "remove", "path": format!("/rules/{rule}")}]).to_string();
        let night = site.without(&role, &patch, &secrets)?;
        assert_eq!((night.code, night.refused), (Some(0), 1), "{}", night.said);
        let found = outcome(&night, team)?;
        assert!(found.starts_with("failed unauthorized "), "{found}");
        for word in words {
            assert!(
                found.to_lowercase().contains(&word.to_lowercase()),
                "{word}: {found}"
            );
        }
        let other = TEAMS
            .into_iter()
            .find(|other| *other != team)
            .ok_or("one team")?;
        assert_eq!(outcome(&night, other)?, "ok  ");
    }
    Ok(())
}
