"""What the training does at a given progress (0 at the start, 1 at the end), and how time becomes progress.

Budgets count work: a step that took far longer than its neighbours was paused or starved, and counts as one of them.
"""

import math
import statistics
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Phase:
    """From `start` on: crops of `crop` pixels, `batch` of them a step."""

    start: float
    crop: int
    batch: int


PHASES = {
    "cpu": (Phase(0.0, 192, 2), Phase(0.6, 256, 1), Phase(0.9, 320, 1)),
    "cuda": (Phase(0.0, 256, 16), Phase(0.7, 384, 8), Phase(0.9, 512, 4)),
}

WARMUP = 0.005
STABILITY_START, STABILITY_FULL = 0.0, 0.02


def phase(device_kind, progress):
    """The phase at `progress`."""
    return [p for p in PHASES[device_kind] if p.start <= progress][-1]


def learning_rate(peak, progress):
    """A short linear rise, then a cosine down to a hundredth of the peak."""
    rise = min(1.0, (progress + WARMUP / 10) / WARMUP)
    return peak * rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))


def stability_weight(full, progress):
    """0, then a ramp."""
    return full * min(1.0, max(0.0, (progress - STABILITY_START) / (STABILITY_FULL - STABILITY_START)))


class WorkClock:
    """Sums up the time of steps: one that took more than `SLOW` times the median of the last ones counts as that.

    The first step waits for the second, and counts with it: alone it does not tell whether it was paused.
    """

    SLOW = 4.0

    def __init__(self):
        self.recent, self.waiting = deque(maxlen=64), []

    def work(self, seconds):
        """The part of the wall time that counts, of this step and of what waited."""
        self.waiting.append(seconds)
        if not self.recent and len(self.waiting) < 2:
            return 0.0
        # Of two steps, the shorter one.
        usual = statistics.median_low(self.recent or self.waiting)
        counted = [each if each <= self.SLOW * usual else usual for each in self.waiting]
        self.recent.extend(counted)
        self.waiting = []
        return sum(counted)


class ThreadCount:
    """Threads for the next step: all, or one while other programs use the machine.

    Threads that wait for each other are as slow as the one that is starved; one thread finds the core that is free.
    """

    RETRY_STEPS = 12

    def __init__(self, most):
        self.most, self.now, self.left = most, most, 0

    def after(self, wall_seconds, cpu_seconds):
        """Takes note of a step; the number of threads for the next one."""
        if self.now > 1 and cpu_seconds < 0.75 * self.now * wall_seconds:
            self.now, self.left = 1, self.RETRY_STEPS
        elif self.now < self.most:
            self.left -= 1
            if self.left <= 0:
                self.now = self.most
        return self.now
