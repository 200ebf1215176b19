//! Which other hosts the well-known registries lead to: for tokens, and for what they store elsewhere.
//!
//! With a credential in play, nothing but the registry and these is reached. Registries whose tokens
//! and blobs come from themselves are not listed.

use super::policy::HostPattern;

/// A registry and the hosts that belong to it.
struct Preset {
    /// What the registry's host looks like.
    registry: &'static [&'static str],
    /// Where tokens come from.
    token_hosts: &'static [&'static str],
    /// Where blobs are redirected to.
    blob_hosts: &'static [&'static str],
}

const PRESETS: &[Preset] = &[
    // Docker Hub.
    Preset {
        registry: &["index.docker.io", "registry-1.docker.io"],
        token_hosts: &["auth.docker.io"],
        blob_hosts: &[
            "production.cloudflare.docker.com",
            "production.cloudfront.docker.com",
            "docker-images-prod.*.r2.cloudflarestorage.com",
            "docker-images-prod.s3.dualstack.us-east-1.amazonaws.com",
        ],
    },
    // GitHub's; tokens are its own.
    Preset {
        registry: &["ghcr.io"],
        token_hosts: &[],
        blob_hosts: &["pkg-containers.githubusercontent.com"],
    },
    // Amazon's ECR.
    Preset {
        registry: &[
            "*.dkr.ecr.*.amazonaws.com",
            "*.dkr.ecr-fips.*.amazonaws.com",
        ],
        token_hosts: &[],
        blob_hosts: &["prod-*-starport-layer-bucket.s3.*.amazonaws.com"],
    },
    Preset {
        registry: &["*.dkr.ecr.*.amazonaws.com.cn"],
        token_hosts: &[],
        blob_hosts: &["prod-*-starport-layer-bucket.s3.*.amazonaws.com.cn"],
    },
    Preset {
        registry: &["public.ecr.aws"],
        token_hosts: &[],
        blob_hosts: &["*.cloudfront.net"],
    },
    // Google's Container Registry and Artifact Registry.
    Preset {
        registry: &["gcr.io", "*.gcr.io", "*.pkg.dev"],
        token_hosts: &[],
        blob_hosts: &["storage.googleapis.com"],
    },
    // Azure's.
    Preset {
        registry: &["*.azurecr.io", "*.*.geo.azurecr.io"],
        token_hosts: &[],
        blob_hosts: &["*.blob.core.windows.net", "*.*.data.azurecr.io"],
    },
    Preset {
        registry: &["mcr.microsoft.com"],
        token_hosts: &[],
        blob_hosts: &["*.data.mcr.microsoft.com"],
    },
    // Quay.
    Preset {
        registry: &["quay.io"],
        token_hosts: &[],
        blob_hosts: &[
            "cdn*.quay.io",
            "quayio-production-s3.s3.amazonaws.com",
            "quayio-production-s3.s3.*.amazonaws.com",
        ],
    },
    // GitLab.
    Preset {
        registry: &["registry.gitlab.com"],
        token_hosts: &["gitlab.com"],
        blob_hosts: &["cdn.registry.gitlab-static.net", "storage.googleapis.com"],
    },
];

/// The hosts that belong to a registry besides itself.
pub fn hosts_of(registry: &str) -> Vec<HostPattern> {
    let is_registry = |pattern: &str| HostPattern::fixed(pattern).matches_host(registry);
    PRESETS
        .iter()
        .filter(|preset| preset.registry.iter().any(|pattern| is_registry(pattern)))
        .flat_map(|preset| preset.token_hosts.iter().chain(preset.blob_hosts))
        .map(|pattern| HostPattern::fixed(pattern))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::guard::HostPort;

    #[test]
    fn the_well_known_registries_lead_to_their_own_hosts_only() {
        let ecr = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
        for (registry, host, expected) in [
            ("index.docker.io", "auth.docker.io", true),
            ("index.docker.io", "production.cloudflare.docker.com", true),
            (
                "index.docker.io",
                "docker-images-prod.6aa30f8b08e1.r2.cloudflarestorage.com",
                true,
            ),
            ("index.docker.io", "ghcr.io", false),
            ("ghcr.io", "pkg-containers.githubusercontent.com", true),
            ("ghcr.io", "raw.githubusercontent.com", false),
            (
                ecr,
                "prod-eu-west-1-starport-layer-bucket.s3.eu-west-1.amazonaws.com",
                true,
            ),
            (ecr, "mine.s3.eu-west-1.amazonaws.com", false),
            ("europe-docker.pkg.dev", "storage.googleapis.com", true),
            ("eu.gcr.io", "storage.googleapis.com", true),
            ("mine.azurecr.io", "eusmanaged7.blob.core.windows.net", true),
            ("mine.azurecr.io", "mine.westeurope.data.azurecr.io", true),
            ("quay.io", "cdn01.quay.io", true),
            ("registry.gitlab.com", "gitlab.com", true),
            ("registry.example", "auth.docker.io", false),
            // Names that only look like one of them.
            ("a.b.azurecr.io", "x.blob.core.windows.net", false),
            ("quay.io.example", "cdn01.quay.io", false),
        ] {
            let found = HostPort::parse(host, Some(443))
                .is_ok_and(|host| hosts_of(registry).iter().any(|known| known.matches(&host)));
            assert_eq!(found, expected, "{registry} {host}");
        }
    }
}
