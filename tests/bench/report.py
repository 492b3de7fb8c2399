"""report: raw samples to a table, ratios and the verdict on the targets."""
import os
import pathlib
import platform
import re
import statistics
import subprocess

import aims
from rows import ROWS

REFERENCES = ("plain", "zlib-lz4")


def output(*argv):
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""


DOVECOT = ["dovecot-core", "liblz4-1", "liblzo2-2", "libssl3", "libsodium23", "libzstd1"]


def machine(packages=DOVECOT):
    """What the figures hang on."""
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", cpuinfo)
    here = pathlib.Path(__file__).resolve().parent
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
    return {"cpu_per_1000_s": statistics.median(cost), "cpu_min_s": min(cost), "cpu_max_s": max(cost),
            "per_s": statistics.median(s["operations"] / s["wall_s"] for s in samples), "rounds": len(samples),
            **facts(samples)}


def facts(samples):
    """What some rows know beyond the times."""
    last, found = samples[-1], {}
    for name in ("disk_bytes", "mailbox_bytes", "bytes"):
        if name in last:
            found[name] = last[name]
    if "received" in last:
        found["mb_per_s"] = statistics.median(s["received"] / s["wall_s"] / 1e6 for s in samples)
    return found


def summaries(samples):
    """samples: row -> contender -> list of samples."""
    return {row: {name: summary(got) for name, got in each.items()} for row, each in samples.items()}


def ratio(of_row, name, reference, what="cpu_per_1000_s"):
    if name not in of_row or not of_row.get(reference, {}).get(what):
        return None
    return of_row[name][what] / of_row[reference][what]


def table(result):
    """Medians, their range, ratios, and what else a row knows."""
    heads = "".join(f"{'x ' + ref:>12}" for ref in REFERENCES)
    lines = []
    for row, of_row in result.items():
        lines += ["", f"{row}: {ROWS[row].title}: CPU s per 1,000 {ROWS[row].unit}s, or ms for one",
                  f"  {'':<12}{'median':>9}{'min':>9}{'max':>9}{heads}{'per s':>9}"]
        for name, s in of_row.items():
            ratios = "".join(f"{r:>12.2f}" if (r := ratio(of_row, name, ref)) else f"{'-':>12}" for ref in REFERENCES)
            lines.append(f"  {name:<12}{s['cpu_per_1000_s']:>9.3f}{s['cpu_min_s']:>9.3f}{s['cpu_max_s']:>9.3f}"
                         f"{ratios}{s['per_s']:>9.0f}  {more(of_row, name)}")
    return "\n".join(lines)


def more(of_row, name):
    words = []
    for what, label in (("disk_bytes", "messages on disk"), ("mailbox_bytes", "mailbox with indexes")):
        if r := ratio(of_row, name, "plain", what):
            words.append(f"{label} {r:.3f} x plain")
    if of_row[name].get("mb_per_s", 0) > of_row[name]["per_s"] / 100:  # more than 10 KB each: bodies
        words.append(f"{of_row[name]['mb_per_s']:.0f} MB/s")
    return ", ".join(words)


def verdicts(result):
    """One line an aim; a missed one is a line too, not a failure."""
    lines = []
    for aim, value, met in aims.judged(result):
        what = f"{ROWS[aim.row].title}, {'bytes on disk' if aim.what == 'disk_bytes' else 'CPU'}"
        unit = f"times {aim.against}'s" if aim.against else "ms"
        lines.append(f"{'met   ' if met else 'MISSED'} {what}: {value:.2f} {unit}, aim {aim.limit:.2f}")
    return lines


def filter_ms(samples, program=None):
    """CPU ms a message of each sample of a mail filter: of all programs or of one."""
    return [1000 * (sum(s["cpu"].values()) if program is None else s["cpu"][program]) / s["count"] for s in samples]


def added(of_size):
    """{contender: (median, least, most) of the CPU ms a message that its filter adds}, from samples of one message size."""
    base = statistics.median(filter_ms(of_size["none"]))
    return {name: tuple(f(filter_ms(samples)) - base for f in (statistics.median, min, max))
            for name, samples in of_size.items() if name != "none"}
