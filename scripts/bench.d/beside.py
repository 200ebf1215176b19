"""Part "beside": the forerunner and the bare limits, against a first and a second night."""

import os
import subprocess
import time

import bare
from measure import TOOLS, Measured, measured, registry
from runs import Goal, middle, table
from servers import api_server, files_since, object_store


def forerunner(environment):
    """List all pods, then "crane config" for each container, one after the other: seconds."""
    started = time.monotonic()
    # The names alone, so that this script stays small; kubectl reads the whole list for them.
    images = "jsonpath={.items[*].spec.containers[*].image}"
    listed = measured([TOOLS / "kubectl", "get", "pods", "--all-namespaces", "--output", images], env=environment)
    for image in listed.output.decode().split():
        subprocess.run(
            [TOOLS / "crane", "config", image],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    return time.monotonic() - started


def second_nights(bench, store, place, environment):
    """The one in the middle of three, and the files of the last. There is but one night in a second."""

    def night():
        nonlocal started
        time.sleep(1)
        started = time.time()
        return bench.snapshot(store, env=environment)

    started = None
    return middle(3, night), files_since(place, started)


def measure(bench, folder):
    pods, images = bench.size((5_000, 100), (500, 50))
    with registry(folder / "registry") as (address, log), api_server(folder / "lab") as kubeconfig:
        crane = ["--registry", address, "--crane", TOOLS / "crane"]
        measured([bench.fixtures, "scale-images", *crane, "--images", str(images)], stdout=subprocess.DEVNULL)
        measured(
            [bench.fixtures, "api-pods", "--kubeconfig", kubeconfig, "--pods", str(pods), "--images", str(images)]
            + ["--registry", address]
        )
        environment = os.environ | {"KUBECONFIG": str(kubeconfig)}
        raw = [TOOLS / "kubectl", "get", "--raw", "/api/v1/pods"]
        listed = middle(3, lambda: measured(raw, env=environment, stdout=subprocess.DEVNULL))
        old = Measured(forerunner(environment), None, None, b"")
        first, asked, got = {}, {}, {}
        for engine in bench.engines:
            offset = log.stat().st_size
            first[engine] = bench.snapshot(folder / engine, engine=engine, env=environment)
            asked[engine] = sum(1 for _ in bare.requests(log, offset))
            got[engine] = bare.contents(log, offset)
        contents = got["crane"]
        gets = middle(3, lambda: bare.gets(f"http://{address}", contents, folder))
        offset = log.stat().st_size
        second, files = second_nights(bench, folder / "crane", folder / "crane", environment)
        asked_again = sum(1 for _ in bare.requests(log, offset))
        written = middle(3, lambda: bare.write(files, folder / "written"))
        with object_store(folder / "s3") as (endpoint, bucket, settings):
            there = environment | settings
            bench.snapshot("s3://census/bench", env=there)
            second_s3, files = second_nights(bench, "s3://census/bench", bucket, there)
            upload = middle(3, lambda: bare.put(endpoint, files, folder))
    goals = [Goal("forerunner ÷ first night, crane", old.seconds / first["crane"].seconds, 40, least=True)]
    if "native" in first:
        goals.append(Goal("forerunner ÷ first night, native", old.seconds / first["native"].seconds, 60, least=True))
    goals += [
        Goal("forerunner ÷ second night", old.seconds / second.seconds, 100, least=True),
        Goal(
            "second night ÷ (bare list + writing its files), into a folder",
            second.seconds / (listed.seconds + written.seconds), 1.5,
        ),
        Goal(
            "second night ÷ (bare list + uploading its files), into S3",
            second_s3.seconds / (listed.seconds + upload.seconds), 1.5,
        ),
        Goal("requests to the registry, second night", asked_again, 0),
    ]  # fmt: skip
    rows = [["forerunner", old], ["bare list: `kubectl get --raw /api/v1/pods`", listed]]
    rows += [[f"first night, {engine}", done] for engine, done in first.items()]
    rows += [
        [f"bare GETs: the {len(contents):,} manifests, configurations and layers of that night", gets],
        ["second night, into a folder", second],
        ["writing a night's files alone, each down to the disk", written],
        ["second night, into S3", second_s3],
        ["uploading a night's files alone", upload],
    ]
    lines = [
        f"## Beside the forerunner: {pods:,} pods, {2 * pods:,} containers, {images:,} images",
        "",
        "The forerunner lists all pods, then asks `crane config` for each container, one after the other. A *first night*",
        "knows nothing and inspects every image; a *second night* has the first one's report to go by. All of it without",
        "latency: a real API server, crane's own registry without TLS, a folder or versitygw as the store. Bare GETs are by",
        "curl over 8 connections that are kept. What takes seconds at most was done three times, and counts with the time in",
        "the middle; the forerunner and the first nights, once.",
        "",
        *table(
            ["ratio", *bench.engines],
            [
                ["forerunner ÷ first night", *(old.seconds / first[engine].seconds for engine in bench.engines)],
                ["first night ÷ bare GETs", *(first[engine].seconds / gets.seconds for engine in bench.engines)],
                [
                    "first night ÷ (bare list + bare GETs)",
                    *(first[engine].seconds / (listed.seconds + gets.seconds) for engine in bench.engines),
                ],
                ["requests per image, first night", *(asked[engine] / images for engine in bench.engines)],
                ["of these, content", *(len(got[engine]) / images for engine in bench.engines)],
            ],
        ),
        "",
        *table(
            ["", "seconds", "CPU seconds", "peak MiB"],
            [[name, done.seconds, done.cpu, done.peak] for name, done in rows],
        ),
    ]
    return goals, lines
