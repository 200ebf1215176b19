//! What the report of the whole fleet and of its parts says, and what it takes to get one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::fixtures::api::Api;
use crate::fixtures::pods::{Pod, SECRET_VALUE};
use crate::fixtures::tenants;
use crate::fleet::{Expected, FLEET_PODS, Fleet, fleet};
use crate::harness::control_plane::{Access, ControlPlane};
use crate::harness::{Result, Row, files_below, rows, stderr};
use crate::{Scratch, snapshot};

/// Runs a snapshot that must succeed, and compares all its rows; its log.
fn expect(command: &mut Command, scratch: &Scratch, expected: &[Expected]) -> Result<String> {
    let output = command.output()?;
    let said = stderr(&output);
    assert!(output.status.success(), "{}: {said}", output.status);
    compare(expected, &rows(&scratch.store())?);
    Ok(said)
}

/// Row by row, in order; says what the first differences are.
fn compare(expected: &[Expected], rows: &[Row]) {
    let differences: Vec<String> = expected
        .iter()
        .zip(rows)
        .flat_map(|(expected, row)| {
            let place = format!("{} {}", row["namespace"], row["pod"]);
            expected.iter().filter_map(move |(column, value)| {
                let found = &row[*column];
                (found != value).then(|| format!("{place}: {column} is {found}, not {value}"))
            })
        })
        .collect();
    let first = &differences[..differences.len().min(8)];
    assert!(first.is_empty(), "{} differ: {first:#?}", differences.len());
    assert_eq!(rows.len(), expected.len());
}

#[test]
fn every_row_is_what_was_put_into_the_cluster() -> Result {
    let fleet = fleet()?;
    let scratch = Scratch::new()?;
    let expected = fleet.expected(true, |_| true)?;
    assert!(expected.len() > FLEET_PODS);
    let mut command = snapshot(&fleet.plane.kubeconfig(), &scratch.store())?;
    expect(&mut command, &scratch, &expected)?;
    let manifest = scratch.manifest()?;
    assert_eq!(manifest["cluster_name"], "lab");
    assert_eq!(
        manifest["scope"],
        json!({"namespaces": [], "excluded_namespaces": [], "selector": null})
    );
    assert_eq!(manifest["completeness"]["complete"], true);
    assert!(
        manifest["cluster_id"]
            .as_str()
            .is_some_and(|id| id.len() == 64)
    );
    Ok(())
}

#[test]
fn a_part_of_the_cluster_is_what_was_asked_for_and_the_manifest_says_so() -> Result {
    let fleet = fleet()?;
    type Wanted = fn(&Pod) -> bool;
    let cases: [(&[&str], Value, Wanted); 4] = [
        (
            &["--namespace", "team-02", "--namespace", "team-01"],
            json!({"namespaces": ["team-01", "team-02"], "excluded_namespaces": [], "selector": null}),
            |pod| ["team-01", "team-02"].contains(&pod.namespace.as_str()),
        ),
        (
            &[
                "--exclude-namespace",
                "team-03",
                "--exclude-namespace",
                "team-00",
            ],
            json!({"namespaces": [], "excluded_namespaces": ["team-00", "team-03"], "selector": null}),
            |pod| !["team-00", "team-03"].contains(&pod.namespace.as_str()),
        ),
        (
            &["--selector", "app=x"],
            json!({"namespaces": [], "excluded_namespaces": [], "selector": "app=x"}),
            |pod| pod.labels["app"] == "x",
        ),
        (
            &[
                "--namespace",
                "team-05",
                "--selector",
                "app in (x, z), team!=owners-1",
            ],
            json!({"namespaces": ["team-05"], "excluded_namespaces": [], "selector": "app in (x, z), team!=owners-1"}),
            |pod| {
                pod.namespace == "team-05"
                    && pod.labels["app"] == "x"
                    && pod.labels["team"] != "owners-1"
            },
        ),
    ];
    for (arguments, scope, wanted) in cases {
        let scratch = Scratch::new()?;
        let expected = fleet.expected(true, wanted)?;
        assert!((10..600).contains(&expected.len()), "{arguments:?}");
        let mut command = snapshot(&fleet.plane.kubeconfig(), &scratch.store())?;
        expect(command.args(arguments), &scratch, &expected)?;
        assert_eq!(scratch.manifest()?["scope"], scope, "{arguments:?}");
    }
    Ok(())
}

#[test]
fn the_context_that_is_named_is_the_one_that_is_read() -> Result {
    let fleet = fleet()?;
    let access = Access {
        as_stranger: true,
        ..Access::default()
    };
    let kubeconfig = fleet.plane.kubeconfig_for("stranger", &access)?;
    let only = ["--namespace", "team-07"];
    let scratch = Scratch::new()?;
    let mut command = snapshot(&kubeconfig, &scratch.store())?;
    let output = command.args(only).output()?;
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("401"), "{}", stderr(&output));
    assert!(scratch.has_no_report()?);

    let mut command = snapshot(&kubeconfig, &scratch.store())?;
    let output = command.args(only).args(["--context", "nowhere"]).output()?;
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("nowhere"), "{}", stderr(&output));

    let expected = fleet.expected(true, |pod| pod.namespace == "team-07")?;
    let mut command = snapshot(&kubeconfig, &scratch.store())?;
    expect(
        command.args(only).args(["--context", "lab"]),
        &scratch,
        &expected,
    )?;
    assert_eq!(scratch.manifest()?["cluster_name"], "lab");
    Ok(())
}

/// What a service account may do, and where.
pub(crate) enum Right {
    Everywhere(&'static str),
    In(&'static str, &'static str),
}

/// A kubeconfig with the token of a new service account that may list some resources.
pub(crate) fn account(fleet: &Fleet, name: &str, rights: &[Right]) -> Result<PathBuf> {
    let (api, home) = (&fleet.api, "/api/v1/namespaces/default/serviceaccounts");
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    api.create(home, &json!({"metadata": {"name": name}}))?;
    for (number, right) in rights.iter().enumerate() {
        let (place, prefix, resource) = match right {
            Right::Everywhere(resource) => (rbac.to_owned(), "Cluster", resource),
            Right::In(namespace, resource) => {
                (format!("{rbac}/namespaces/{namespace}"), "", resource)
            }
        };
        let metadata = json!({"name": format!("{name}-{number}")});
        let rules = json!([{"apiGroups": [""], "resources": [resource], "verbs": ["list"]}]);
        let collection = |what: &str| format!("{place}/{}{what}", prefix.to_lowercase());
        api.create(
            &collection("roles"),
            &json!({"metadata": metadata, "rules": rules}),
        )?;
        let role = json!({
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": format!("{prefix}Role"),
            "name": metadata["name"],
        });
        let subject = json!({"kind": "ServiceAccount", "name": name, "namespace": "default"});
        api.create(
            &collection("rolebindings"),
            &json!({"metadata": metadata, "roleRef": role, "subjects": [subject]}),
        )?;
    }
    log_in(api, &fleet.plane, name)
}

/// A kubeconfig with a token of a service account in the namespace `default`.
pub(crate) fn log_in(api: &Api, plane: &ControlPlane, name: &str) -> Result<PathBuf> {
    let access = Access {
        token: Some(tenants::token(api, name)?),
        ..Access::default()
    };
    plane.kubeconfig_for(name, &access)
}

#[test]
fn pods_alone_are_enough_and_nodes_only_add_platforms() -> Result {
    let fleet = fleet()?;
    let kubeconfig = account(&fleet, "pods-only", &[Right::Everywhere("pods")])?;
    let scratch = Scratch::new()?;
    let expected = fleet.expected(false, |_| true)?;
    let mut command = snapshot(&kubeconfig, &scratch.store())?;
    let said = expect(&mut command, &scratch, &expected)?;
    assert!(
        said.lines()
            .any(|line| line.contains("WARN") && line.contains("nodes")),
        "{said}"
    );
    let rights = [Right::Everywhere("pods"), Right::Everywhere("nodes")];
    let kubeconfig = account(&fleet, "pods-and-nodes", &rights)?;
    let scratch = Scratch::new()?;
    let expected = fleet.expected(true, |_| true)?;
    let mut command = snapshot(&kubeconfig, &scratch.store())?;
    let said = expect(&mut command, &scratch, &expected)?;
    assert!(!said.contains("WARN"), "{said}");
    Ok(())
}

#[test]
fn a_role_is_enough_for_its_namespace_and_for_no_other() -> Result {
    let fleet = fleet()?;
    let kubeconfig = account(&fleet, "one-team", &[Right::In("team-11", "pods")])?;
    let scratch = Scratch::new()?;
    let expected = fleet.expected(false, |pod| pod.namespace == "team-11")?;
    let mut command = snapshot(&kubeconfig, &scratch.store())?;
    expect(
        command.args(["--namespace", "team-11"]),
        &scratch,
        &expected,
    )?;
    assert_eq!(
        scratch.manifest()?["scope"]["namespaces"],
        json!(["team-11"])
    );

    let nothing = account(&fleet, "nothing", &[])?;
    let cases: [(&Path, &[&str], &str); 4] = [
        (&kubeconfig, &[], "ClusterRole"),
        (&kubeconfig, &["team-11", "team-12"], "team-12"),
        (&nothing, &[], "ClusterRole"),
        (&nothing, &["team-11"], "team-11"),
    ];
    for (kubeconfig, namespaces, place) in cases {
        let scratch = Scratch::new()?;
        let mut command = snapshot(kubeconfig, &scratch.store())?;
        for namespace in namespaces {
            command.args(["--namespace", namespace]);
        }
        let output = command.output()?;
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let last = said.lines().last().unwrap_or_default();
        for words in ["403", "pods", "list", place] {
            assert!(last.contains(words), "{words}: {said}");
        }
        assert!(scratch.has_no_report()?, "{namespaces:?}");
    }
    Ok(())
}

#[test]
fn no_secret_of_a_pod_and_no_token_is_said_at_any_log_level() -> Result {
    let fleet = fleet()?;
    let held = fleet.api.get_raw("/api/v1/namespaces/team-01/pods")?;
    assert!(String::from_utf8(held)?.contains(SECRET_VALUE));
    let token = fs::read_to_string(fleet.plane.kubeconfig())?;
    let token = token
        .lines()
        .find_map(|line| line.trim().strip_prefix("token: "));
    let token = token.ok_or("no token")?;
    for format in ["text", "json"] {
        let scratch = Scratch::new()?;
        let mut command = snapshot(&fleet.plane.kubeconfig(), &scratch.store())?;
        command.args(["--log-level", "trace", "--log-format", format]);
        let output = command.env("RUST_LOG", "trace").output()?;
        assert!(output.status.success(), "{}", stderr(&output));
        let mut texts = vec![output.stdout, output.stderr];
        for file in files_below(&scratch.store())? {
            texts.push(fs::read(scratch.store().join(file))?);
        }
        assert!(texts.len() > 5);
        for text in texts {
            let text = String::from_utf8_lossy(&text);
            assert!(!text.contains(SECRET_VALUE), "a pod's secret is said");
            assert!(!text.contains(token), "the token is said");
        }
    }
    Ok(())
}
