"""A private unbound that answers from one zone file, for --dns."""
import pathlib
import re
import socket
import struct

import box as boxes
import part
import proc

CONF = """# made by tests/sandbox
server:
  interface: 127.0.0.1@{port}
  port: {port}
  do-daemonize: no
  do-ip6: no
  username: ""
  chroot: ""
  directory: "{dir}"
  pidfile: ""
  logfile: "{log}"
  use-syslog: no
  verbosity: 1
  access-control: 127.0.0.0/8 allow
  module-config: "iterator"
  do-not-query-localhost: no
  local-zone: "test." nodefault
  local-zone: "127.in-addr.arpa." nodefault
{zones}
"""
AUTH = """auth-zone:
  name: "{name}"
  zonefile: "{file}"
  for-downstream: yes
  for-upstream: yes
"""


def wanted(b):
    return bool(b.dns)


def log(b):
    return b.log("unbound")


def alive(b):
    return part.alive(b, "dns")


def read(path):
    try:
        return pathlib.Path(path).read_text(errors="replace")
    except OSError as e:
        raise boxes.Trouble(f"--dns {path}: {e.strerror}", 2) from None


def origin(path):
    """The zone's name: its $ORIGIN, else the owner of its SOA."""
    text = read(path)
    m = re.search(r"^\$ORIGIN\s+(\S+)", text, re.M) or re.search(r"^(\S+)\s+(?:\d+\s+)?(?:IN\s+)?SOA\s", text, re.M)
    if not m:
        raise boxes.Trouble(f"--dns {path}: neither $ORIGIN nor SOA says which zone this is", 2)
    return m[1]


def start(b):
    zone = b.write(read(b.dns), "etc", "zone")
    zones = AUTH.format(name=origin(b.dns), file=zone)
    conf = b.write(CONF.format(port=b.port("dns"), dir=b.path("run"), log=log(b), zones=zones), "etc", "unbound.conf")
    p = proc.spawn(["unbound", "-d", "-c", conf], log(b), proc.environment(b.dir, "dns"))
    part.remember(b, "dns", p.pid)


def ready(b):
    """Any answer will do: a query for the root's SOA."""
    query = struct.pack(">6H", 4711, 0x0100, 1, 0, 0, 0) + b"\0" + struct.pack(">2H", 6, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.3)
        try:
            s.sendto(query, ("127.0.0.1", b.port("dns")))
            s.connect(("127.0.0.1", b.port("dns")))
            return True if s.recv(512) else False
        except OSError:
            return connects_tcp(b)


def connects_tcp(b):
    try:
        socket.create_connection(("127.0.0.1", b.port("dns")), timeout=2).close()
        return True
    except OSError:
        return False


def stop(b):
    part.end(b, "dns")


def env(b):
    return {"DNS_PORT": b.port("dns")}
