"""Turns of phrase that readers stumble over. Each was found in a page or message and rewritten.

The plainer words are those of docs/glossary.md.
"""

from __future__ import annotations

import re

__all__ = ["BANNED", "BANNED_IN_CODE", "BANNED_IN_OUTPUT"]

_EVERYWHERE = (
    r"lest|be it|whoever|whatever it|nobody|no such|anew|in vain|all the same|to be had|"
    r"(tell|tells|told) of|is told|are told|says? nothing of|makes? of it|came of it|comes? of it|"
    r"(looks?|looked) (after|into)|looked at|"
    r"stands (in|there)|is not there|it is there|let go|"
    r"the former|former (one|release|commit|name)|takes? (up|over)|taken over|"
    r"(come|comes|came) to (its|their|an) end|to their end|"
    r"brought to|for one\.|as ever|with leave|has leave|gives? leave|need leave|"
    r"time-outs?|misspelt|mistyped|in hand|a hand|sign of life|"
    r"who (asks|connects|deploys|follows|operates|raises|loses)|"
    r"(is|are) refused|refusals?|fake hosts?|"
    r"further tr(y|ies)|each try|put right|set right|goes wrong|"
    r"of no (use|interest|concern)|ha(s|ve) no say|had a say|again for more|the same for all\.|"
    r"knows no|at the moment it|counts as dead|clear up|bring about|"
    r"and is none|not to be|is no longer there|under way|the luckiest"
)
_IN_PAGES = r"(begins?|began|begun) with"
# Help, messages, hints and log lines are shorter than pages: more can be said against them.
_IN_OUTPUT = (
    r"so (many|long|much) (as )?(may|a )|at most (so|this) many|which, by name|or its commit|"
    r"your name for it|is (made|gone) (anew|then)|forget(s|ting)?|forgotten|"
    r"was to be (removed|made)|for you to (remove|do)|mend(ed)?|unforeseen|"
    r"\w+n['\u2019]t|somebody|everybody|in the end|gets? in the end"
)
# Docstrings and comments are for readers with the code in front of them: less is said against them.
_IN_CODE = (
    r"whoever|lest|be it|anew|in vain|likewise|stands in|for want of|"
    r"(is|are|was|were) told(?! not)|told (of|by)|"
    r"(comes?|came) to (its|an|their) end|comes? of it|makes? of (it|a)|has no say|"
    r"that there is none|where there (is|are)|(is|are|was) not there|"
    r"nothing but|by nothing|passes over|looked at|in the former|the former|"
    r"what (is|are|was|were) (asked|wanted|shown|told|said)"
)


def _pattern(*alternatives: str) -> re.Pattern[str]:
    return re.compile(rf"(?i)(?<![\w-])({'|'.join(alternatives)})(?![\w-])")


BANNED = _pattern(_EVERYWHERE, _IN_PAGES)
"""For pages and docstrings."""

BANNED_IN_OUTPUT = _pattern(_EVERYWHERE, _IN_OUTPUT)
"""For what commands, the server and the workers print, including their help."""

BANNED_IN_CODE = _pattern(_IN_CODE)
"""For the docstrings and comments of deploycore and of its plugins."""
