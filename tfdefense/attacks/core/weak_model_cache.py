"""Cache of values that belong to models; an entry lives no longer than its model."""

import inspect
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from tfdefense.attacks.core.model import Model

Value = TypeVar("Value")


class WeakModelCache(Generic[Value]):
    """Map from a model and a key to a value. A model can be freed while it is here.

    Two models are the same only if they are one object. A bound method belongs to its object. Models that allow no
    weak reference, such as objects with `__slots__`, are not cached.

    A value must not refer to its model, because it would then keep the model alive.

    Args:
      limit: largest number of entries; the entry that was used least recently is dropped first.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[tuple[int, Hashable], Value] = OrderedDict()
        self._owners: dict[int, weakref.ref[Any]] = {}

    def __len__(self) -> int:
        return len(self._values)

    def get(self, model: Model, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of `model` and `key`; call `make` if there is none."""
        owner, method = _owner_and_method(model)
        place = (id(owner), (method, key))
        if place in self._values:
            self._values.move_to_end(place)
            return self._values[place]
        value = make()
        if self._watch(owner):
            self._values[place] = value
            while len(self._values) > self._limit:
                self._values.popitem(last=False)
        return value

    def clear(self) -> None:
        """Release all values."""
        self._values.clear()
        self._owners.clear()

    def _watch(self, owner: Any) -> bool:
        """Release the values of `owner` at its end; return whether it allows weak references."""
        identity = id(owner)

        def release(_: weakref.ref[Any]) -> None:
            self._owners.pop(identity, None)
            # A copy, because the garbage collector may call this again during the loop.
            for place in list(self._values):
                if place[0] == identity:
                    self._values.pop(place, None)

        if identity not in self._owners:
            try:
                self._owners[identity] = weakref.ref(owner, release)
            except TypeError:
                return False
        return True


def weak_reference(model: Model) -> Callable[[], Model]:
    """Return a function that returns `model` while it exists, and does not keep it alive.

    A model that allows no weak reference is kept alive.
    """
    try:
        reference: Any = (
            weakref.WeakMethod(model) if inspect.ismethod(model) else weakref.ref(model)
        )
    except TypeError:
        return lambda: model
    return reference


def _owner_and_method(model: Model) -> tuple[Any, Any]:
    """Return the object that `model` belongs to, and its function if `model` is a bound method."""
    return (model.__self__, model.__func__) if inspect.ismethod(model) else (model, None)
