"""The same story told to the stand-ins and, where installed, to the official plugins.

One stack lives through preview, up, up again, a change, a failing up and two destroys under the
real engine; each test reads one chapter. The remote command talks to an sshd of this test:

    engine ── plugin ── ssh 127.0.0.1:port ── sshd (host key and user key made here)
"""

from __future__ import annotations

import base64
import getpass
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engine import environment, obtain, plugins

from ..sshd import sshd_program

PYTHON = Path(sys.prefix) / "bin" / "python"
SECRET = "correct-horse-battery-staple"  # noqa: S105 - told to nobody
TOKEN = "tr0ub4dor-and-3"  # noqa: S105

PROGRAM = """\
import json
from pathlib import Path

import pulumi
from pulumi import Output, ResourceOptions
from pulumi_command import local, remote
from pulumi_random import RandomBytes

story = json.loads(Path("story.json").read_text())
log, chapter, ssh = story["log"], story["chapter"], story["ssh"]


def hidden(**options):
    return ResourceOptions(additional_secret_outputs=["stdout"], **options)


data = RandomBytes("data", length=16 if chapter == 3 else 32)
after = local.Command("after", create=data.hex.apply(lambda text: f"echo {len(text)}"))
updated = local.Command(
    "updated",
    create="echo created; echo aside >&2",
    update="echo updated after $PULUMI_COMMAND_STDOUT" if chapter < 3 else "echo lost; exit 9",
    environment={"CHAPTER": str(chapter)},
)
again = local.Command("again", create="echo chapter $CHAPTER${PULUMI_COMMAND_STDOUT:+ knows}",
    environment={"CHAPTER": str(min(chapter, 2))}, add_previous_output_in_env=False)
local.Command("triggered", create=f"echo made >> {log}", delete=f"echo unmade >> {log}",
    triggers=[{"chapter": min(chapter, 2)}])
secret = local.Command("secret", create="wc -c", logging="none", opts=hidden(),
    stdin=Output.secret(story["secret"]), environment={"TOKEN": Output.secret(story["token"])})
local.Command("quiet", create="echo unheard; echo unheard >&2", logging="none")
local.Command("half", create="echo half-out; echo half-err >&2", logging="stderr")
local.Command("loud", create="echo overheard")
placed = local.Command("placed", create="pwd; echo $0", dir=story["dir"],
    interpreter=["/bin/sh", "-e", "-c"])
nothing = local.Command("nothing", delete=f"test -e {story['allow']}")
connection = remote.ConnectionArgs(host="127.0.0.1", port=ssh["port"], user=ssh["user"],
    private_key=ssh["key"], host_key=ssh["host_key"])
far = remote.Command("far", connection=connection, create="cat; echo far >&2; echo \\"$OKAY\\"",
    stdin="through ssh\\n", environment={"OKAY": "a\\nb"},
    delete=f"echo far $PULUMI_COMMAND_STDOUT >> {log}", add_previous_output_in_env=False)
if chapter == 1:
    local.Command("leaving", create="echo farewell",
        delete=f"echo left with $PULUMI_COMMAND_STDOUT >> {log}")
if chapter == 3:
    local.Command("broken", create="echo before; echo it broke >&2; exit 7")
    strange = remote.ConnectionArgs(host="127.0.0.1", port=ssh["port"], user=ssh["user"],
        private_key=ssh["key"], host_key=ssh["wrong_key"], dial_error_limit=0)
    remote.Command("stranger", connection=strange, create=f"echo stranger >> {log}")
pulumi.export("data", data.base64)
pulumi.export("after", after.stdout)
pulumi.export("updated", updated.stdout)
pulumi.export("aside", updated.stderr)
pulumi.export("again", again.stdout)
pulumi.export("secret", secret.stdout)
pulumi.export("placed", placed.stdout)
pulumi.export("nothing", nothing.stdout)
pulumi.export("far", far.stdout)
pulumi.export("invoked", local.run_output(command="echo invoked; cat", stdin="too").stdout)
"""


@dataclass(frozen=True)
class Sshd:
    """A server of this test; the keys are texts."""

    port: int
    key: str = field(repr=False)
    host_key: str
    wrong_key: str


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "user", "other"):
        command = [
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            "",
            "-f",
            str(folder / name),
        ]
        subprocess.run(command, check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/user.pub\nStrictModes no\nUsePAM no\nAcceptEnv OKAY\n"
        f"Banner {folder}/config\n"
    )
    words = [*sshd_program(folder), "-D", "-e", "-f", str(folder / "config")]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        said = ""
        for line in server.stderr:
            said += line
            if "Server listening" in line:
                break
        else:
            pytest.fail(f"sshd did not start: {said}")
        yield Sshd(
            port,
            (folder / "user").read_text(),
            (folder / "host.pub").read_text(),
            (folder / "other.pub").read_text(),
        )
        server.terminate()
        server.stderr.read()


@dataclass
class Stack:
    """A program, its state, and the engine that is run on them."""

    folder: Path
    variables: dict[str, str]
    story: dict[str, Any]

    def pulumi(self, *words: str, chapter: int = 1) -> subprocess.CompletedProcess[str]:
        self.story["chapter"] = chapter
        (self.folder / "story.json").write_text(json.dumps(self.story))
        return subprocess.run(
            ["pulumi", *words, "--non-interactive", "--color=never"],
            cwd=self.folder,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )

    def outputs(self) -> dict[str, Any]:
        shown = json.loads(self.pulumi("stack", "output", "--json", "--show-secrets").stdout)
        assert isinstance(shown, dict)
        return shown

    def resource(self, name: str) -> dict[str, Any]:
        """A resource as it lies in the state."""
        exported = json.loads(self.pulumi("stack", "export").stdout)
        found = [r for r in exported["deployment"]["resources"] if r["urn"].endswith(f"::{name}")]
        assert len(found) == 1
        return dict(found[0])

    def log(self) -> list[str]:
        path = Path(self.story["log"])
        return path.read_text().splitlines() if path.exists() else []


def ok(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout
    return done.stdout


def failed(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode != 0, done.stdout
    return done.stdout


@dataclass
class Told:
    """What each chapter showed."""

    texts: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    logs: dict[str, list[str]] = field(default_factory=dict)
    state: str = ""
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)


def official_home() -> Path | None:
    """A Pulumi home that has both official plugins at the versions of this environment."""
    homes = [obtain.cache() / "plugins", Path.home() / ".pulumi"]
    if os.environ.get("PULUMI_HOME"):
        homes.append(Path(os.environ["PULUMI_HOME"]))
    needs = plugins.needs(PYTHON)
    for home in homes:
        if all(plugins.present(home, n) and not plugins.is_standin(home, n) for n in needs):
            return home
    return None


@pytest.fixture(scope="module", params=["stand-in", "official"])
def told(
    request: pytest.FixtureRequest, sshd: Sshd, tmp_path_factory: pytest.TempPathFactory
) -> Told:
    folder = tmp_path_factory.mktemp("stack")
    home = folder / "home"
    if request.param == "official":
        source = official_home()
        if source is None:
            pytest.skip("the official plugin is not installed here")
        home.mkdir()
        (home / "plugins").symlink_to(source / "plugins")
    else:
        for need in plugins.needs(PYTHON):
            plugins.place(home, need, PYTHON, reason="this is a test of stand-ins")
    (folder / "state").mkdir()
    environment.new_passphrase(folder / "passphrase")
    found = {
        "PATH": str(obtain.get()),
        **environment.variables(home, folder / "state", folder / "passphrase"),
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_IGNORE_AMBIENT_PLUGINS": "true",
    }
    options = json.dumps({"virtualenv": sys.prefix})
    (folder / "Pulumi.yaml").write_text(
        f"name: story\nruntime: {{name: python, options: {options}}}\n"
    )
    (folder / "__main__.py").write_text(PROGRAM)
    story = {
        "log": str(folder / "log"),
        "allow": str(folder / "allow"),
        "dir": str(folder / "state"),
        "secret": SECRET,
        "token": TOKEN,
        "ssh": {**vars(sshd), "user": getpass.getuser()},
    }
    return tell(Stack(folder, environment.for_process(found), story))


def tell(stack: Stack) -> Told:
    """Live through the whole story once."""
    told = Told()

    def keep(chapter: str, text: str) -> None:
        told.texts[chapter], told.logs[chapter] = text, stack.log()

    ok(stack.pulumi("stack", "init", "test"))
    keep("preview", ok(stack.pulumi("preview", "--diff")))
    keep("up", ok(stack.pulumi("up", "--yes", "--skip-preview")))
    told.outputs["up"] = stack.outputs()
    told.state = "".join(path.read_text() for path in (stack.folder / "state").rglob("*.json"))
    told.resources["far"] = stack.resource("far")
    keep("again", ok(stack.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")))
    keep("change", ok(stack.pulumi("up", "--yes", "--skip-preview", chapter=2)))
    told.outputs["change"] = stack.outputs()
    failing = ("up", "--yes", "--skip-preview", "--continue-on-error")
    keep("failure", failed(stack.pulumi(*failing, chapter=3)))
    told.resources["updated"] = stack.resource("updated")
    told.resources["data"] = stack.resource("data")
    keep("kept", failed(stack.pulumi("destroy", "--yes", "--skip-preview", "--continue-on-error")))
    Path(stack.story["allow"]).touch()
    keep("end", ok(stack.pulumi("destroy", "--yes", "--skip-preview")))
    return told


def test_preview_runs_nothing_and_knows_no_output(told: Told) -> None:
    assert told.logs["preview"] == []
    assert "updated: [unknown]" in " ".join(told.texts["preview"].split())


def test_create_gives_trimmed_output_of_both_streams(told: Told) -> None:
    outputs = told.outputs["up"]
    assert (outputs["updated"], outputs["aside"]) == ("created", "aside")


def test_no_create_means_no_output(told: Told) -> None:
    assert told.outputs["up"]["nothing"] == ""


def test_dir_and_interpreter_are_used(told: Told) -> None:
    assert told.outputs["up"]["placed"].endswith("/state\n/bin/sh")


def test_invoke_runs_in_previews_too(told: Told) -> None:
    assert told.outputs["up"]["invoked"] == "invoked\ntoo"
    assert '"invoked\\ntoo"' in told.texts["preview"]


def test_unchanged_inputs_run_nothing(told: Told) -> None:
    assert told.logs["again"] == told.logs["up"] == ["made"]


def test_update_runs_with_the_earlier_output(told: Told) -> None:
    assert told.outputs["change"]["updated"] == "updated after created"


def test_create_runs_again_without_an_update(told: Told) -> None:
    assert told.outputs["up"]["again"] == "chapter 1"
    assert told.outputs["change"]["again"] == "chapter 2"


def test_trigger_replaces_new_before_old_gone(told: Told) -> None:
    made = [line for line in told.logs["change"] if "made" in line]
    assert made == ["made", "made", "unmade"]


def test_removed_resource_is_deleted_with_its_output(told: Told) -> None:
    assert "left with farewell" in told.logs["change"]
    assert "left with farewell" not in told.logs["again"]


@pytest.mark.parametrize("value", [SECRET, TOKEN])
def test_secret_input_shows_nowhere(told: Told, value: str) -> None:
    assert told.outputs["up"]["secret"].strip() == str(len(SECRET))
    for text in (*told.texts.values(), told.state):
        assert value not in text
        assert base64.b64encode(value.encode()).decode() not in text


def test_logging_decides_what_is_shown(told: Told) -> None:
    shown = told.texts["up"]
    assert "overheard" in shown and "half-err" in shown
    assert "unheard" not in shown.replace("overheard", "")
    assert "half-out" not in shown


def test_failing_command_fails_the_up_with_status_and_output(told: Told) -> None:
    assert "exit status 7" in told.texts["failure"]
    assert "it broke" in told.texts["failure"]


def test_failing_update_keeps_the_old_state(told: Told) -> None:
    assert "exit status 9" in told.texts["failure"]
    assert told.resources["updated"]["outputs"]["stdout"] == "updated after created"
    assert told.resources["updated"]["inputs"]["environment"] == {"CHAPTER": "2"}


def test_failing_delete_keeps_the_resource(told: Told) -> None:
    assert "exit status 1" in told.texts["kept"]
    assert "nothing" in told.texts["end"]


def test_bytes_have_their_length_and_stay(told: Told) -> None:
    first = told.outputs["up"]
    assert len(base64.b64decode(first["data"])) == 32
    assert first["after"] == "64"
    assert told.outputs["change"]["data"] == first["data"]


def test_bytes_are_secret(told: Told) -> None:
    data = told.outputs["up"]["data"]
    assert data not in told.state
    assert base64.b64decode(data).hex() not in told.state
    assert all(data not in text for text in told.texts.values())


def test_another_length_is_another_resource(told: Told) -> None:
    assert told.resources["data"]["inputs"]["length"] == 16


def test_remote_command_has_stdin_environment_and_no_banner(told: Told) -> None:
    assert told.outputs["up"]["far"] == "through ssh\na\nb"
    assert told.resources["far"]["outputs"]["stderr"] == "far"


def test_remote_command_is_deleted_there(told: Told) -> None:
    assert "far" in told.logs["end"]
    assert "far" not in told.logs["failure"]


def test_connection_is_secret_and_complete(told: Told) -> None:
    assert "ciphertext" in told.resources["far"]["outputs"]["connection"]
    assert "OPENSSH PRIVATE KEY" not in told.state


def test_wrong_host_key_runs_nothing(told: Told) -> None:
    assert "host key" in told.texts["failure"]
    assert "stranger" not in told.logs["end"]
