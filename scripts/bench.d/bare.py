"""What could not be done in less: the same bytes over connections that are kept, and nothing else.

curl is the client, HTTP/1.1 with as many connections as image-census has images in work at once.
"""

import json
import os
import re
import shutil
import subprocess

from measure import measured
from servers import BUCKET, KEYS

AT_ONCE = 8
ACCEPT = ", ".join(
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ]
)


def requests(log, offset=0):
    """What a registry was asked since a place in its log, as method, path and status; crane's or Debian's."""
    with open(log) as lines:
        lines.seek(offset)
        for line in lines:
            if line.startswith("{"):
                about = json.loads(line)
                # Whoever comes without a token is told of in other words.
                refused = about["msg"].startswith("error authorizing")
                if refused or about["msg"] == "response completed":
                    status = 401 if refused else about["http.response.status"]
                    yield about["http.request.method"], about["http.request.uri"], status
            elif asked := re.match(r"\S+ \S+ (GET|HEAD|POST|PUT|PATCH) (\S+)(?: (\d+))?", line):
                yield asked[1], asked[2], int(asked[3] or 200)


def contents(log, offset):
    """The paths of manifests and blobs that were got, each once."""
    got = (path for method, path, status in requests(log, offset) if method == "GET" and status == 200)
    return list(dict.fromkeys(path for path in got if "/manifests/" in path or "/blobs/" in path))


def repository(path):
    """`/v2/team/shop/blobs/sha256:…`: `team/shop`."""
    return re.match(r"/v2/(.+)/(?:manifests|blobs)/", path)[1]


def curl(sections, folder, authority=None, at_once=AT_ONCE):
    """Runs curl over lines of settings for each URL; all must be answered well. Measured."""
    if not shutil.which("curl"):
        raise SystemExit("scripts/bench: curl is missing")
    config = folder / "curl"
    common = 'http1.1\nfail\nsilent\nshow-error\nno-progress-meter\nnoproxy = "*"\nwrite-out = "%{http_code}\\n"\n'
    if authority:
        common += f'cacert = "{authority}"\n'
    config.write_text("next\n".join(common + section for section in sections))
    config.chmod(0o600)
    command = ["curl", "--config", config]
    if at_once > 1:
        command += ["--parallel", "--parallel-max", str(at_once)]
    done = measured(command)
    answers = done.output.split()
    if len(answers) != len(sections) or set(answers) != {b"200"}:
        raise SystemExit(f"scripts/bench: curl got {len(answers)} of {len(sections)} answers, {set(answers)}")
    return done


def gets(base, paths, folder, authority=None, tokens=None):
    """Gets all of them."""

    def section(path):
        text = f'url = "{base}{path}"\noutput = "/dev/null"\nheader = "Accept: {ACCEPT}"\n'
        return text + (f'header = "Authorization: Bearer {tokens[repository(path)]}"\n' if tokens else "")

    return curl([section(path) for path in paths], folder, authority)


def get_tokens(realm, paths, folder, authority):
    """A token for each repository; how long that took."""
    names = sorted({repository(path) for path in paths})
    place = folder / "tokens"
    place.mkdir()

    def section(number, name):
        url = f"{realm}?service=registry&scope=repository:{name}:pull"
        return f'url = "{url}"\noutput = "{place / str(number)}"\n'

    done = curl([section(number, name) for number, name in enumerate(names)], folder, authority)
    tokens = {name: json.loads((place / str(number)).read_text())["token"] for number, name in enumerate(names)}
    shutil.rmtree(place)
    return tokens, done


def put(endpoint, files, folder):
    """Uploads files to S3 one after the other over one connection."""

    def section(number, file):
        # curl has no sum of a file that it has not read yet, and S3 asks for one or this word.
        signing = 'header = "x-amz-content-sha256: UNSIGNED-PAYLOAD"\nheader = "Expect:"\n'
        signing += f'aws-sigv4 = "aws:amz:us-east-1:s3"\nuser = "{":".join(KEYS.values())}"\n'
        return f'{signing}upload-file = "{file}"\nurl = "{endpoint}/{BUCKET}/bare/{number}"\noutput = "/dev/null"\n'

    return curl([section(*item) for item in enumerate(files)], folder, at_once=1)


def write(files, folder):
    """Writes the same files again, each down to the disk."""
    folder.mkdir(exist_ok=True)
    script = 'n=0; for file; do n=$((n + 1)); dd if="$file" of="$FOLDER/$n" bs=1M conv=fsync status=none || exit; done'
    command = ["sh", "-c", script, "sh", *files]
    return measured(command, env=os.environ | {"FOLDER": str(folder)}, stdout=subprocess.DEVNULL)
