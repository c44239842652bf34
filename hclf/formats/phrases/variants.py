"""More phrases of an index: each non-essential modifier by itself, and what stands below a cross reference.

"Abdominalgia, see Pain, abdominal" says that everything under "Pain, abdominal" can be called abdominalgia, too:
"Abdominalgia, colic" as well. And "Abasia (-astasia) (hysterical)" that "Abasia, hysterical" is one more phrase.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from hclf.formats.phrases import entries
from hclf.formats.phrases.outline import Outline, written
from hclf.formats.phrases.phrase import Phrase
from hclf.formats.phrases.release import LANGUAGE

MODIFIED, BELOW = "index modifier", "index see below"  # sources
DEEPEST, MOST = 2, 40  # levels below what is referred to, and phrases of one reference
_MODIFIER = re.compile(r"\(([^()-][^()]*)\)")  # not "(-astasia)", which is part of a word


def more_of_index(path: str | Path) -> Iterator[Phrase]:
    """Yield phrases of an index beyond those that `hclf.formats.phrases.read` makes of it, in its order.

    Args:
        path: XML of a release, or a table made of it; unpacked if its name ends in `.gz`.

    Raises:
        TaxonomyError: the file cannot be read.
    """
    outline = Outline(entries.read(path, entries.INDEX))
    for i, entry in enumerate(outline.entries):
        code = entries.code_of(entry.codes[0])
        if not code and entry.see:
            yield from islice(_below(outline, i), MOST)
        elif code:
            for modifier in _MODIFIER.findall(entry.modifiers):
                yield Phrase(code, f"{written(outline.path(i))} {modifier}", LANGUAGE, MODIFIED)


def _below(outline: Outline, i: int) -> Iterator[Phrase]:
    """Yield what an entry with a reference says of all that stands below the entry referred to."""
    target = outline.find(outline.entries[i].see)
    if target is None:
        return
    said, top = written(outline.path(i)), outline.entries[target].level
    for j in range(target + 1, len(outline.entries)):
        entry = outline.entries[j]
        if entry.level <= top:
            return
        code = entries.code_of(entry.codes[0])
        if code and entry.level - top <= DEEPEST:
            steps = (step.title for step in outline.path(j)[top + 1 :])
            yield Phrase(code, ", ".join([said, *steps]), LANGUAGE, BELOW)
