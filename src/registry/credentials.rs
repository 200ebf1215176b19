//! Credentials: Docker configurations in, the ones that are for a repository out.
//!
//! Pure. A configuration's author is either the operator, whose helpers are kept by name, or a tenant,
//! of whose Secret only user names and passwords are taken: its `credHelpers` and `credsStore` would
//! run programs, its `HttpHeaders` would go wherever a registry redirects to. Neither a message nor
//! `Debug` shows anything of a credential, and its memory is overwritten when it is dropped; what
//! parsers and the network held for a moment is not.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::pattern::{RegistryPattern, is_docker_hub};
use crate::image::Repository;

/// A configuration's bytes at the most: what a Secret may hold.
pub const MAX_CONFIG_BYTES: usize = 1 << 20;

/// With padding and without, as the kubelet reads it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

type Text = Zeroizing<String>;

/// What a registry is shown.
#[derive(PartialEq, Eq)]
pub struct Credential {
    username: Text,
    password: Text,
    /// An OAuth 2 refresh token, in place of a password.
    identity_token: Option<Text>,
    /// A bearer token for the registry itself.
    registry_token: Option<Text>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

impl Credential {
    /// A user name and a password.
    pub fn new(username: Zeroizing<String>, password: Zeroizing<String>) -> Self {
        Self {
            username,
            password,
            identity_token: None,
            registry_token: None,
        }
    }

    /// A refresh token, as credential helpers answer with the user `<token>`.
    pub fn from_identity_token(token: Zeroizing<String>) -> Self {
        Self {
            identity_token: Some(token),
            ..Self::new(Text::default(), Text::default())
        }
    }

    /// What stands for a user's name and password in `Authorization`, if there are both.
    pub(super) fn basic(&self) -> Option<Zeroizing<String>> {
        if self.username.is_empty() || self.password.is_empty() {
            return None;
        }
        let both = Zeroizing::new(format!("{}:{}", &*self.username, &*self.password));
        let both = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(&*both));
        Some(Zeroizing::new(format!("Basic {}", &*both)))
    }

    /// A refresh token for a token service.
    pub(super) fn identity_token(&self) -> Option<&str> {
        self.identity_token.as_deref().map(String::as_str)
    }

    /// A bearer token for the registry itself.
    pub(super) fn registry_token(&self) -> Option<&str> {
        self.registry_token.as_deref().map(String::as_str)
    }

    fn is_empty(&self) -> bool {
        let tokens = [&self.identity_token, &self.registry_token];
        self.username.is_empty()
            && self.password.is_empty()
            && tokens.into_iter().flatten().all(|token| token.is_empty())
    }
}

/// Who wrote a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// Who runs this program.
    Operator,
    /// Who may write to a namespace.
    Tenant,
}

/// Why a configuration cannot be used. Nothing of it is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Larger than a Secret.
    #[error("it is larger than {} KiB", MAX_CONFIG_BYTES >> 10)]
    TooLarge,
    /// Not JSON of the right form.
    #[error("it is not a Docker configuration in JSON, at line {line}")]
    Json {
        /// Where.
        line: usize,
    },
    /// An entry's `auth`.
    #[error("an entry's auth is not base64 of user:password")]
    Auth,
}

/// Credentials by registry, in the order in which they are tried.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    entries: Vec<(RegistryPattern, Arc<Credential>)>,
}

impl Keyring {
    /// One keyring of several: entries for the same key stay in the order of their keyrings.
    pub fn union<'a>(keyrings: impl IntoIterator<Item = &'a Self>) -> Self {
        let entries = keyrings.into_iter().flat_map(|ring| ring.entries.clone());
        Self::of(entries.collect())
    }

    fn of(mut entries: Vec<(RegistryPattern, Arc<Credential>)>) -> Self {
        entries.sort_by_cached_key(|(pattern, _)| std::cmp::Reverse(pattern.rank()));
        Self { entries }
    }

    /// Those for a repository, the most specific first; each once. What is for all of Docker Hub
    /// serves it by any of its names, where nothing matches by name.
    pub fn lookup(&self, repository: &Repository) -> Vec<Arc<Credential>> {
        let of = |is_for: &dyn Fn(&RegistryPattern) -> bool| {
            let mut found: Vec<Arc<Credential>> = Vec::new();
            for (_, credential) in self.entries.iter().filter(|(pattern, _)| is_for(pattern)) {
                if !found.contains(credential) {
                    found.push(Arc::clone(credential));
                }
            }
            found
        };
        let found = of(&|pattern| pattern.matches(repository));
        if found.is_empty() && is_docker_hub(&repository.registry) {
            return of(&RegistryPattern::is_docker_hub);
        }
        found
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// A Docker configuration, as far as it is honoured.
#[derive(Debug, Clone, Default)]
pub struct DockerConfig {
    /// `auths`.
    pub keyring: Keyring,
    /// `credHelpers`: a helper's name by registry. The operator's only.
    pub helpers: BTreeMap<String, String>,
    /// `credsStore`: the helper for the registries that `auths` names. The operator's only.
    pub store: Option<String>,
    /// Keys of `auths` without a credential: Docker writes them for what is in the store.
    stored: Vec<RegistryPattern>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawConfig {
    #[serde(default)]
    auths: Option<BTreeMap<String, RawEntry>>,
    #[serde(default)]
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

/// Of a tenant's configuration not even the form of other fields matters.
#[derive(Deserialize)]
struct RawTenantConfig {
    #[serde(default)]
    auths: Option<BTreeMap<String, RawEntry>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawEntry {
    #[serde(deserialize_with = "secret")]
    username: Option<Text>,
    #[serde(deserialize_with = "secret")]
    password: Option<Text>,
    #[serde(deserialize_with = "secret")]
    auth: Option<Text>,
    #[serde(deserialize_with = "secret")]
    identitytoken: Option<Text>,
    #[serde(deserialize_with = "secret")]
    registrytoken: Option<Text>,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Text>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Text::new))
}

impl DockerConfig {
    /// Reads `config.json`, which is also what `.dockerconfigjson` holds.
    pub fn parse(bytes: &[u8], author: Author) -> Result<Self, ConfigError> {
        match author {
            Author::Tenant => {
                let raw: RawTenantConfig = read(bytes)?;
                let (keyring, _) = keyring(raw.auths.unwrap_or_default(), author)?;
                Ok(Self {
                    keyring,
                    ..Self::default()
                })
            }
            Author::Operator => {
                let raw: RawConfig = read(bytes)?;
                let helpers = raw.cred_helpers.unwrap_or_default();
                let (keyring, stored) = keyring(raw.auths.unwrap_or_default(), author)?;
                Ok(Self {
                    keyring,
                    stored,
                    helpers: helpers
                        .into_iter()
                        .filter(|(_, name)| is_helper(name))
                        .collect(),
                    store: raw.creds_store.filter(|name| is_helper(name)),
                })
            }
        }
    }

    /// Reads `.dockercfg`, the older form: `auths` alone.
    pub fn parse_legacy(bytes: &[u8], author: Author) -> Result<Self, ConfigError> {
        Ok(Self {
            keyring: keyring(read(bytes)?, author)?.0,
            ..Self::default()
        })
    }

    /// The operator's helper for a registry that the operator named, if there is one: `docker-credential-NAME`.
    pub fn helper(&self, registry: &str) -> Option<&str> {
        let is_for = |key: &&String| {
            RegistryPattern::parse(key).is_ok_and(|pattern| {
                !pattern.has_path()
                    && (pattern.matches_host(registry)
                        || (pattern.is_docker_hub() && is_docker_hub(registry)))
            })
        };
        if let Some(key) = self.helpers.keys().find(is_for) {
            return self.helpers.get(key).map(String::as_str);
        }
        // Not for just any registry that a pod's author names.
        let is_stored = self.stored.iter().any(|pattern| {
            pattern.matches_host(registry) || (pattern.is_docker_hub() && is_docker_hub(registry))
        });
        self.store.as_deref().filter(|_| is_stored)
    }
}

/// A helper's name becomes a part of a program's: no path.
pub fn is_helper(name: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=64).contains(&name.len()) && name.bytes().all(word) && !name.starts_with(['-', '.'])
}

fn read<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, ConfigError> {
    if bytes.len() > MAX_CONFIG_BYTES {
        return Err(ConfigError::TooLarge);
    }
    // serde would take an array for the fields in their order.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(ConfigError::Json { line: 1 });
    }
    // The text of serde's error would repeat a value.
    serde_json::from_slice(bytes).map_err(|error| ConfigError::Json { line: error.line() })
}

/// The credentials, and the keys without one.
fn keyring(
    raw: BTreeMap<String, RawEntry>,
    author: Author,
) -> Result<(Keyring, Vec<RegistryPattern>), ConfigError> {
    let (mut entries, mut stored) = (Vec::new(), Vec::new());
    for (key, entry) in raw {
        let credential = credential(entry, author)?;
        match RegistryPattern::parse(&key) {
            Ok(pattern) if credential.is_empty() => stored.push(pattern),
            Ok(pattern) => entries.push((pattern, Arc::new(credential))),
            Err(_) => {}
        }
    }
    Ok((Keyring::of(entries), stored))
}

fn credential(entry: RawEntry, author: Author) -> Result<Credential, ConfigError> {
    let (username, password) = match entry.auth.filter(|auth| !auth.is_empty()) {
        Some(auth) => {
            let decoded = BASE64
                .decode(auth.as_bytes())
                .map_err(|_| ConfigError::Auth)?;
            let decoded = Zeroizing::new(decoded);
            let text = std::str::from_utf8(&decoded).map_err(|_| ConfigError::Auth)?;
            let (username, password) = text.split_once(':').ok_or(ConfigError::Auth)?;
            (
                Text::new(username.into()),
                // Docker pads some passwords so.
                Text::new(password.trim_end_matches('\0').into()),
            )
        }
        None => (
            entry.username.unwrap_or_default(),
            entry.password.unwrap_or_default(),
        ),
    };
    let is_operator = author == Author::Operator;
    // The kubelet knows no tokens.
    let token = |token: Option<Text>| token.filter(|token| is_operator && !token.is_empty());
    Ok(Credential {
        username,
        password,
        identity_token: token(entry.identitytoken),
        registry_token: token(entry.registrytoken),
    })
}

/// What Docker calls a registry in its configuration, and to helpers.
pub(super) fn auth_key(registry: &str) -> &str {
    match registry {
        "docker.io" => "https://index.docker.io/v1/",
        registry => registry,
    }
}

/// A whole `config.json` for one registry, with one credential or none. Its key is the one under which
/// crane looks for the registry.
pub fn render_config(registry: &str, credential: Option<&Credential>) -> Zeroizing<Vec<u8>> {
    let Some(credential) = credential else {
        return Zeroizing::new(b"{\"auths\":{}}".to_vec());
    };
    let key = auth_key(registry);
    let fields = [
        ("username", Some(&credential.username)),
        ("password", Some(&credential.password)),
        ("identitytoken", credential.identity_token.as_ref()),
        ("registrytoken", credential.registry_token.as_ref()),
    ];
    let fields: Vec<_> = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?.as_str())))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    // Room for every byte escaped, so that no part is left behind in a buffer that was given up.
    let size = |text: &str| 6 * text.len() + 32;
    let room = size(key) + fields.iter().map(|(_, value)| size(value)).sum::<usize>() + 64;
    let mut text = Zeroizing::new(Vec::with_capacity(room));
    text.extend_from_slice(b"{\"auths\":{");
    write_string(&mut text, key);
    text.extend_from_slice(b":{");
    for (place, (name, value)) in fields.into_iter().enumerate() {
        if place > 0 {
            text.push(b',');
        }
        write_string(&mut text, name);
        text.push(b':');
        write_string(&mut text, value);
    }
    text.extend_from_slice(b"}}}");
    text
}

/// A JSON string.
fn write_string(text: &mut Vec<u8>, value: &str) {
    text.push(b'"');
    for character in value.chars() {
        match character {
            '"' | '\\' => text.extend_from_slice(&[b'\\', character as u8]),
            '\0'..='\u{1f}' => {
                text.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
            }
            _ => text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    text.push(b'"');
}
