"""When the programs under test were built with AddressSanitizer (--build build-asan)."""
import pathlib
import re

# Nothing of ours is loaded in login processes, and what they leave to their end they could not report from their chroot.
LOGIN = [(f"service {name}-login {{\n  executable", f"/usr/bin/env -u LD_PRELOAD /usr/lib/dovecot/{name}-login\n}}")
         for name in ("imap", "pop3")]


def library(b):
    """The runtime that a stock program must preload to load our plugins; None in an ordinary build."""
    plugin = pathlib.Path(b.build) / "dovecot" / "lib10_basalt_plugin.so"
    m = None if b.plain or not plugin.exists() else re.search(rb"libasan\.so\.\d+", plugin.read_bytes())
    return m and m[0].decode()


def environment(b):
    """Reports go to DIR/log/asan/, where processes of all users may write; but for leaks, a report ends the process."""
    if not library(b):
        return {}
    b.make_dir("log", "asan", mode=0o1777)
    log = f"log_path={b.path('log', 'asan', 'report')}"
    return {"ASAN_OPTIONS": f"{log}:detect_leaks=1:fast_unwind_on_malloc=0:exitcode=0:abort_on_error=1:disable_coredump=0:handle_abort=0",
            "UBSAN_OPTIONS": f"{log}:print_stacktrace=1:halt_on_error=1"}


def dovecot_conf(b):
    """Its shadow memory is far beyond Dovecot's limits of address space."""
    return [("default_vsz_limit", "0"), *LOGIN] if library(b) else []


def preload(b):
    """The same for Dovecot, which is not built with it. GDB: its plugins stay mapped to the end, so that leaks have names."""
    return {**environment(b), "LD_PRELOAD": library(b), "GDB": "1"} if library(b) else {}
