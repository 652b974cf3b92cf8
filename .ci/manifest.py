"""setuptools as the build backend, with the list of what a source distribution holds beside it: `manifest.in`."""

from setuptools.build_meta import *  # noqa: F403 - the hooks of a backend
from setuptools.command.egg_info import manifest_maker

manifest_maker.template = ".ci/manifest.in"
