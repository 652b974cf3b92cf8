"""What RNN, LSTM and GRU remember: the classic tests of long memory. The same job as the command `rnnscratch memory`.

python examples/memory.py                           # minutes on 2 cores
python examples/memory.py --problems adding         # one of the tests
"""

import sys

from rnnscratch.cli import main

if __name__ == "__main__":
    sys.exit(main(["memory", *sys.argv[1:]]))
