"""Part "images": what one image's distribution costs, beside what else would tell it."""

import json
import random
import subprocess

from measure import SYFT_ENVIRONMENT, TOOLS, measured, registry, syft_command, version
from runs import MIB, Goal, mean, number, table
from servers import way

# What is above Debian in each image, and does not pack.
APPLICATION = 20 * MIB


def suites():
    """The Debian releases whose root file systems scripts/tools makes."""
    text = (TOOLS.parent.parent / "scripts" / "versions.env").read_text()
    return text.split('ROOTFS_SUITES="')[1].split('"')[0].split()


def push(folder, address):
    """An image of each release, Debian and an application above it: references by digest."""
    digests = {}
    for suite in suites():
        tree = folder / "application"
        tree.mkdir(exist_ok=True)
        (tree / "program").write_bytes(random.Random(suite).randbytes(APPLICATION))
        layer = folder / "application.tar"
        subprocess.run(["tar", "--create", "--file", layer, "--directory", tree, "."], check=True)
        name = f"{address}/real/{suite}:1"
        base = TOOLS.parent / "rootfs" / f"{suite}.tar.gz"
        append = [TOOLS / "crane", "append", "--oci-empty-base", "--new_tag", name]
        measured([*append, "--new_layer", base, "--new_layer", layer])
        platform = ["--set-platform", "linux/amd64", "--tag", name]
        digests[suite] = measured([TOOLS / "crane", "mutate", *platform, name]).output.decode().strip().split("@")[1]
    return digests


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
        digests = push(folder, server)
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
        name = f"image-census, {engine}, `--layers all`, one image a night"
        goals.append(Goal(f"one image's distribution ÷ syft's time, {engine}", asked.seconds(name) / syft, 1 / 6))
    return goals, lines(asked, syft, further, digests)


def lines(asked, syft, further, digests):
    rows = [asked.row(name, syft) for name in asked.figures]
    costs = [
        f"{number(seconds)} s with `--layers {layers}` ({engine})"
        for engine, by_layers in further.items()
        for layers, seconds in by_layers.items()
    ]
    return [
        f"## One image's distribution: Debian {', '.join(digests)}",
        "",
        "The real root file system of each release, of some 50 MiB packed, with a layer of 20 MiB above it that says nothing of",
        "itself, in crane's own registry without TLS and without latency; one image at a time, and the mean of the three. What",
        "image-census does is a whole night: it starts, lists the pods, inspects, verifies each layer that it reads to its end,",
        f"and commits a report. syft {version('SYFT')} is asked for as little as it can be (one cataloger). `skopeo inspect` tells the",
        "configuration only, and nothing of what is in the layers. MiB read are those that left the registry.",
        "",
        *table(["", "syft's time ÷ its own", "seconds an image", "CPU seconds", "peak MiB", "MiB read"], rows),
        "",
        f"A further image in the same night, one at a time, costs {', '.join(costs)}.",
    ]
