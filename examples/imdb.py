"""Train RNN, LSTM and GRU on real IMDB reviews and compare them: the same job as the command `rnnscratch imdb`.

python examples/imdb.py                # some minutes on 2 cores
python examples/imdb.py --workers 1    # with one process
python examples/imdb.py --quick        # a small part of the reviews
"""

import sys

from rnnscratch.cli import main

if __name__ == "__main__":
    sys.exit(main(["imdb", *sys.argv[1:]]))
