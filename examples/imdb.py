"""Train RNN, LSTM and GRU on real IMDB reviews and compare them: the same job as the command `rnnscratch imdb`.

python examples/imdb.py                # eight minutes on 2 cores
python examples/imdb.py --workers 2    # two processes
python examples/imdb.py --quick        # under two
"""

import sys

from rnnscratch.cli import main

if __name__ == "__main__":
    sys.exit(main(["imdb", *sys.argv[1:]]))
