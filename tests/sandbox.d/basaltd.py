"""basalt-keyd, basalt-milter and basaltctl: their configuration files, and the two daemons as parts of a sandbox."""
import grp
import os
import pathlib
import types

import asan
import box as boxes
import database
import dovecot
import part
import proc


def program(b, name):
    return pathlib.Path(b.build) / name


def conf_text(b, sections):
    """A libconfuse file; --set SECTION.KEY=VALUE wins over what stands in sections."""
    out = ["# made by tests/sandbox"]
    for name, values in sections.items():
        merged = {k: v for k, v in values.items() if v is not None}
        merged.update(b.settings(name))
        out.append(f"{name} {{")
        for key, value in merged.items():
            text = str(value)
            plain = text.lstrip("-").isdigit() or text in ("true", "false")
            quoted = text.replace("\\", "\\\\").replace('"', '\\"')
            out.append(f"    {key} = {text}" if plain and not isinstance(value, Name) else f'    {key} = "{quoted}"')
        out.append("}")
    return "\n".join(out) + "\n"


class Name(str):
    """A string of digits that is to be written as a string: a numeric user or group."""


def keyd_conf(b):
    url, password_file = database.keys(b)
    policy, policy_password_file = database.policy(b)
    return conf_text(b, {
        "keyd": {"run_dir": b.path("run", "keyd"), "database": url, "database_password_file": password_file,
                 "policy": policy, "policy_password_file": policy_password_file, "site_key": b.path("etc", "site.key"), "log": "stderr"},
        "roles": {"vault_user": Name(boxes.UID_VAULT), "kdf_user": Name(boxes.UID_KDF),
                  "keystore_user": Name(boxes.UID_KEYSTORE), "front_user": Name(boxes.UID_FRONT),
                  "policy_user": Name(boxes.UID_MILTER)},
        "sockets": {"auth_group": boxes.GROUP_KEYD_AUTH, "mail_group": Name(boxes.GID_KEYD_MAIL),
                    "delivery_group": Name(boxes.GID_KEYD_DELIVERY), "control_group": Name(0)},
        "kdf": {}, "session": {"max": 4000},  # its locked memory fits into the usual limit of 8 MiB
    })


def milter_conf(b):
    url, password_file = database.policy(b)
    return conf_text(b, {"milter": {
        "socket": f"unix:{milter_path(b, 'milter')}", "socketmap": f"unix:{milter_path(b, 'socketmap')}",
        "control": milter_path(b, "control"), "database": url, "database_password_file": password_file,
        "authserv_id": "mail.example.org", "log": "stderr", "user": Name(boxes.UID_MILTER),
        "socket_group": Name(grp.getgrnam("postfix").gr_gid), "temp_dir": b.path("tmp-plain"),
        "quota_status": f"unix:{dovecot.quota_socket(b)}" if b.quota else None,
        "verdict_keys": verdict_keys(b),
        "trace_key_file": b.path("etc", "trace.key"),
        "dns_servers": f"127.0.0.1@{b.port('dns')}" if b.dns else "none",
    }})


def ctl_conf(b):
    url, password_file = database.policy(b)
    return conf_text(b, {"ctl": {
        "database": url, "database_password_file": password_file, "keyd": b.path("run", "keyd"),
        "milter_control": milter_path(b, "control"), "trace_key_file": b.path("etc", "trace.key"), "lmtp_control": lmtp_path(b, "control"),
        "doveadm": f"/usr/bin/doveadm -c {b.path('etc', 'dovecot.conf')}",
        "mail_home": b.path("mail", "%d", "%n"), "site_key": b.path("etc", "site.key.pub"),
    }})


def lmtp_conf(b):
    return conf_text(b, {"lmtp": {
        "listen": f"inet:127.0.0.1:{b.port('lmtp_proxy')}", "backend": f"inet:127.0.0.1:{b.port('lmtp')}",
        "control": lmtp_path(b, "control"), "key_file": verdict_keys(b), "name": "mail.example.org", "log": "stderr",
        "user": Name(boxes.UID_LMTP),
    }})


def lmtp_path(b, name):
    return b.path("run", "lmtp", name)


def verdict_keys(b):
    return b.path("etc", "verdict.keys")


def make_verdict_keys(b):
    """Of root's, for the milter's and the proxy's one group."""
    if verdict_keys(b).exists():
        return
    status, out = part.run([program(b, "basaltctl"), "verdict-key", "new", verdict_keys(b)],
                           proc.environment(b.dir, "ctl", asan.environment(b)))
    if status != 0:
        raise boxes.Trouble(f"basaltctl verdict-key new: {out}")
    os.chown(verdict_keys(b), 0, boxes.GID_VERDICT)
    verdict_keys(b).chmod(0o640)


def milter_path(b, name):
    return b.path("run", "milter", name)


def ctl(b, *args):
    argv = [program(b, "basaltctl"), "-c", b.path("etc", "basaltctl.conf"), *args]
    return part.run(argv, proc.environment(b.dir, "ctl", asan.environment(b)))


def launch(b, name, conf, part_name=None):
    env = proc.environment(b.dir, part_name or name, asan.environment(b))
    p = proc.spawn([program(b, f"basalt-{name}"), "-c", conf], b.log(part_name or name), env)
    part.remember(b, part_name or name, p.pid)


def wanted(b):
    return not b.plain


def keyd_start(b):
    b.make_dir("run", "keyd")
    key = b.path("etc", "site.key")
    if not key.exists():
        env = proc.environment(b.dir, "keyd", asan.environment(b))
        status, out = part.run([program(b, "basalt-keyd"), "--make-site-key", key], env)
        if status != 0:
            raise boxes.Trouble(f"basalt-keyd --make-site-key: {out}")
    launch(b, "keyd", b.write(keyd_conf(b), "etc", "keyd.conf"))


def milter_start(b):
    """The policy schema is basaltctl's to make, so that comes first."""
    b.write(ctl_conf(b), "etc", "basaltctl.conf", mode=0o600)
    make_verdict_keys(b)
    b.make_dir("run", "milter", uid=boxes.UID_MILTER, gid=grp.getgrnam("postfix").gr_gid, mode=0o2750)
    status, out = ctl(b, "db", "migrate")
    if status != 0:
        raise boxes.Trouble(f"basaltctl db migrate: {out}")
    if not b.path("etc", "trace.key").exists():
        status, out = ctl(b, "trace-key", "new", b.path("etc", "trace.key"))
        if status != 0:
            raise boxes.Trouble(f"basaltctl trace-key new: {out}")
    launch(b, "milter", b.write(milter_conf(b), "etc", "milter.conf"))


def milter_ready(b):
    return all(part.connects(milter_path(b, n)) for n in ("milter", "socketmap"))


def lmtp_start(b):
    make_verdict_keys(b)
    b.make_dir("run", "lmtp", uid=boxes.UID_LMTP)
    launch(b, "lmtp", b.write(lmtp_conf(b), "etc", "lmtp.conf"), "lmtp-proxy")


def make_part(name, start, ready, env):
    return types.SimpleNamespace(
        wanted=wanted, start=start, ready=ready, env=env, alive=lambda b: part.alive(b, name),
        stop=lambda b: part.end(b, name), log=lambda b: b.log(name))


keyd = make_part("keyd", keyd_start, lambda b: part.connects(b.path("run", "keyd", "control")), lambda b: {
    "KEYD_SOCKET": b.path("run", "keyd", "control"), "KEYD_RUN": b.path("run", "keyd"),
    "SITE_KEY_PUB": b.path("etc", "site.key.pub")})
milter = make_part("milter", milter_start, milter_ready, lambda b: {
    "MILTER_SOCKET": milter_path(b, "milter"), "SOCKETMAP_SOCKET": milter_path(b, "socketmap"),
    "MILTER_CONTROL": milter_path(b, "control"),
    "BASALTCTL": f"{program(b, 'basaltctl')} -c {b.path('etc', 'basaltctl.conf')}"})
lmtp_proxy = make_part("lmtp-proxy", lmtp_start, lambda b: part.greets(b.port("lmtp_proxy"), b"220"), lambda b: {
    "LMTP_PROXY_PORT": b.port("lmtp_proxy"), "LMTP_CONTROL": lmtp_path(b, "control"), "VERDICT_KEYS": verdict_keys(b)})
