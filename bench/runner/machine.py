"""The machine, and the measured version."""

import contextlib
import datetime
import os
import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def describe():
    return {
        "date": datetime.date.today().isoformat(),
        "processor": processor(),
        "processors": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "commit": commit(),
    }


def processor():
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.machine()


def commit():
    """The measured commit, if this is a clone."""
    command = ["git", "-C", ROOT, "describe", "--always", "--dirty"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    return done.stdout.strip()


def portal_version():
    header = (ROOT / "include/portal.h").read_text()
    return header.partition('#define PORTAL_VERSION "')[2].partition('"')[0]


def line(machine):
    """The machine in one line."""
    return (f"{machine['processor']}, {machine['processors']} processors, {machine['system']}, "
            f"{machine['date']}")
