#!/usr/bin/python
# Copyright: gapless maintainers
# SPDX-License-Identifier: MIT
"""Has gapless, on the host, install, deploy or roll back an app, where that would change anything."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Deploy an app with gapless, or roll it back
description:
  - Sends a revision of a project to the host, and has C(gapless up) and C(gapless deploy) do what is missing there.
  - Nothing is deployed when files, settings, variables and secrets are those of the current release.
  - A deploy that fails has changed nothing that serves; the message is what gapless says of it.
options:
  state:
    description: Whether the source is to be the current release, or an earlier release.
    type: str
    choices: [deployed, rolled_back]
    default: deployed
  source:
    description: On the controller, the project's git checkout, a tar archive of it, or what C(gapless pack) wrote.
    type: path
  revision:
    description: The git revision of O(source); what is not committed is no part of it.
    type: str
    default: HEAD
  directory:
    description: Where the host keeps gapless.toml and O(files), for root alone.
    type: path
    required: true
  destination:
    description: Whose settings lie over gapless.toml, such as staging; empty for none.
    type: str
    default: ""
  files:
    description: Text by the path, in O(directory), that C(env_file), C([secrets]) or C([database] credentials) name.
    type: dict
    default: {}
  release:
    description: The release to roll back to; empty for the newest good one before the current.
    type: str
    default: ""
  watch:
    description: How long a new release is watched before the old one drains, such as 60s; empty for not at all.
    type: str
    default: ""
  prove:
    description: Whether a probe watches the deploy, and a lost request turns it back.
    type: bool
    default: false
  command:
    description: The gapless command on the host.
    type: path
    default: /usr/local/bin/gapless
  archive:
    description: What the action of this module sent to the host. Not for you to set.
    type: path
attributes:
  check_mode:
    description: Asks C(gapless … --dry-run); the archive is sent, read, and removed.
    support: full
  diff_mode:
    description: Shows the steps and what differs, never a value of a variable or a secret.
    support: full
author:
  - gapless maintainers (@gapless)
"""
EXAMPLES = r"""
- name: Deploy what is committed
  gapless.deploy.release:
    source: "{{ playbook_dir }}"
    directory: /etc/gapless/shop

- name: Roll back
  gapless.deploy.release:
    state: rolled_back
    directory: /etc/gapless/shop
"""
RETURN = r"""
release:
  description: The release that is current now; none in check mode where a new one would be made.
  returned: success
  type: str
previous:
  description: The release that was current before.
  returned: when something was deployed
  type: str
plan:
  description: What was, or would be, done, in sentences.
  returned: success
  type: list
  elements: str
changes:
  description: What the current release had otherwise, such as C(files …), C(setting …), C(secret …).
  returned: success
  type: list
  elements: str
"""

import fnmatch
import json
import resource
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from ansible.module_utils.basic import AnsibleModule

SETTINGS = ("gapless.toml", "gapless.*.toml")
LARGEST = 1 << 20  # bytes of such a file: gapless reads no more
MEMORY = 1 << 30  # bytes: tarfile takes whatever an archive asks for


class Gapless:
    """The command on the host, in a project's directory; what it says goes into Ansible's result."""

    def __init__(self, module: AnsibleModule, directory: Path) -> None:
        self.module = module
        self.directory = directory

    def __call__(self, verb: str, *argv: str) -> dict[str, Any]:
        """The document that `gapless VERB --json` answers; fails the task, in gapless's words, when that fails."""
        params = self.module.params
        destination = ["--destination", params["destination"]] if params["destination"] else []
        words = [params["command"], verb, "--json", "--project", str(self.directory), *destination, *argv]
        status, output, errors = self.module.run_command(words)
        try:
            document: dict[str, Any] = json.loads(output)
        except ValueError:
            self.module.fail_json(msg=f"gapless {verb} ended with {status}: {output}{errors}".strip(), rc=status)
        if "error" in document:
            error = document["error"]
            message = f"Cannot {error['operation']} {error['object']}: {error['cause']}."
            message += f" Try: {error['hint']}" if error["hint"] else ""
            more = [*error["details"], *error["notes"]]
            self.module.fail_json(msg="\n".join([message, *more]), rc=status, error=error)
        for line in errors.splitlines():
            if line.startswith("Warning: "):
                self.module.warn(line.removeprefix("Warning: "))
        return document

    def watched(self) -> list[str]:
        """The options by which a new release is looked at for a while."""
        params = self.module.params
        return [*(["--watch", params["watch"]] if params["watch"] else []), *(["--prove"] if params["prove"] else [])]


@contextmanager
def little_memory() -> Iterator[None]:
    """Raise MemoryError where more than MEMORY is taken inside, and leave the host what others need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def settings_in(archive: str) -> dict[str, bytes]:
    """The files of settings at the top of the archive, by name."""
    found: dict[str, tuple[int, bytes]] = {}
    with little_memory(), tarfile.open(archive) as opened:
        for member in opened:
            path = PurePosixPath(member.name)
            depth = len(path.parts)  # what is packed in one directory is one deeper than its git archive
            wanted = member.isfile() and member.size <= LARGEST and depth <= 2
            if wanted and any(fnmatch.fnmatch(path.name, one) for one in SETTINGS):
                content = opened.extractfile(member)
                if content and (path.name not in found or found[path.name][0] > depth):
                    found[path.name] = (depth, content.read())
    return {name: content for name, (_, content) in found.items()}


def differing(directory: Path, wanted: dict[str, bytes]) -> list[str]:
    """The names in `directory` whose files are not as wanted."""
    return [name for name, content in wanted.items() if not _holds(directory / name, content)]


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def write(directory: Path, wanted: dict[str, bytes]) -> None:
    """Put the files into `directory`, for root alone."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in wanted.items():
        path = directory / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(content)


@contextmanager
def prepared(module: AnsibleModule, wanted: dict[str, bytes]) -> Iterator[Path]:
    """The project's directory with the files in it; in check mode a passing copy of it."""
    directory = Path(module.params["directory"])
    if not module.check_mode:
        write(directory, wanted)
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="gapless-check-") as folder:
        copy = Path(folder, directory.name)
        if directory.is_dir():
            shutil.copytree(directory, copy, symlinks=True)
        write(copy, wanted)
        yield copy


def deploy(module: AnsibleModule) -> dict[str, Any]:
    """Install and deploy what is missing; the result of the task."""
    archive = module.params["archive"]
    try:
        wanted = settings_in(archive)
    except (MemoryError, EOFError, tarfile.TarError, ValueError) as error:
        cause = str(error) or f"it takes more than {MEMORY >> 20} MiB of memory"
        module.fail_json(msg=f"Cannot read the archive of the source: {cause}. Try: make it again.")
    if not wanted:
        module.fail_json(
            msg="There is no gapless.toml in the source. Try: `gapless init` in the project, and commit it."
        )
    wanted |= {name: content.encode() for name, content in module.params["files"].items()}
    fresh = differing(Path(module.params["directory"]), wanted)
    plan = [f"Write {module.params['directory']}/{name}." for name in fresh]
    result: dict[str, Any] = {"changes": []}
    with prepared(module, wanted) as directory:
        gapless = Gapless(module, directory)
        up = gapless("up", "--dry-run", archive)
        plan += up["plan"] + up["diff"]
        if up["plan"] and not module.check_mode:
            result |= gapless("up", archive)["deployed"] or {}
        if up["current"]:
            preview = gapless("deploy", "--dry-run", *gapless.watched(), archive)
            result |= {"changes": preview["changes"], "release": preview["current"]}
            if preview["changes"]:
                plan += preview["plan"]
                result.pop("release")
                if not module.check_mode:
                    result |= gapless("deploy", *gapless.watched(), archive)
    return {**result, "changed": bool(plan), "plan": plan}


def roll_back(module: AnsibleModule) -> dict[str, Any]:
    """Make an earlier release the current one; the result of the task."""
    gapless = Gapless(module, Path(module.params["directory"]))
    to = [module.params["release"]] if module.params["release"] else []
    plan = gapless("rollback", "--dry-run", *gapless.watched(), *to)["plan"]
    result: dict[str, Any] = {"changed": bool(plan), "plan": plan, "changes": []}
    if plan and not module.check_mode:
        result |= gapless("rollback", "--yes", *gapless.watched(), *to)
    return result


def main() -> None:
    """Do what the state asks for, or say what that would be."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["deployed", "rolled_back"], "default": "deployed"},
            "source": {"type": "path"},
            "revision": {"type": "str", "default": "HEAD"},
            "directory": {"type": "path", "required": True},
            "destination": {"type": "str", "default": ""},
            "files": {"type": "dict", "default": {}, "no_log": True},
            "release": {"type": "str", "default": ""},
            "watch": {"type": "str", "default": ""},
            "prove": {"type": "bool", "default": False},
            "command": {"type": "path", "default": "/usr/local/bin/gapless"},
            "archive": {"type": "path"},
        },
        required_if=[("state", "deployed", ["archive"])],
        supports_check_mode=True,
    )
    command = Path(module.params["command"])
    if not command.exists():
        plan = [f"Deploy, once {command} is there."]
        if module.check_mode:
            module.exit_json(changed=True, plan=plan, changes=[], diff=[{"prepared": f"{plan[0]}\n"}])
        module.fail_json(msg=f"There is no {command}. Try: the role gapless.deploy.host before this.")
    result = deploy(module) if module.params["state"] == "deployed" else roll_back(module)
    # A build of several lines, which the project wrote, is to be no line of ours.
    lines = [one.replace("\n", "\\n") for one in (*result["plan"], *result["changes"])]
    module.exit_json(**result, diff=[{"prepared": "".join(f"{line}\n" for line in lines)}])


if __name__ == "__main__":
    main()
