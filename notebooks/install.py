"""How a notebook finds the library: its first code cell holds a copy of the lines below.

Nothing is installed where rnnscratch can be imported. Else it comes from the checkout around the notebook or beside it,
or from a wheel beside it, never by its name from an index.
"""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

if not getattr(find_spec("rnnscratch"), "origin", None):  # a folder that merely has this name has no origin
    here = Path.cwd()
    folders = [each for each in (here, *here.parents, *here.iterdir()) if (each / "rnnscratch/__init__.py").exists()]
    found = [each for each in folders if (each / "setup.cfg").exists()] + sorted(here.glob("rnnscratch-*.whl"))
    if not found:
        raise ModuleNotFoundError("no rnnscratch: put its folder (with setup.cfg) or its wheel beside this notebook")
    subprocess.check_call([sys.executable, "-m", "pip", "install", "-q", f"{found[0]}[imdb,notebooks]"])
