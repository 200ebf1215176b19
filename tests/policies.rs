//! The documented policies on a real S3 server: each account can do its own work, and nobody else's.

mod fixtures;
mod harness;
#[path = "harness/night.rs"]
mod night;

use std::fs;
use std::process::{Command, Output};

use harness::object_store::{BUCKET, ObjectStore};
use harness::{Result, crane, files_below, program, root, stderr};
use night::Night;
use serde_json::Value;

const PREFIX: &str = "fleet/census";

type Account = Vec<(&'static str, String)>;

/// A documented policy's statements, for an account of a bucket's policy.
fn statements(policy: &str, account: &str) -> Result<Vec<Value>> {
    let file = root().join("docs/policies").join(format!("{policy}.json"));
    let text = fs::read_to_string(file)?
        .replace("BUCKET", BUCKET)
        .replace("PREFIX", PREFIX)
        .replace("CLUSTER", "test");
    let mut policy: Value = serde_json::from_str(&text)?;
    let statements = policy["Statement"].as_array_mut().ok_or("no statements")?;
    for (number, statement) in statements.iter_mut().enumerate() {
        // An identity's policy has none; a Sid is its own in a document.
        statement["Principal"] = serde_json::json!([account]);
        statement["Sid"] = format!("{account}{number}").into();
    }
    Ok(statements.clone())
}

struct Site {
    server: ObjectStore,
    night: Night,
}

impl Site {
    fn snapshot(&self, cluster: &str, time: &str) -> Result<Command> {
        let mut command = self.other(&["snapshot", "--cluster-name", cluster, "--pods"]);
        command.arg(self.night.pods()).arg("--crane").arg(crane()?);
        command.args(["--snapshot-time", time]);
        Ok(command)
    }

    /// A command on the store.
    fn other(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.env("IMAGE_CENSUS_STORE", format!("s3://{BUCKET}/{PREFIX}"));
        command.args(arguments);
        command
    }

    fn run_as(&self, account: &Account, mut command: Command) -> Result<Output> {
        self.server.configure(&mut command);
        Ok(command.envs(account.iter().cloned()).output()?)
    }

    fn may(&self, account: &Account, command: Command) -> Result<String> {
        let output = self.run_as(account, command)?;
        assert!(output.status.success(), "{}", stderr(&output));
        let said = stderr(&output);
        assert!(!said.contains("AccessDenied"), "{said}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Ends with 1 and names the right, and the bucket is as before.
    fn may_not(&self, account: &Account, command: Command, right: &str) -> Result {
        let before = files_below(&self.server.bucket())?;
        let output = self.run_as(account, command)?;
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("AccessDenied") && said.contains(right),
            "{said}"
        );
        assert_eq!(files_below(&self.server.bucket())?, before);
        Ok(())
    }
}

#[test]
fn each_documented_policy_allows_its_own_work_and_no_other() -> Result {
    let site = Site {
        server: ObjectStore::start(&[])?,
        night: Night::new()?,
    };
    let names = ["writer", "pruner", "reader"];
    let [writer, pruner, reader] = names.map(|name| site.server.create_account(name));
    let (writer, pruner, reader) = (writer?, pruner?, reader?);
    let mut all = Vec::new();
    for name in names {
        all.extend(statements(name, name)?);
    }
    site.server.set_policy(&all)?;

    // Before the first night there is nothing, which is told from a right that is missing.
    let output = site.run_as(&writer, site.other(&["trend", "--cluster", "test"]))?;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no complete run"), "{output:?}");
    for day in 20..24 {
        let time = format!("2026-11-{day}T02:00:00Z");
        let mut snapshot = site.snapshot("test", &time)?;
        snapshot.args(["--formats", "html,xlsx,parquet,ndjson"]);
        let said = site.run_as(&writer, snapshot)?;
        assert!(said.status.success(), "{}", stderr(&said));
        assert!(!stderr(&said).contains("lacks a format"), "{said:?}");
    }
    let latest = site
        .server
        .bucket()
        .join(PREFIX)
        .join("latest/cluster=test.json");
    assert!(fs::read_to_string(latest)?.contains("20261123T020000Z"));

    // Another cluster's part, and deleting, are not the writer's.
    let other = site.snapshot("other", "2026-11-24T02:00:00Z")?;
    site.may_not(&writer, other, "s3:PutObject")?;
    let prune = ["prune", "--cluster", "test", "--keep-last", "2"];
    site.may_not(&writer, site.other(&prune), "s3:DeleteObject")?;

    let list = site.may(&reader, site.other(&["list", "--format", "json"]))?;
    assert_eq!(
        serde_json::from_str::<Value>(&list)?["runs"]
            .as_array()
            .map(Vec::len),
        Some(4)
    );
    site.may(&reader, site.other(&["get", "latest", "--format", "csv"]))?;
    site.may(&reader, site.other(&["diff", "latest~1", "latest"]))?;
    site.may_not(
        &reader,
        site.snapshot("test", "2026-11-24T02:00:00Z")?,
        "s3:PutObject",
    )?;
    site.may_not(&reader, site.other(&prune), "s3:DeleteObject")?;

    site.may_not(
        &pruner,
        site.snapshot("test", "2026-11-24T02:00:00Z")?,
        "s3:PutObject",
    )?;
    site.may(&pruner, site.other(&prune))?;
    let list = site.may(&reader, site.other(&["list", "--format", "json"]))?;
    assert_eq!(
        serde_json::from_str::<Value>(&list)?["runs"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    Ok(())
}
