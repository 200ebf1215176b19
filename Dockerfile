# The image of the CronJob: image-census, crane, credential helpers, certificates; no shell, no root.
# scripts/image builds it, with Docker or with buildah.
#
# Both stages compile for the platform that they run on, so that "--platform linux/arm64" works on a
# machine that runs arm64. Files of the image have no time of their own (1970), so that a second build
# makes the same layers.
ARG RUST_IMAGE=docker.io/library/rust:1.95.0-slim-bookworm
ARG GO_IMAGE=docker.io/library/golang:1.26.8-bookworm
ARG FINAL_IMAGE=scratch

FROM ${RUST_IMAGE} AS program
# musl-gcc compiles the C parts (aws-lc, zstd), so that the program needs no file of a distribution.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends musl-tools \
    && rm -rf /var/lib/apt/lists/* \
    && rustup target add "$(uname -m)-unknown-linux-musl"
WORKDIR /build
COPY scripts/versions.env ./
# It notes in the program which crates are in it, for the SBOM and for scanners of images.
RUN . ./versions.env \
    && cargo install --locked --version "$CARGO_AUDITABLE_VERSION" cargo-auditable
# The dependencies, in a layer that changes with Cargo.lock only: every target that Cargo.toml names
# is an empty program for now.
COPY Cargo.toml Cargo.lock ./
RUN sed -n 's/^path = "\(.*\)"$/\1/p' Cargo.toml | while read -r file; do \
        mkdir -p "$(dirname "$file")" && echo 'fn main() {}' >"$file" || exit 1; \
    done \
    && touch src/lib.rs \
    && cargo auditable build --locked --release --bin image-census --target "$(uname -m)-unknown-linux-musl"
COPY LICENSE ./
COPY src src
# Files have the times of the checkout: older than the empty ones, they would count as built.
RUN find src -type f -exec touch {} + \
    && cargo auditable build --locked --release --bin image-census --target "$(uname -m)-unknown-linux-musl" \
    && install -D -t /out/usr/local/bin "target/$(uname -m)-unknown-linux-musl/release/image-census" \
    && install -D -m 644 -t /out/usr/share/doc/image-census LICENSE \
    && find /out -exec touch --date @0 {} +

FROM ${GO_IMAGE} AS tools
ENV CGO_ENABLED=0 GOFLAGS=-trimpath GOBIN=/out/usr/local/bin
COPY scripts/versions.env /build/
RUN . /build/versions.env \
    && crane=github.com/google/go-containerregistry/cmd/crane \
    && go install -ldflags "-s -w -X $crane/cmd.Version=$CRANE_VERSION" "$crane@$CRANE_VERSION"
RUN . /build/versions.env \
    && ecr=github.com/awslabs/amazon-ecr-credential-helper/ecr-login \
    && go install -ldflags '-s -w' "$ecr/cli/docker-credential-ecr-login@$ECR_HELPER_VERSION" \
    && go install -ldflags '-s -w' \
        "github.com/GoogleCloudPlatform/docker-credential-gcr/v2@$GCR_HELPER_VERSION" \
    && go install -ldflags '-s -w' \
        "github.com/chrismellard/docker-credential-acr-env@$ACR_HELPER_VERSION"
# "snapshot" into an object store needs no /tmp (crane's credentials are in /dev/shm, which runtimes mount);
# "get" keeps its download there until it is verified.
RUN install -D -m 644 -t /out/etc/ssl/certs /etc/ssl/certs/ca-certificates.crt \
    && install -d -m 1777 /out/tmp \
    && find /out -exec touch --date @0 {} +

FROM ${FINAL_IMAGE}
ARG VERSION=unknown
LABEL org.opencontainers.image.title="image-census" \
      org.opencontainers.image.description="What operating system each container of a Kubernetes cluster really runs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=tools /out/ /
COPY --from=program /out/ /
ENV PATH=/usr/local/bin
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/image-census"]
