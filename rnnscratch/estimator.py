"""What scikit-learn expects of an estimator, without scikit-learn: parameters by name, tags, a repr of what changed."""

from __future__ import annotations

import inspect
import sys
from typing import Any, ClassVar, TypeVar

Self = TypeVar("Self", bound="Estimator")


class NotFittedError(ValueError, AttributeError):
    """A method that needs learned parameters was called before there were any.

    Where scikit-learn is loaded, it is scikit-learn's error of this name too.
    """

    def __new__(cls, *args: Any) -> NotFittedError:
        theirs = getattr(sys.modules.get("sklearn.exceptions"), "NotFittedError", None)
        kind = cls if theirs is None or cls is not NotFittedError else type("NotFittedError", (cls, theirs), {})
        return super().__new__(kind, *args)

    def __reduce__(self) -> tuple[Any, ...]:
        return NotFittedError, self.args


class Estimator:
    """Base of estimators whose constructor only stores its arguments, each under its own name.

    A subclass says what its `fit` sets, by which a fitted one is known; for scikit-learn "classifier", if it is one;
    and in which of scikit-learn's `InputTags` its input differs from plain numbers (n_samples, n_features).
    """

    _learned: ClassVar[tuple[str, ...]] = ()
    _estimator_type: ClassVar[str | None] = None
    _input_tags: ClassVar[dict[str, bool]] = {}

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

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn's model selection asks; scikit-learn is imported only when it does."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        classifier = self._estimator_type == "classifier"
        return Tags(
            estimator_type=self._estimator_type,
            target_tags=TargetTags(required=classifier),
            classifier_tags=ClassifierTags() if classifier else None,
            input_tags=InputTags(**self._input_tags),
        )

    def __sklearn_is_fitted__(self) -> bool:
        return all(hasattr(self, name) for name in self._learned)

    def _check_fitted(self) -> None:
        """Raise NotFittedError unless `fit` was called."""
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet: call fit first")

    @classmethod
    def _names(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        values = {name: getattr(self, name) for name in self._names()}
        changed = [f"{name}={value!r}" for name, value in values.items() if repr(value) != repr(defaults[name].default)]
        return f"{type(self).__name__}({', '.join(changed)})"
