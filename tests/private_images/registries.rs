//! The registries: Debian's with passwords and a CA of its own under many names, an anonymous one and
//! two mirrors; the settings, the Docker configuration and the helpers that the operator has for them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::cluster::NAMESPACES;
use crate::fixtures::images::Built;
use crate::harness::certificate::Certificate;
use crate::harness::docker_registry::{DockerRegistry, docker_config, password};
use crate::harness::registry::Registry;
use crate::harness::{Result, crane};

/// Who may push.
const PUSHER: &str = "pusher";
/// The operator's users.
pub(crate) const OPERATORS: [&str; 4] = [
    "operator-files",
    "operator-config",
    "operator-helper",
    "operator-docker",
];

/// All of them, running.
pub(crate) struct Registries {
    private: DockerRegistry,
    /// crane for the private one.
    pusher: PathBuf,
    open: Registry,
    near: Registry,
    far: Registry,
    /// An authority that has vouched for none of them.
    other: Certificate,
}

impl Registries {
    pub(crate) fn start() -> Result<Self> {
        let users: Vec<_> = [PUSHER]
            .into_iter()
            .chain(NAMESPACES)
            .chain(OPERATORS)
            .collect();
        let private = DockerRegistry::start(&users)?;
        Ok(Self {
            pusher: private.crane_as(PUSHER)?,
            private,
            open: Registry::start()?,
            near: Registry::start()?,
            far: Registry::start()?,
            other: Certificate::new()?,
        })
    }

    /// Of the private one.
    pub(crate) fn port(&self) -> &str {
        self.private.address.rsplit(':').next().unwrap_or_default()
    }

    /// A place's host and port: all that have no server of their own are names of the private one.
    pub(crate) fn address(&self, place: &str) -> String {
        match place {
            "direct" => self.private.address.clone(),
            "open" => self.open.address.clone(),
            "near" => self.near.address.clone(),
            "far" => self.far.address.clone(),
            // Nobody listens there.
            "down" => "127.0.0.1:1".to_owned(),
            name => format!("{name}.localhost:{}", self.port()),
        }
    }

    /// Puts an image to a place's `path:tag`.
    pub(crate) fn push(&self, place: &str, rest: &str, image: &Built) -> Result {
        let (server, crane) = match place {
            "open" | "near" | "far" => (self.address(place), crane()?),
            _ => (self.private.address.clone(), self.pusher.clone()),
        };
        let reference = format!("{server}/{rest}");
        crate::fixtures::registry::push(image, &crane, &reference)?;
        Ok(())
    }

    /// Gives a run settings, a Docker configuration and helpers, by files in a folder; the file that the
    /// tenants' helper would write.
    pub(crate) fn configure(&self, command: &mut Command, folder: &Path) -> Result<PathBuf> {
        let write = |name: &str, text: &str| -> Result<String> {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().ok_or("no folder")?)?;
            fs::write(&path, text)?;
            Ok(path.display().to_string())
        };
        let with = |place: &str, user: &str| (self.address(place), user.to_owned(), password(user));
        let config = |entries: &[(String, String, String)]| {
            let entries: Vec<_> = entries.iter().map(|(a, b, c)| (&**a, &**b, &**c)).collect();
            docker_config(&entries)
        };
        let files = |user: &str| -> Result<serde_json::Value> {
            Ok(json!({
                "username_file": write(&format!("{user}.user"), &format!("{user}\n"))?,
                "password_file": write(&format!("{user}.password"), &format!("{}\n", password(user)))?,
            }))
        };
        let operator = config(&["config", "limited"].map(|place| with(place, "operator-config")));
        let operator = json!({"docker_config": write("operator.json", &operator.to_string())?});
        let (mut team, mut amber) = (files("operator-files")?, operator.clone());
        team["repositories"] = json!(["team"]);
        amber["namespaces"] = json!(["amber"]);
        let mirror = |prefix: &str, place: &str, path: &str| json!({"prefix": prefix, "location": format!("{}/{path}", self.address(place))});
        let mirrors = json!([
            mirror("hub", "near", "copy/hub"),
            mirror("both", "near", "a"),
            mirror("both", "far", "b"),
            mirror("down", "down", "any"),
            mirror("locked", "cache", "box"),
            mirror("banned", "denied", "box"),
        ]);
        let bundle = self.private.authority();
        let settings = json!({"registries": [
            {"host": self.address("stranger"), "timeout": "30s"},
            {"host": self.address("impostor"), "ca_bundle": self.other.authority()},
            {"host": self.address("insecure"), "insecure": true},
            {"host": self.address("no-helper"), "ca_bundle": bundle, "credentials": [{"helper": "absent"}]},
            {"host": self.address("files"), "ca_bundle": bundle, "credentials": [files("operator-files")?]},
            {"host": self.address("config"), "ca_bundle": bundle, "credentials": [operator]},
            {"host": self.address("helper"), "ca_bundle": bundle, "credentials": [{"helper": "good"}]},
            {"host": self.address("order"), "ca_bundle": bundle, "credentials": [files("ghost-settings")?]},
            {"host": self.address("limited"), "ca_bundle": bundle, "credentials": [team, amber]},
            {"host": self.address("mirrored"), "ca_bundle": bundle, "mirrors": mirrors},
            {"host": self.address("direct"), "ca_bundle": bundle},
            {"host": format!("*.localhost:{}", self.port()), "ca_bundle": bundle},
        ]});
        let settings = write("registries.yaml", &settings.to_string())?;
        let mut docker = config(&[
            with("docker", "operator-docker"),
            with("order", "ghost-docker"),
        ]);
        docker["credHelpers"] = json!({self.address("docker-helper"): "good"});
        write("docker/config.json", &docker.to_string())?;
        let trap = folder.join("evil-was-run");
        let answer = |user: &str| json!({"Username": user, "Secret": password(user)}).to_string();
        for (name, script) in [
            (
                "good",
                format!("cat >/dev/null\necho '{}'", answer("operator-helper")),
            ),
            (
                "evil",
                format!("touch '{}'\necho '{}'", trap.display(), answer(PUSHER)),
            ),
        ] {
            let path = write(
                &format!("bin/docker-credential-{name}"),
                &format!("#!/bin/sh\n{script}\n"),
            )?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        }
        let path = std::env::var("PATH")?;
        command
            .args(["--registries", &settings])
            .env("DOCKER_CONFIG", folder.join("docker"))
            .env("HOME", folder)
            .env("PATH", format!("{}:{path}", folder.join("bin").display()));
        Ok(trap)
    }
}
