"""Runs a container's command and ends it, with all it has started, when the rehearsal ends.

    python -I -S supervisor.py <file for the process id> <command> ...

The rehearsal holds the other end of this process's standard input. However the rehearsal ends, kill -9
included, that end closes, and the whole process group is killed. The exit status is the command's, 128 + N for
signal N.
"""

import os
import signal
import subprocess
import sys
import threading


def _watch() -> None:
    sys.stdin.buffer.read()
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main() -> int:
    """Run the command; see the module."""
    # A stop goes to the whole group. The command decides what to do about it; this process only waits for it.
    # A handler, unlike SIG_IGN, does not pass to the command.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    with subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL) as child:
        with open(sys.argv[1], "w", encoding="ascii") as file:
            file.write(str(child.pid))
        threading.Thread(target=_watch, daemon=True).start()
        code = child.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    code = main()
    # Not sys.exit: the watching thread holds standard input's lock, and the interpreter would wait for it.
    sys.stdout.flush()
    os._exit(code)
