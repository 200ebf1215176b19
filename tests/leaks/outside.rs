//! Registries with public names, all behind a company's proxy that is the whole world to the program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde_json::{Map, Value, json};

use crate::harness::bad_registry::{BadRegistry, Fault};
use crate::harness::running::Ended;
use crate::harness::world::World;
use crate::harness::{Result, files_below};
use crate::secrets::secrets_in;
use crate::site::{Expected, Part, Site, as_in_cluster, debian};

/// The API server, by its environment variables.
pub(crate) const API_SERVER: &str = "10.96.0.1:443";

/// A site in a cluster, and the world.
pub(crate) struct Outside {
    pub(crate) site: Site,
    pub(crate) world: World,
    /// By scenario, and whether its registry must have had its secret.
    registries: BTreeMap<String, (BadRegistry, bool)>,
    /// What may be asked for; and what may not, with its scenario.
    known: BTreeSet<String>,
    never: BTreeMap<String, String>,
    auths: Map<String, Value>,
    /// More of the Docker configuration.
    pub(crate) config: Value,
}

impl Outside {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            site: Site::new()?,
            world: World::start()?,
            registries: BTreeMap::new(),
            known: BTreeSet::new(),
            never: BTreeMap::new(),
            auths: Map::new(),
            config: json!({}),
        })
    }

    /// The registry NAME.example with a good image, and what it does instead of serving it.
    pub(crate) fn registry(
        &mut self,
        name: &str,
        fault: Option<(Part, Fault)>,
        row: Expected,
    ) -> Result<&BadRegistry> {
        let host = format!("{name}.example");
        let registry = BadRegistry::start()?;
        self.world.add(&format!("{host}:443"), &registry.address)?;
        self.known.insert(format!("{host}:443"));
        self.serve(name, &host, registry, fault, row);
        Ok(&self.registries[name].0)
    }

    /// The same for a registry that is in the world already.
    pub(crate) fn serve(
        &mut self,
        name: &str,
        host: &str,
        registry: BadRegistry,
        fault: Option<(Part, Fault)>,
        row: Expected,
    ) {
        let image = debian(name);
        registry.add(name, image.digest(), &image.blobs);
        if let Some((part, fault)) = fault {
            registry.misbehave(&part.path(name, &image), fault);
        }
        self.site.pod(name, host, image.digest(), row);
        self.watch(name, registry);
    }

    /// A registry that no pod names.
    pub(crate) fn watch(&mut self, name: &str, registry: BadRegistry) {
        self.registries.insert(name.to_owned(), (registry, false));
    }

    /// A registry of a scenario.
    pub(crate) fn of(&self, name: &str) -> Result<&BadRegistry> {
        let (registry, _) = self.registries.get(name).ok_or("no such scenario")?;
        Ok(registry)
    }

    /// The Docker configuration has a credential for a key.
    pub(crate) fn log_in(&mut self, key: &str, entry: Value) {
        self.auths.insert(key.to_owned(), entry);
    }

    /// The scenario's own registry, and no other place, must have its secret in the end.
    pub(crate) fn must_have_its_secret(&mut self, name: &str) {
        if let Some((_, must)) = self.registries.get_mut(name) {
            *must = true;
        }
    }

    /// A host that may be asked for, besides the registries.
    pub(crate) fn may_ask_for(&mut self, host: &str) {
        self.known.insert(host.to_owned());
    }

    /// A host and port that only this scenario leads to, and that may not be asked for.
    pub(crate) fn never(&mut self, name: &str, host: &str) {
        self.never.insert(host.to_owned(), name.to_owned());
    }

    /// `snapshot` of its pods, in a cluster, by way of the company's proxy.
    pub(crate) fn command(&self) -> Result<Command> {
        let folder = self.site.folder.path().join("docker");
        fs::create_dir_all(&folder)?;
        let mut config = self.config.clone();
        config["auths"] = Value::Object(self.auths.clone());
        fs::write(folder.join("config.json"), config.to_string())?;
        let mut command = self.site.command()?;
        self.prepare(&mut command);
        as_in_cluster(&mut command, API_SERVER);
        Ok(command)
    }

    /// The environment that leads a command to the world.
    pub(crate) fn prepare(&self, command: &mut Command) {
        for name in ["HTTPS_PROXY", "HTTP_PROXY"] {
            command.env(name, self.world.proxy());
        }
        for name in ["NO_PROXY", "no_proxy"] {
            command.env_remove(name);
        }
        command.env("SSL_CERT_FILE", self.world.authority());
        command.env("IMAGE_CENSUS_LOG_LEVEL", "trace");
    }

    /// Who led crane to a host, by what was said or by the host's own name.
    fn scenario_of<'a>(&'a self, host: &'a str) -> &'a str {
        let label = host.split('.').next().unwrap_or_default();
        self.never.get(host).map_or(label, |name| name)
    }

    /// Fails with all that is wrong, each with its scenario.
    pub(crate) fn expect_no_leak(&self, ended: &Ended) -> Result {
        let mut wrong = self.site.wrong_rows()?;
        let asked: BTreeSet<_> = self.world.asked().into_iter().collect();
        for host in asked.difference(&self.known) {
            let name = self.scenario_of(host);
            wrong.push(format!("{name}: {host} was asked for"));
        }
        for (place, text) in [
            ("a stranger", self.world.strangers_heard()),
            ("the network in clear", self.world.in_clear()),
            ("standard output", ended.stdout.clone()),
            ("the log", ended.stderr.clone()),
        ] {
            let found = secrets_in(&text);
            wrong.extend(
                found
                    .iter()
                    .map(|name| format!("{name}: {place} holds its secret")),
            );
        }
        for file in files_below(&self.site.store())? {
            let text = fs::read(self.site.store().join(&file))?;
            let found = secrets_in(&String::from_utf8_lossy(&text));
            wrong.extend(
                found
                    .iter()
                    .map(|name| format!("{name}: {file} holds its secret")),
            );
        }
        for (name, (registry, must)) in &self.registries {
            let heads = registry.heads().join("\n\n");
            let found = secrets_in(&heads);
            let expected: BTreeSet<_> = must.then(|| name.clone()).into_iter().collect();
            if found != expected {
                wrong.push(format!("{name}: its registry has the secrets of {found:?}"));
            }
            // What is between crane, the guard and the company's proxy.
            if heads.to_ascii_lowercase().contains("proxy-authorization") {
                wrong.push(format!(
                    "{name}: its registry was told a proxy's credential"
                ));
            }
        }
        assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
        Ok(())
    }
}
