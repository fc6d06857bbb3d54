"""The filter language of the run list: `ratio>20 and test<0.6`, `type:prune`, `sweep not has:error`.

Owns the grammar, and the words for a filter that cannot be read; what a term means is `lctui.runs.filter_terms`'.

    filter = all ("or" all)*          all = one (["and"] one)*          one = "not" one | "(" filter ")" | term
    term   = word                            the word is in the name, the id, the status or a tag
           | field ":" word                  it is in the field (a number: the field equals it)
           | field ("=" | "!=") word         the field is that word or number, or is another one
           | field ("<" | "<=" | ">" | ">=") number     0.5, 2e-3, 12%, 20×; times: 90s, 10m, 2h, 3d, 1w
           | "has:" field                    the field is there

A field is a fact's name or the end of one: `kappa` is any `….kappa`, and one that fits is enough.  A field that a run
does not have fits nothing.  Case does not matter.  Quotes make a word of anything.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from lctui.errors import choices_hint, printable, shortened
from lctui.runs.facts import COMMON
from lctui.runs.filter_terms import (
    OPERATORS,
    ORDERINGS,
    Facts,
    Field,
    Term,
    containment,
    difference,
    equality,
    number_in,
    ordering,
    presence,
    search,
)

MAX_LENGTH = 4096
MAX_DEPTH = 50

_SAME = {"==": "=", "≤": "<=", "≥": ">=", "≠": "!="}
_MEANT = {"=<": "<=", "=>": ">=", "=!": "!=", "<>": "!="}

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | (?P<paren>[()])
    | "(?P<double>[^"]*)" | '(?P<single>[^']*)'
    | (?P<open>["'])
    | (?P<operator>[<>=!:≥≤≠]+)
    | (?P<word>[^\s()<>=!:≥≤≠]+)""",
    re.VERBOSE,
)


class FilterError(ValueError):
    """A filter that cannot be read: what is wrong, in one line, and where in the text (`position`, from 0)."""

    def __init__(self, position: int, message: str) -> None:
        super().__init__(printable(message))
        self.position = position


@dataclass(frozen=True)
class Filter:
    """A filter that has been read."""

    text: str
    test: Term

    def matches(self, facts: Facts) -> bool:
        """Do the facts of a run fit?"""
        return self.test(facts)


def parse(text: str, fields: Collection[str] = ()) -> Filter:
    """The filter that `text` says; an empty one fits everything.

    With `fields`, the facts that there are, a field that is none of them is an error.

    Raises:
        FilterError: the text is no filter.
    """
    if len(text) > MAX_LENGTH:
        raise FilterError(MAX_LENGTH, f"the filter is longer than {MAX_LENGTH} characters")
    return Filter(text, _Parser(text, fields).whole())


class _Token(NamedTuple):
    """`kind` is "word", "quoted", "operator", "(", ")" or "end"; `start` and `end` are places in the filter."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def keyword(self) -> str | None:
        """and, or, not; None for anything else."""
        lower = self.text.lower()
        return lower if self.kind == "word" and lower in ("and", "or", "not") else None


def _tokens(text: str) -> list[_Token]:
    tokens = []
    for match in _TOKEN.finditer(text):
        kind, start, end = str(match.lastgroup), match.start(), match.end()
        if kind == "open":
            raise FilterError(start, f"the quote {match[0]} is not closed")
        if kind in ("double", "single"):
            tokens.append(_Token("quoted", match[kind], start, end))
        elif kind != "space":
            tokens.append(_Token(match[0] if kind == "paren" else kind, match[0], start, end))
    return [*tokens, _Token("end", "", len(text), len(text))]


class _Parser:
    """One reading of a filter, by recursive descent."""

    def __init__(self, text: str, fields: Collection[str]) -> None:
        self.text = text
        self.fields = dict.fromkeys([*fields, *COMMON]) if fields else {}
        self.tokens = _tokens(text)
        self.at = 0

    @property
    def next(self) -> _Token:
        return self.tokens[self.at]

    def take(self) -> _Token:
        token = self.next
        self.at += token.kind != "end"
        return token

    def whole(self) -> Term:
        """The filter to the end of the text."""
        if self.next.kind == "end":
            return lambda facts: True
        term = self.any_of(0)
        if self.next.kind != "end":
            raise FilterError(self.next.start, "this parenthesis closes none")
        return term

    def any_of(self, depth: int) -> Term:
        """The grammar's `filter`."""
        terms = [self.all_of(depth)]
        while self.next.keyword == "or":
            self.take()
            terms.append(self.all_of(depth))
        return terms[0] if len(terms) == 1 else lambda facts: any(term(facts) for term in terms)

    def all_of(self, depth: int) -> Term:
        """The grammar's `all`."""
        terms = [self.one(depth)]
        while self.next.kind not in (")", "end") and self.next.keyword != "or":
            if self.next.keyword == "and":
                self.take()
            terms.append(self.one(depth))
        return terms[0] if len(terms) == 1 else lambda facts: all(term(facts) for term in terms)

    def one(self, depth: int) -> Term:
        """The grammar's `one`."""
        if depth > MAX_DEPTH:
            raise FilterError(self.next.start, f"nested more than {MAX_DEPTH} levels deep")
        token = self.take()
        if token.kind == "(":
            return self.inside(token, depth)
        if token.keyword == "not" and self.next.kind != "operator":
            negated = self.one(depth + 1)
            return lambda facts: not negated(facts)
        if token.kind not in ("word", "quoted") or (token.keyword and self.next.kind != "operator"):
            raise FilterError(token.start, self.missing(token))
        return self.comparison(token, self.take()) if self.next.kind == "operator" else search(token.text)

    def inside(self, opening: _Token, depth: int) -> Term:
        """The rest of what a parenthesis opens."""
        term = self.any_of(depth + 1)
        if self.take().kind != ")":
            raise FilterError(opening.start, "this parenthesis is not closed")
        return term

    def missing(self, token: _Token) -> str:
        """What to say of a token that stands where a term should."""
        here = "the end" if token.kind == "end" else repr(shortened(token.text))
        what = "a field" if token.kind == "operator" else "a word or a comparison"
        return f"{what} is missing before {here}"

    def comparison(self, field: _Token, sign: _Token) -> Term:
        """The rest of a term that has an operator."""
        name = _SAME.get(sign.text, sign.text)
        if name not in OPERATORS:
            hint = f"; did you mean {_MEANT[name]!r}?" if name in _MEANT else choices_hint(name, OPERATORS)
            raise FilterError(sign.start, f"{shortened(sign.text)!r} is no operator{hint}")
        start, value = self.value(field, sign)
        if field.text.lower() == "has" and name == ":":
            return presence(self.known(value, start))
        self.known(field.text, field.start)
        if name in ORDERINGS:
            if (bound := number_in(value)) is None:
                raise FilterError(start, f"{field.text} {name} needs a number, not {shortened(value)!r}")
            return ordering(field.text, name, bound)
        return {":": containment, "=": equality, "!=": difference}[name](field.text, value)

    def value(self, field: _Token, sign: _Token) -> tuple[int, str]:
        """What follows an operator, with where it begins; `2026-11-24T01:32` is one value."""
        first = self.take()
        if first.kind not in ("word", "quoted"):
            raise FilterError(first.start, f"a value is missing after {shortened(field.text + sign.text)}")
        end = first.end
        while first.kind == "word" and self.next.kind in ("word", "operator") and self.next.start == end:
            end = self.take().end
        return first.start, first.text if first.kind == "quoted" else self.text[first.start : end]

    def known(self, field: str, start: int) -> str:
        """The field, unless it is known that there is none of that name."""
        if self.fields and not Field(field).is_among(self.fields):
            # A name is most likely meant by its last part, which says more than a number in a path.
            choices = sorted({name.rpartition(".")[2] for name in self.fields} | set(COMMON))
            hint = choices_hint(field, choices) or "; quote a text that has an operator in it"
            raise FilterError(start, f"no run has a field {shortened(field)!r}{hint}")
        return field
