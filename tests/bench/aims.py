"""aims: what Basalt's figures shall be, and whether they are.

Ratios are of CPU time where nothing else is said. The floors were measured with 5,000 messages before anything was
built, plain Dovecot beside them; "1.1 times the floor" is carried over as a ratio to plain.
"""
import collections

# row; what of its summary; against which contender (None: the figure itself); at most
Aim = collections.namedtuple("Aim", "row what against limit")

ABOVE_FLOOR = 1.1
FILTERS = 0.6  # of what rspamd adds to Postfix
AIMS = [
    Aim("lmtp-small-1", "cpu_per_1000_s", "plain", ABOVE_FLOOR * 0.95 / 0.87),
    Aim("lmtp-mixed-1", "cpu_per_1000_s", "plain", ABOVE_FLOOR * 1.72 / 1.54),
    Aim("bodies", "cpu_per_1000_s", "plain", ABOVE_FLOOR * 1.25 / 0.57),
    Aim("headers-cold", "cpu_per_1000_s", "plain", ABOVE_FLOOR * 0.33 / 0.07),
    Aim("list-cold", "cpu_per_1000_s", "zlib-lz4", 1.0),
    Aim("fields-cold", "cpu_per_1000_s", "zlib-lz4", 1.0),
    Aim("headers-cold", "cpu_per_1000_s", "zlib-lz4", 1.0),
    Aim("subject-bare", "cpu_per_1000_s", "zlib-lz4", 1.0),
    Aim("subject-cold", "cpu_per_1000_s", "zlib-lz4", 1.0),
    Aim("list-warm", "cpu_per_1000_s", "plain", 1.3),
    Aim("header-5mb", "cpu_per_1000_s", None, 0.4),  # s per 1,000 is ms for one
    Aim("tail-20mb", "cpu_per_1000_s", None, 2.0),
    Aim("lmtp-small-1", "disk_bytes", "plain", 0.65),
]


def value(aim, result, name):
    """The figure that the aim is about, or None where it was not measured."""
    of_row = result.get(aim.row, {})
    if name not in of_row or (aim.against and not of_row.get(aim.against, {}).get(aim.what)):
        return None
    return of_row[name][aim.what] / (of_row[aim.against][aim.what] if aim.against else 1)


def judged(result, name="basalt"):
    """[(aim, value, met)] of those that were measured."""
    values = [(aim, value(aim, result, name)) for aim in AIMS]
    return [(aim, v, v <= aim.limit) for aim, v in values if v is not None]
