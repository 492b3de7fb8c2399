"""When the programs under test were built with AddressSanitizer (--build build-asan)."""
import pathlib
import re


def library(b):
    """The runtime that a stock program must preload to load our plugins; None in an ordinary build."""
    plugin = pathlib.Path(b.build) / "dovecot" / "lib10_basalt_plugin.so"
    m = None if b.plain or not plugin.exists() else re.search(rb"libasan\.so\.\d+", plugin.read_bytes())
    return m and m[0].decode()


def environment(b):
    """Reports go to DIR/log/asan/; a report ends the process. Leaks of stock programs are not ours to count."""
    if not library(b):
        return {}
    b.make_dir("log", "asan", mode=0o1777)
    return {"ASAN_OPTIONS": f"log_path={b.path('log', 'asan', 'report')}:detect_leaks=0:abort_on_error=1:"
                            "disable_coredump=0:handle_abort=0",
            "UBSAN_OPTIONS": f"log_path={b.path('log', 'asan', 'report')}:print_stacktrace=1:halt_on_error=1"}


def dovecot_conf(b):
    """Its shadow memory is far beyond Dovecot's limits of address space."""
    return [("default_vsz_limit", "0")] if library(b) else []


def preload(b):
    """The same for Dovecot, which is not built with it."""
    return {**environment(b), "LD_PRELOAD": library(b)} if library(b) else {}
