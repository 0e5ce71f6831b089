"""Error about a custom model that has to be described by flags, or changed."""

from tfdefense.errors import UserError


class DescriptionError(UserError):
    """Custom model that is not understood without a description.

    The message is for `--classifier`, which flags such as `--input_range` describe. There are none for
    other flags that name a model, such as `--source`.

    Args:
      problem: the first sentences of the message, which begin with "--classifier=FILE".
      advice: how to describe the model, or what to do about the data.
      change: how to save the model so that it needs no description.

    Attributes:
      text_without_flags: the message with `change` in place of the advice.
    """

    def __init__(self, problem: str, advice: str, change: str) -> None:
        super().__init__(f"{problem} {advice}")
        self.text_without_flags = f"{problem} {change}"
