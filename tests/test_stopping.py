"""The command line is left in the middle: by Ctrl-C, and by who reads its output."""

import json
import signal
import subprocess
import sys
from pathlib import Path

from command_line import ROOT, environment

TINY = "tiny-captioner"
LOST = """
import atexit, sys, time
from narrator import __main__ as command

class Gone:
    def __del__(self):
        raise KeyboardInterrupt  # Python drops what is raised here

def run(arguments):
    Gone()
    time.sleep(60)
    return 0

atexit.register(print, "put away")
command.variants.run = run
sys.argv = ["narrator", "variants"]
sys.exit(command.main())
"""


def test_a_reader_that_leaves_and_ctrl_c_leave_no_traceback(tiny_checkpoints: Path) -> None:
    command = [sys.executable, "-m", "narrator", "describe", "--variant", TINY, "--json", "--max-new-tokens", "6",
               *[str(ROOT / "assets/pictures/cat.jpg")] * 400]
    running = subprocess.Popen(command, cwd=ROOT, env=environment(tiny_checkpoints), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    assert running.stdout is not None and running.stderr is not None
    assert json.loads(running.stdout.readline())["variant"] == TINY
    running.stdout.close()
    assert running.wait(120) == 1 and running.stderr.read() == ""
    running.stderr.close()

    stopped = subprocess.Popen(command, cwd=ROOT, env=environment(tiny_checkpoints), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    assert stopped.stdout is not None
    stopped.stdout.readline()
    stopped.send_signal(signal.SIGINT)
    _, said = stopped.communicate(timeout=120)
    assert stopped.returncode == 130 and said == "narrator: stopped.\n"


def test_ctrl_c_is_heard_where_python_would_lose_it() -> None:
    done = subprocess.run([sys.executable, "-c", LOST], cwd=ROOT, capture_output=True, text=True, timeout=40)
    assert (done.returncode, done.stdout, done.stderr) == (130, "put away\n", "narrator: stopped.\n")
