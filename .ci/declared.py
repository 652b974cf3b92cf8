"""What setup.cfg declares: `lowest` prints every dependency at its lowest version, `tests` what tests need but peers.

python .ci/declared.py python      the lowest Python, such as 3.10
"""

import configparser
import sys
from pathlib import Path

PEERS = {"keras", "mpi4py", "mpich", "mypy", "onnx", "onnxruntime", "ruff", "torch"}  # tests that need them are skipped


def main(what: str) -> str:
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[1] / "setup.cfg")
    if what == "python":
        return setup["options"]["python_requires"].removeprefix(">=")
    if what == "lowest":
        return " ".join(setup["options"]["install_requires"].replace(">=", "==").split())
    names = [line.partition(";")[0].strip() for line in setup["options.extras_require"]["test"].split("\n")]
    return " ".join(name for name in names if name and name not in PEERS)


if __name__ == "__main__":
    print(main(sys.argv[1]))
