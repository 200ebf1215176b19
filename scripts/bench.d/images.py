"""Part "images": what one image's distribution costs, beside what else would tell it."""

import concurrent.futures
import gzip
import hashlib
import json
import random
import subprocess

from measure import ROOT, SYFT_ENVIRONMENT, TOOLS, measured, registry, syft_command, version
from runs import MIB, Goal, mean, table
from servers import way

# What is above Debian in each image, and does not pack.
APPLICATION = 20 * MIB


def suites():
    """The Debian releases whose root file systems scripts/tools makes."""
    text = (ROOT / "scripts" / "versions.env").read_text()
    return text.split('ROOTFS_SUITES="')[1].split('"')[0].split()


def digest_of(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def push(folder, address):
    """An image of each release, with Debian and an application above it: digests."""
    return {suite: push_one(folder / suite, suite, f"{address}/real/{suite}:1") for suite in suites()}


def push_one(folder, suite, name):
    """Pushes an OCI image layout; its digest. The history is what Docker writes for such an image."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def add(data, kind):
        digest = digest_of(data)
        (blobs / digest.partition(":")[2]).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest, "size": len(data)}

    program = folder / "srv" / "program"
    program.parent.mkdir()
    program.write_bytes(random.Random(suite).randbytes(APPLICATION))
    tree = subprocess.run(["tar", "--create", "--directory", folder, "srv"], check=True, stdout=subprocess.PIPE)
    layers = [(TOOLS.parent / "rootfs" / f"{suite}.tar.gz").read_bytes(), gzip.compress(tree.stdout, 1)]
    config = {
        "os": "linux",
        "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": [digest_of(gzip.decompress(layer)) for layer in layers]},
        "history": [
            {"created_by": f"# debian.sh --arch 'amd64' out/ '{suite}'"},
            {"created_by": "COPY program /srv/program # buildkit"},
        ],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": add(json.dumps(config).encode(), "config.v1+json"),
        "layers": [add(layer, "layer.v1.tar+gzip") for layer in layers],
    }
    index = {"schemaVersion": 2, "manifests": [add(json.dumps(manifest).encode(), "manifest.v1+json")]}
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps(index))
    return measured([TOOLS / "crane", "push", folder, name]).output.decode().strip().split("@")[1]


def pod_list(address, digests, path):
    """A pod for each image."""

    def pod(suite, digest):
        image = f"{address}/real/{suite}@{digest}"
        status = {"name": "app", "image": image, "imageID": image, "ready": True, "restartCount": 0}
        status["state"] = {"running": {"startedAt": "2026-11-23T00:00:00Z"}}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": suite, "namespace": "real", "uid": suite},
            "spec": {"containers": [{"name": "app", "image": image}]},
            "status": {"phase": "Running", "containerStatuses": [status]},
        }

    items = [pod(*item) for item in digests.items()]
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    return path


def expect(done, word, tool):
    if word not in done.output:
        raise SystemExit(f"scripts/bench: {tool} does not say {word!r}: {done.output[:500]!r}")


class Asked:
    """Programs that are asked for images, with the bytes that came from the registry."""

    def __init__(self, way):
        self.way, self.figures = way, {}

    def ask(self, name, command, word=b"", images=1, **options):
        before = self.way.counts()["to_client"]
        done = measured(command, **options)
        expect(done, word, name)
        # The proxy counts what it has written, which is a moment after the reader has gone.
        read = self.way.counts()["to_client"] - before
        self.figures.setdefault(name, []).append((done, read, images))
        return done

    def seconds(self, name):
        """For an image."""
        return mean(done.seconds / images for done, _, images in self.figures[name])

    def row(self, name, least):
        figures = self.figures[name]
        cpu = mean(done.cpu / images for done, _, images in figures)
        read = mean(read / images for _, read, images in figures) / MIB
        peak = max(done.peak for done, _, _ in figures)
        return [name, least / self.seconds(name), self.seconds(name), cpu, peak, read]


def ours(bench, asked, folder, address, digests, engine):
    """Nights of one image each, and of all of them one after the other: what a further image costs, in seconds."""
    further = {}
    for layers in ("auto", "all"):

        def night(name, some, images):
            store = folder / f"{engine}-{layers}-{name.replace(' ', '-')}-{'-'.join(some)}"
            pods = pod_list(address, some, folder / "pods.json")
            command = bench.command(store, "--pods", pods, "--concurrency", "1", "--layers", layers, engine=engine)
            asked.ask(f"image-census, {engine}, `--layers {layers}`, {name}", command, images=images)
            said = measured([bench.program, "get", "latest", "--format", "csv", "--store", store])
            expect(said, b"debian", "image-census")

        for suite, digest in digests.items():
            night("one image a night", {suite: digest}, 1)
        night("all in one night", digests, len(digests))
        name = f"image-census, {engine}, `--layers {layers}`, "
        alone = asked.seconds(name + "one image a night")
        together = asked.seconds(name + "all in one night") * len(digests)
        further[layers] = (together - alone) / (len(digests) - 1)
    return further


def measure(bench, folder):
    with registry(folder / "registry") as (server, _), way(bench.fixtures, server) as path:
        # In another process: a child's memory is at least that of the process which starts it.
        with concurrent.futures.ProcessPoolExecutor(1) as pool:
            digests = pool.submit(push, folder, server).result()
        asked = Asked(path)
        shell = ["bash", "-o", "pipefail", "-c"]
        for suite, digest in digests.items():
            image = f"{path.address}/real/{suite}@{digest}"
            asked.ask("syft", syft_command(image), b"debian", env=SYFT_ENVIRONMENT)
            release = "tar --extract --to-stdout etc/os-release usr/lib/os-release"
            script = f"'{TOOLS / 'crane'}' export '{image}' - | {release}"
            asked.ask(f"`crane export`, `{release}`", [*shell, script], b"ID=debian")
            skopeo = ["skopeo", "inspect", "--tls-verify=false", f"docker://{image}"]
            asked.ask("`skopeo inspect`: no distribution", skopeo, b"linux")
        further = {engine: ours(bench, asked, folder, path.address, digests, engine) for engine in bench.engines}
    syft = asked.seconds("syft")
    goals = []
    for engine in bench.engines:
        for layers in ("auto", "all"):
            took = asked.seconds(f"image-census, {engine}, `--layers {layers}`, one image a night")
            goals.append(Goal(f"syft ÷ one image's night, {engine}, `--layers {layers}`", syft / took, 6, least=True))
    return goals, lines(asked, syft, further, digests)


def lines(asked, syft, further, digests):
    rows = [asked.row(name, syft) for name in asked.figures]
    for engine, by_layers in further.items():
        for layers, seconds in by_layers.items():
            name = f"image-census, {engine}, `--layers {layers}`, a further image in the same night"
            rows.append([name, syft / seconds, seconds, None, None, None])
    return [
        f"## One image's distribution: Debian {', '.join(digests)}",
        "",
        "The real root file system of each release, of some 50 MiB packed, with a layer of 20 MiB above it that says nothing of",
        "itself, in crane's own registry without TLS and without latency; one image at a time, and the mean of the three. What",
        "image-census does is a whole night: it starts, lists the pods, inspects, verifies each layer that it reads to its end,",
        "and commits a report; `--layers auto`, the default, leaves out the layer of which the history says that it holds an",
        f"application. syft {version('SYFT')} is asked for as little as it can be (one cataloger). `skopeo inspect` tells the",
        "configuration only, and nothing of what is in the layers. MiB read are those that left the registry.",
        "",
        *table(["", "syft's time ÷ its own", "seconds an image", "CPU seconds", "peak MiB", "MiB read"], rows),
    ]
