//! The table: who runs which image from where, with which secrets, and what must come out.
//!
//! Nothing here is the program's: users, secrets and rights are those of `cluster.rs`, places and
//! settings those of `registries.rs`.

/// A pod with one image.
pub(crate) struct Case {
    pub(crate) namespace: &'static str,
    /// `place/path`, with a tag of its own unless one stands there. A pod with `@` at the end names the
    /// digest; with `?` nobody pushed it.
    pub(crate) image: &'static str,
    /// The pull secrets that the pod names, and `@` with its service account.
    pub(crate) names: &'static str,
    /// `inspection_status`, `error_kind`, and `via` with the mirror of `inspected_via`.
    pub(crate) outcome: &'static str,
    /// Who asked the registry for it, each once, in order: `-` is nobody; `place:user` for another place
    /// than the image's.
    pub(crate) tried: &'static str,
    /// What `error_message` must say; `{place}` stands for an address.
    pub(crate) words: &'static str,
}

/// Where images lie that are not at their own place alone.
pub(crate) const ELSEWHERE: &[(&str, &[&str])] = &[
    ("mirrored/hub/only-there", &["near/copy/hub/only-there"]),
    (
        "mirrored/both/near",
        &["near/a/near", "far/b/near", "mirrored/both/near"],
    ),
    ("mirrored/both/far", &["far/b/far", "mirrored/both/far"]),
    ("mirrored/locked/theirs", &["cache/box/theirs"]),
    (
        "mirrored/banned/app",
        &["denied/box/app", "mirrored/banned/app"],
    ),
];

const UNKNOWN: &str = "wants other credentials";
const ALONE: &str = "";

type Line = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

/// How a key of a secret must look to be for an image.
#[rustfmt::skip]
const KEYS: &[Line] = &[
    ("amber", "private/keys/host", "host", "ok", "amber", ALONE),
    ("amber", "private/keys/by-digest@", "host", "ok", "amber", ALONE),
    ("amber", "direct/keys/address", "address", "ok", "amber", ALONE),
    ("amber", "direct/keys/address-glob", "address-glob", "ok", "amber", ALONE),
    ("amber", "private/keys/path", "path", "ok", "amber", ALONE),
    ("amber", "private/keys/whole-path", "whole-path", "ok", "amber", ALONE),
    // A path is a beginning of the text, not of components.
    ("amber", "private/keys-of-text/app", "path", "ok", "amber", ALONE),
    ("amber", "private/keys/glob", "glob", "ok", "amber", ALONE),
    ("amber", "private/keys/part-glob", "part-glob", "ok", "amber", ALONE),
    ("amber", "private/keys/glob-path", "glob-path", "ok", "amber", ALONE),
    ("amber", "private/keys/v1", "v1", "ok", "amber", ALONE),
    ("amber", "private/keys/v2", "v2", "ok", "amber", ALONE),
    ("amber", "private/keys/http", "http", "ok", "amber", ALONE),
    ("amber", "private/keys/slash", "slash", "ok", "amber", ALONE),
    ("amber", "private/keys/https-path", "https-path", "ok", "amber", ALONE),
    ("amber", "private/keys/other-port", "other-port", "failed unauthorized", "-", UNKNOWN),
    ("amber", "private/keys/no-port", "no-port", "failed unauthorized", "-", UNKNOWN),
    ("amber", "private/keys/other-path", "other-path", "failed unauthorized", "-", UNKNOWN),
    ("amber", "private/keys/one-star", "one-star", "failed unauthorized", "-", UNKNOWN),
    ("amber", "private/keys/other-host", "other-host", "failed unauthorized", "-", UNKNOWN),
    ("amber", "private/keys/with-user", "with-user", "failed unauthorized", "-", "wants other"),
];

/// Which of several is tried first, and what a credential may look like.
#[rustfmt::skip]
const CANDIDATES: &[Line] = &[
    // Each of the two is wrong once: the longer key is tried first, whatever comes of it.
    ("amber", "private/keys/longest-right", "longest-right", "ok", "amber", ALONE),
    ("amber", "private/keys/longest-wrong", "longest-wrong", "ok", "ghost-long amber", ALONE),
    // Over several secrets as within one, in whichever order the pod names them.
    ("amber", "private/keys/two-secrets", "host-wrong path", "ok", "amber", ALONE),
    ("amber", "private/keys/same-key", "host-wrong host", "ok", "ghost-host amber", ALONE),
    ("amber", "private/keys/same-key-first", "host host-wrong", "ok", "amber", ALONE),
    ("amber", "private/keys/all-wrong", "host-wrong path-wrong", "failed unauthorized", "ghost-path ghost-host -", UNKNOWN),
    ("amber", "private/forms/wrong-password", "wrong-password", "failed unauthorized", "amber -", UNKNOWN),
    ("amber", "private/forms/fields", "fields", "ok", "amber", ALONE),
    ("amber", "private/forms/unpadded", "unpadded", "ok", "amber", ALONE),
    ("amber", "private/forms/legacy", "legacy", "ok", "amber", ALONE),
    ("amber", "private/forms/legacy-v1", "legacy-v1", "ok", "amber", ALONE),
    // What would run programs and add headers.
    ("amber", "private/forms/hostile", "hostile", "ok", "amber", ALONE),
    ("amber", "private/forms/helper-only", "helper-only", "failed unauthorized", "-", "secret amber/helper-only cannot be used: it holds no credentials"),
    ("amber", "private/forms/store-only", "store-only", "failed unauthorized", "-", "secret amber/store-only cannot be used: it holds no credentials"),
    ("amber", "private/forms/token", "token", "failed unauthorized", "-", "secret amber/token cannot be used: it holds no credentials"),
    ("amber", "private/keys/host?", "host", "failed not_found", "amber -", "{private} does not have this image"),
    ("amber", "private/keys/no-such?", "host", "failed not_found", "amber -", "{private} does not have this image"),
];

/// What pods have by their service accounts.
#[rustfmt::skip]
const ACCOUNTS: &[Line] = &[
    ("blue", "private/accounts/builder", "@builder", "ok", "blue", ALONE),
    ("blue", "private/accounts/default", "", "ok", "blue", ALONE),
    ("blue", "private/accounts/two", "@two", "ok", "ghost-blue blue", ALONE),
    ("blue", "private/accounts/own-first", "wrong @builder", "ok", "ghost-blue blue", ALONE),
    ("blue", "private/accounts/none", "@bare", "failed unauthorized", "-", UNKNOWN),
    ("blue", "private/accounts/absent", "@absent", "failed unauthorized", "-", "service account blue/absent does not exist"),
    ("blue", "private/accounts/stale", "@stale", "failed unauthorized", "-", "secret blue/gone does not exist"),
    ("blue", "private/accounts/locked", "@locked", "failed unauthorized", "-", r#"bind a Role in namespace blue with the rule {apiGroups: [""], resources: ["serviceaccounts"], resourceNames: ["locked"], verbs: ["get"]}"#),
    // It can do without the account.
    ("blue", "private/accounts/own", "pull @locked", "ok", "blue", ALONE),
];

/// A namespace's secret serves its own pods that name it.
#[rustfmt::skip]
const ISOLATION: &[Line] = &[
    // Its own secret `pull` is for all of the registry, and this pod does not name it.
    ("coral", "private/isolation/unnamed", "", "failed unauthorized", "-", UNKNOWN),
    ("coral", "private/isolation/named", "pull", "ok", "coral", ALONE),
    ("coral", "private/isolation/theirs", "host", "failed unauthorized", "-", "secret coral/host does not exist"),
    ("coral", "private/isolation/their-account", "@builder", "failed unauthorized", "-", "service account coral/builder does not exist"),
    // One repository, an image each.
    ("amber", "private/isolation/app:amber", "host", "ok", "amber", ALONE),
    ("coral", "private/isolation/app:coral", "", "failed unauthorized", "-", UNKNOWN),
    // One image of two namespaces is one, and whoever names a secret for it serves it.
    ("amber", "private/isolation/common:1", "host", "ok", "amber", ALONE),
    ("coral", "private/isolation/common:1", "", "ok", "amber", ALONE),
];

/// Secrets that are of no use.
#[rustfmt::skip]
const BROKEN: &[Line] = &[
    ("dune", "private/broken/opaque", "opaque", "failed unauthorized", "-", "secret dune/opaque cannot be used: its type is neither kubernetes.io/dockerconfigjson nor"),
    ("dune", "private/broken/basic", "basic", "failed unauthorized", "-", "secret dune/basic cannot be used: its type is neither"),
    ("dune", "private/broken/shape", "shape", "failed unauthorized", "-", "secret dune/shape cannot be used: it is not a Docker configuration in JSON, at line 1"),
    ("dune", "private/broken/legacy-shape", "legacy-shape", "failed unauthorized", "-", "secret dune/legacy-shape cannot be used: it is not a Docker configuration in JSON, at line 1"),
    ("dune", "private/broken/auth", "auth", "failed unauthorized", "-", "secret dune/auth cannot be used: an entry's auth is not base64 of user:password"),
    ("dune", "private/broken/empty", "empty", "failed unauthorized", "-", "secret dune/empty cannot be used: it holds no credentials"),
    ("dune", "private/broken/missing", "missing", "failed unauthorized", "-", "secret dune/missing does not exist"),
    ("dune", "private/broken/forbidden", "forbidden", "failed unauthorized", "-", r#"bind a Role in namespace dune with the rule {apiGroups: [""], resources: ["secrets"], resourceNames: ["forbidden"], verbs: ["get"]}"#),
    ("dune", "private/broken/two", "missing auth", "failed unauthorized", "-", "secret dune/missing does not exist; secret dune/auth cannot be used"),
    ("dune", "private/broken/but-one", "missing shape good", "ok", "dune", ALONE),
    ("dune", "open/broken/public", "missing", "ok", "-", ALONE),
];

/// A namespace of which the program may read nothing.
#[rustfmt::skip]
const UNREADABLE: &[Line] = &[
    ("ember", "private/closed/named", "pull", "failed unauthorized", "-", r#"bind a Role in namespace ember with the rule {apiGroups: [""], resources: ["secrets"], resourceNames: ["pull"], verbs: ["get"]}"#),
    ("ember", "private/closed/unnamed", "", "failed unauthorized", "-", r#"resources: ["serviceaccounts"], resourceNames: ["default"], verbs: ["get"]"#),
    ("ember", "files/closed/settings", "pull", "ok", "operator-files", ALONE),
    ("ember", "open/closed/public", "", "ok", "-", ALONE),
];

/// What the operator has.
#[rustfmt::skip]
const OPERATOR: &[Line] = &[
    ("fern", "files/app", "", "ok", "operator-files", ALONE),
    ("fern", "config/app", "", "ok", "operator-config", ALONE),
    ("fern", "helper/app", "", "ok", "operator-helper", ALONE),
    ("fern", "docker/app", "", "ok", "operator-docker", ALONE),
    ("fern", "docker-helper/app", "", "ok", "operator-helper", ALONE),
    ("fern", "no-helper/app", "", "failed unauthorized", "-", "; the credential helper absent could not be started: is it on PATH?"),
    ("fern", "no-helper/before", "all", "ok", "fern", ALONE),
    // The tenant's before the operator's Docker configuration, after the operator's settings.
    ("fern", "docker/before", "all", "ok", "fern", ALONE),
    ("fern", "files/before", "all", "ok", "operator-files", ALONE),
    ("fern", "order/next", "all", "ok", "ghost-settings fern", ALONE),
    ("fern", "order/last", "wrong", "failed unauthorized", "ghost-settings ghost-fern ghost-docker -", "{order} wants other credentials"),
    // Components of a path in settings, unlike in keys of a Docker configuration.
    ("fern", "limited/team/app", "", "ok", "operator-files", ALONE),
    ("fern", "limited/teams/app", "", "failed unauthorized", "-", UNKNOWN),
    ("amber", "limited/other/app", "", "ok", "operator-config", ALONE),
    ("amber", "limited/team/both", "", "ok", "operator-files", ALONE),
    ("coral", "limited/other/theirs", "", "failed unauthorized", "-", UNKNOWN),
];

/// What has nothing to do with credentials, or goes before them.
#[rustfmt::skip]
const PLACES: &[Line] = &[
    ("fern", "open/app", "", "ok", "-", ALONE),
    ("fern", "open/app?", "", "failed not_found", "-", "{open} does not have this image"),
    ("fern", "open/no-such?", "", "failed not_found", "-", "{open} does not have this image"),
    ("fern", "stranger/app", "all", "failed tls", "fern", "{stranger} has no certificate that is trusted here"),
    ("fern", "impostor/app", "", "failed tls", "-", "{impostor} has no certificate that is trusted here"),
    ("fern", "insecure/app", "all", "ok", "fern", ALONE),
    ("fern", "denied/app", "all", "skipped policy", "", "{denied} is refused by --deny-registry"),
    ("fern", "private/secret/app", "all", "skipped policy", "", "is refused by --deny-registry"),
    ("fern", "private/secrets/app", "all", "ok", "fern", ALONE),
];

/// Mirrors come first, each with the credentials that are for it.
#[rustfmt::skip]
const MIRRORS: &[Line] = &[
    ("fern", "mirrored/hub/only-there", "", "ok via near", "near:-", ALONE),
    ("fern", "mirrored/both/near", "", "ok via near", "near:-", ALONE),
    ("fern", "mirrored/both/far", "", "ok via far", "near:- far:-", ALONE),
    ("fern", "mirrored/both/origin", "origin", "ok", "near:- far:- fern", ALONE),
    ("fern", "mirrored/both/nowhere?", "origin", "failed not_found", "near:- far:- fern -", "; its mirror {near}: not_found; its mirror {far}: not_found"),
    ("fern", "mirrored/down/app", "origin", "ok", "down:- fern", ALONE),
    ("fern", "mirrored/down/private", "", "failed unauthorized", "down:- -", "{mirrored} wants other credentials, or has no such repository: log in to it, or give the job a Docker configuration for it; its mirror {down}: network"),
    ("fern", "mirrored/locked/theirs", "cache", "ok via cache", "cache:fern", ALONE),
    // The origin's credential is not the mirror's.
    ("fern", "mirrored/locked/origin", "origin", "ok", "cache:- fern", ALONE),
    ("fern", "mirrored/locked/both", "cache origin", "ok", "cache:fern cache:- fern", ALONE),
    ("fern", "mirrored/elsewhere/app", "origin", "ok", "fern", ALONE),
    // Refused is refused, also as a mirror.
    ("fern", "mirrored/banned/app", "origin", "ok", "fern", ALONE),
];

/// What comes out of places of two namespaces where pull secrets are nobody's business, and nothing but
/// these places is allowed.
pub(crate) const WITHOUT_SECRETS: &[(&str, &str, &str)] = &[
    ("files/app", "ok", "operator-files"),
    ("files/before", "ok", "operator-files"),
    ("docker/app", "ok", "operator-docker"),
    ("docker/before", "ok", "operator-docker"),
    ("mirrored/hub/only-there", "ok via near", "near:-"),
    ("mirrored/locked/theirs", "failed unauthorized", "cache:- -"),
    ("mirrored/locked/both", "failed unauthorized", "cache:- -"),
    ("mirrored/both/far", "ok via far", "near:- far:-"),
    ("mirrored/locked/origin", "failed unauthorized", "cache:- -"),
    ("mirrored/both/near", "ok via near", "near:-"),
    (
        "mirrored/both/origin",
        "failed unauthorized",
        "near:- far:- -",
    ),
    (
        "mirrored/both/nowhere?",
        "failed unauthorized",
        "near:- far:- -",
    ),
    ("mirrored/elsewhere/app", "failed unauthorized", "-"),
    ("mirrored/banned/app", "failed unauthorized", "denied:- -"),
];

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    let groups = [
        KEYS, CANDIDATES, ACCOUNTS, ISOLATION, BROKEN, UNREADABLE, OPERATOR, PLACES, MIRRORS,
    ];
    let case = |line: &Line| Case {
        namespace: line.0,
        image: line.1,
        names: line.2,
        outcome: line.3,
        tried: line.4,
        words: line.5,
    };
    groups.into_iter().flatten().map(case).collect()
}
