"""Interleaved rounds: every server once, then every server again."""

import json
import statistics
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from runner import servers as serving

DEADLINE = 180  # seconds, for one measurement


@dataclass
class Bench:
    """The programs, processors and durations of the measurements."""

    load: Path
    # Portal's program that measures sends.
    sends: Path
    server_processor: int
    load_processor: int
    certificate: Path
    key: Path
    warm_up: float
    seconds: float
    rounds: int
    progress: callable
    # Measurements, because one may have several figures.
    done: dict = field(default_factory=dict)

    def compare(self, shape, servers):
        """The figures of each server: {name: {"rounds": [...]} or {"error": what went wrong}}."""
        measured = (shape.mode, shape.load, shape.program, shape.variants)
        if measured not in self.done:
            self.done[measured] = self.measure_all(shape, servers)
        return self.done[measured]

    def measure_all(self, shape, servers):
        results = {}
        for turn in range(self.rounds):
            for server in servers:
                result = results.setdefault(server.name, {"rounds": []})
                if "error" in result:
                    continue
                self.progress(f"{shape.title}: round {turn + 1} of {self.rounds}, {server.name}")
                try:
                    figures = flat(self.measure(shape, server))
                    if shape.size:
                        figures["server.bytes_per_second"] = shape.size / figures["server.ns"] * 1e9
                    result["rounds"].append(figures)
                except (RuntimeError, subprocess.TimeoutExpired) as error:
                    result["error"] = str(error)
        for result in results.values():
            if result["rounds"]:
                result["median"], result["quartiles"] = summary(result["rounds"])
        return results

    def measure(self, shape, server):
        if shape.program:
            return figures_of([self.sends, *shape.load])
        environment = {"BENCH_CERTIFICATE": str(self.certificate), "BENCH_KEY": str(self.key)}
        with serving.running(server, shape.mode, self.server_processor, environment) as running:
            command = ["taskset", "-c", self.load_processor, self.load, *shape.load]
            command += ["--port", running.port, "--pid", running.process.pid]
            command += ["--warm-up", self.warm_up * shape.patience, "--seconds", self.seconds * shape.patience]
            if server.raw:
                command += ["--raw"]
            if shape.mode == "tls":
                command += ["--tls", self.certificate]
            return figures_of(command)


def figures_of(command):
    """The JSON that a program prints."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=DEADLINE)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return json.loads(done.stdout)


def flat(figures, prefix=""):
    """Nested numbers by dotted names, without other values."""
    found = {}
    for name, value in figures.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, (int, float)):
            found[prefix + name] = value
    return found


def summary(rounds):
    """The median and the quartiles of each figure."""
    medians, quartiles = {}, {}
    for name in rounds[0]:
        values = [figures[name] for figures in rounds]
        medians[name] = statistics.median(values)
        lower, _, upper = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
        quartiles[name] = [lower, upper]
    return medians, quartiles
