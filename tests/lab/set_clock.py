"""A time of day of one's own for nwscan and all its processes, which a test sets while they run.

It is not the machine's: others on it would see that one jump. What the kernel stamps stays as it is, which is the case
that a clock set between a frame and its reading is for all of them; tests/analyzer/capture/test_live.py sets both.
"""

from __future__ import annotations

import struct
import subprocess
from typing import TYPE_CHECKING

from tests.lab.nwscan_run import Nwscan

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.lab import Lab

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *seconds;
static int (*real)(clockid_t, struct timespec *);

/* Mapped before anybody gives up the right to open a file; the mapping stays. */
__attribute__((constructor)) static void begin(void) {
    int file = open(getenv("NWSCAN_TEST_DAY"), O_RDONLY);
    real = dlsym(RTLD_NEXT, "clock_gettime");
    seconds = file < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0);
    if (seconds == MAP_FAILED) abort();
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *found) {
    if (real == NULL) real = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(clock, found);
    if (code == 0 && clock == CLOCK_REALTIME && seconds != NULL) found->tv_sec += *seconds;
    return code;
}

int gettimeofday(struct timeval *restrict found, void *restrict zone) {
    struct timespec now;
    int code = clock_gettime(CLOCK_REALTIME, &now);
    (void) zone;
    if (found != NULL) *found = (struct timeval) {now.tv_sec, now.tv_nsec / 1000};
    return code;
}

time_t time(time_t *found) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (found != NULL) *found = now.tv_sec;
    return now.tv_sec;
}
"""


class NwscanWithItsDay(Nwscan):
    """nwscan whose time of day is ``seconds`` away from the machine's."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        super().__init__(lab, folder)
        self._library, self._day = folder / "day.so", folder / "day"
        self._day.write_bytes(bytes(4096))
        source = folder / "day.c"
        source.write_text(SOURCE)
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", self._library, source, "-ldl"], check=True)

    def environment(self, duration_s: float) -> dict[str, str]:
        """Have it preloaded."""
        own = {"LD_PRELOAD": str(self._library), "NWSCAN_TEST_DAY": str(self._day)}
        return super().environment(duration_s) | own

    def set_clock(self, seconds: int) -> None:
        """Set the time of day to so many seconds from the machine's."""
        with self._day.open("r+b") as file:
            file.write(struct.pack("=q", seconds))
