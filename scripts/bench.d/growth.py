"""Part "growth": 1, 2, 4 and 8 eighths of a huge cluster, and every command on its report."""

import resource
import subprocess

import bare
from measure import TOOLS, measured, registry
from runs import MIB, Goal, table

PARTS = (1, 2, 4, 8)
FURTHER = ["ndjson", "parquet", "xlsx", "html"]
GET = ["table", "workloads", "json", "ndjson", "parquet", "parquet-images", "xlsx", "html", "diff", "manifest"]
DIFF = ["table", "csv", "json", "markdown", "html"]


def size_of(store):
    """MiB."""
    return sum(file.stat().st_size for file in store.rglob("*") if file.is_file()) / MIB


def one_size(bench, folder, log, pods):
    """Nights and commands on one store: by name what was measured, requests of the two nights, MiB of the second."""
    store, done, asked, day = folder / "store", {}, [], 20

    def night(name, pods, *arguments, **options):
        nonlocal day
        day += 1
        offset = log.stat().st_size
        moment = ["--snapshot-time", f"2026-11-{day}T02:00:00Z"]
        done[name] = bench.snapshot(store, "--pods", pods, *moment, *arguments, **options)
        asked.append(sum(1 for _ in bare.requests(log, offset)))

    def command(name, *arguments):
        out = [] if arguments[0] in ("list", "prune") else ["--output", folder / "out"]
        done[name] = measured([bench.program, *arguments, "--store", store, *out], stdout=subprocess.DEVNULL)

    night("first night", pods)
    first = size_of(store)
    night("second night", pods)
    size = size_of(store) - first
    command("diff, nothing changed", "diff")
    command("trend", "trend")
    command("list", "list")
    command("get --format csv", "get", "latest", "--format", "csv")
    return done, asked, size, night, command


def every_command(bench, pods, changed, night, command):
    """The rest of what can be done with the largest store; `changed` is a list of which half runs other images."""
    for engine in bench.engines[1:]:
        night(f"first night, {engine}", pods, "--no-reuse", engine=engine)
    formats = [word for name in FURTHER for word in ("--formats", name)]
    night("night with all formats, half of it changed", changed, *formats)
    command("trend --by change", "trend", "--by", "change")
    for name in DIFF:
        command(f"diff --format {name}", "diff", "--format", name)
    for name in GET:
        # Of the night before, which has CSV and JSON only: the others are made. It has no diff.
        run = "latest" if name == "diff" else "latest~1"
        command(f"get --format {name}", "get", run, "--format", name)
    command("prune --keep-last 1", "prune", "--keep-last", "1")


def pod_list(bench, address, path, containers, images):
    size = ["--containers", str(containers), "--images", str(images)]
    measured([bench.fixtures, "pods", *size, "--registry", address, "--out", path])
    return path


def measure(bench, folder):
    containers, images = bench.size((300_000, 10_000), (24_000, 240))
    columns, largest = [], None
    with registry(folder / "registry") as (address, log):
        crane = ["--registry", address, "--crane", TOOLS / "crane"]
        measured([bench.fixtures, "scale-images", *crane, "--images", str(images)], stdout=subprocess.DEVNULL)
        for part in PARTS:
            place = folder / f"{part}"
            place.mkdir()
            some = [containers * part // PARTS[-1], images * part // PARTS[-1]]
            pods = pod_list(bench, address, place / "pods.json", *some)
            done, asked, size, night, command = one_size(bench, place, log, pods)
            columns.append((some, dict(done), asked, size))
            if part == PARTS[-1]:
                changed = pod_list(bench, address, place / "changed.json", some[0], some[1] // 2)
                every_command(bench, pods, changed, night, command)
                largest = done
    return goals(columns, largest), lines(columns, largest)


def ratios(columns, name):
    """What eight times as much takes: time by eight, memory."""
    small, large = columns[0][1][name], columns[-1][1][name]
    return large.seconds / small.seconds / PARTS[-1], large.peak / small.peak


def goals(columns, largest):
    grown = {name: ratios(columns, name) for name in columns[0][1]}
    slowest = max(grown, key=lambda name: grown[name][0])
    widest = max(grown, key=lambda name: grown[name][1])
    peak = max(largest, key=lambda name: largest[name].peak)
    containers = columns[-1][0][0]
    return [
        # A tenth is noise.
        Goal(f"at most linear: time for 8 times as much ÷ 8, the worst of all ({slowest})", grown[slowest][0], 1.1),
        Goal(f"nearly flat: memory for 8 times as much, the worst of all ({widest})", grown[widest][1], 2, unit="times"),
        Goal(
            f"memory of any command at {containers:,} containers, the worst of all ({peak})",
            largest[peak].peak, 256, unit="MiB",
        ),
    ]  # fmt: skip


def lines(columns, largest):
    (containers, images), *_ = columns[-1]
    names = list(columns[0][1])
    sizes = [f"{some[0]:,} of {some[1]:,}" for some, *_ in columns]
    time, memory = [], []
    for name in names:
        by_time, by_memory = ratios(columns, name)
        time.append([name, by_time, *(done[name].seconds for _, done, *_ in columns)])
        memory.append([name, by_memory, *(done[name].peak for _, done, *_ in columns)])
    for place, name in enumerate(("requests, first night", "requests, second night")):
        asked = [asked[place] for _, _, asked, _ in columns]
        time.append([name, asked[-1] / asked[0] / PARTS[-1] if asked[0] else None, *asked])
    written = [size for *_, size in columns]
    time.append(["MiB that a night writes", written[-1] / written[0] / PARTS[-1], *written])
    every = [
        [f"`{name}`" if " --" in name else name, one.seconds, one.cpu, one.peak, "yes" if one.peak <= 256 else "**no**"]
        for name, one in largest.items()
    ]
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        f"## How it grows: up to {containers // 2:,} pods, {containers:,} containers, {images:,} images",
        "",
        "The pod list is in a file, the store is a folder, the registry is crane's, without TLS and without latency. A column's",
        "head says how many containers of how many images. *Growth* is the last column by the first, divided by eight: 1 is",
        "linear, less is better.",
        "",
        *table(["seconds", "growth", *sizes], time),
        "",
        "Memory is that of the largest process, crane included; the least that can be seen is that of the script which starts",
        f"it, {own:.0f} MiB. Here *growth* is the last column by the first: 8 would be linear, 1 is flat.",
        "",
        *table(["peak MiB", "growth", *sizes], memory),
        "",
        f"### Every command at {containers:,} containers",
        "",
        *table(["", "seconds", "CPU seconds", "peak MiB", "≤ 256 MiB"], every),
    ]
