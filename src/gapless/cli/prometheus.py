"""The status of an app as Prometheus reads it: its text format, version 0.0.4."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from gapless.release.ledger import Deploy, Outcome
from gapless.switch.manager import Role

# Each metric: its name after `gapless_`, its type, what it says.
METRICS = {
    "up": ("gauge", "Whether a live instance is ready: 1 or 0."),
    "release_info": ("gauge", "The current release; always 1."),
    "instances": ("gauge", "Instances by their role."),
    "instance_start_time_seconds": ("gauge", "When an instance started, in Unix time."),
    "instance_memory_bytes": ("gauge", "What an instance and its workers have resident."),
    "instance_connections": ("gauge", "Open connections of an instance."),
    "instance_requests": ("gauge", "Requests under way in an instance."),
    "instance_websockets": ("gauge", "Open WebSockets of an instance."),
    "instance_descriptors": ("gauge", "Open descriptors of an instance, or of its worker that has the fewest left."),
    "instance_descriptors_max": ("gauge", "Descriptors that it may have."),
    "instance_turned_away_total": ("counter", "Visitors that an instance turned away since its start, by the limit."),
    "companion_ok": ("gauge", "Whether a process or a timer of a release is as it should be: 1 or 0."),
    "companion_restarts_total": ("counter", "Restarts of a process since its release became the current one."),
    "locked": ("gauge", "Whether somebody deploys, or holds deploys: 1 or 0."),
    "paused": ("gauge", "Whether visitors wait for the end of a pause: 1 or 0."),
    "deploys_total": ("counter", "Deploys and rollbacks that the ledger knows, by how they ended."),
    "last_deploy_timestamp_seconds": ("gauge", "When the last deploy or rollback began, in Unix time."),
    "last_deploy_ok": ("gauge", "Whether it succeeded: 1 or 0; while it runs, 1."),
}
FROM_STATUS = ("connections", "requests", "websockets", "descriptors")
Sample = tuple[str, dict[str, str], float]


def text(status: Mapping[str, Any], deploys: Sequence[Deploy]) -> str:
    """All that the document of `gapless status` and the ledger say, as metrics; what is not known has none."""
    samples = [*_of_app(status), *_of_instances(status), *_of_companions(status), *_of_deploys(deploys)]
    lines = []
    for name, (kind, what) in METRICS.items():
        found = [one for one in samples if one[0] == name]
        if found:
            lines += [f"# HELP gapless_{name} {what}", f"# TYPE gapless_{name} {kind}"]
            lines += [_line(name, {"app": str(status["name"]), **labels}, value) for _, labels, value in found]
    return "\n".join(lines)


def _of_app(status: Mapping[str, Any]) -> Iterator[Sample]:
    instances = status["instances"]
    yield "up", {}, any(one["role"] == Role.LIVE and one["ready"] for one in instances)
    if status["current"]:
        yield "release_info", {"release": status["current"], "manager": status["manager"]}, 1
    counts = Counter(str(one["role"]) for one in instances)
    for role in Role:
        yield "instances", {"role": str(role)}, counts[str(role)]
    yield "locked", {}, status["locked_by"] is not None
    yield "paused", {}, status["paused"] is not None


def _of_instances(status: Mapping[str, Any]) -> Iterator[Sample]:
    for one in status["instances"]:
        labels = {"instance": one["id"], "release": one["release"], "role": str(one["role"])}
        yield "instance_start_time_seconds", labels, one["since"]
        yield "instance_memory_bytes", labels, one["memory"]
        said = one["status"] or {}  # another server, or one that is too busy, says nothing
        for key in (key for key in FROM_STATUS if _is_number(said.get(key))):
            yield f"instance_{key}", labels, said[key]
        if _is_number(allowed := said.get("descriptors_allowed")):
            yield "instance_descriptors_max", labels, allowed
        turned_away = said.get("turned_away")
        for why, count in turned_away.items() if isinstance(turned_away, dict) else ():
            if _is_number(count):
                yield "instance_turned_away_total", {**labels, "limit": str(why)}, count


def _of_companions(status: Mapping[str, Any]) -> Iterator[Sample]:
    for one in status["companions"]:
        labels = {"name": one["name"], "kind": one["kind"], "release": one["release"]}
        yield "companion_ok", labels, not one["trouble"]
        yield "companion_restarts_total", labels, one["restarts"]


def _of_deploys(deploys: Sequence[Deploy]) -> Iterator[Sample]:
    counts = Counter((one.verb, one.outcome) for one in deploys)
    for (verb, outcome), count in sorted(counts.items()):
        yield "deploys_total", {"verb": verb, "outcome": str(outcome)}, count
    if deploys:
        yield "last_deploy_timestamp_seconds", {}, deploys[-1].when
        yield "last_deploy_ok", {}, deploys[-1].outcome in {Outcome.SUCCEEDED, Outcome.RUNNING}


def _is_number(found: object) -> TypeGuard[float]:
    """Whether an app, which may say anything of itself, said a number here."""
    return isinstance(found, int | float) and not isinstance(found, bool) and abs(found) < 1 << 63


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"gapless_{name}{{{pairs}}} {float(value)!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
