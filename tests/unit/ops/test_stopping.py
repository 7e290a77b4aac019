"""Ctrl-C and similar signals end any command quickly, with one line and the shell's exit status."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from terminals import Terminal

from components.settings import CHECKOUT

SOON = 5  # seconds; 2 on an idle machine
LINE = "no partial files remain; run the same command again."
MAIN = """import signal, subprocess, sys, time
from ops.stopping import stop
try:
  stop.listen()
  print('ready', flush=True)
  {}
finally:
  if stop.number: stop.leave()
"""
UNRESPONSIVE = "\n  ".join(("try: time.sleep(60)", "except KeyboardInterrupt: time.sleep(60)"))


def run(code: str) -> Terminal:
    terminal = Terminal([sys.executable, "-c", MAIN.format(code)], dict(os.environ), CHECKOUT)
    terminal.wait_until(lambda: "ready" in terminal.text)
    return terminal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_prints_one_line_and_sets_the_exit_status(number: signal.Signals) -> None:
    terminal = run("time.sleep(60)")
    terminal.process.send_signal(number)
    assert terminal.end(SOON)[0] == 128 + number
    assert terminal.text.splitlines()[-1] == f"stopped by {number.name}: {LINE}"


def test_an_unresponsive_command_ends_too() -> None:
    terminal = run(UNRESPONSIVE)
    terminal.press()
    assert terminal.end(SOON)[0] == 130
    assert terminal.text.splitlines()[-1] == f"stopped by SIGINT: {LINE}"


def test_a_second_signal_ends_the_command_at_once() -> None:
    terminal = run(UNRESPONSIVE)
    terminal.press()
    time.sleep(0.2)  # else the two signals merge
    terminal.press()
    status, took = terminal.end(SOON)
    assert status == 130
    assert took < 1


def is_gone(process: psutil.Process, within: float = 2) -> bool:
    """Whether it ends in time; one that nobody reaps stays as a zombie."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_child_processes_are_ended() -> None:
    terminal = run("subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)")
    process = psutil.Process(terminal.process.pid)
    terminal.wait_until(lambda: bool(process.children()))
    (child,) = process.children()
    terminal.process.terminate()
    assert terminal.end(SOON)[0] == 143
    assert is_gone(child)


def test_a_signal_to_a_forked_child_does_not_end_the_parent() -> None:
    code = "import multiprocessing as m; p = m.get_context('fork').Process(target=time.sleep, args=(60,)); p.start()"
    terminal = run(f"{code}; p.terminate(); p.join(); time.sleep(2); print('continued', p.exitcode)")
    assert terminal.end()[0] == 0
    assert f"continued {-signal.SIGTERM}" in terminal.text


def test_an_ignored_signal_stays_ignored() -> None:
    command = ["bash", "-c", f"trap '' HUP; exec {sys.executable} -c \"$0\"", MAIN.format("time.sleep(2)")]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGHUP)
        assert process.wait(30) == 0


@pytest.mark.parametrize("command", ["train", "score"])
def test_a_signal_during_imports_ends_the_command(command: str, tmp_path: Path) -> None:
    arguments = [command] if command == "train" else [command, "in.csv", "out.csv"]
    terminal = Terminal([sys.executable, "-m", "fashion", *arguments], dict(os.environ), CHECKOUT)
    pids = Path(f"/proc/{terminal.process.pid}/maps")
    terminal.wait_until(lambda: "pydantic" in pids.read_text() or "torch" in pids.read_text())
    terminal.press()
    assert terminal.end(SOON)[0] == 130
    assert terminal.text.splitlines()[-1].startswith("stopped by SIGINT: ")
    assert "Traceback" not in terminal.text
