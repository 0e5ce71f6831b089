"""Text from outside, made harmless for a terminal.

A terminal obeys control characters, and direction marks show text in another order than it has. Names of
files, classes and models, and messages about them, can contain both.
"""

import unicodedata

# Control characters, direction marks and other invisible characters, unpaired surrogates (bytes of a
# file name that are not UTF-8), line and paragraph separators.
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_JOINERS = "\u200c\u200d"  # Parts of words in Persian and Hindi, and of emoji.


def visible_text(text: str, keep: str = "\n\t") -> str:
    """Return a text with hidden characters written as Python escapes, such as "\\x1b".

    Args:
      text: any text.
      keep: hidden characters that stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _escape(character) if _is_hidden(character) and character not in keep else character
        for character in text
    )


def visible_line(text: object) -> str:
    """Return a text as one line: line breaks and other white space become single spaces."""
    return visible_text(" ".join(str(text).split()), keep="")


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN and character not in _JOINERS


def _escape(character: str) -> str:
    return (
        character.encode("ascii", "backslashreplace").decode()
        if ord(character) > 127
        else (f"\\x{ord(character):02x}")
    )
