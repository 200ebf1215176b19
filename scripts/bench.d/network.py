"""Part "network": a registry that is some milliseconds away, behind TLS and Bearer tokens."""

import subprocess

import bare
from measure import TOOLS, measured
from runs import Goal, table
from servers import certificates, docker_registry, far_registry

# The whole round trip.
MILLISECONDS = (0, 10, 50)


def processes(bench, registry, pods, folder, engine):
    """How many times crane is started in a night. Noting it takes time, so that this night is not timed."""
    noted, crane = folder / "started", folder / "noting-crane"
    noted.write_text("")
    crane.write_text(f"#!/bin/sh\necho >>'{noted}'\nexec '{TOOLS / 'crane'}' \"$@\"\n")
    crane.chmod(0o755)
    store = folder / f"noted-{engine}"
    bench.snapshot(store, "--pods", pods, engine=engine, crane=crane, env=registry.environment)
    return noted.stat().st_size


def one_distance(bench, folder, data, keys, images, milliseconds, starts):
    """Rows of the table for one round trip, and the ratios to the bare GETs; `starts` is filled the first time."""
    with far_registry(bench.fixtures, folder, data, keys, milliseconds) as registry:
        pods = folder / "pods.json"
        size = ["--containers", str(2 * images), "--images", str(images)]
        measured([bench.fixtures, "pods", *size, "--registry", registry.address, "--out", pods])

        def counted(run, *arguments, **options):
            """What was run, the connections that it opened, and its requests to the registry."""
            offset, before = registry.log.stat().st_size, registry.connections()
            done = run(*arguments, **options)
            asked = sum(1 for _ in bare.requests(registry.log, offset))
            return done, registry.connections() - before, asked

        nights, contents = {}, None
        for engine in bench.engines:
            offset = registry.log.stat().st_size
            arguments = [folder / engine, "--pods", pods]
            nights[engine] = counted(bench.snapshot, *arguments, engine=engine, env=registry.environment)
            contents = contents or bare.contents(registry.log, offset)
        there = (folder, registry.authority)
        (tokens, fetched), token_connections, _ = counted(bare.get_tokens, registry.realm, contents, *there)
        gets, connections, asked = counted(bare.gets, f"https://{registry.address}", contents, *there, tokens)
        for engine in bench.engines:
            if engine not in starts:
                starts[engine] = processes(bench, registry, pods, folder, engine)
    least = gets.seconds + fetched.seconds
    rows = []
    for engine, (night, opened, requests) in nights.items():
        ratios = [night.seconds / gets.seconds, night.seconds / least]
        rows.append([engine, *ratios, night.seconds, night.cpu, starts[engine], opened, requests / images])
    rows.append(["bare GETs", 1.0, None, gets.seconds, gets.cpu, None, connections, asked / images])
    rows.append(["tokens alone", None, None, fetched.seconds, fetched.cpu, None, token_connections, None])
    return [[f"{milliseconds} ms", *row] for row in rows], {row[0]: row[1] for row in rows}


def measure(bench, folder):
    images = bench.size(1_000, 60)
    data, keys = folder / "data", certificates(folder / "keys")
    with docker_registry(folder / "filling", data) as (address, _):
        crane = ["--registry", address, "--crane", TOOLS / "crane"]
        measured([bench.fixtures, "scale-images", *crane, "--images", str(images)], stdout=subprocess.DEVNULL)
    rows, goals, starts = [], [], {}
    for milliseconds in MILLISECONDS:
        some, ratios = one_distance(bench, folder / str(milliseconds), data, keys, images, milliseconds, starts)
        rows += some
        if "native" in ratios:
            goals.append(Goal(f"first night, native ÷ bare GETs, {milliseconds} ms away", ratios["native"], 1.5))
    heads = ["round trip", "", "÷ bare GETs", "÷ bare GETs and tokens", "seconds", "CPU seconds"]
    heads += ["crane processes", "connections", "requests per image"]
    return goals, [
        f"## The network: {images:,} images in a registry that is 0, 10 and 50 ms away",
        "",
        "A first night against Debian's docker-registry, with TLS and Bearer tokens; every image has a repository of its own,",
        "and so a token of its own. Before the registry and before the token server stands a proxy that keeps everything for",
        "half of the round trip in each direction, and up to a millisecond longer; opening a connection costs a round trip,",
        "too. *Bare GETs* are those of exactly the manifests, configurations and layers that the night with crane got, each",
        "once, by curl over 8 connections that are kept, with tokens that are known beforehand; *tokens alone* is what getting",
        "one for each repository takes in the same way, which no client is spared. Connections are those to both servers,",
        "requests those to the registry, `/v2/` included. Processes are counted in another night of the same images, without",
        "latency, since counting takes time.",
        "",
        *table(heads, rows),
    ]
