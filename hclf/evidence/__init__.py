"""Why a node: the words that speak for it, those that speak against it, and why it rather than its best sibling.

Scorers say what places in a document add to their channels (`Scorer.evidence`). These contributions are weighed by
the coefficient that the calibration gives their channel on the node's level, so that those of several scorers are on
one scale: log-odds, as they are before scores are made coherent and calibrated by level. Contributions of one scorer
that stand side by side become spans.

Under the coherence `max` a parent has the score of its best descendant where that is higher than its own. Then its
evidence is that of this descendant, and `Explanation.through` says which.
"""

from __future__ import annotations

from hclf.evidence.explainer import Batch, Explainer, Question
from hclf.evidence.explanation import Contrast, Explanation
from hclf.evidence.spans import Span

__all__ = ["Batch", "Contrast", "Explainer", "Explanation", "Question", "Span"]
