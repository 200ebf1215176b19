"""What scripts/bench measures against: real servers on loopback, and the way to them."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time

from measure import ROOT, TOOLS

BUCKET = "census"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIABENCHBENCHBENCH0", "AWS_SECRET_ACCESS_KEY": "YmVuY2gtYmVuY2gtYmVuY2g"}


@contextlib.contextmanager
def api_server(folder):
    """A control plane; its kubeconfig."""
    script = ROOT / "scripts" / "control-plane"
    subprocess.run([script, "up", folder], check=True, stdout=subprocess.DEVNULL)
    try:
        yield folder / "kubeconfig"
    finally:
        subprocess.run([script, "down", folder], check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def running(command, **options):
    """A process that is ended at the end."""
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(ready, what):
    """The first true answer."""
    for _ in range(1000):
        if answer := ready():
            return answer
        time.sleep(0.02)
    sys.exit(f"scripts/bench: {what} does not start")


class Way:
    """The way to a server: a proxy that takes half of the round trip in each direction, and counts."""

    def __init__(self, process):
        self.process = process
        self.address = process.stdout.readline().strip()
        self.port = self.address.rpartition(":")[2]

    def counts(self):
        """Connections and bytes so far."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@contextlib.contextmanager
def way(fixtures, server, round_trip=0):
    command = [fixtures, "delay", "--to", server, "--round-trip", str(round_trip)]
    with running(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Way(process)


@contextlib.contextmanager
def docker_registry(folder, data, **settings):
    """Debian's registry over a folder of blobs: its address, and its log."""
    folder.mkdir(parents=True)
    program = shutil.which("docker-registry")
    if not program:
        sys.exit("scripts/bench: docker-registry is missing: run 'scripts/tools docker-registry'")
    config, log = folder / "config.yml", folder / "log"
    document = {
        "version": 0.1,
        "log": {"level": "info", "formatter": "json", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(data)}},
        "http": {"addr": "127.0.0.1:0"} | settings.pop("http", {}),
    }
    config.write_text(json.dumps(document | settings))  # JSON is YAML, too
    with open(log, "w") as out, running([program, "serve", config], stdout=out, stderr=out):
        found = wait_for(lambda: re.search(r"listening on ([\d.]+:\d+)", log.read_text()), "docker-registry")
        yield found[1], log


def certificates(folder):
    """Of an authority, of the servers, and of the key that signs tokens: their folder."""
    folder.mkdir()

    def openssl(name, *arguments):
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
        command += ["-out", folder / f"{name}.pem", "-keyout", folder / f"{name}.key", *arguments]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)

    openssl("authority")
    openssl("tokens")
    names = "subjectAltName=IP:127.0.0.1,DNS:registry.localhost,DNS:tokens.localhost"
    openssl(
        "server", "-CA", folder / "authority.pem", "-CAkey", folder / "authority.key",
        "-addext", names, "-addext", "basicConstraints=critical,CA:FALSE",
    )  # fmt: skip
    return folder


class FarRegistry:
    """A registry that is a round trip away, over TLS, and gives nothing without a Bearer token.

    Its name, and its token server's, are below "localhost", which leads here and is, unlike 127.0.0.1,
    reached by way of the guard, as every registry is.
    """

    def __init__(self, registry, tokens, log, authority):
        self.ways, self.log, self.authority = (registry, tokens), log, authority
        self.address = f"registry.localhost:{registry.port}"
        self.realm = f"https://tokens.localhost:{tokens.port}/token"
        self.environment = os.environ | {"SSL_CERT_FILE": str(authority)}

    def connections(self):
        """To the registry and to the token server, so far."""
        return sum(way.counts()["connections"] for way in self.ways)


@contextlib.contextmanager
def far_registry(fixtures, folder, data, keys, round_trip):
    server = [str(keys / "server.pem"), str(keys / "server.key")]
    signing = [str(keys / "tokens.pem"), str(keys / "tokens.key")]
    command = [fixtures, "tokens", "--certificate", server[0], "--key", server[1]]
    command += ["--signing-certificate", signing[0], "--signing-key", signing[1]]
    with contextlib.ExitStack() as stack:
        issuer = stack.enter_context(running(command, stdout=subprocess.PIPE, text=True))
        tokens = stack.enter_context(way(fixtures, issuer.stdout.readline().strip(), round_trip))
        token = {"realm": f"https://tokens.localhost:{tokens.port}/token", "service": "registry", "issuer": "bench"}
        auth = {"token": token | {"rootcertbundle": signing[0]}}
        http = {"tls": {"certificate": server[0], "key": server[1]}}
        address, log = stack.enter_context(docker_registry(folder, data, auth=auth, http=http))
        registry = stack.enter_context(way(fixtures, address, round_trip))
        yield FarRegistry(registry, tokens, log, keys / "authority.pem")


@contextlib.contextmanager
def object_store(folder):
    """An S3 server: its address, the folder of its bucket, and the variables that lead to it."""
    bucket = folder / "data" / BUCKET
    bucket.mkdir(parents=True)
    (folder / "accounts").mkdir()
    with socket.socket() as probe:  # versitygw does not say which port the system chose
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [TOOLS / "versitygw", "--port", f"127.0.0.1:{port}", "--iam-dir", folder / "accounts", "posix"]
    environment = os.environ | {
        "ROOT_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"],
        "ROOT_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"],
    }

    def answers():
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return True

    with open(folder / "log", "w") as out:
        with running([*command, bucket.parent], env=environment, stdout=out, stderr=out):
            wait_for(answers, "versitygw")
            endpoint = f"http://127.0.0.1:{port}"
            settings = {"IMAGE_CENSUS_S3_ENDPOINT": endpoint, "IMAGE_CENSUS_S3_PATH_STYLE": "true"}
            yield endpoint, bucket, KEYS | settings


def files_since(folder, moment):
    """Files below a folder that were written since then, without a server's own."""
    found = (path for path in pathlib.Path(folder).rglob("*") if not path.relative_to(folder).parts[0].startswith(".sgw"))
    return [path for path in found if path.is_file() and path.stat().st_mtime >= moment]
