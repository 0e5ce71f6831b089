"""Settings of a purification, and whether it may continue the run that its target holds."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from tfdefense.errors import cut_text, require
from tfdefense.serving.client.model_client import ModelClient
from tfdefense.serving.client.predictions_rows import is_marked


@dataclasses.dataclass(frozen=True)
class PurifySettings:
    """Settings of a purification.

    Attributes:
      batch_size: images per request.
      overwrite: purify finished files again, and replace files that no purification has written.
      resume: True refuses to start a new run, and to purify finished files again with another model;
        False refuses to continue a run; None continues a run if there is one.
      skip_bad: True counts files that cannot be used as done; False ends the run at the first one;
        None skips them, and the run then counts as failed.
      alarm: mark images whose suspicion is this or more, in (0, 1]; None marks none.
    """

    batch_size: int = 32
    overwrite: bool = False
    resume: bool | None = None
    skip_bad: bool | None = None
    alarm: float | None = None

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, f"--batch_size={self.batch_size}: at least 1 is needed.")
        require(
            not (self.resume and self.overwrite),
            "--resume: not with --overwrite, which purifies all files again.",
        )
        require(
            self.alarm is None or 0 < self.alarm <= 1,
            f"--alarm={self.alarm}: a number above 0 and at most 1 is needed, such as 0.99.",
        )

    @property
    def starts_anew(self) -> bool:
        """Return whether no answer of an earlier run may be used."""
        return self.overwrite or self.resume is False

    def require_suspicion(self, model: ModelClient) -> None:
        """Raise `UserError` if an alarm is set and the model has no output `suspicion`."""
        require(
            self.alarm is None or model.has_suspicion,
            f"--alarm={self.alarm}: {model.location} has no output suspicion. Export the run again with"
            " bin/export, which calibrates it on validation images; the model card says if it cannot.",
        )

    def require_resumable(
        self,
        table: Path,
        stored: Sequence[Mapping[str, str]],
        version: str,
        names: Collection[str],
    ) -> None:
        """Raise `UserError` if `resume` does not fit the run in the target.

        Args:
          table: `predictions.csv` in the folder to write.
          stored: its lines.
          version: the version of the model.
          names: names of the files to purify.
        """
        target = table.parent
        if self.resume:
            require(
                table.is_file(),
                f"--resume: {target} holds no run of bin/purify (no {table.name}). Leave out --resume to start"
                " one.",
            )
            finished = [row for row in stored if not is_marked(row)]
            if version in {row.get("model") for row in finished}:
                # Results of other models stay, unless their files are to be purified.
                finished = [row for row in finished if row.get("file") in names]
            others = {row.get("model") or version for row in finished} - {version}
            require(
                not others,
                f"--resume: {target} was purified by {cut_text(min(others, default=''))}, and this is"
                f" {cut_text(version)}. Name that model, or leave out --resume to purify the files again.",
            )
        if self.resume is False and not self.overwrite:
            require(
                not stored,
                f"--noresume: {target} holds a run of bin/purify of {len(stored):,} images. Give another"
                " folder, or --overwrite.",
            )
