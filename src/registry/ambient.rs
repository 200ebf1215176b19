//! Whether crane would find a credential for a registry in the Docker or Podman configuration of our own
//! environment. Only the names of hosts are read.

use std::collections::HashMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// A configuration, as far as it says whose credentials are in it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Ambient {
    auths: HashMap<String, IgnoredAny>,
    cred_helpers: HashMap<String, IgnoredAny>,
}

impl Ambient {
    /// Reads what crane would read: the first of these files that exists.
    pub(super) fn read() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let home = || Some(PathBuf::from(variable("HOME")?).join(".docker"));
        let docker = variable("DOCKER_CONFIG").map(PathBuf::from).or_else(home);
        let podman = variable("XDG_RUNTIME_DIR").map(PathBuf::from);
        let files = [
            docker.map(|folder| folder.join("config.json")),
            variable("REGISTRY_AUTH_FILE").map(Into::into),
            podman.map(|folder| folder.join("containers/auth.json")),
        ];
        let text = files
            .into_iter()
            .flatten()
            .find_map(|file| std::fs::read(file).ok());
        // One that crane cannot read either is no credential.
        text.and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    /// Whether there may be a credential for a registry.
    pub(super) fn has(&self, registry: &str) -> bool {
        // Docker notes the hosts whose credentials are in its `credsStore` among the `auths`, too.
        let mut hosts = self.auths.keys().chain(self.cred_helpers.keys());
        hosts.any(|key| host_of(key) == canonical(registry))
    }
}

/// The host of a key: a host, a URL, or a repository.
fn host_of(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    canonical(rest.split('/').next().unwrap_or_default())
}

fn canonical(host: &str) -> &str {
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_says_whose_credentials_are_in_it() -> serde_json::Result<()> {
        let ambient: Ambient = serde_json::from_str(
            r#"{"auths": {"https://index.docker.io/v1/": {"auth": "x"}, "registry.example:5000/team": {}},
                "credHelpers": {"gcr.io": "gcloud"}, "credsStore": "desktop"}"#,
        )?;
        for (registry, expected) in [
            ("docker.io", true),
            ("registry.example:5000", true),
            ("gcr.io", true),
            ("registry.example", false),
            ("ghcr.io", false),
        ] {
            assert_eq!(ambient.has(registry), expected, "{registry}");
        }
        assert!(!Ambient::default().has("docker.io"));
        Ok(())
    }
}
