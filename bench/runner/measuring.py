"""Interleaved rounds: every server once, then every server again."""

import json
import statistics
import subprocess

from runner import servers as serving


class Bench:
    """The programs and processors that measure."""

    def __init__(self, load, processors, environment, warm_up, seconds, rounds, progress):
        self.load = load
        self.server_processor, self.load_processor = processors
        self.environment = environment
        self.warm_up, self.seconds, self.rounds = warm_up, seconds, rounds
        self.progress = progress

    def compare(self, shape, servers):
        """The figures of each server: {name: {"rounds": [...]} or {"error": what went wrong}}."""
        results = {}
        for turn in range(self.rounds):
            for server in servers:
                result = results.setdefault(server.name, {"rounds": []})
                if "error" in result:
                    continue
                self.progress(f"{shape.title}: round {turn + 1} of {self.rounds}, {server.name}")
                try:
                    result["rounds"].append(self.measure(shape, server))
                except RuntimeError as error:
                    result["error"] = str(error)
        for result in results.values():
            if result["rounds"]:
                result["median"], result["quartiles"] = summary(result["rounds"])
        return results

    def measure(self, shape, server):
        with serving.running(server, shape.mode, self.server_processor, self.environment) as running:
            command = ["taskset", "-c", self.load_processor, self.load, *shape.load]
            command += ["--port", running.port, "--pid", running.process.pid]
            command += ["--warm-up", self.warm_up, "--seconds", self.seconds]
            if server.raw:
                command += ["--raw"]
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip())
        return flat(json.loads(done.stdout))


def flat(figures, prefix=""):
    """Nested numbers by dotted names; what is no number is left out."""
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
