//! The operator's credential helpers: `docker-credential-NAME get`, run by us for hosts that the
//! operator named, with the environment that a workload's identity needs and nothing else.
//!
//! An answer serves the run; after a refusal the helper is asked again. Time and output are bounded,
//! the helper ends with its process group, and nothing that it says is repeated.

use std::collections::HashMap;
use std::ffi::OsString;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use super::credentials::{Credential, auth_key};
use crate::sync::lock;

/// A cloud's token service answers within seconds.
const TIME: Duration = Duration::from_secs(30);
/// Output at the most; tokens of clouds have up to 4 KiB.
const MAX_OUTPUT_BYTES: usize = 64 << 10;

/// What the credential helpers of the clouds need of a workload's identity: names, and paths of tokens
/// and settings. Keys, such as AWS_SECRET_ACCESS_KEY, are the store's.
const ENVIRONMENT: &[&str] = &[
    "PATH",
    "HOME",
    "XDG_RUNTIME_DIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "https_proxy",
    "http_proxy",
    "no_proxy",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AZURE_CLIENT_ID",
    "AZURE_TENANT_ID",
    "AZURE_AUTHORITY_HOST",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_CONFIG_DIR",
    "CLOUDSDK_CONFIG",
    "GOOGLE_APPLICATION_CREDENTIALS",
];

/// A helper's name and a registry.
type Key = (Arc<str>, Arc<str>);
type Answer = Result<Option<Arc<Credential>>, &'static str>;

/// Helpers, and what they answered.
#[derive(Default)]
pub struct Helpers {
    environment: Vec<(&'static str, OsString)>,
    known: Mutex<HashMap<Key, Arc<OnceCell<Answer>>>>,
}

impl Helpers {
    /// Helpers with what they need of our own environment.
    pub fn from_environment() -> Self {
        let environment = ENVIRONMENT
            .iter()
            .filter_map(|name| std::env::var_os(name).map(|value| (*name, value)));
        Self {
            environment: environment.collect(),
            known: Mutex::default(),
        }
    }

    /// The credential that a helper has for a registry, if it has one; or what is wrong with the helper.
    pub async fn get(&self, name: &str, registry: &str) -> Answer {
        let known = {
            let mut known = lock(&self.known);
            Arc::clone(known.entry((name.into(), registry.into())).or_default())
        };
        known.get_or_init(|| self.run(name, registry)).await.clone()
    }

    /// Forgets an answer that was refused, unless it is another by now.
    pub fn forget(&self, name: &str, registry: &str, refused: Option<&Arc<Credential>>) {
        let mut known = lock(&self.known);
        let key = (name.into(), registry.into());
        let is_same = known
            .get(&key)
            .and_then(|answer| answer.get())
            .is_some_and(|answer| {
                answer
                    .as_ref()
                    .is_ok_and(|answer| answer.as_ref() == refused)
            });
        if is_same {
            known.remove(&key);
        }
    }

    async fn run(&self, name: &str, registry: &str) -> Answer {
        match tokio::time::timeout(TIME, self.answer(name, registry)).await {
            Ok(answer) => answer,
            Err(_) => Err("did not answer in time"),
        }
    }

    async fn answer(&self, name: &str, registry: &str) -> Answer {
        let mut command = Command::new(format!("docker-credential-{name}"));
        command
            .arg("get")
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .map_err(|_| "could not be started: is it on PATH?")?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let _group = Group(id.and_then(Pid::from_raw));
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("has no input or output");
        };
        // One that does not read its input says so by its status.
        let _ = input.write_all(auth_key(registry).as_bytes()).await;
        drop(input);
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_OUTPUT_BYTES + 1));
        let read = output
            .take(MAX_OUTPUT_BYTES as u64 + 1)
            .read_to_end(&mut text)
            .await;
        let status = child.wait().await;
        read.map_err(|_| "broke off")?;
        if text.len() > MAX_OUTPUT_BYTES {
            return Err("answers with too much");
        }
        if !status.is_ok_and(|status| status.success()) {
            // So the protocol says that it has none.
            let is_absent = text.starts_with(b"credentials not found in native keychain");
            return if is_absent {
                Ok(None)
            } else {
                Err("failed: try it by hand")
            };
        }
        credential(&text)
    }
}

/// Ends a helper's group, whatever became of it.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawAnswer {
    #[serde(default)]
    username: String,
    secret: String,
}

fn credential(text: &[u8]) -> Answer {
    let raw: RawAnswer = serde_json::from_slice(text).map_err(|_| "answers with no credential")?;
    let (username, secret) = (Zeroizing::new(raw.username), Zeroizing::new(raw.secret));
    if secret.is_empty() {
        return Ok(None);
    }
    Ok(Some(Arc::new(if *username == "<token>" {
        Credential::from_identity_token(secret)
    } else {
        Credential::new(username, secret)
    })))
}

#[cfg(test)]
mod tests {
    use super::super::credentials::render_config;
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

    /// A helper that is a script.
    fn install(folder: &Path, name: &str, script: &str) -> Result {
        let path = folder.join(format!("docker-credential-{name}"));
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
        Ok(std::fs::set_permissions(
            &path,
            std::fs::Permissions::from_mode(0o755),
        )?)
    }

    fn helpers(folder: &Path) -> Helpers {
        let path = format!("{}:/usr/bin:/bin", folder.display());
        Helpers {
            environment: vec![("PATH", path.into()), ("AWS_ROLE_ARN", "role".into())],
            known: Mutex::default(),
        }
    }

    fn rendered(answer: Answer) -> Result<String> {
        let credential = answer?.ok_or("none")?;
        Ok(String::from_utf8(
            render_config("r", Some(&credential)).to_vec(),
        )?)
    }

    #[tokio::test]
    async fn a_helper_is_asked_once_for_each_registry_and_again_after_a_refusal() -> Result {
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("log");
        let script = format!(
            "read server; echo \"$1 $server $AWS_ROLE_ARN $SECRET\" >>{log}; n=$(wc -l <{log}); echo \"{{\\\"Username\\\":\\\"u\\\",\\\"Secret\\\":\\\"s$n\\\"}}\"",
            log = log.display()
        );
        install(folder.path(), "test", &script)?;
        let helpers = helpers(folder.path());
        let first = helpers.get("test", "a.example").await?;
        assert_eq!(helpers.get("test", "a.example").await?, first);
        helpers.get("test", "docker.io").await?;
        helpers.forget("test", "a.example", first.as_ref());
        let second = helpers.get("test", "a.example").await?;
        assert_ne!(second, first);
        // Another request was refused with the old one meanwhile.
        helpers.forget("test", "a.example", first.as_ref());
        assert_eq!(helpers.get("test", "a.example").await?, second);
        let asked = std::fs::read_to_string(&log)?;
        assert_eq!(
            asked.lines().collect::<Vec<_>>(),
            [
                "get a.example role ",
                "get https://index.docker.io/v1/ role ",
                "get a.example role "
            ]
        );
        Ok(())
    }

    #[tokio::test]
    async fn whatever_a_helper_does_it_ends_and_nothing_of_it_is_repeated() -> Result {
        let folder = tempfile::tempdir()?;
        for (name, script, expected) in [
            (
                "ok",
                r#"echo '{"ServerURL":"x","Username":"u","Secret":"p"}'"#,
                Ok(r#""username":"u","password":"p""#),
            ),
            (
                "token",
                r#"echo '{"Username":"<token>","Secret":"t"}'"#,
                Ok(r#"{"identitytoken":"t"}"#),
            ),
            (
                "none",
                "echo credentials not found in native keychain; exit 1",
                Err("none"),
            ),
            (
                "empty",
                r#"echo '{"Username":"","Secret":""}'"#,
                Err("none"),
            ),
            (
                "fails",
                "echo hunter2; exit 1",
                Err("failed: try it by hand"),
            ),
            ("odd", "echo hunter2", Err("answers with no credential")),
            (
                "much",
                "head -c 100000 /dev/zero",
                Err("answers with too much"),
            ),
        ] {
            install(folder.path(), name, script)?;
            let answer = rendered(helpers(folder.path()).get(name, "a.example").await);
            match expected {
                Ok(text) => assert!(answer?.contains(text), "{name}"),
                Err(text) => assert_eq!(
                    answer.err().map(|error| error.to_string()).as_deref(),
                    Some(text),
                    "{name}"
                ),
            }
        }
        let answer = helpers(folder.path()).get("absent", "a.example").await;
        assert_eq!(answer.err(), Some("could not be started: is it on PATH?"));
        Ok(())
    }
}
