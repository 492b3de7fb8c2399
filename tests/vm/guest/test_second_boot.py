"""After the power was cut in the middle of mail, and with memory that not even the kernel maps: all is there, by itself."""
import here


def test_the_host_comes_up_by_itself():
    assert here.eventually(here.serves)
    assert {u: here.shown(u, "ActiveState") for u in here.UNITS} == {u: "active" for u in here.UNITS}


def test_the_folders_below_run_are_there_again():
    assert here.ask("stat", "-c", "%U %G %a", "/run/basalt-milter", "/run/basalt-lmtp", "/run/basalt").splitlines() == [
        "basalt-milter postfix 2750", "basalt-lmtp postfix 2750", "root root 755"]
    assert "tmpfs" in here.ask("stat", "-f", "-c", "%T", "/run/dovecot-plain")


def test_what_was_accepted_before_the_cut_is_there():
    accepted = int(here.command_line()["accepted"])
    waiting = here.ask("postqueue", "-j").count("queue_id")
    here.ask("postqueue", "-f")
    wanted = {f"number {n}" for n in range(1, accepted + 1)}
    assert here.eventually(lambda: wanted <= set(here.subjects())), sorted(wanted - set(here.subjects()))
    found = [s for s in here.subjects() if s in wanted]
    here.figure(f"accepted before the power was cut: {accepted}; in the queue after it: {waiting}; delivered twice: {len(found) - len(wanted)}")
    assert here.ask("grep", "-rl", "cold water", "/var/vmail", check=False) == ""


def test_scrub_finds_no_half_mail():
    here.ask("basaltctl", "scrub", "/var/vmail")


def test_the_vaults_memory_is_secret():
    """Debian 12's kernel has memfd_secret when it is told so at boot; seccomp as systemd and as keyd has it lets it pass."""
    assert here.keyd_status()["memfd_secret"] is True


def test_the_journal_has_no_complaint_of_ours():
    assert {u: here.complaints(u) for u in here.DAEMONS} == {u: [] for u in here.DAEMONS}
