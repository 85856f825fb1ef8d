"""No test waits for ever: what hangs fails, and the others go on."""
import signal

import pytest

LONGEST_S = 600  # the slowest one takes a tenth of it on a machine that is busy


def too_late(*_):
    raise AssertionError(f"still not over after {LONGEST_S} s")


@pytest.fixture(autouse=True)
def deadline():
    signal.signal(signal.SIGALRM, too_late)
    signal.alarm(LONGEST_S)
    yield
    signal.alarm(0)
