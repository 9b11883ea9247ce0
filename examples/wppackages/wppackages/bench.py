"""python -m wppackages.bench: how fast it is with as many packages as wordpress.org has.

Builds, start, memory, and answers a second beside those of Caddy's file_server with the same documents as files. The
server has one processor, the load (wrk) another. Limits that the service promises make the exit status 1.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from wppackages import catalogue, p2, upstream
from wppackages.build import Build
from wppackages.builds import Builds
from wppackages.settings import Settings
from wppackages.standin import World

MEMORY, START = 150, 1.5  # MiB and seconds, at most
PATHS = """
local paths = {}
for line in io.lines(os.getenv("BENCH_PATHS")) do paths[#paths + 1] = line end
request = function() return wrk.format("GET", paths[math.random(#paths)]) end
"""
CADDY = """
{
	admin off
	auto_https off
	persist_config off
}
http://127.0.0.1:%d {
	root * %s
	file_server {
		precompressed gzip
	}
}
"""
Row = tuple[str, str]


def filled(to: Settings, packages: int) -> None:
    """Make a catalogue as `discover` and `update` would, without asking for each package."""
    catalogue.migrate(to.database)
    world = World(packages, faults=False)
    world.base = "https://downloads.wordpress.org"
    with contextlib.closing(catalogue.connect(to.database)) as database, catalogue.changing(database):
        for number, entry in enumerate(world, 1):
            info = json.dumps(upstream.trimmed(world.information(entry)), sort_keys=True, ensure_ascii=False)
            database.execute(
                "INSERT INTO package VALUES (?, ?, ?, '', 0, 'open', ?, ?)",
                (number, entry.type, entry.slug, info, number),
            )


def changed(to: Settings, count: int) -> None:
    """Have `count` packages change."""
    with contextlib.closing(catalogue.connect(to.database)) as database, catalogue.changing(database):
        rows = database.execute(f"SELECT {catalogue.COLUMNS} FROM package ORDER BY id LIMIT ?", (count,)).fetchall()
        for one in map(catalogue.package, rows):
            info = one.info | {"version": f"{one.info['version']}.1"}
            info["versions"] = info["versions"] | {info["version"]: f"https://downloads.wordpress.org/{one.slug}.zip"}
            catalogue.store(database, replace(one, info=info), "")


def exported(build: Build, folder: Path) -> list[str]:
    """Write the releases' documents as files, packed and not, with their stamps; their addresses."""
    found = []
    for path in build.paths():
        stamp, body = build.document(path) or (0, None)
        if "/" in path and "~" not in path and body is not None:
            file = folder / "p2" / f"{path}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            for name, content in ((file, gzip.decompress(body)), (file.with_name(f"{file.name}.gz"), body)):
                name.write_bytes(content)
                os.utime(name, (stamp, stamp))
            found.append(f"/p2/{path}.json")
    return found


@contextlib.contextmanager
def running(argv: Sequence[str], port: int, path: str, env: dict[str, str], log: Path) -> Iterator[tuple[int, float]]:
    """Run a server on the first processor until the block ends: its process and the seconds until `path` answered."""
    processor = str(min(os.sched_getaffinity(0)))
    began = time.monotonic()
    with log.open("wb") as output:
        whole = ["taskset", "-c", processor, *argv]
        process = subprocess.Popen(whole, env={**os.environ, **env}, stdout=output, stderr=output)
    try:
        while not _answers(f"http://127.0.0.1:{port}{path}"):
            if process.poll() is not None or time.monotonic() > began + 30:
                raise RuntimeError(f"{argv[0]} does not answer: {log.read_text()}")
            time.sleep(0.005)
        yield process.pid, time.monotonic() - began
    finally:
        process.terminate()
        process.wait(60)


def rate(port: int, folder: Path, seconds: int, *headers: str, status: int = 200) -> float:
    """Answers a second of a server to requests for all documents in no order; raises RuntimeError if one is wrong."""
    script, processor = folder / "paths.lua", str(max(os.sched_getaffinity(0)))
    script.write_text(f"{PATHS}response = function(status) if status ~= {status} then os.exit(3) end end\n")
    argv = ["taskset", "-c", processor, "wrk", "-t1", "-c16", f"-d{seconds}", "-s", str(script)]
    argv += [part for header in headers for part in ("-H", header)]
    env = {**os.environ, "BENCH_PATHS": str(folder / "paths")}
    done = subprocess.run([*argv, f"http://127.0.0.1:{port}"], env=env, capture_output=True, text=True, check=False)
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if done.returncode or not found or "Socket errors" in done.stdout:
        raise RuntimeError(f"wrk got other answers than {status}: {done.stdout}{done.stderr}")
    return float(found[1])


def memory(pid: int) -> float:
    """The most memory that a process ever had (VmHWM of proc_pid_status(5)), MiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def measured(packages: int, seconds: int, folder: Path) -> tuple[list[Row], bool]:
    """The rows of the table, and whether what is promised holds."""
    port, other = _free(), _free()
    to = Settings(folder / "data", f"http://127.0.0.1:{port}")
    filled(to, packages)
    builds = Builds(to)
    full = builds.make()
    changed(to, 100)
    some = builds.make()
    build = builds.current()
    assert build is not None  # noqa: S101 -- it was just made
    rows = [
        ("full build", f"{full.seconds:.1f} s, {full.changed:,} documents"),
        ("incremental build, 100 packages changed", f"{some.seconds:.2f} s"),
        ("size of a build", f"{(builds.folder / f'{build.name}.db').stat().st_size >> 20} MiB"),
    ]
    paths = exported(build, folder / "files")
    # Those that have the stamp of the first build: one If-Modified-Since then fits them all.
    first = min((build.document(path[4:-5]) or (0, None))[0] for path in paths)
    fitting = [path for path in paths if (build.document(path[4:-5]) or (0, None))[0] == first]
    (folder / "paths").write_text("\n".join(fitting))
    stamp = f"If-Modified-Since: {p2.http_date(first).decode()}"
    env = {"WPPACKAGES_DATA": str(to.data), "WPPACKAGES_URL": to.url}
    serve = [sys.executable, "-m", "gapless", "serve", "wppackages.web:app", "--check", "/ready", "--linger", "1s"]
    with running([*serve, "--bind", f"127.0.0.1:{port}"], port, "/ready", env, folder / "serve.log") as (pid, start):
        ours = [rate(port, folder, seconds, "Accept-Encoding: gzip"), rate(port, folder, seconds, stamp, status=304)]
        missing = folder / "missing"
        missing.mkdir()
        (missing / "paths").write_text("/p2/wp-plugin/nobody-has-this.json\n/p2/wp-plugin/nor-this.json")
        absent = rate(port, missing, seconds, status=404)
        took = [
            _took(f"{to.url}{path}") for path in ("/?q=contact", "/?q=s", "/", "/?q=smart+forms&page=50", "/feed.atom")
        ]
        used = memory(pid)
    (folder / "Caddyfile").write_text(CADDY % (other, folder / "files"))
    caddy = shutil.which("caddy", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or "caddy"
    argv = [caddy, "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
    home = {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with running(argv, other, paths[0], home, folder / "caddy.log"):
        files = [rate(other, folder, seconds, "Accept-Encoding: gzip"), rate(other, folder, seconds, stamp, status=304)]
    rows += [
        ("p2 answers a second", f"{ours[0]:,.0f} (Caddy's file_server: {files[0]:,.0f})"),
        ("304 answers a second", f"{ours[1]:,.0f} (Caddy's file_server: {files[1]:,.0f})"),
        ("404 answers a second", f"{absent:,.0f}"),
        ("slowest of five pages and searches", f"{max(took) * 1000:.0f} ms"),
        ("memory of the server, at its most", f"{used:.0f} MiB (at most {MEMORY})"),
        ("start to ready", f"{start:.2f} s (at most {START})"),
    ]
    return rows, used <= MEMORY and start <= START


def _took(url: str) -> float:
    began = time.monotonic()
    with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310 -- our own
        response.read()
    return time.monotonic() - began


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 -- our own
            return int(response.status) == 200
    except OSError:
        return False


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def main() -> int:
    """Measure, print the table, judge."""
    options = argparse.ArgumentParser(prog="python -m wppackages.bench", description=__doc__)
    options.add_argument("--packages", type=int, default=60_000)
    options.add_argument("--seconds", type=int, default=5, help="of each round of requests")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="wppackages-bench-") as folder:
        rows, held = measured(asked.packages, asked.seconds, Path(folder))
    print(f"| {asked.packages:,} packages | |\n| --- | --- |")
    for what, figure in rows:
        print(f"| {what} | {figure} |")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
