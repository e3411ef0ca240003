"""What `import medmm` and `medmm --help` cost, against the import of numpy by the same interpreter in the same minute.

    python benchmarks/import_cost.py [--runs 9]

Prints medians of CPU seconds (user and system, the start of the interpreter taken away) and their ratio to numpy's.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from statistics import median

PROBE = """
import resource, sys
def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
began = cpu()
try:
    {code}
except SystemExit:
    pass
print(cpu() - began, file=sys.stderr)
"""
CODE = {
    "import numpy": "import numpy",
    "import medmm": "import medmm",
    "medmm --help": "import runpy; sys.argv = ['medmm', '--help']; runpy.run_module('medmm', run_name='__main__')",
}


def cost(code: str) -> float:
    """CPU seconds of one new process for `code`."""
    run = subprocess.run([sys.executable, "-c", PROBE.format(code=code)], capture_output=True, text=True, check=True)
    return float(run.stderr.splitlines()[-1])


def main() -> None:
    """Time each in turn, round after round, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    rounds = [{name: cost(code) for name, code in CODE.items()} for _ in range(runs + 1)][1:]  # the first fills the disk cache
    numpy = median(costs["import numpy"] for costs in rounds)
    for name in CODE:
        seconds = median(costs[name] for costs in rounds)
        print(f"{name}: {seconds:.3f} CPU s, {seconds / numpy:.2f} times numpy")


if __name__ == "__main__":
    main()
