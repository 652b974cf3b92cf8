"""Does the wheel hold the package alone, with its data, and the source distribution all that is in the checkout?

python .ci/contents.py dist/*
"""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def tracked() -> set[str]:
    """The files of the checkout."""
    return set(subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())


def main(*paths: str) -> int:
    """Say what is missing and what is too much; returns the exit status."""
    wanted = tracked() - {".gitignore"}
    said = []
    for path in map(Path, paths):
        if path.suffix == ".whl":
            expected = {name for name in wanted if name.startswith("rnnscratch/")}
            with zipfile.ZipFile(path) as wheel:
                held = {name for name in wheel.namelist() if ".dist-info/" not in name}
        else:
            expected = wanted
            with tarfile.open(path) as archive:
                held = {member.name.partition("/")[2] for member in archive if member.isfile()}
            held = {name for name in held if name != "PKG-INFO" and ".egg-info/" not in name}
        said += [f"{path.name} lacks {name}" for name in sorted(expected - held)]
        said += [f"{path.name} holds {name}" for name in sorted(held - expected)]
        said.append(f"{path.name}: {len(held)} files, {path.stat().st_size:,} bytes")
    print("\n".join(said))
    return int(len(said) > len(paths))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
