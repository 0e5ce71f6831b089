"""Choice among the signatures and outputs of a custom model."""

import collections
import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from tfdefense.classifiers.custom.description_error import DescriptionError
from tfdefense.classifiers.custom.saved_model_file import SavedModelFile, Signature, TensorInfo
from tfdefense.data.core.file_listing import shorten_list
from tfdefense.errors import UserError, require

_DEFAULT_SIGNATURE = "serving_default"
_LOGITS = "logits"


@dataclasses.dataclass(frozen=True)
class OutputSelection:
    """The part of a custom model that is the classifier.

    Attributes:
      signature: name of a signature of a SavedModel; None means "serving_default", or the only one.
      output_name: name of an output; None means "logits", or the only one.
    """

    signature: str | None = None
    output_name: str | None = None

    def settings(self) -> dict[str, Any]:
        """Return flag name -> value of the fields that are set."""
        return {
            name: value for name, value in dataclasses.asdict(self).items() if value is not None
        }

    def select_tensors(self, saved: SavedModelFile) -> tuple[TensorInfo, TensorInfo]:
        """Return the input and the output of a SavedModel.

        Raises:
          UserError: there is no such signature or output, or the signature does not take one
            floating-point tensor.
        """
        signature = self._select_signature(saved)
        images = next(iter(signature.inputs.values()), None)
        takes = shorten_list([f"{name}: {info}" for name, info in signature.inputs.items()])
        if images is None or not signature.takes_images:
            problem = (
                f"--classifier={saved.path}: its signature {signature.name!r} takes"
                f" {takes or 'nothing'}; one floating-point tensor of images needed (no gradient passes"
                " through whole numbers or files)."
            )
            raise self._unfit_signature(saved, problem)
        where = f"{saved.path}: its signature {signature.name!r}"
        return images, signature.outputs[self._select_name(list(signature.outputs), where)]

    def select_from_model(self, model: keras.Model, path: Path) -> keras.Model:
        """Return a Keras model that takes one tensor and returns the selected output.

        Raises:
          UserError: there is no such output, or there are several and none is selected.
        """
        require(
            self.signature is None,
            f"--signature={self.signature}: {path} is a Keras file; only SavedModels have signatures.",
        )
        outputs = getattr(model, "outputs", None)
        if not outputs:
            require(
                self.output_name is None,
                f"--output_name={self.output_name}: {path} has no named outputs.",
            )
            return model
        structure, images = outputs, model.inputs
        with contextlib.suppress(AttributeError):  # A Sequential has none.
            structure, images = model.output, model.input
        names = [*structure] if isinstance(structure, Mapping) else _layer_names(model)
        tensors = (
            structure if isinstance(structure, Mapping) else dict(zip(names, outputs, strict=True))
        )
        selected = tensors[self._select_name(names, str(path))]
        is_sequence = isinstance(model, keras.Sequential)
        is_plain = is_sequence or (structure is selected and images is model.inputs[0])
        return model if is_plain else keras.Model(model.inputs[0], selected, name=model.name)

    def _select_signature(self, saved: SavedModelFile) -> Signature:
        names = shorten_list(sorted(saved.signatures)) or "(none)"
        wanted = self.signature
        if wanted is None and _DEFAULT_SIGNATURE in saved.signatures:
            wanted = _DEFAULT_SIGNATURE
        if wanted is None and len(saved.signatures) == 1:
            (wanted,) = saved.signatures
        if wanted is None:
            raise DescriptionError(
                f"--classifier={saved.path}: has the signatures {names}.",
                "Select one with --signature=NAME.",
                f"Save it with one signature, or name one {_DEFAULT_SIGNATURE!r}.",
            )
        require(
            wanted in saved.signatures,
            f"--signature={wanted}: {saved.path} has no such signature; it has {names}.",
        )
        return saved.signatures[wanted]

    def _unfit_signature(self, saved: SavedModelFile, problem: str) -> UserError:
        """Return the error about a signature; it names another one that takes images, if there is one."""
        for name, signature in sorted(saved.signatures.items()):
            if signature.takes_images:
                (images,) = signature.inputs.values()
                found = f"Its signature {name!r} takes {images}:"
                change = f"{found} save it with that one alone."
                return DescriptionError(problem, f"{found} --signature={name}", change)
        return UserError(problem)

    def _select_name(self, names: list[str], where: str) -> str:
        listed = shorten_list(sorted(names)) or "(none)"
        if self.output_name is not None:
            require(
                self.output_name in names,
                f"--output_name={self.output_name}: {where} has no such output; it has {listed}.",
            )
            return self.output_name
        if _LOGITS in names:
            return _LOGITS
        if len(names) != 1:
            raise DescriptionError(
                f"--classifier={where} gives {len(names)} outputs, one needed: {listed}.",
                "Select one with --output_name=NAME.",
                f"Save it with one output, or name one {_LOGITS!r}.",
            )
        return names[0]


def _layer_names(model: keras.Model) -> list[str]:
    """Return the names of the layers that give the outputs of a model."""
    if isinstance(model, keras.Sequential):
        return [model.layers[-1].name]
    counts: collections.Counter[str] = collections.Counter()
    names = []
    for name in model.output_names:  # A layer that gives several outputs gives its name to each.
        names.append(f"{name}_{counts[name]}" if counts[name] else name)
        counts[name] += 1
    return names
