"""A stack under the real engine, with VMs of its own: what the layers engine and vm stand on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from components.keys import KEY_BYTES, ssh_key, wireguard_key
from engine import environment

from .waiting import eventually

ROOT = Path(__file__).resolve().parents[1]
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"  # another at each boot


@dataclass
class Stack:
    """A stack named ``name`` whose state, config and plugins are in ``folder``.

    So are its VMs, unless they are in the ``machines`` of another. ``within`` are the words before
    an update's, for an engine that runs elsewhere than here.
    """

    folder: Path
    name: str = "test"
    program: Path = ROOT
    machines: Path | None = None
    within: Sequence[str] = ()
    env: dict[str, str] = field(init=False)
    said: list[str] = field(default_factory=list)
    _outputs: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        found = environment.prepare(self.folder / "engine", Path(sys.prefix) / "bin" / "python")
        found.pop("PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER", None)
        self.machines = self.machines or self.folder / "lab"
        self.env = environment.for_process(found) | {"CGNAT_RELAY_LAB": str(self.machines)}

    @property
    def state(self) -> str:
        """All of the state's files as they lie on disk."""
        files = sorted((self.folder / "engine" / "state").rglob("*"))
        return "\n".join(f.read_text(errors="replace") for f in files if f.is_file())

    def configure(self, **raw: Any) -> None:
        """Write the stack's config, as a user would."""
        file = self.folder / f"Pulumi.{self.name}.yaml"
        old = yaml.safe_load(file.read_text()) if file.exists() else {}
        old["config"] = {f"cgnat-relay:{key}": value for key, value in raw.items()}
        file.write_text(yaml.safe_dump(old))

    def pulumi(self, *words: str, check: bool = True, timeout: float = 1200) -> str:
        """Run the engine; its whole output, which is kept in ``said`` too."""
        done = subprocess.run(**self._engine(words), timeout=timeout)
        self.said.append(done.stdout)
        self._outputs = {}
        if check and done.returncode:
            raise AssertionError(
                f"pulumi {' '.join(words)} ended {done.returncode}:\n{done.stdout}"
            )
        if not check:
            return f"{done.stdout}\nexit status {done.returncode}"
        return done.stdout

    def up(self, check: bool = True) -> str:
        return self.pulumi("up", "--yes", "--skip-preview", check=check)

    def destroy(self, check: bool = True) -> str:
        return self.pulumi("destroy", "--yes", "--skip-preview", check=check)

    def killed(self, now: Callable[[], object]) -> None:
        """Begin an update, and kill the engine, and it alone, once it is ``now``."""
        engine = subprocess.Popen(**self._engine(("up", "--yes", "--skip-preview")))
        try:
            eventually(now, "the update to be under way")
        finally:
            engine.kill()
            self.said.append(engine.communicate(timeout=60)[0])
        assert engine.returncode == -signal.SIGKILL, self.said[-1]

    def cancel(self) -> None:
        """Give up what a dead engine holds."""
        self._answer("cancel", "--yes", "--stack", self.name)

    def lines(self, *words: str) -> Iterator[str]:
        """Run the engine; its output line by line as it comes."""
        with subprocess.Popen(**self._engine(words)) as process:
            assert process.stdout
            said = []
            for line in process.stdout:
                said.append(line)
                yield line
        self._outputs = {}
        if process.returncode:
            raise AssertionError(f"pulumi {' '.join(words)} failed:\n{''.join(said)}")

    def _engine(self, words: Sequence[str]) -> dict[str, Any]:
        """How the engine is run: its output is one stream, and it is asked nothing."""
        stack = ["--stack", self.name, "--color=never", *self._config_file()]
        return {
            "args": [*self.within, "pulumi", *words, *stack],
            "cwd": self.program,
            "env": self.env,
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
            "text": True,
        }

    def secret(self, path: str, value: str) -> None:
        """Set one key of the config as a secret, as a user would: by standard input."""
        words = ["config", "set", "--secret", "--path", f"cgnat-relay:{path}"]
        self._answer(*words, "--stack", self.name, *self._config_file(), stdin=value)

    def _config_file(self) -> list[str]:
        file = self.folder / f"Pulumi.{self.name}.yaml"
        return ["--non-interactive", "--config-file", str(file)]

    def init(self) -> None:
        """Make the stack. ``stack init`` writes the salt beside a project file: to our folder."""
        (self.folder / "Pulumi.yaml").write_text("name: cgnat-relay\nruntime: python\n")
        self._answer("stack", "init", self.name, "--non-interactive", cwd=self.folder)

    def _json(self, *words: str) -> dict[str, Any]:
        """What a reading command of the engine prints."""
        return dict(json.loads(self._answer("stack", *words, "--stack", self.name)))

    def _answer(self, *words: str, cwd: Path | None = None, stdin: str = "") -> str:
        """Run the engine here, whatever ``within`` is; its output is not kept in ``said``."""
        done = subprocess.run(
            ["pulumi", *words],
            cwd=cwd or self.program,
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def outputs(self) -> dict[str, Any]:
        """Every output since the last update, secrets shown."""
        self._outputs = self._outputs or self._json("output", "--json", "--show-secrets")
        return self._outputs

    def resources(self, *words: str) -> list[dict[str, Any]]:
        """All that the state holds; with ``--show-secrets`` in plain."""
        return list(self._json("export", *words)["deployment"]["resources"])

    def urns(self) -> list[str]:
        """The names of all resources, as the engine knows them."""
        return [str(resource["urn"]) for resource in self.resources()]

    def keys(self) -> set[str]:
        """Every secret key: the seeds in the state, what is derived from them, the configs'."""
        found: set[str] = set()
        for resource in self.resources("--show-secrets"):
            if resource["type"] == "random:index/randomBytes:RandomBytes":
                if resource["inputs"]["length"] != KEY_BYTES:
                    continue  # the global ID of the tunnel's IPv6 network, which is public
                seed, digits = (self._plain(resource["outputs"][k]) for k in ("base64", "hex"))
                found |= {seed, digits, wireguard_key(seed).private}
                found |= set(ssh_key(seed).private.splitlines()[3:-1])  # below the public half
        outputs = self.outputs()
        for text in (*outputs["homeConfigs"].values(), *outputs["deviceConfigs"].values()):
            for line in text.splitlines():
                if line.startswith(("PrivateKey = ", "PresharedKey = ")):
                    found.add(line.partition(" = ")[2])
        return found

    @staticmethod
    def _plain(value: Any) -> str:
        return str(json.loads(value["plaintext"]) if isinstance(value, dict) else value)

    def lab(self, *words: str, stdin: str = "", check: bool = True, timeout: float = 900) -> str:
        """A call of the lab program, on this stack's VMs."""
        done = subprocess.run(
            [sys.executable, "-m", "lab", *words],
            cwd=ROOT,
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check and done.returncode:
            raise AssertionError(f"lab {' '.join(words)}: {done.stderr}{done.stdout}")
        return done.stdout + ("" if check else done.stderr)

    def inside(self, vm: str, command: str, check: bool = True, stdin: str = "") -> str:
        """A shell command in a VM, whatever its network does."""
        words = ["exec", *(["--stdin"] if stdin else []), vm, "--", "sh", "-c", command]
        return self.lab(*words, stdin=stdin, check=check)


class ProcessWatch(AbstractContextManager["ProcessWatch"]):
    """Collects the command line and the environment of every process while it is entered."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> ProcessWatch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit():
                    for name in ("cmdline", "environ"):
                        try:
                            self.seen.add((entry / name).read_bytes())
                        except OSError:
                            continue  # it has ended, or is not ours


def open_files_below(folder: Path) -> list[str]:
    """Processes that still use something below a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if (entry / "cwd").readlink().is_relative_to(folder):
                    found.append((entry / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
    return found
