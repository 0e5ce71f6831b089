"""A stand-in for TensorFlow: with it, a command answers what needs no network in a second.

`import tensorflow` takes seconds. Inside `tensorflow_stand_in`, TensorFlow and the libraries on top of
it are objects that a module may import, subclass, decorate with and annotate with, as under
`autodoc_mock_imports` of Sphinx. So help pages, lists and messages about flags come from the code of
attacks and defences itself. Whatever computes with one of these objects raises `TensorFlowNeededError`.
"""

import contextlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterator, Sequence
from types import FrameType, ModuleType
from typing import Any

_REPLACED = (
    "cleverhans",
    "h5py",
    "keras",
    "scipy",
    "sklearn",
    "tensorboard",
    "tensorflow",
    "tensorflow_datasets",
)
_PACKAGE = "tfdefense"
# They import libraries that use those above, and that must not keep a stand-in.
_NOT_WITHOUT = f"{_PACKAGE}.adapters"


class TensorFlowNeededError(BaseException):
    """A stand-in was used outside the import of a module. No `except Exception` may hide it."""


@contextlib.contextmanager
def tensorflow_stand_in() -> Iterator[None]:
    """Replace TensorFlow while the block runs; forget afterwards every module that has seen it.

    Raises:
      TensorFlowNeededError: from the block, when it computes with TensorFlow.
    """
    finder = _StandInFinder()
    before = set(sys.modules)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in (_PACKAGE, *_REPLACED):
                _forget(name)


def require_tensorflow() -> None:
    """Leave the block of `tensorflow_stand_in`, if this is one: the flags are right, work begins.

    Raises:
      TensorFlowNeededError: in the block of `tensorflow_stand_in`.
    """
    if isinstance(sys.modules.get("tensorflow"), _StandIn):
        raise TensorFlowNeededError


def _forget(name: str) -> None:
    module = sys.modules.pop(name)
    parent, _, child = name.rpartition(".")
    if vars(sys.modules.get(parent, module)).get(child) is module:
        delattr(sys.modules[parent], child)


class _StandInFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finder of a stand-in for each module of the replaced libraries."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return a specification of a stand-in, or None for a module of another library.

        Raises:
          TensorFlowNeededError: the module is one of the adapters of other libraries.
        """
        if fullname == _NOT_WITHOUT or fullname.startswith(f"{_NOT_WITHOUT}."):
            raise TensorFlowNeededError
        if fullname.partition(".")[0] not in _REPLACED:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Any:
        """Return the stand-in of a module."""
        return _StandIn()

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: a stand-in has no code."""


class _StandIn:
    """Stand-in for a module, class, function or value of a replaced library."""

    def __getattr__(self, name: str) -> Any:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if name.startswith("__") or caller.partition(".")[0] != _PACKAGE:
            raise AttributeError(name)  # Another library looks whether it is given tensors.
        _require_import()
        return type(name, (Exception,), {}) if name.endswith("Error") else _StandIn()

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Return what it decorates, or else a stand-in of the result."""
        _require_import()
        decorated = arguments[0] if len(arguments) == 1 and not options else None
        return decorated if callable(decorated) else _StandIn()

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return ()

    def __getitem__(self, key: Any) -> "_StandIn":
        _require_import()
        return self

    def __or__(self, other: Any) -> "_StandIn":
        _require_import()
        return self

    def __ror__(self, other: Any) -> Any:
        """Return the other part of an annotation, such as `float | tf.Tensor`."""
        _require_import()
        return other

    def __instancecheck__(self, instance: Any) -> bool:
        _require_import()
        return False

    def __bool__(self) -> bool:
        _require_import()
        return True

    def __len__(self) -> int:
        _require_import()
        return 0

    def __iter__(self) -> Iterator[Any]:
        _require_import()
        return iter(())

    def __format__(self, specification: str) -> str:
        _require_import()
        return ""

    def __eq__(self, other: object) -> bool:
        if self is not other:
            _require_import()
        return self is other

    __hash__ = object.__hash__


def _require_import() -> None:
    """Raise `TensorFlowNeededError` unless a module of the package is being imported."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") != "__main__":
            return
        frame = frame.f_back
    raise TensorFlowNeededError
