"""basalt-keyd, basalt-milter and basaltctl."""
import types


def absent(b):
    return False


def nothing(b):
    return {}


keyd = types.SimpleNamespace(wanted=absent, alive=absent, ready=absent, start=nothing, stop=nothing, env=nothing)
milter = types.SimpleNamespace(wanted=absent, alive=absent, ready=absent, start=nothing, stop=nothing, env=nothing)
