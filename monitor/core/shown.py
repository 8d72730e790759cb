"""Annotations of fields that say how they are shown: `monitor.serialize` makes JSON by them."""

from collections.abc import Mapping
from typing import Annotated

TEXT, SENTENCE, INTERNAL = "text", "sentence", "internal"

Text = Annotated[str, TEXT]
"""Words that came from outside: shown cleaned and cut to a limit."""

Sentence = Annotated[str, SENTENCE]
"""Words of our own that may have such a text in them: shown cleaned, and cut to twice the limit."""

Labels = Mapping[str, Text]
"""What the operator has put on a campaign or an environment; the config holds it short."""
