"""The GPU's driver: its version wherever it stands, and what is done about one that is older than the image."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import driver
from driver import driver_version, libraries_for_older_driver, restart_with

CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13 16:14:05 UTC 2021\n"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (root@builder)\nGCC version: 11.4.0\n"


def file_with(folder: Path, text: str) -> Path:
    path = folder / "version"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(("text", "version"), [(CLOSED, "470.57.02"), (OPEN, "580.95.05")])
def test_the_version_is_read_from_either_kind_of_driver(tmp_path: Path, text: str, version: str) -> None:
    assert driver_version(file_with(tmp_path, text)) == version


@pytest.mark.parametrize(
    ("script", "version"),
    [("echo 570.133.20", "570.133.20"), ("echo NVIDIA-SMI has failed; exit 9", ""), ("echo No devices were found", "")],
)
def test_without_the_file_the_tool_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, version: str
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert driver_version(tmp_path / "none") == version


def test_without_file_and_tool_there_is_no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert driver_version(tmp_path / "none") == ""


def libraries(folder: Path, made_with: str) -> Path:
    place = folder / "compat"
    place.mkdir()
    (place / f"libcuda.so.{made_with}").write_bytes(b"")
    (place / "libcuda.so.1").symlink_to(f"libcuda.so.{made_with}")
    return place


@pytest.mark.parametrize(("made_with", "older"), [("580.82.07", True), ("470.57.02", False), ("470.9.1", False)])
def test_the_images_own_libraries_are_for_hosts_with_an_older_driver(
    tmp_path: Path, made_with: str, older: bool
) -> None:
    place = libraries(tmp_path, made_with)
    assert libraries_for_older_driver(place, file_with(tmp_path, CLOSED)) == (place if older else None)


def test_no_libraries_or_no_driver_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert libraries_for_older_driver(tmp_path / "none", file_with(tmp_path, CLOSED)) is None
    assert libraries_for_older_driver(libraries(tmp_path, "580.82.07"), tmp_path / "none") is None


def test_the_command_starts_anew_once_with_the_libraries_first(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[dict[str, str]] = []
    monkeypatch.setattr(driver.os, "execve", lambda program, words, environment: started.append(environment))
    environment = {"LD_LIBRARY_PATH": "/usr/lib"}
    restart_with(None, environment)
    restart_with(Path("/compat"), environment)
    restart_with(Path("/compat"), environment)  # as the new process would call it
    assert [one["LD_LIBRARY_PATH"] for one in started] == ["/compat:/usr/lib"]
