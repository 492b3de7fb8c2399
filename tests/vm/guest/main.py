#!/usr/bin/python3
"""main: tells the stories that the kernel's command line names, as pytest files of this tree, to the console; then what it says.

  basalt.stories=FILE,FILE   from the root of the tree
  basalt.then=mail           a mail a line from then on, "accepted N", until the power is cut
  basalt.then=poweroff       the end, in order

The last line before that is "stories: all are true" or "stories: FAILED".
"""
import os
import subprocess
import sys

import here

GUEST = {"BASALT_HOST": "this", "BASALT_LIMIT_S": "2400", "PYTHONDONTWRITEBYTECODE": "1", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
         "HOME": "/root", "LANG": "C.UTF-8"}


def tell(story):
    p = subprocess.run(["/usr/bin/python3", "-m", "pytest", "-v", "--color=no", "-p", "no:cacheprovider", "--durations=5", "--durations-min=20",
                        "--tb=short", "--maxfail=5", story], cwd=here.ROOT, stdin=subprocess.DEVNULL, env={**os.environ, **GUEST})
    return p.returncode == 0


def main():
    asked = here.command_line()
    good = all(tell(s) for s in asked["stories"].split(","))  # each stands on what the one before has made
    if not good:
        print(here.ask("journalctl", "--no-pager", "-b", "-n", "100"))
    print("stories: all are true" if good else "stories: FAILED", flush=True)
    if asked["then"] == "mail":
        here.send_for_ever()
    subprocess.run(["systemctl", "poweroff"], check=True)


if __name__ == "__main__":
    sys.exit(main())
