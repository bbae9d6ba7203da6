"""A run that the page has started goes on when browser and server are gone, and is found again by the next ones."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from serving import WAIT_S, free_port

from browser.conftest import Visit
from browser.training_page import Train, serve_again, write_training
from trainer.events import read_events
from trainer.jobs import job_state

pytestmark = pytest.mark.browser
Open = Callable[..., Visit]


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def address(port: int) -> str:
    return f"http://127.0.0.1:{port}/"


def wait_for_more(run: Path, step: int) -> int:
    """The run's step once it is past this one."""
    end = time.monotonic() + WAIT_S
    while job_state(run).step <= step:
        assert time.monotonic() < end and job_state(run).state == "running", job_state(run)
        time.sleep(0.05)
    return job_state(run).step


def test_a_run_outlives_browser_and_server(visit: Open, tmp_path: Path, port: int) -> None:
    write_training(tmp_path)
    with serve_again(tmp_path, port) as server:
        train = Train(visit())
        train.tune_tiny("900")
        train.learn_as_the_recipe_says()
        train.page.click("#train-start")
        train.fact("Running")
        run = tmp_path / "runs" / train.page.url.split("run=")[1]
        wait_for_more(run, 0)
        train.page.context.close()
        os.killpg(server.pid, signal.SIGKILL)  # the server and all of its group
    pid, step = job_state(run).pid, job_state(run).step
    step = wait_for_more(run, step)
    with serve_again(tmp_path, port):
        train = Train(visit(), run.name)
        train.fact("Running")
        train.page.click("#train-stop")
        train.says("is stopped at step")
        train.page.context.close()  # before its server
    events = read_events(run / "events.jsonl")[0]
    assert [event["event"] for event in events].count("started") == 1 and job_state(run).step > step and pid is not None
    assert [event["step"] for event in events if event["event"] == "step"] == list(range(1, job_state(run).step + 1))
