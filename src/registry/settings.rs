//! `--registries FILE`: what is special about which registry.
//!
//! In: YAML, as `schemas/registries.schema.json` describes it, and the files that it names, which are
//! looked at before any work. Out: a [`RegistrySettings`] with validated values. A message names file,
//! line and key, and repeats no value: one in a wrong place may be a secret.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::{Error, Spanned};
use zeroize::Zeroizing;

use super::credentials::{Author, Credential, DockerConfig, MAX_CONFIG_BYTES, is_helper};
use super::guard::HostPattern;
use super::pattern::{AllowedRegistries, RegistryPattern};
use super::source::Pull;
use crate::image::{ImageReference, Repository};
use crate::nearest::nearest;

/// The file's bytes at the most: what a ConfigMap may hold.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// A bundle's bytes at the most; the public authorities of all the world have 220 KiB.
const MAX_BUNDLE_BYTES: u64 = 4 << 20;
/// A user name's or password's bytes at the most.
const MAX_SECRET_BYTES: u64 = 64 << 10;
/// Entries of any list.
const MAX_ITEMS: usize = 1_000;

/// Settings by registry, in the order of the file: the first entry that is for a registry counts.
#[derive(Debug, Default)]
pub struct RegistrySettings {
    registries: Vec<RegistryEntry>,
    /// What is not asked even as a mirror.
    refused: AllowedRegistries,
}

/// What is special about some registries.
#[derive(Debug)]
pub struct RegistryEntry {
    /// Which ones.
    pub host: RegistryPattern,
    /// Where else their repositories lie, in the order in which they are asked, before the registry.
    pub mirrors: Vec<Mirror>,
    /// Certificates to trust besides the system's.
    pub ca_bundle: Option<PathBuf>,
    /// Plain HTTP and certificates that nobody vouches for are allowed.
    pub insecure: bool,
    /// crane processes at once.
    pub concurrency: Option<usize>,
    /// Requests in a second.
    pub requests_per_second: Option<f64>,
    /// Time limit of a request.
    pub timeout: Option<Duration>,
    /// Manifests that a run may ask for.
    pub manifests_per_run: Option<u64>,
    /// Hosts that may be asked for a token, with the credential.
    pub token_hosts: Vec<HostPattern>,
    /// Hosts that blobs may be fetched from. crane sends no credential there by itself; the guard cannot
    /// see what is asked for within TLS, so that a registry could name one of them for its tokens.
    pub blob_hosts: Vec<HostPattern>,
    /// In the order in which they are tried.
    pub credentials: Vec<OperatorCredential>,
}

/// A part of a registry that lies elsewhere, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Which repositories: a path's leading components; all if it is empty.
    pub prefix: String,
    /// The mirror's registry.
    pub registry: String,
    /// What stands there for the prefix; may be empty.
    pub path: String,
}

/// A credential of the operator's, and where it may be used.
#[derive(Debug)]
pub struct OperatorCredential {
    /// Where it is.
    pub source: CredentialFile,
    /// Leading components of the repositories that it is for; all if there are none.
    pub repositories: Vec<String>,
    /// Namespaces whose pods' images it is for; all if there are none.
    pub namespaces: Vec<String>,
}

/// Where a credential is read from when it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialFile {
    /// A Docker configuration.
    DockerConfig(PathBuf),
    /// A file for the user name, one for the password.
    Password {
        /// The user's name.
        username: PathBuf,
        /// The password.
        password: PathBuf,
    },
    /// `docker-credential-NAME`.
    Helper(String),
}

/// Why a settings file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    /// The file.
    path: PathBuf,
    /// The line, where the fault has one.
    line: Option<u64>,
    /// Our own sentence.
    problem: String,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for SettingsError {}

/// What is wrong in a line, before the file's name is known.
struct Fault {
    line: Option<u64>,
    problem: String,
}

impl Fault {
    fn at<T>(place: &Spanned<T>, problem: impl Into<String>) -> Self {
        Self {
            line: Some(place.referenced.line()).filter(|line| *line > 0),
            problem: problem.into(),
        }
    }
}

impl RegistrySettings {
    /// Reads and checks a file and those that it names.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = read_bounded(path, MAX_FILE_BYTES).map_err(|problem| Fault {
            line: None,
            problem,
        });
        text.and_then(|text| Self::parse(&text))
            .map_err(|fault| SettingsError {
                path: path.into(),
                line: fault.line,
                problem: fault.problem,
            })
    }

    fn parse(text: &[u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(text).map_err(|_| Fault {
            line: None,
            problem: "it is not UTF-8 text".into(),
        })?;
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! {
                max_events: 200_000,
                max_aliases: 1_000,
                max_anchors: 1_000,
                max_depth: 16,
            },
            with_snippet: false,
        };
        let raw: RegistriesFile = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| explain(error.without_snippet()))?;
        let mut registries = Vec::<RegistryEntry>::new();
        let mut seen = Vec::<(String, u64)>::new();
        for raw in bounded(&raw.registries, "registries")? {
            let mut host = raw.host.value.to_ascii_lowercase();
            if super::pattern::is_docker_hub(&host) {
                host = "docker.io".into();
            }
            if let Some((_, line)) = seen.iter().find(|(known, _)| *known == host) {
                let problem = format!(
                    "this host has settings already, in line {line}: the first entry counts"
                );
                return Err(Fault::at(&raw.host, problem));
            }
            seen.push((host, raw.host.referenced.line()));
            registries.push(raw.entry()?);
        }
        Ok(Self {
            registries,
            refused: AllowedRegistries::default(),
        })
    }

    /// The same without mirrors that `--deny-registry` names.
    pub fn without(mut self, deny: &[RegistryPattern]) -> Self {
        self.refused.deny = deny.to_vec();
        self
    }

    /// What is special about a registry.
    pub fn of(&self, registry: &str) -> Option<&RegistryEntry> {
        let is_for = |entry: &&RegistryEntry| is_host(&entry.host, registry);
        self.registries.iter().find(is_for)
    }

    /// Where else a repository lies, in the order in which the mirrors are asked.
    pub fn mirrors_of(&self, pull: &Pull) -> Vec<Pull> {
        let Some(entry) = self.of(&pull.registry) else {
            return Vec::new();
        };
        let places = entry.mirrors.iter();
        let places = places.filter_map(|mirror| mirror.rewrite(pull));
        let places = places.filter(|place| self.refused.check(place).is_ok());
        let of = |repository| Pull {
            repository,
            pullers: Arc::clone(&pull.pullers),
        };
        places.map(of).collect()
    }
}

/// Docker Hub's names are one.
fn is_host(pattern: &RegistryPattern, registry: &str) -> bool {
    pattern.matches_host(registry)
        || (pattern.is_docker_hub() && super::pattern::is_docker_hub(registry))
}

impl Mirror {
    /// The repository's place on this mirror, if it has one.
    pub fn rewrite(&self, repository: &Repository) -> Option<Repository> {
        let rest = below(&self.prefix, &repository.path)?;
        let parts = [self.path.as_str(), rest];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        // By the grammar of references, which also ends paths that became too long.
        let text = format!("{}/{}", self.registry, parts.join("/"));
        text.parse::<ImageReference>()
            .ok()
            .map(|image| image.repository)
    }
}

impl OperatorCredential {
    /// Whether it may be used for a repository that pods of these namespaces run.
    pub fn is_for<'a>(
        &self,
        repository: &Repository,
        mut namespaces: impl Iterator<Item = &'a str>,
    ) -> bool {
        let is_below = |prefix: &String| below(prefix, &repository.path).is_some();
        (self.repositories.is_empty() || self.repositories.iter().any(is_below))
            && (self.namespaces.is_empty()
                || namespaces.any(|name| self.namespaces.iter().any(|allowed| allowed == name)))
    }
}

impl CredentialFile {
    /// Reads what the files hold now; a helper's credential comes from the helper. Messages repeat
    /// neither contents nor paths.
    pub fn read(&self, repository: &Repository) -> Result<Vec<Arc<Credential>>, String> {
        match self {
            Self::DockerConfig(path) => Ok(read_docker_config(path)?.keyring.lookup(repository)),
            Self::Password { username, password } => {
                let credential = Credential::new(read_line(username)?, read_line(password)?);
                Ok(vec![Arc::new(credential)])
            }
            Self::Helper(_) => Ok(Vec::new()),
        }
    }
}

/// What follows a prefix of whole components.
fn below<'a>(prefix: &str, path: &'a str) -> Option<&'a str> {
    if prefix.is_empty() {
        return Some(path);
    }
    let rest = path.strip_prefix(prefix)?;
    if rest.is_empty() {
        Some(rest)
    } else {
        rest.strip_prefix('/')
    }
}

/// Reads the operator's Docker configuration.
pub fn read_docker_config(path: &Path) -> Result<DockerConfig, String> {
    let text = Zeroizing::new(read_bounded(path, MAX_CONFIG_BYTES as u64)?);
    DockerConfig::parse(&text, Author::Operator).map_err(|error| error.to_string())
}

/// A file's first line, without its end: editors and `echo` add one.
fn read_line(path: &Path) -> Result<Zeroizing<String>, String> {
    let bytes = Zeroizing::new(read_bounded(path, MAX_SECRET_BYTES)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| "it is not UTF-8 text")?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err("it is empty".into());
    }
    if text.contains(char::is_control) {
        return Err("it has more than one line".into());
    }
    Ok(Zeroizing::new(text.into()))
}

fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let file = std::fs::File::open(path).map_err(|error| format!("it cannot be read: {error}"))?;
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("it cannot be read: {error}"))?;
    if bytes.len() as u64 > limit {
        return Err(format!("it is larger than {} KiB", limit >> 10));
    }
    Ok(bytes)
}

fn explain(error: &Error) -> Fault {
    let line = error.location().map(|location| location.line());
    let problem = match error {
        Error::SerdeUnknownField {
            field, expected, ..
        } => unknown_key(field, expected),
        Error::SerdeMissingField { field, .. } => format!("the key `{field}` is missing"),
        Error::DuplicateMappingKey { .. } => "a key stands there twice".into(),
        Error::MultipleDocuments { .. } => "there is more than one YAML document".into(),
        Error::Eof { .. } => "it is empty: begin with `registries:`".into(),
        Error::Budget { .. } => "it is nested too deeply, or too large".into(),
        Error::SerdeInvalidType { .. }
        | Error::SerdeInvalidValue { .. }
        | Error::InvalidScalar { .. }
        | Error::InvalidBooleanStrict { .. }
        | Error::NullIntoString { .. }
        | Error::NonFiniteFloat { .. }
        | Error::Unexpected { .. } => {
            "the value has the wrong type: see schemas/registries.schema.json".into()
        }
        _ => "it is not valid YAML of the right form: see schemas/registries.schema.json".into(),
    };
    Fault {
        line: line.filter(|line| *line > 0),
        problem,
    }
}

/// A key is repeated only if it is a word: it may be a value that slipped.
fn unknown_key(key: &str, known: &[&str]) -> String {
    let is_word = key.len() <= 40
        && key
            .bytes()
            .all(|b| b.is_ascii_lowercase() || matches!(b, b'_' | b'-'));
    if !is_word {
        return format!("an unknown key; there are {}", known.join(", "));
    }
    if matches!(key, "password" | "username" | "auth" | "token") {
        return format!(
            "`{key}` cannot stand here: secrets come from files, see username_file, password_file and docker_config"
        );
    }
    match nearest(key, known.iter().copied()) {
        Some(nearest) => format!("unknown key `{key}`: did you mean `{nearest}`?"),
        None => format!("unknown key `{key}`; there are {}", known.join(", ")),
    }
}

fn bounded<'a, T>(items: &'a Spanned<Vec<T>>, what: &str) -> Result<&'a [T], Fault> {
    if items.value.len() > MAX_ITEMS {
        return Err(Fault::at(
            items,
            format!("{what} may have {MAX_ITEMS} entries"),
        ));
    }
    Ok(&items.value)
}

/// Settings of registries, for `--registries`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Settings of registries")]
pub struct RegistriesFile {
    /// The first entry whose host matches a registry counts for it.
    #[schemars(with = "Vec<RawRegistry>", length(max = 1000))]
    registries: Spanned<Vec<RawRegistry>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Registry")]
struct RawRegistry {
    /// Host with its port; `*` stands for any text within a label: registry.example:5000, *.example.com, docker.io.
    #[schemars(with = "String")]
    host: Spanned<String>,
    /// Where else the repositories lie, in the order in which they are asked, before the registry itself.
    #[serde(default)]
    #[schemars(with = "Option<Vec<RawMirror>>", length(max = 1000))]
    mirrors: Option<Spanned<Vec<RawMirror>>>,
    /// A file of certificates to trust besides the system's, PEM.
    #[schemars(with = "Option<String>")]
    ca_bundle: Option<Spanned<PathBuf>>,
    /// Allow plain HTTP, and certificates that nobody vouches for.
    insecure: Option<bool>,
    /// crane processes at once, which make up to three requests each.
    #[schemars(with = "Option<u64>", range(min = 1, max = 256))]
    concurrency: Option<Spanned<u64>>,
    /// Requests in a second; may be less than one.
    #[schemars(with = "Option<f64>", range(min = 0.01, max = 1000))]
    requests_per_second: Option<Spanned<f64>>,
    /// Time limit of a request, with its unit: 500ms, 90s, 2m.
    #[schemars(with = "Option<String>", regex(pattern = "^[0-9]+(ms|s|m|h)$"))]
    timeout: Option<Spanned<String>>,
    /// Manifests that a run may ask for; Docker Hub counts them.
    #[schemars(with = "Option<u64>", range(min = 1, max = 1_000_000))]
    manifest_budget: Option<Spanned<u64>>,
    /// Hosts besides the registry's that may be asked for a token, with the credential.
    #[schemars(with = "Option<Vec<String>>", length(max = 1000))]
    token_hosts: Option<Spanned<Vec<Spanned<String>>>>,
    /// Hosts besides the registry's that blobs may be fetched from.
    #[schemars(with = "Option<Vec<String>>", length(max = 1000))]
    blob_hosts: Option<Spanned<Vec<Spanned<String>>>>,
    /// Tried in this order, before pull secrets and the Docker configuration.
    #[schemars(with = "Option<Vec<RawCredential>>", length(max = 1000))]
    credentials: Option<Spanned<Vec<Spanned<RawCredential>>>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Mirror")]
struct RawMirror {
    /// Which repositories: leading components of the path; all without it.
    #[schemars(with = "Option<String>")]
    prefix: Option<Spanned<String>>,
    /// What stands there for host and prefix: mirror.example/hub.
    #[schemars(with = "String")]
    location: Spanned<String>,
}

/// Exactly one of `docker_config`, `helper`, and `username_file` with `password_file`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Credential")]
struct RawCredential {
    /// A Docker configuration, config.json.
    #[schemars(with = "Option<String>")]
    docker_config: Option<Spanned<PathBuf>>,
    /// A file with the user's name.
    #[schemars(with = "Option<String>")]
    username_file: Option<Spanned<PathBuf>>,
    /// A file with the password.
    #[schemars(with = "Option<String>")]
    password_file: Option<Spanned<PathBuf>>,
    /// NAME of the program docker-credential-NAME.
    #[schemars(with = "Option<String>")]
    helper: Option<Spanned<String>>,
    /// Only for these repositories: leading components of the path.
    #[schemars(with = "Option<Vec<String>>", length(max = 1000))]
    repositories: Option<Spanned<Vec<Spanned<String>>>>,
    /// Only for images of these namespaces' pods.
    #[schemars(with = "Option<Vec<String>>", length(max = 1000))]
    namespaces: Option<Spanned<Vec<Spanned<String>>>>,
}

impl RawRegistry {
    fn entry(&self) -> Result<RegistryEntry, Fault> {
        let mirrors = list(&self.mirrors, "mirrors")?
            .iter()
            .map(RawMirror::mirror);
        let credentials = list(&self.credentials, "credentials")?;
        let credentials = credentials.iter().map(RawCredential::credential);
        if let Some(bundle) = &self.ca_bundle {
            check_bundle(&bundle.value)
                .map_err(|problem| Fault::at(bundle, format!("ca_bundle: {problem}")))?;
        }
        Ok(RegistryEntry {
            host: host(&self.host, "host")?,
            mirrors: mirrors.collect::<Result<_, _>>()?,
            ca_bundle: self.ca_bundle.as_ref().map(|bundle| bundle.value.clone()),
            insecure: self.insecure.unwrap_or_default(),
            concurrency: within(&self.concurrency, "concurrency", 1, 256)?
                .and_then(|number| usize::try_from(number).ok()),
            requests_per_second: rate(&self.requests_per_second)?,
            timeout: timeout(&self.timeout)?,
            manifests_per_run: within(&self.manifest_budget, "manifest_budget", 1, 1_000_000)?,
            token_hosts: hosts(&self.token_hosts, "token_hosts")?,
            blob_hosts: hosts(&self.blob_hosts, "blob_hosts")?,
            credentials: credentials.collect::<Result<_, _>>()?,
        })
    }
}

impl RawMirror {
    fn mirror(&self) -> Result<Mirror, Fault> {
        let location = &self.location;
        let text = location.value.trim_end_matches('/');
        let (registry, path) = text.split_once('/').unwrap_or((text, ""));
        let mirror = Mirror {
            prefix: self
                .prefix
                .as_ref()
                .map_or(Ok(String::new()), |prefix| path_of(prefix, "prefix"))?,
            registry: registry.into(),
            path: path.into(),
        };
        let probe = [path, "a"].into_iter().filter(|part| !part.is_empty());
        let probe = format!("{registry}/{}", probe.collect::<Vec<_>>().join("/"));
        let is_host = registry.contains(['.', ':']) || registry == "localhost";
        let is_repository = probe.parse::<ImageReference>().is_ok_and(|image| {
            image.digest.is_none() && image.tag.as_deref() == Some("latest") && !path.contains(':')
        });
        if is_host && is_repository {
            Ok(mirror)
        } else {
            let problem = "location: it is not a host with an optional port and path, such as mirror.example/hub";
            Err(Fault::at(location, problem))
        }
    }
}

impl RawCredential {
    fn credential(place: &Spanned<Self>) -> Result<OperatorCredential, Fault> {
        let raw = &place.value;
        let source = match (
            &raw.docker_config,
            &raw.username_file,
            &raw.password_file,
            &raw.helper,
        ) {
            (Some(path), None, None, None) => {
                read_docker_config(&path.value)
                    .map_err(|problem| Fault::at(path, format!("docker_config: {problem}")))?;
                CredentialFile::DockerConfig(path.value.clone())
            }
            (None, Some(username), Some(password), None) => {
                for (file, key) in [(username, "username_file"), (password, "password_file")] {
                    read_line(&file.value)
                        .map_err(|problem| Fault::at(file, format!("{key}: {problem}")))?;
                }
                CredentialFile::Password {
                    username: username.value.clone(),
                    password: password.value.clone(),
                }
            }
            (None, None, None, Some(helper)) => {
                if !is_helper(&helper.value) {
                    let problem =
                        "helper: it is NAME of a program docker-credential-NAME, without a path";
                    return Err(Fault::at(helper, problem));
                }
                CredentialFile::Helper(helper.value.clone())
            }
            _ => {
                let problem = "a credential is one of docker_config, helper, and username_file with password_file";
                return Err(Fault::at(place, problem));
            }
        };
        let repositories = list(&raw.repositories, "repositories")?.iter();
        let repositories = repositories.map(|path| path_of(path, "repositories"));
        let namespaces = list(&raw.namespaces, "namespaces")?.iter().map(namespace);
        Ok(OperatorCredential {
            source,
            repositories: repositories.collect::<Result<_, _>>()?,
            namespaces: namespaces.collect::<Result<_, _>>()?,
        })
    }
}

fn list<'a, T>(items: &'a Option<Spanned<Vec<T>>>, what: &str) -> Result<&'a [T], Fault> {
    items.as_ref().map_or(Ok(&[]), |items| bounded(items, what))
}

fn host(text: &Spanned<String>, key: &str) -> Result<RegistryPattern, Fault> {
    match RegistryPattern::parse(&text.value) {
        Ok(pattern) if !pattern.has_path() && !text.value.contains('/') => Ok(pattern),
        _ => Err(no_host(text, key)),
    }
}

fn hosts(
    items: &Option<Spanned<Vec<Spanned<String>>>>,
    key: &str,
) -> Result<Vec<HostPattern>, Fault> {
    let host =
        |text: &Spanned<String>| HostPattern::parse(&text.value).map_err(|_| no_host(text, key));
    list(items, key)?.iter().map(host).collect()
}

fn no_host(text: &Spanned<String>, key: &str) -> Fault {
    let problem =
        format!("{key}: it is not a host with an optional port, such as *.example.com:5000");
    Fault::at(text, problem)
}

/// Components of a repository's path, as the grammar of references has them.
fn path_of(text: &Spanned<String>, key: &str) -> Result<String, Fault> {
    let path = text.value.trim_end_matches('/');
    let parsed = format!("host.example/{path}").parse::<ImageReference>();
    match parsed {
        Ok(image) if *image.repository.path == *path => Ok(path.into()),
        _ => {
            let problem =
                format!("{key}: it is not the beginning of a repository's path, such as team/app");
            Err(Fault::at(text, problem))
        }
    }
}

fn namespace(text: &Spanned<String>) -> Result<String, Fault> {
    let name = &text.value;
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=63).contains(&name.len()) && name.bytes().all(word) {
        Ok(name.clone())
    } else {
        Err(Fault::at(
            text,
            "namespaces: a namespace's name is 1 to 63 of a-z, 0-9 and dashes",
        ))
    }
}

fn within(
    number: &Option<Spanned<u64>>,
    key: &str,
    least: u64,
    most: u64,
) -> Result<Option<u64>, Fault> {
    match number {
        Some(number) if !(least..=most).contains(&number.value) => Err(Fault::at(
            number,
            format!("{key}: it is between {least} and {most}"),
        )),
        number => Ok(number.as_ref().map(|number| number.value)),
    }
}

fn rate(number: &Option<Spanned<f64>>) -> Result<Option<f64>, Fault> {
    match number {
        Some(number) if !(0.01..=1_000.0).contains(&number.value) => Err(Fault::at(
            number,
            "requests_per_second: it is between 0.01 and 1000",
        )),
        number => Ok(number.as_ref().map(|number| number.value)),
    }
}

fn timeout(text: &Option<Spanned<String>>) -> Result<Option<Duration>, Fault> {
    let Some(text) = text else {
        return Ok(None);
    };
    let limits = Duration::from_secs(1)..=Duration::from_secs(3_600);
    match crate::duration::duration(&text.value) {
        Ok(time) if limits.contains(&time) => Ok(Some(time)),
        _ => Err(Fault::at(
            text,
            "timeout: it is a time with its unit from 1s to 1h, such as 90s",
        )),
    }
}

/// A bundle that is none fails here, not in the night.
fn check_bundle(path: &Path) -> Result<(), String> {
    let text = read_bounded(path, MAX_BUNDLE_BYTES)?;
    let certificates = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let mut store = rustls::RootCertStore::empty();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => {
            for certificate in certificates {
                store
                    .add(certificate)
                    .map_err(|_| "it holds what is no certificate")?;
            }
            Ok(())
        }
        _ => Err("it holds no certificates in PEM".into()),
    }
}
