"""What scikit-learn expects of an estimator, without scikit-learn: parameters by name, and a repr of those changed."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

Self = TypeVar("Self", bound="Estimator")


class NotFittedError(ValueError, AttributeError):
    """A method that needs learned parameters was called before there were any."""


class Estimator:
    """Base of estimators whose constructor only stores its arguments, each under its own name."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments by name; if `deep`, also those of an estimator among them, as `model__name`."""
        params = {name: getattr(self, name) for name in self._names()}
        if deep:
            for name, value in list(params.items()):
                if hasattr(value, "get_params") and not isinstance(value, type):
                    params |= {f"{name}__{inner}": each for inner, each in value.get_params().items()}
        return params

    def set_params(self: Self, **params: Any) -> Self:
        """Change constructor's arguments. Raises ValueError for one there is not."""
        names = self._names()
        for name in params:
            if name.partition("__")[0] not in names:
                raise ValueError(
                    f"{name!r} is no parameter of {type(self).__name__}, expected one of {', '.join(names)}"
                )
        for name, value in params.items():
            own, nested, inner = name.partition("__")
            if nested:
                getattr(self, own).set_params(**{inner: value})
            else:
                setattr(self, name, value)
        return self

    @classmethod
    def _names(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        values = {name: getattr(self, name) for name in self._names()}
        changed = [f"{name}={value!r}" for name, value in values.items() if repr(value) != repr(defaults[name].default)]
        return f"{type(self).__name__}({', '.join(changed)})"
