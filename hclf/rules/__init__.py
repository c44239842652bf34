"""Code-set rules: what a taxonomy says about labels that stand on one document, and labels that obey it.

`RuleBook.check` points out what a rule objects to, `RuleBook.repair` also does what the hard ones say. Both take the
labels of one document as they were assigned, in their order: the most specific nodes, not the closure.
"""

from hclf.rules.book import RuleBook
from hclf.rules.day import as_day
from hclf.rules.finding import COMPLETED_BY, KINDS, Finding, Kind

__all__ = ["COMPLETED_BY", "KINDS", "Finding", "Kind", "RuleBook", "as_day"]
