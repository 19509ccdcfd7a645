"""What every estimator has: scikit-learn's base, a signature derived from the task's settings, fit in memory."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from recurra.base import config
from recurra.base.errors import ConfigError, DataError, message, nearest
from recurra.base.option import override, settings_of, value_at
from recurra.tasks.settings import TaskSettings

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator, ClassifierMixin, OutlierMixin

    NotFitted = DataError
else:
    try:
        from sklearn.base import BaseEstimator, ClassifierMixin, OutlierMixin
        from sklearn.exceptions import NotFittedError

        class NotFitted(NotFittedError, DataError):
            """Raised before `fit`."""
    except ImportError:
        # Without scikit-learn the estimators work all the same, outside of its pipelines.
        NotFitted = DataError

        class ClassifierMixin:
            """Stands in."""

        class OutlierMixin:
            """Stands in."""

        class BaseEstimator:
            """Stands in: parameters are the arguments of __init__."""

            def get_params(self, deep: bool = True) -> dict[str, Any]:
                """Return the arguments of __init__."""
                del deep
                names = [name for name in inspect.signature(type(self).__init__).parameters if name != "self"]
                return {name: getattr(self, name) for name in names}


__all__ = ["ClassifierMixin", "OutlierMixin", "TaskEstimator"]


class TaskEstimator(BaseEstimator):
    """An estimator of a task.

    A subclass sets `recipe`, the settings that it starts from, and `parameters`, the arguments of its constructor: name
    -> dotted name of the setting, whose value in `recipe` is the default. Two more arguments are always there:
    `settings`, any other setting by its dotted name, and where `parameters` has it `random_state`, None for a random
    one. The signature is made from these.
    """

    recipe: ClassVar[TaskSettings]
    parameters: ClassVar[Mapping[str, str]] = {}
    positional: ClassVar[int] = 1
    """How many of the parameters may be given by position."""

    settings: dict[str, Any] | None
    random_state: Any

    def __init_subclass__(cls, **options: Any) -> None:
        """Make the constructor from `recipe` and `parameters`."""
        super().__init_subclass__(**options)
        if "parameters" not in vars(cls):
            return
        values = {name: value_at(cls.recipe, path) if path else None for name, path in cls.parameters.items()}
        defaults = values | {"settings": None}

        def __init__(self: Any, *values: Any, **named: Any) -> None:  # noqa: N807
            bound = inspect.Signature(list(signature.parameters.values())[1:]).bind(*values, **named)
            for name, default in defaults.items():
                setattr(self, name, bound.arguments.get(name, default))

        kinds = [inspect.Parameter.POSITIONAL_OR_KEYWORD] * cls.positional
        kinds += [inspect.Parameter.KEYWORD_ONLY] * (len(defaults) - cls.positional)
        arguments = [
            inspect.Parameter(name, kind, default=default)
            for (name, default), kind in zip(defaults.items(), kinds, strict=True)
        ]
        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        signature = inspect.Signature([own, *arguments])
        __init__.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
        cls.__init__ = __init__

    def set_params(self, **changes: Any) -> Any:
        """Change arguments; ConfigError for a name that there is not."""
        known = self.get_params(deep=False)
        for name in changes:
            if name not in known:
                near = ", ".join(nearest(name, known)[:3])
                raise ConfigError(message(type(self).__name__, f"no parameter is called {name!r}, nearest: {near}"))
        for name, value in changes.items():
            setattr(self, name, value)
        return self

    def task_settings(self) -> Any:
        """Return the settings of the task that the arguments say; ConfigError with every fault."""
        known = {setting.path: setting for setting in settings_of(type(self.recipe))}
        overrides = []
        for name, path in self.parameters.items():
            if not path:
                continue
            value = self.seed() if name == "random_state" else getattr(self, name)
            overrides.append(_override(known[path], value))
        overrides += [
            _override(known[path], value) if path in known else f"{path}={value}"
            for path, value in (self.settings or {}).items()
        ]
        values = config.to_dict(self.recipe)
        return config.parse(type(self.recipe), values, overrides, where=type(self).__name__)

    def seed(self) -> int:
        """Return the seed that `random_state` says: a number, a generator to draw from, or None for a random one."""
        state = self.random_state
        if isinstance(state, np.random.RandomState):
            return int(state.randint(2**31 - 1))
        return int(np.random.default_rng().integers(2**31 - 1) if state is None else state)

    def require_fitted(self) -> None:
        """Raise NotFitted (a DataError, with scikit-learn a NotFittedError too) before `fit`."""
        if not self.__sklearn_is_fitted__():
            raise NotFitted(message(type(self).__name__, "is not fitted yet", hint="call fit first."))

    def __sklearn_is_fitted__(self) -> bool:
        return any(name.endswith("_") and not name.startswith("_") for name in vars(self))


def _override(setting: Any, value: Any) -> str:
    if value is None:
        return f"{setting.path}=none"
    if isinstance(value, (bool, np.bool_)):
        return f"{setting.path}={str(bool(value)).lower()}"
    if isinstance(value, str) and setting.several:
        value = (value,) if value else ()
    return override(setting, value)
