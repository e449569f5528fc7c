"""What is on the screen while something takes longer than two seconds."""

import contextlib
import sys
import threading
import time

EVERY = 2.0  # seconds


def show(text, end=False):
    """One status line on stderr, overwritten on a terminal, appended elsewhere."""
    if sys.stderr.isatty():
        print(f"\r\x1b[2K{text[:79]}", end="\n" if end else "", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def working(text):
    """Shows `text` and the seconds so far, from the second second on."""
    done = threading.Event()
    start = time.monotonic()

    def tick():
        while not done.wait(EVERY):
            show(f"{text} ... {time.monotonic() - start:.0f} s")

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        seconds = time.monotonic() - start
        if seconds > EVERY:
            show(f"{text}: {seconds:.1f} s", end=True)


class Steps:
    """A line for a loop of known length, at most every two seconds. `unit`: what is counted."""

    def __init__(self, total, start=0, unit="steps"):
        self.total, self.first, self.unit = total, start, unit
        self.started = self.shown = time.monotonic()

    def update(self, step, loss=None):
        """`step` of them are done; the loss stands beside the number if there is one."""
        now = time.monotonic()
        if now - self.shown < EVERY and step != self.total:
            return
        self.shown = now
        rate = (step - self.first) / max(now - self.started, 1e-9)
        left = (self.total - step) / max(rate, 1e-9)
        parts = [
            f"[{'#' * (20 * step // self.total):<20}] {step}/{self.total}",
            *([] if loss is None else [f"loss {loss:.5f}"]),
            f"{rate:.1f} {self.unit}/s",
            f"{int(left) // 60}:{int(left) % 60:02d} left",
        ]
        show("  ".join(parts), end=step == self.total)
