//! What an image's history says about its layers: which of them may have changed a release file.
//!
//! In: the configuration's history and the layers' sizes. Out: a judgement for each layer, always
//! leaning towards reading it. Builders write the history, and may write anything: what is skipped on
//! its word is reported as skipped on its word.

use super::path::{clean, is_below};

/// Layers up to this size are read whatever their history says, in bytes: one that only replaces
/// release files packs to some hundred, and below this a blob costs less than the request for it.
const SMALL_LAYER: u64 = 256 * 1024;

/// One entry of the configuration's history (OCI image configuration, `history`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The command that made the layer.
    pub created_by: Option<String>,
    /// True if it made none.
    pub empty_layer: bool,
}

/// What is known of a layer before it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LayerInfo {
    /// The blob's size in bytes, as the manifest states it.
    pub size: Option<u64>,
    /// The command that made the layer; nothing where the history does not tell.
    pub created_by: Option<String>,
}

/// Joins the layers' sizes, base first, with the history. Where the history's layers are not as many
/// as the manifest's, no entry can be trusted to be a certain layer's, and none is used.
pub fn layer_infos(sizes: &[Option<u64>], history: &[HistoryEntry]) -> Vec<LayerInfo> {
    let made: Vec<&HistoryEntry> = history.iter().filter(|entry| !entry.empty_layer).collect();
    let fits = made.len() == sizes.len();
    let command = |index: usize| {
        made.get(index)
            .filter(|_| fits)
            .and_then(|entry| entry.created_by.clone())
    };
    sizes
        .iter()
        .enumerate()
        .map(|(index, size)| LayerInfo {
            size: *size,
            created_by: command(index),
        })
        .collect()
}

/// Programs that fetch or build an application in directories of its own.
const APPLICATION_TOOLS: [&str; 34] = [
    "bun",
    "bundle",
    "bundler",
    "cargo",
    "composer",
    "corepack",
    "dotnet",
    "gem",
    "go",
    "gradle",
    "./gradlew",
    "mix",
    "mvn",
    "./mvnw",
    "npm",
    "npx",
    "pip",
    "pip3",
    "pipenv",
    "pipx",
    "pnpm",
    "poetry",
    "sbt",
    "uv",
    "yarn",
    "mkdir",
    "chown",
    "chmod",
    "useradd",
    "groupadd",
    "adduser",
    "addgroup",
    "usermod",
    "true",
];

/// Words of a shell without an effect on files.
const SHELL_WORDS: [&str; 4] = ["set", "cd", "export", "exit"];

/// Top-level directories that hold, or may link to, a system's release files.
const SYSTEM_ROOTS: [&str; 10] = [
    "bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "sbin", "usr",
];

/// Directories under system roots that no release file is in.
const APPLICATION_PLACES: [&str; 4] = ["usr/local", "usr/src", "usr/app", "usr/share/nginx"];

/// True if the layer may have changed the release file at `resolved` (where links led to) or the way
/// to it, or if nothing sure is known about that.
pub(super) fn may_change(layer: &LayerInfo, resolved: &str) -> bool {
    if layer.size.is_none_or(|size| size <= SMALL_LAYER) {
        return true;
    }
    let Some(command) = layer.created_by.as_deref() else {
        return true;
    };
    let command = command.trim().trim_end_matches("# buildkit").trim();
    let command = match command.split_once("#(nop)") {
        Some((_, instruction)) => instruction.trim(),
        None => command,
    };
    if command.starts_with("ko build ko://") || command.starts_with("jib-") {
        // Builders that add an application to a base image and do nothing else.
        return false;
    }
    if let Some(arguments) = command
        .strip_prefix("COPY ")
        .or(command.strip_prefix("ADD "))
    {
        return !copies_elsewhere(arguments, resolved);
    }
    if let Some(directory) = command.strip_prefix("WORKDIR ") {
        return !is_elsewhere(directory, resolved);
    }
    !runs_application_tools(command, resolved)
}

/// True if the destination, the last argument, is no place of release files.
fn copies_elsewhere(arguments: &str, resolved: &str) -> bool {
    // Documents within the Dockerfile and JSON lists have their destination elsewhere.
    if arguments.contains("<<") || arguments.contains('[') {
        return false;
    }
    arguments
        .split_whitespace()
        .next_back()
        .is_some_and(|to| is_elsewhere(to, resolved))
}

/// True for an absolute path that is surely outside of system directories and apart from `resolved`.
fn is_elsewhere(path: &str, resolved: &str) -> bool {
    let path = path.trim().trim_matches(['"', '\'']);
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | '@' | ':');
    if !path.starts_with('/')
        || !path.chars().all(plain)
        || path.split('/').any(|part| part == "..")
    {
        return false;
    }
    let path = clean(path);
    let apart = !path.is_empty() && path != resolved && !is_below(resolved, &path);
    let root = path.split('/').next().unwrap_or_default();
    let in_system = SYSTEM_ROOTS.contains(&root) || root.contains("bottlerocket");
    let in_application = APPLICATION_PLACES
        .iter()
        .any(|place| path == *place || is_below(&path, place));
    apart && (!in_system || in_application)
}

/// True if a shell command calls nothing but application tools, and names no place of release files.
fn runs_application_tools(command: &str, resolved: &str) -> bool {
    let Some((_, script)) = command.split_once("/bin/sh -c ") else {
        return false;
    };
    // Whatever could run, read or write something that is not seen here.
    if script.contains(['$', '`', '<', '>', '(', ')', '{', '}', '*', '?', '\\', '~'])
        || script.contains("release")
    {
        return false;
    }
    let mut steps = script
        .split(['&', '|', ';', '\n'])
        .map(str::trim)
        .filter(|step| !step.is_empty());
    steps.all(|step| {
        let mut words = step.split_whitespace();
        let tool = words.next().unwrap_or_default();
        let is_known = APPLICATION_TOOLS.contains(&tool) || SHELL_WORDS.contains(&tool);
        let is_python_module = matches!(tool, "python" | "python3")
            && step.split_whitespace().nth(1) == Some("-m")
            && matches!(
                step.split_whitespace().nth(2),
                Some("pip" | "venv" | "compileall")
            );
        (is_known || is_python_module)
            && words
                .flat_map(|word| word.split(['=', ',', ':', '"', '\'']))
                .all(|word| {
                    (!word.contains('/') && word != "..")
                        || (!word.starts_with('/') && !word.split('/').any(|part| part == ".."))
                        || word.starts_with("//")
                        || is_elsewhere(word, resolved)
                })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: u64 = 100 * 1024 * 1024;

    fn large(command: &str) -> LayerInfo {
        LayerInfo {
            size: Some(LARGE),
            created_by: Some(command.to_owned()),
        }
    }

    #[test]
    fn commands_that_leave_release_files_alone_are_recognised() {
        for command in [
            "COPY /src /app # buildkit",
            "COPY --chown=node:node . /home/node/app # buildkit",
            "/bin/sh -c #(nop) COPY dir:0123 in /opt/app ",
            "/bin/sh -c #(nop) ADD file:0123 in /usr/local/bin/ ",
            "/bin/sh -c #(nop) WORKDIR /app",
            "WORKDIR /app",
            "RUN /bin/sh -c pip install --no-cache-dir -r requirements.txt # buildkit",
            "RUN |1 VERSION=1 /bin/sh -c npm ci && npm run build # buildkit",
            "/bin/sh -c set -eux; go build -o /go/bin/app ./cmd/app",
            "RUN /bin/sh -c python -m pip install https://example.org/x.whl # buildkit",
            "RUN /bin/sh -c mkdir -p /var/lib/app && chown -R app:app /var/lib/app # buildkit",
            "ko build ko://example.org/cmd/app",
            "jib-maven-plugin:3.4.0",
        ] {
            assert!(!may_change(&large(command), "etc/os-release"), "{command}");
        }
    }

    #[test]
    fn every_other_command_is_doubted() {
        for command in [
            "",
            "RUN /bin/sh -c apt-get update && apt-get -y upgrade # buildkit",
            "RUN /bin/sh -c apk add --no-cache curl # buildkit",
            "/bin/sh -c yum -y update && yum clean all",
            "RUN /bin/sh -c microdnf upgrade # buildkit",
            "RUN /bin/sh -c zypper -n up # buildkit",
            "RUN /bin/sh -c ./setup.sh # buildkit",
            "RUN /bin/sh -c echo ID=x > /etc/os-release # buildkit",
            "RUN /bin/sh -c npm ci && cp os-release /etc/ # buildkit",
            "RUN /bin/sh -c pip install --target /etc x # buildkit",
            "RUN /bin/sh -c npm ci && $INSTALL # buildkit",
            "RUN /bin/sh -c npm ci `cat x` # buildkit",
            "RUN /bin/sh -c cd / && chmod -R a+r . # buildkit",
            "RUN /bin/sh -c cd ../etc && mkdir x # buildkit",
            "RUN /bin/bash -c npm ci # buildkit",
            "COPY / / # buildkit",
            "COPY rootfs/ / # buildkit",
            "COPY x /etc/ # buildkit",
            "COPY x /usr/lib/ # buildkit",
            "COPY x /app/../etc # buildkit",
            "COPY x app/ # buildkit",
            "COPY x $HOME # buildkit",
            "COPY <<EOF /app/x # buildkit",
            "ADD [\"a\", \"/app\"]",
            "ADD rootfs.tar.xz / # buildkit",
            "/bin/sh -c #(nop) ADD file:0123 in / ",
            "bazel build ...",
            "apko",
        ] {
            assert!(may_change(&large(command), "etc/os-release"), "{command}");
        }
    }

    #[test]
    fn a_copy_into_the_way_of_a_linked_release_file_is_doubted() {
        assert!(may_change(
            &large("COPY x /opt # buildkit"),
            "opt/vendor/os-release"
        ));
        assert!(!may_change(
            &large("COPY x /opt/app # buildkit"),
            "opt/vendor/os-release"
        ));
    }

    #[test]
    fn small_layers_and_layers_without_history_are_read() {
        let harmless = "COPY /src /app # buildkit".to_owned();
        let info = |size, created_by| LayerInfo { size, created_by };
        assert!(may_change(
            &info(Some(1000), Some(harmless.clone())),
            "etc/os-release"
        ));
        assert!(may_change(&info(None, Some(harmless)), "etc/os-release"));
        assert!(may_change(&info(Some(LARGE), None), "etc/os-release"));
    }

    #[test]
    fn history_is_used_only_where_it_has_as_many_layers() {
        let entry = |text: &str, empty_layer| HistoryEntry {
            created_by: Some(text.into()),
            empty_layer,
        };
        let history = [entry("a", false), entry("ENV x", true), entry("b", false)];
        let commands = |sizes: &[Option<u64>]| -> Vec<Option<String>> {
            layer_infos(sizes, &history)
                .into_iter()
                .map(|info| info.created_by)
                .collect()
        };
        assert_eq!(
            commands(&[Some(1), Some(2)]),
            [Some("a".to_owned()), Some("b".to_owned())]
        );
        assert_eq!(commands(&[Some(1)]), [None]);
        assert_eq!(commands(&[Some(1), None, None]), [None, None, None]);
    }
}
