"""Signals that ask a long job for an end: collected, so that the job can save its state first."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def asked_to_stop() -> Iterator[list[str]]:
    """Collect the names of signals that ask for an end, instead of dying of them."""
    asked: list[str] = []
    wanted = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in wanted}
    for number in wanted:
        signal.signal(number, lambda received, frame: asked.append(signal.Signals(received).name))
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
