"""Hooks around a deploy, and the program that is told how it ended; everything real but the manager."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gapless.errors import GaplessError
from gapless.release.deploy import rollback
from gapless.release.ledger import Outcome
from gapless.release.preview import plan_rollback, preview_deploy
from gapless.switch.manager import Readiness
from tests.scripted import ScriptedManager
from tests.unit.release_kit import configure, make_project
from tests.unit.release_shop import Shop

# What a hook was told: its variables less our own, and its standard input, in a file of its release's name and its own.
TELL = 'env | grep ^GAPLESS_ | sort > "$GAPLESS_SHARED/$GAPLESS_EVENT.env"; cat > "$GAPLESS_SHARED/$GAPLESS_EVENT.json"'
EVENTS = ("before_deploy", "deployed", "failed", "turned_back")
HOOKS = "[hooks]\n" + "".join(f"{event} = '''{TELL}'''\n" for event in EVENTS)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    project = make_project(tmp_path / "shop")
    return Shop(project, ScriptedManager(project / ".gapless"))


def told(shop: Shop, event: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The document and the variables that the hook of `event` got, which are there no more then."""
    text, env = (shop.target.home.shared / f"{event}.{kind}" for kind in ("json", "env"))
    lines = env.read_text().splitlines()
    found = json.loads(text.read_text()), dict(line.split("=", 1) for line in lines)
    text.unlink()
    env.unlink()
    return found


def untold(shop: Shop) -> bool:
    """Whether no hook ran since the last look."""
    return [*shop.target.home.shared.iterdir()] == []


def notify(path: Path) -> str:
    """Settings that have the facts put into the file `path`."""
    return f"""[notify]\ncommand = ["/bin/sh", "-c", "cat > {path}; test $GAPLESS_EVENT != turned_back"]\n"""


def test_hooks_before_and_after_a_deploy(shop: Shop) -> None:
    """Each finds the same facts in its environment and as JSON, runs in the new release, and is a phase."""
    first = shop.deploy()
    configure(shop.project, HOOKS)
    second = shop.deploy()
    facts, env = told(shop, "before_deploy")
    assert (facts["from"], facts["to"], facts["current"], facts["outcome"]) == (first, second, first, "running")
    assert env["GAPLESS_RELEASE"] == second
    facts, env = told(shop, "deployed")
    assert (facts["event"], facts["app"], facts["verb"]) == ("deployed", "shop", "deploy")
    assert (facts["from"], facts["to"], facts["current"], facts["outcome"]) == (first, second, second, "succeeded")
    assert facts["revision"].endswith("(main)")
    assert {f"GAPLESS_{key.upper()}": str(value) for key, value in facts.items()}.items() <= env.items()
    entry = shop.target.ledger.entries()[-1]
    assert (facts["who"], facts["when"]) == (entry.who, entry.when)
    assert [one.name for one in entry.phases] == [
        *("install", "seal", "before_deploy", "switch over", "on deployed", "prune")
    ]
    assert untold(shop)
    assert shop.observer.warnings == []


def test_a_hook_that_fails_before_the_commit(shop: Shop) -> None:
    """Invariant 3: nothing is migrated or switched, and the error has the hook's name and what it said."""
    configure(shop.project, HOOKS)
    first = shop.deploy()
    told(shop, "deployed")
    told(shop, "before_deploy")
    configure(
        shop.project,
        '[hooks]\nbefore_deploy = "echo not on fridays; exit 3"\n'
        '[release]\nmigrate = "touch $GAPLESS_SHARED/migrated"\n',
    )
    refused = shop.fail(r"cannot run the hook before_deploy of .*: it exited with status 3")
    assert refused.details == ("not on fridays",)
    assert shop.manager.current() == first
    facts, env = told(shop, "failed")
    # It is the hook of the release that goes on serving.
    assert (facts["to"], facts["current"], facts["outcome"]) == (shop.target.store.names()[-1], first, "failed")
    assert facts["error"] == env["GAPLESS_ERROR"] == str(refused)
    assert env["GAPLESS_RELEASE"] == first
    assert untold(shop)


def test_a_hook_that_fails_after_the_commit(shop: Shop) -> None:
    """It only warns: the deploy has succeeded; so it is with one that takes too long."""
    configure(shop.project, '[hooks]\ndeployed = "exit 4"\n')
    shop.deploy()
    configure(shop.project, '[hooks]\ndeployed = "sleep 60"\ntimeout = "50ms"\n')
    release = shop.deploy()
    failed, late = shop.observer.warnings
    assert "cannot run the hook deployed of" in failed
    assert failed.endswith("it exited with status 4")
    assert late.endswith(f"{release}: it took longer than 0.05 s")
    assert shop.outcomes() == [Outcome.SUCCEEDED] * 2
    assert shop.manager.current() == release


def test_a_release_that_cannot_boot_or_be_built(shop: Shop, tmp_path: Path) -> None:
    """Who serves tells of it, whatever the failed release sets: it may not even be built."""
    configure(shop.project, HOOKS + notify(tmp_path / "news"))
    first = shop.deploy()
    assert json.loads((tmp_path / "news").read_text())["event"] == "deployed"
    configure(shop.project, f'[build]\nrun = "exit 1"\n{notify(tmp_path / "other")}')
    shop.fail("build")
    assert told(shop, "failed")[0]["error"].endswith("it exited with status 1")
    configure(shop.project, "")
    shop.manager.readiness = Readiness.EXITED
    shop.fail("switch over")
    assert told(shop, "failed")[0]["current"] == first
    assert json.loads((tmp_path / "news").read_text())["error"].endswith(f"{first} goes on serving")
    assert not (tmp_path / "other").exists()


def test_a_first_release_that_fails(shop: Shop) -> None:
    """There is nobody to tell of it: whoever deploys a first time sees it."""
    configure(shop.project, HOOKS + '[build]\nrun = "exit 1"\n')
    shop.fail("build")
    assert untold(shop)


def test_a_rollback_is_told_too(shop: Shop) -> None:
    """The hook is that of the release which serves then; none comes before: nothing keeps anybody from going back."""
    configure(shop.project, HOOKS + '[env]\nWHICH = "first"\n')
    first = shop.deploy()
    configure(shop.project, '[hooks]\nbefore_deploy = "true"\n')
    second = shop.deploy()
    for event in ("before_deploy", "deployed"):
        told(shop, event)
    rollback(shop.target)
    facts, env = told(shop, "deployed")
    assert (facts["verb"], facts["from"], facts["to"]) == ("rollback", second, first)
    assert env["GAPLESS_RELEASE"] == first
    assert untold(shop)


@pytest.mark.parametrize(("at", "event"), [("before start", "failed"), ("after point", "deployed")])
def test_an_interrupted_deploy_is_told_as_it_is(shop: Shop, at: str, event: str) -> None:
    """Ctrl-C before the commit leaves the old release, after it the new one: the hook of what serves tells of it."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    configure(shop.project, HOOKS)
    shop.deploy()
    told(shop, "before_deploy")
    told(shop, "deployed")
    shop.manager.hooks[at] = interrupt
    with pytest.raises(KeyboardInterrupt):
        shop.deploy()
    told(shop, "before_deploy")
    facts, env = told(shop, event)
    assert (facts["outcome"], facts["error"]) == ("interrupted", "it was interrupted")
    assert facts["current"] == env["GAPLESS_RELEASE"] == shop.manager.current()
    assert (facts["current"] == facts["to"]) is (event == "deployed")
    assert untold(shop)


def test_what_notify_says_is_in_the_warning(shop: Shop) -> None:
    """A program that fails, or hangs, or is gone, does not fail the deploy."""
    configure(shop.project, '[notify]\ncommand = ["/bin/sh", "-c", "echo no such channel; exit 7"]\n')
    shop.deploy()
    configure(shop.project, '[notify]\ncommand = "/bin/sleep 60"\ntimeout = "50ms"\n')
    shop.deploy()
    assert shop.observer.warnings == [
        "cannot run [notify] /bin/sh: it exited with status 7: no such channel",
        "cannot run [notify] /bin/sleep: it took longer than 0.05 s",
    ]
    assert shop.outcomes() == [Outcome.SUCCEEDED] * 2


def test_notify_has_nothing_of_the_deployers_shell(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 10: whoever deploys, it finds the same."""
    monkeypatch.setenv("LD_PRELOAD", "")
    monkeypatch.setenv("TOKEN", "mine")
    configure(
        shop.project, f"""[notify]\ncommand = ["/bin/sh", "-c", "env > {tmp_path}/env; pwd >> {tmp_path}/env"]\n"""
    )
    shop.deploy()
    lines = (tmp_path / "env").read_text().splitlines()
    names = {line.partition("=")[0] for line in lines if not line.startswith("GAPLESS_")}
    assert names == {"PATH", "HOME", "LANG", "PWD", "/"}


@pytest.mark.parametrize("case", ["in the release", "anybody's", "below /tmp", "an argument", "missing"])
def test_a_program_that_is_not_ones_own_alone_is_refused(shop: Shop, tmp_path: Path, case: str) -> None:
    """Invariant 9: it is named, with who else could change it, before there is a release."""
    first = shop.deploy()
    mine = tmp_path / "notify"
    mine.write_text("#!/bin/sh\n")
    mine.chmod(0o777 if case == "anybody's" else 0o755)
    tree = shop.target.store.path(first)
    command, named, cause = {
        "in the release": (f"{tree}/app.py", f"{tree}/app.py", "never a program of a release"),
        "anybody's": (str(mine), str(mine), f"anybody can write to {mine}"),
        "below /tmp": (str(mine), str(mine), "anybody can write to /tmp"),
        "an argument": (f"/bin/sh {mine}", str(mine), "anybody can write to /tmp"),
        "missing": ("/usr/nothing/here", "/usr/nothing/here", "there is no such file"),
    }[case]
    configure(shop.project, f'[notify]\ncommand = "{command}"\n')
    with pytest.raises(GaplessError) as planned:
        preview_deploy(shop.target, shop.project)
    refused = shop.fail("in .notify.")
    assert str(refused) == str(planned.value)
    assert (refused.object, refused.status) == (named, 2)
    assert cause in refused.cause
    assert shop.target.store.names() == [first]


def test_a_program_that_became_somebody_elses(shop: Shop, tmp_path: Path) -> None:
    """Invariant 9: it is looked at again when it is to run, and then not run; the deploy has succeeded."""
    script = Path("/dev/shm") / tmp_path.name  # noqa: S108 -- it is not run
    configure(
        shop.project,
        f"""[notify]\ncommand = ['/bin/sh', '{script}']\n[build]\nrun = "echo 'touch {script}.ran' > {script}"\n""",
    )
    try:
        shop.deploy()
        assert len(shop.observer.warnings) == 1
        assert f"cannot use in [notify] {script}: " in shop.observer.warnings[0]
        assert not Path(f"{script}.ran").exists()
    finally:
        script.unlink()


def test_the_plan_names_them(shop: Shop) -> None:
    """`deploy -n` says what would be run, and in what order."""
    shop.deploy()
    configure(
        shop.project,
        '[hooks]\nbefore_deploy = "one"\ndeployed = ["two", "2"]\n'
        '[notify]\ncommand = "/bin/true x"\n[release]\nmigrate = "m"\n',
    )
    steps = preview_deploy(shop.target, shop.project).steps
    found = [step.partition(": ")[2] for step in steps if "within" in step]
    assert found == ["one", "m", "two 2", "/bin/true x"]
    configure(shop.project, '[notify]\ncommand = "/bin/true"\n')
    shop.deploy()
    shop.deploy()
    assert plan_rollback(shop.target)[-1] == "Then run [notify] within 30 s: /bin/true"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ('[notify]\ncommand = "tell"', "is no absolute path"),
        ('[notify]\ncommand = "./tell"', "is no absolute path"),
        ("[notify]\ncommand = '/bin/tell \"'", "No closing quotation"),
        ("[notify]\ntimeout = 0", "`notify.timeout` is 0"),
        ("[hooks]\ntimeout = 0", "`hooks.timeout` is 0"),
        ('[hooks]\nfailed = ["-x"]', "is not the name or path of a program"),
        ('[hooks]\nfalied = "x"', "unknown key `hooks.falied`"),
    ],
)
def test_settings_that_cannot_be_used(shop: Shop, text: str, cause: str) -> None:
    """They are refused before anything is made."""
    configure(shop.project, text)
    shop.fail(cause)
