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

/// Each with the pages that name its hosts, read in November 2026. A host that anybody can get, such as a
/// bucket of a name in one's own account, is written out whole, except where a cloud names its own so that
/// no page lists them all: storage accounts of Azure, ECR's buckets.
const PRESETS: &[Preset] = &[
    // Docker Hub: <https://docs.docker.com/desktop/setup/allow-list/>; for its bucket in AWS,
    // <https://jfrog.com/help/r/what-should-we-whitelist-for-artifactory-when-our-docker-registry-is-behind-firewalls-and-proxy-servers>.
    Preset {
        registry: &["index.docker.io", "registry-1.docker.io"],
        token_hosts: &["auth.docker.io"],
        blob_hosts: &[
            "production.cloudflare.docker.com",
            "production.cloudfront.docker.com",
            "docker-images-prod.6aa30f8b08e16409b46e0173d6de2f56.r2.cloudflarestorage.com",
            "docker-images-prod.s3.dualstack.us-east-1.amazonaws.com",
        ],
    },
    // GitHub's, whose tokens are its own:
    // <https://docs.github.com/en/actions/reference/runners/self-hosted-runners>.
    Preset {
        registry: &["ghcr.io"],
        token_hosts: &[],
        blob_hosts: &["pkg-containers.githubusercontent.com"],
    },
    // Amazon's ECR: <https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html> names the
    // bucket, <https://docs.aws.amazon.com/cli/latest/reference/ecr/get-download-url-for-layer.html> its host.
    Preset {
        registry: &[
            "*.dkr.ecr.*.amazonaws.com",
            "*.dkr.ecr-fips.*.amazonaws.com",
        ],
        token_hosts: &[],
        blob_hosts: &["prod-*-starport-layer-bucket.s3.*.amazonaws.com"],
    },
    // <https://anywhere.eks.amazonaws.com/docs/getting-started/nutanix/domains/>.
    Preset {
        registry: &["public.ecr.aws"],
        token_hosts: &[],
        blob_hosts: &[
            "d2glxqk2uabbnd.cloudfront.net",
            "d5l0dvt14r5h8.cloudfront.net",
        ],
    },
    // Google's Container Registry keeps images in Cloud Storage:
    // <https://cloud.google.com/container-registry/docs/access-control>. Of Artifact Registry (pkg.dev) no
    // page says so.
    Preset {
        registry: &["gcr.io", "*.gcr.io"],
        token_hosts: &[],
        blob_hosts: &["storage.googleapis.com"],
    },
    // Azure's: <https://learn.microsoft.com/en-us/azure/container-registry/container-registry-firewall-rules>
    // and <https://learn.microsoft.com/en-us/azure/container-registry/container-registry-dedicated-data-endpoints>.
    Preset {
        registry: &["*.azurecr.io", "*.*.geo.azurecr.io"],
        token_hosts: &[],
        blob_hosts: &["*.blob.core.windows.net", "*.*.data.azurecr.io"],
    },
    // Azure's in China: <https://docs.azure.cn/en-us/container-registry/container-registry-dedicated-data-endpoints>.
    Preset {
        registry: &["*.azurecr.cn"],
        token_hosts: &[],
        blob_hosts: &["*.blob.core.chinacloudapi.cn", "*.*.data.azurecr.cn"],
    },
    // <https://github.com/microsoft/containerregistry/blob/main/docs/client-firewall-rules.md>.
    Preset {
        registry: &["mcr.microsoft.com"],
        token_hosts: &[],
        blob_hosts: &["*.data.mcr.microsoft.com"],
    },
    // Quay: <https://docs.redhat.com/en/documentation/openshift_container_platform/4.19/html/installation_configuration/configuring-firewall>;
    // for its bucket's other host in AWS, decision 1 in <https://github.com/konflux-ci/caching>.
    Preset {
        registry: &["quay.io"],
        token_hosts: &[],
        blob_hosts: &[
            "cdn*.quay.io",
            "quayio-production-s3.s3.amazonaws.com",
            "quayio-production-s3.s3.us-east-1.amazonaws.com",
        ],
    },
    // GitLab: <https://docs.gitlab.com/user/gitlab_com/#container-registry>. Tokens come from GitLab itself:
    // <https://docs.gitlab.com/administration/packages/container_registry/>.
    Preset {
        registry: &["registry.gitlab.com"],
        token_hosts: &["gitlab.com"],
        blob_hosts: &["cdn.registry.gitlab-static.net"],
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
                "docker-images-prod.6aa30f8b08e16409b46e0173d6de2f56.r2.cloudflarestorage.com",
                true,
            ),
            // Another account's bucket of that name.
            (
                "index.docker.io",
                "docker-images-prod.0123456789abcdef.r2.cloudflarestorage.com",
                false,
            ),
            ("public.ecr.aws", "d2glxqk2uabbnd.cloudfront.net", true),
            ("public.ecr.aws", "d111111abcdef8.cloudfront.net", false),
            ("index.docker.io", "ghcr.io", false),
            ("ghcr.io", "pkg-containers.githubusercontent.com", true),
            ("ghcr.io", "raw.githubusercontent.com", false),
            (
                ecr,
                "prod-eu-west-1-starport-layer-bucket.s3.eu-west-1.amazonaws.com",
                true,
            ),
            (ecr, "mine.s3.eu-west-1.amazonaws.com", false),
            ("europe-docker.pkg.dev", "storage.googleapis.com", false),
            ("eu.gcr.io", "storage.googleapis.com", true),
            ("mine.azurecr.io", "eusmanaged7.blob.core.windows.net", true),
            ("mine.azurecr.io", "mine.westeurope.data.azurecr.io", true),
            ("mine.azurecr.cn", "mine.chinaeast2.data.azurecr.cn", true),
            ("mine.azurecr.cn", "mine.westeurope.data.azurecr.io", false),
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
