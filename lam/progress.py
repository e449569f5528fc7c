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
    """A line for a loop of known length, at most every two seconds."""

    def __init__(self, total, start):
        self.total, self.first = total, start
        self.started = self.shown = time.monotonic()

    def update(self, step, loss):
        now = time.monotonic()
        if now - self.shown < EVERY and step != self.total:
            return
        self.shown = now
        rate = (step - self.first) / max(now - self.started, 1e-9)
        left = (self.total - step) / max(rate, 1e-9)
        bar = "#" * (20 * step // self.total)
        minutes = f"{int(left) // 60}:{int(left) % 60:02d}"
        show(
            f"[{bar:<20}] {step}/{self.total}  loss {loss:.5f}  {rate:.1f} steps/s  {minutes} left",
            end=step == self.total,
        )
