//! Whose credentials are tried for an image, and in which order.
//!
//! In: a [`Pull`], the repository with the pods that run an image of it. Out: candidates in turn, as
//! long as the registry refuses them: settings of the registry → the pods' own pull secrets → the
//! Docker configuration → none. What worked is tried first the next time. Files are read when they are
//! used, secrets asked for when the stages before them did not do.

use std::collections::{HashMap, VecDeque};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::InspectError;
use super::credentials::{Credential, Keyring};
use super::helper::Helpers;
use super::settings::{CredentialFile, RegistrySettings, read_docker_config};
use crate::image::Repository;
use crate::report::ErrorKind;
use crate::snapshot::Puller;
use crate::sync::lock;

/// Pull secrets' credentials that are tried for one request, taken in turn from those who run the image:
/// a tenant may have any number of wrong ones, which must not keep another's right one from its turn.
const MAX_TENANT_CANDIDATES: usize = 16;
/// A credential that was refused so often, and never taken, is tried last: a wrong one may lock an
/// account, and most images need none.
const MAX_REFUSALS: u32 = 3;
/// Namespaces whose secrets are asked for because of one image.
const MAX_PULLERS: usize = 64;
/// Reasons in a message.
const MAX_PROBLEMS: usize = 3;

/// What is asked for, and for whose pods: a namespace's secret serves its own pods' images only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pull {
    /// Where it lies.
    pub repository: Repository,
    /// Who runs it.
    pub pullers: Arc<[Arc<Puller>]>,
}

impl Deref for Pull {
    type Target = Repository;

    fn deref(&self) -> &Repository {
        &self.repository
    }
}

/// Where a candidate comes from; in the order in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The registry's settings.
    Settings,
    /// Secrets that pods and their service accounts name.
    PullSecrets,
    /// `DOCKER_CONFIG`, `REGISTRY_AUTH_FILE` or what stands in their default places.
    DockerConfig,
    /// No credential.
    Anonymous,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Settings => "a credential of --registries",
            Self::PullSecrets => "a pull secret",
            Self::DockerConfig => "the Docker configuration",
            Self::Anonymous => "no credential",
        })
    }
}

impl Stage {
    const ALL: [Self; 4] = [
        Self::Settings,
        Self::PullSecrets,
        Self::DockerConfig,
        Self::Anonymous,
    ];
}

/// One that is to be tried.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Where it comes from.
    pub stage: Stage,
    /// None is anonymous.
    pub credential: Option<Arc<Credential>>,
    /// The helper that gave it.
    pub helper: Option<Arc<str>>,
}

/// The credentials of tenants, behind whatever keeps them.
#[async_trait]
pub trait TenantCredentials: Send + Sync {
    /// What the pods of one kind may use.
    async fn keyring(&self, puller: &Puller) -> TenantKeyring;
}

/// A tenant's credentials, and what of them could not be had.
#[derive(Debug, Default)]
pub struct TenantKeyring {
    /// The credentials.
    pub keyring: Keyring,
    /// For the message of an image that is refused.
    pub problems: Vec<String>,
}

/// Where the Docker configuration is: where `docker`, `podman` and crane look for it.
pub fn docker_config_file() -> Option<PathBuf> {
    let folder = |name: &str| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty());
        value.map(PathBuf::from)
    };
    let home = folder("HOME");
    let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
    let docker = folder("DOCKER_CONFIG").or(below_home(".docker"));
    let places = [
        docker.map(|docker| docker.join("config.json")),
        folder("REGISTRY_AUTH_FILE"),
        folder("XDG_RUNTIME_DIR").map(|runtime| runtime.join("containers/auth.json")),
        below_home(".config/containers/auth.json"),
    ];
    places.into_iter().flatten().find(|place| place.is_file())
}

/// All sources of credentials of a run; the default has none.
#[derive(Default)]
pub struct CredentialSource {
    settings: Arc<RegistrySettings>,
    tenants: Option<Box<dyn TenantCredentials>>,
    docker_config: Option<PathBuf>,
    helpers: Helpers,
    /// What a registry took.
    worked: Mutex<HashMap<Pull, Candidate>>,
    /// How often a registry refused a credential that it has never taken.
    refusals: Mutex<HashMap<Arc<str>, Standings>>,
}

impl CredentialSource {
    /// Sources in their order.
    pub fn new(
        settings: Arc<RegistrySettings>,
        tenants: Option<Box<dyn TenantCredentials>>,
        docker_config: Option<PathBuf>,
        helpers: Helpers,
    ) -> Self {
        Self {
            settings,
            tenants,
            docker_config,
            helpers,
            worked: Mutex::default(),
            refusals: Mutex::default(),
        }
    }

    /// Notes how a registry takes a credential.
    fn note(&self, registry: &Arc<str>, credential: &Arc<Credential>, is_taken: bool) {
        let mut refusals = lock(&self.refusals);
        let known = refusals.entry(Arc::clone(registry)).or_default();
        let standing = match known.iter_mut().find(|(known, _)| known == credential) {
            Some((_, standing)) => standing,
            None => {
                known.push((Arc::clone(credential), Standing::Refused(0)));
                let Some((_, standing)) = known.last_mut() else {
                    return;
                };
                standing
            }
        };
        // Once taken it is right, whatever else it may not see.
        *standing = match *standing {
            Standing::Refused(times) if !is_taken => Standing::Refused(times.saturating_add(1)),
            _ => Standing::Taken,
        };
    }

    fn is_doubtful(&self, registry: &Arc<str>, credential: Option<&Arc<Credential>>) -> bool {
        let Some(credential) = credential else {
            return false;
        };
        let refusals = lock(&self.refusals);
        let known = refusals.get(registry).map_or(&[][..], Vec::as_slice);
        known.iter().any(|(known, standing)| {
            let is_wrong = matches!(standing, Standing::Refused(times) if *times >= MAX_REFUSALS);
            known == credential && is_wrong
        })
    }

    /// Begins to ask for something.
    pub fn turn<'a>(&'a self, pull: &'a Pull) -> Turn<'a> {
        let worked = lock(&self.worked);
        Turn {
            source: self,
            pull,
            stages: Stage::ALL.into_iter(),
            queue: worked.get(pull).cloned().into_iter().collect(),
            doubtful: VecDeque::new(),
            tried: Vec::new(),
            renewed: false,
            refusal: None,
            problems: Vec::new(),
        }
    }

    async fn candidates(
        &self,
        stage: Stage,
        pull: &Pull,
        problems: &mut Vec<String>,
    ) -> Vec<Candidate> {
        let of = |credential, helper| Candidate {
            stage,
            credential,
            helper,
        };
        let mut found = Vec::new();
        match stage {
            Stage::Settings => {
                let entry = self.settings.of(&pull.registry);
                let credentials = entry.map(|entry| entry.credentials.as_slice());
                for credential in credentials.unwrap_or_default() {
                    let namespaces = pull.pullers.iter().map(|puller| &*puller.namespace);
                    if !credential.is_for(pull, namespaces) {
                        continue;
                    }
                    if let CredentialFile::Helper(name) = &credential.source {
                        found.extend(self.ask_helper(stage, name, pull, problems).await);
                        continue;
                    }
                    match credential.source.read(pull) {
                        Ok(credentials) => {
                            found.extend(credentials.into_iter().map(|one| of(Some(one), None)));
                        }
                        Err(problem) => problems.push(format!(
                            "a file of the credentials for {} is of no use: {problem}",
                            pull.registry
                        )),
                    }
                }
            }
            Stage::PullSecrets => {
                let Some(tenants) = &self.tenants else {
                    return found;
                };
                let mut all = Vec::new();
                for puller in pull.pullers.iter().take(MAX_PULLERS) {
                    let theirs = tenants.keyring(puller).await;
                    all.push(theirs.keyring.lookup(pull));
                    problems.extend(theirs.problems);
                }
                let (credentials, is_all) = in_turn(all);
                found.extend(credentials.into_iter().map(|one| of(Some(one), None)));
                if !is_all || pull.pullers.len() > MAX_PULLERS {
                    problems
                        .push("not all of the pull secrets were tried: there are too many".into());
                }
            }
            Stage::DockerConfig => {
                let Some(path) = &self.docker_config else {
                    return found;
                };
                match read_docker_config(path) {
                    Ok(config) => {
                        if let Some(name) = config.helper(&pull.registry) {
                            found.extend(self.ask_helper(stage, name, pull, problems).await);
                        }
                        let credentials = config.keyring.lookup(pull);
                        found.extend(credentials.into_iter().map(|one| of(Some(one), None)));
                    }
                    Err(problem) => {
                        problems.push(format!("the Docker configuration is of no use: {problem}"));
                    }
                }
            }
            Stage::Anonymous => found.push(of(None, None)),
        }
        found
    }

    async fn ask_helper(
        &self,
        stage: Stage,
        name: &str,
        pull: &Pull,
        problems: &mut Vec<String>,
    ) -> Option<Candidate> {
        match self.helpers.get(name, &pull.registry).await {
            Ok(credential) => Some(Candidate {
                stage,
                credential: Some(credential?),
                helper: Some(name.into()),
            }),
            Err(problem) => {
                problems.push(format!("the credential helper {name} {problem}"));
                None
            }
        }
    }
}

/// How a registry has taken its credentials so far: they are few.
type Standings = Vec<(Arc<Credential>, Standing)>;

/// How a registry has taken a credential so far.
#[derive(Debug, Clone, Copy)]
enum Standing {
    /// It was refused so often, and never taken.
    Refused(u32),
    /// It was taken.
    Taken,
}

/// The first of each, the second of each, and so on, each once; and whether these are all.
fn in_turn(all: Vec<Vec<Arc<Credential>>>) -> (Vec<Arc<Credential>>, bool) {
    let mut found = Vec::new();
    let most = all.iter().map(Vec::len).max().unwrap_or_default();
    for place in 0..most {
        for credential in all.iter().filter_map(|theirs| theirs.get(place)) {
            if found.contains(credential) {
                continue;
            }
            if found.len() == MAX_TENANT_CANDIDATES {
                return (found, false);
            }
            found.push(Arc::clone(credential));
        }
    }
    (found, true)
}

/// How much a refusal tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// Of nobody in particular.
    Anonymous,
    /// Of a credential.
    Refused,
    /// A credential was taken, and what was asked for is not there.
    SeenAndAbsent,
}

/// The candidates for one request, in turn.
pub struct Turn<'a> {
    source: &'a CredentialSource,
    pull: &'a Pull,
    stages: std::array::IntoIter<Stage, 4>,
    queue: VecDeque<Candidate>,
    /// What the registry has refused again and again: when all else was refused.
    doubtful: VecDeque<Candidate>,
    tried: Vec<Option<Arc<Credential>>>,
    renewed: bool,
    /// The first refusal of those that tell most.
    refusal: Option<(Weight, InspectError)>,
    problems: Vec<String>,
}

impl Turn<'_> {
    /// The next candidate; none if all were refused.
    pub async fn next(&mut self) -> Option<Candidate> {
        loop {
            if let Some(candidate) = self.queue.pop_front() {
                // Namespaces often have copies of one secret.
                if self.tried.contains(&candidate.credential) {
                    continue;
                }
                let (registry, credential) = (&self.pull.registry, candidate.credential.as_ref());
                if self.source.is_doubtful(registry, credential) {
                    self.doubtful.push_back(candidate);
                    continue;
                }
                self.tried.push(candidate.credential.clone());
                return Some(candidate);
            }
            let Some(stage) = self.stages.next() else {
                let last = self.doubtful.pop_front()?;
                if self.tried.contains(&last.credential) {
                    continue;
                }
                self.tried.push(last.credential.clone());
                return Some(last);
            };
            let found = self
                .source
                .candidates(stage, self.pull, &mut self.problems)
                .await;
            self.queue.extend(found);
        }
    }

    /// The next candidate of those that are known, without asking anybody.
    pub fn next_known(&mut self) -> Option<Candidate> {
        let anonymous = Candidate {
            stage: Stage::Anonymous,
            credential: None,
            helper: None,
        };
        let candidate = self.queue.pop_front().unwrap_or(anonymous);
        let is_new = !self.tried.contains(&candidate.credential);
        self.tried.push(candidate.credential.clone());
        is_new.then_some(candidate)
    }

    /// Notes how a candidate fared. True if it was refused, and another is to be tried.
    pub async fn is_refused(
        &mut self,
        candidate: &Candidate,
        error: Option<&InspectError>,
    ) -> bool {
        // Some say "not found" of what one may not see.
        let is_refusal = |error: &&InspectError| {
            use ErrorKind::{Denied, NotFound, Unauthorized};
            matches!(error.kind, Unauthorized | Denied | NotFound)
        };
        let Some(error) = error.filter(is_refusal) else {
            if error.is_none() {
                lock(&self.source.worked).insert(self.pull.clone(), candidate.clone());
                if let Some(credential) = &candidate.credential {
                    self.source.note(&self.pull.registry, credential, true);
                }
            }
            return false;
        };
        if let (Some(credential), ErrorKind::Unauthorized) = (&candidate.credential, error.kind) {
            self.source.note(&self.pull.registry, credential, false);
        }
        let is_absent = error.kind == ErrorKind::NotFound;
        let weight = match (&candidate.credential, error.kind) {
            (Some(_), ErrorKind::NotFound) => Weight::SeenAndAbsent,
            (Some(_), _) => Weight::Refused,
            (None, _) => Weight::Anonymous,
        };
        if self.refusal.as_ref().is_none_or(|(had, _)| weight > *had) {
            self.refusal = Some((weight, error.clone()));
        }
        // A token that a helper gave a while ago may be over.
        if let (Some(helper), false, false) = (&candidate.helper, self.renewed, is_absent) {
            self.renewed = true;
            self.source
                .helpers
                .forget(helper, &self.pull.registry, candidate.credential.as_ref());
            let source = self.source;
            let again = source.ask_helper(candidate.stage, helper, self.pull, &mut self.problems);
            if let Some(again) = again.await {
                self.queue.push_front(again);
            }
        }
        true
    }

    /// What the row says when all were refused: the registry's answer, and what stood in the way.
    pub fn refusal(self) -> InspectError {
        let (_, mut error) = self.refusal.unwrap_or_else(|| {
            let message = "no credential could be tried: report this";
            (
                Weight::Anonymous,
                InspectError::new(ErrorKind::Internal, message),
            )
        });
        let mut seen = Vec::new();
        for problem in self.problems {
            if !seen.contains(&problem) && seen.len() < MAX_PROBLEMS {
                error.message.push_str("; ");
                error.message.push_str(&problem);
                seen.push(problem);
            }
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::super::credentials::{Author, DockerConfig, render_config};
    use super::*;
    use base64::Engine;
    use serde_json::{Value, json};

    type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

    fn config(entries: &[(&str, &str)]) -> String {
        let auth =
            |user: &str| base64::engine::general_purpose::STANDARD.encode(format!("{user}:pw"));
        let auths: serde_json::Map<_, _> = entries
            .iter()
            .map(|(key, user)| ((*key).to_owned(), json!({"auth": auth(user)})))
            .collect();
        json!({"auths": auths}).to_string()
    }

    /// Each namespace has one credential, named like it; `broken` has none.
    struct Namespaces;

    #[async_trait]
    impl TenantCredentials for Namespaces {
        async fn keyring(&self, puller: &Puller) -> TenantKeyring {
            let name = &*puller.namespace;
            let user = name.strip_suffix("-copy").unwrap_or(name);
            let text = config(&[("registry.example", user)]);
            match name {
                "broken" => TenantKeyring {
                    problems: vec!["secret broken/pull does not exist".into()],
                    ..TenantKeyring::default()
                },
                _ => TenantKeyring {
                    keyring: DockerConfig::parse(text.as_bytes(), Author::Tenant)
                        .map(|config| config.keyring)
                        .unwrap_or_default(),
                    problems: Vec::new(),
                },
            }
        }
    }

    fn pull(path: &str, namespaces: &[&str]) -> Pull {
        let puller = |namespace: &&str| {
            Arc::new(Puller {
                namespace: (*namespace).into(),
                secrets: Box::default(),
                service_account: "default".into(),
            })
        };
        Pull {
            repository: Repository {
                registry: "registry.example".into(),
                path: path.into(),
            },
            pullers: namespaces.iter().map(puller).collect(),
        }
    }

    fn user(candidate: &Candidate) -> String {
        let Some(credential) = &candidate.credential else {
            return "-".into();
        };
        let text: Value =
            serde_json::from_slice(&render_config("r", Some(credential))).unwrap_or_default();
        text["auths"]["r"]["username"]
            .as_str()
            .unwrap_or("token")
            .into()
    }

    /// Who is tried until `accepted` is; and the message if nobody is.
    async fn ask(
        source: &CredentialSource,
        pull: &Pull,
        accepted: &str,
    ) -> (Vec<String>, Option<String>) {
        let mut turn = source.turn(pull);
        let mut tried = Vec::new();
        while let Some(candidate) = turn.next().await {
            tried.push(user(&candidate));
            let refused = InspectError::new(
                ErrorKind::Unauthorized,
                format!("no to {}", user(&candidate)),
            );
            let answer = Some(&refused).filter(|_| user(&candidate) != accepted);
            if !turn.is_refused(&candidate, answer).await {
                return (tried, None);
            }
        }
        (tried, Some(turn.refusal().message))
    }

    fn source(folder: &std::path::Path, settings: &str) -> Result<CredentialSource> {
        let settings = settings.replace("HERE", &folder.display().to_string());
        std::fs::write(folder.join("registries.yaml"), settings)?;
        let write = |name: &str, text: String| std::fs::write(folder.join(name), text);
        write("settings.json", config(&[("registry.example", "operator")]))?;
        write(
            "config.json",
            config(&[("*.example", "docker"), ("other.example", "other")]),
        )?;
        Ok(CredentialSource::new(
            RegistrySettings::read(&folder.join("registries.yaml"))?.into(),
            Some(Box::new(Namespaces)),
            Some(folder.join("config.json")),
            Helpers::default(),
        ))
    }

    const SETTINGS: &str = "registries:\n- host: registry.example\n  credentials:\n  - docker_config: HERE/settings.json\n    namespaces: [a, b]\n    repositories: [team]\n";

    #[tokio::test]
    async fn sources_are_tried_in_their_order_and_what_worked_comes_first_the_next_time() -> Result
    {
        let folder = tempfile::tempdir()?;
        let source = source(folder.path(), SETTINGS)?;
        let image = pull("team/app", &["a", "a-copy", "c"]);
        let (tried, message) = ask(&source, &image, "nobody").await;
        assert_eq!(tried, ["operator", "a", "c", "docker", "-"]);
        assert_eq!(message.as_deref(), Some("no to operator"));
        assert_eq!(ask(&source, &image, "docker").await.0.len(), 4);
        assert_eq!(ask(&source, &image, "docker").await.0, ["docker"]);
        // Another image's luck is its own.
        assert_eq!(
            ask(&source, &pull("team/other", &["a"]), "-").await.0.len(),
            4
        );
        // What worked once may be refused now; what was refused three times and never taken comes after
        // all others.
        let (tried, _) = ask(&source, &image, "-").await;
        assert_eq!(tried, ["docker", "c", "-"]);
        let (tried, _) = ask(&source, &image, "a").await;
        assert_eq!(tried, ["-", "docker", "operator", "a"]);
        Ok(())
    }

    #[tokio::test]
    async fn a_namespaces_secret_and_a_limited_credential_serve_nobody_else() -> Result {
        let folder = tempfile::tempdir()?;
        let source = source(folder.path(), SETTINGS)?;
        for (image, expected) in [
            (pull("team/app", &["c"]), &["c", "docker", "-"][..]),
            (pull("other/app", &["a"]), &["a", "docker", "-"]),
            (pull("team/app", &[]), &["docker", "-"]),
        ] {
            assert_eq!(
                ask(&source, &image, "nobody").await.0,
                expected,
                "{image:?}"
            );
        }
        Ok(())
    }

    #[tokio::test]
    async fn what_stood_in_the_way_is_said_when_all_are_refused() -> Result {
        let folder = tempfile::tempdir()?;
        let source = source(folder.path(), "registries: []")?;
        let image = pull("team/app", &["broken", "broken"]);
        let (tried, message) = ask(&source, &image, "nobody").await;
        assert_eq!(tried, ["docker", "-"]);
        assert_eq!(
            message.as_deref(),
            Some("no to docker; secret broken/pull does not exist")
        );
        std::fs::write(folder.path().join("config.json"), "hunter2")?;
        let (tried, message) = ask(&source, &image, "nobody").await;
        let message = message.unwrap_or_default();
        assert_eq!(tried, ["-"]);
        assert!(
            message.contains("the Docker configuration is of no use: it is not"),
            "{message}"
        );
        assert!(!message.contains("hunter2"), "{message}");
        Ok(())
    }

    #[tokio::test]
    async fn one_image_does_not_try_credentials_without_end() -> Result {
        let folder = tempfile::tempdir()?;
        let source = source(folder.path(), "registries: []")?;
        let names: Vec<_> = (0..100).map(|number| format!("n{number}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let (tried, _) = ask(&source, &pull("team/app", &names), "nobody").await;
        assert_eq!(
            tried.len(),
            MAX_TENANT_CANDIDATES + 1 + 1,
            "and the operator's"
        );
        assert_eq!(tried.last().map(String::as_str), Some("-"));
        Ok(())
    }

    #[test]
    fn tenants_take_turns_with_their_credentials() -> Result {
        let one = |user: &str| -> Result<Arc<Credential>> {
            let text = config(&[("registry.example", user)]);
            let keyring = DockerConfig::parse(text.as_bytes(), Author::Tenant)?.keyring;
            Ok(keyring.lookup(&pull("a", &[])).remove(0))
        };
        let many = (0..20).map(|number| one(&number.to_string()));
        let many = many.collect::<Result<Vec<_>>>()?;
        let right = one("right")?;
        let (tried, is_all) = in_turn(vec![many, vec![Arc::clone(&right)]]);
        assert_eq!((tried.len(), is_all), (MAX_TENANT_CANDIDATES, false));
        assert_eq!(tried.iter().position(|tried| *tried == right), Some(1));
        Ok(())
    }

    #[tokio::test]
    async fn an_error_that_is_no_refusal_ends_the_turn() -> Result {
        let folder = tempfile::tempdir()?;
        let source = source(folder.path(), "registries: []")?;
        let image = pull("team/app", &["a"]);
        let mut turn = source.turn(&image);
        let candidate = turn.next().await.ok_or("none")?;
        for kind in [
            ErrorKind::Timeout,
            ErrorKind::RateLimited,
            ErrorKind::Network,
        ] {
            let error = InspectError::new(kind, "x");
            assert!(!turn.is_refused(&candidate, Some(&error)).await);
        }
        assert!(
            turn.is_refused(&candidate, Some(&InspectError::new(ErrorKind::Denied, "x")))
                .await
        );
        Ok(())
    }
}
