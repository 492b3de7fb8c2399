"""report: raw samples to a table, ratios and the verdict on the targets."""
import os
import pathlib
import platform
import re
import statistics
import subprocess

from rows import ROWS, TARGETS

REFERENCES = ("plain", "zlib-lz4")


def output(*argv):
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""


def machine():
    """What the figures hang on."""
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", cpuinfo)
    here = pathlib.Path(__file__).resolve().parent
    packages = ["dovecot-core", "liblz4-1", "liblzo2-2", "libssl3", "libsodium23"]
    return {
        "cpu": model[1] if model else platform.machine(), "cores": os.cpu_count(),
        "kernel": platform.release(), "python": platform.python_version(),
        "packages": dict(line.split() for line in output(
            "dpkg-query", "-W", "-f", "${Package} ${Version}\\n", *packages).splitlines()),
        "basalt": output("git", "-C", str(here), "describe", "--always", "--dirty"),
        "load": os.getloadavg(),
    }


def per_thousand(samples):
    return [1000 * s["cpu_s"] / s["operations"] for s in samples]


def summary(samples):
    """Of one row and one contender."""
    cost = per_thousand(samples)
    median = statistics.median(cost)
    out = {"cpu_per_1000_s": median, "cpu_min_s": min(cost), "cpu_max_s": max(cost),
           "per_s": statistics.median(s["operations"] / s["wall_s"] for s in samples), "rounds": len(samples)}
    if "disk_bytes" in samples[0]:
        out["disk_share"] = samples[0]["disk_bytes"] / samples[0]["bytes"]
    return out


def summaries(samples):
    """samples: row -> contender -> list of samples."""
    return {row: {name: summary(got) for name, got in each.items()} for row, each in samples.items()}


def ratio(of_row, name, reference):
    if name not in of_row or reference not in of_row or not of_row[reference]["cpu_per_1000_s"]:
        return None
    return of_row[name]["cpu_per_1000_s"] / of_row[reference]["cpu_per_1000_s"]


def table(result):
    heads = "".join(f"{'x ' + ref:>12}" for ref in REFERENCES)
    lines = []
    for row, of_row in result.items():
        lines += ["", f"{ROWS[row].title}: CPU s per 1,000 {ROWS[row].unit}s",
                  f"  {'':<12}{'median':>9}{'min':>9}{'max':>9}{heads}{'per s':>9}{'on disk':>9}"]
        for name, s in of_row.items():
            ratios = "".join(f"{r:>12.2f}" if (r := ratio(of_row, name, ref)) else f"{'-':>12}" for ref in REFERENCES)
            disk = f"{s['disk_share']:>9.2f}" if "disk_share" in s else ""
            lines.append(f"  {name:<12}{s['cpu_per_1000_s']:>9.3f}{s['cpu_min_s']:>9.3f}{s['cpu_max_s']:>9.3f}"
                         f"{ratios}{s['per_s']:>9.0f}{disk}")
    return "\n".join(lines)


def verdicts(result, name="basalt"):
    """One line a target; a missed one is a line too, not a failure."""
    lines = []
    for row, reference, limit in TARGETS:
        r = ratio(result.get(row, {}), name, reference)
        if r is not None:
            word = "met" if r <= limit else "missed"
            lines.append(f"target {word}: {name}, {ROWS[row].title}: {r:.2f} times {reference}'s CPU, aim {limit}")
    return lines
