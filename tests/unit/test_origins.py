"""What a result says of the programs and the machine that it is of."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bench import origins

GO = (
    b"\x00\xff Go buildinf:"
    + bytes(18)
    + b"\x08go1.26.8\x05path\tcmd\nmod\tgithub.com/a/b\tv1.2.3\th1:x"
)


def test_a_go_program_tells_its_compiler_and_its_version(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(GO)
    assert origins.built(program) == "go1.26.8, github.com/a/b 1.2.3"
    assert origins.version(program) == "1.2.3"


def test_a_program_without_a_module_is_asked(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n# rustc version 1.95.0\necho 'Build Version:     0.5.0'\n")
    program.chmod(0o755)
    assert origins.version(program) == "0.5.0"
    assert origins.compilers({"it": program}) == {"it": "rustc 1.95.0"}


def test_what_is_not_told_is_left_out(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert (origins.version(program), origins.compilers({"it": program})) == ("", {})


def test_the_machine_is_told_with_what_makes_ciphers_fast() -> None:
    said = Path("/proc/cpuinfo").read_text()
    assert (" aes " in said) == ("aes" in origins.processor()["flags"])


def test_a_result_written_into_the_docs_is_no_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for name in ("docs/result", "program"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("before")
    for words in (["git", "init", "-q"], ["git", "add", "."], [*who, "commit", "-qm", "a"]):
        subprocess.run(words, cwd=tmp_path, check=True)
    monkeypatch.setattr(origins, "ROOT", tmp_path)
    clean = origins.commit()
    (tmp_path / "docs/result").write_text("after")
    assert origins.commit() == clean
    (tmp_path / "program").write_text("after")
    assert origins.commit() == f"{clean}-dirty"
