import os
import subprocess
import sys

SCRIPT = """
import resource, sys, threading
if sys.argv[1] == "limited":
    from snap.cli.memory import limit_heap
    limit_heap()
def work():
    kept = []
    for n in range(60):
        block = bytearray(5 << 20)
        kept.append(bytes(1000))
        del block
threads = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
statm = open("/proc/self/statm").read().split()
print(int(statm[1]) * resource.getpagesize() >> 20)
"""


def test_freed_blocks_go_back_to_the_system() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "limited"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert int(done.stdout) < 40


def test_cycles_are_looked_for_later_and_less_often_and_still_found() -> None:
    script = (
        "import gc\nfrom snap.cli.memory import collect_later, collect_rarely\n"
        "before = gc.get_threshold()[0]\ncollect_later()\nprint(gc.isenabled())\n"
        "collect_rarely()\nprint(gc.isenabled(), gc.get_threshold()[0] > before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\nTrue True\n"


def test_an_ending_process_does_not_look_at_what_it_had_loaded() -> None:
    script = (
        "import gc\nfrom snap.cli.memory import end_at_once\n"
        "print(gc.get_freeze_count())\nend_at_once()\nprint(gc.get_freeze_count() > 1000)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\nTrue\n"
