"""Which kind of pressure a badge text puts on the shopper: urgency, scarcity or social proof."""

from __future__ import annotations

import re
import unicodedata
from enum import IntFlag


class Claim(IntFlag):
    """The kinds of claim a badge can make; one badge can make several."""

    NONE = 0
    URGENCY = 1
    SCARCITY = 2
    SOCIAL_PROOF = 4


_WORDS = {
    "one": 1.0, "two": 2.0, "three": 3.0, "four": 4.0, "five": 5.0, "six": 6.0, "seven": 7.0, "eight": 8.0, "nine": 9.0,
    "ten": 10.0, "a dozen": 12.0, "dozens": 24.0, "hundreds": 200.0, "thousands": 2000.0,
}  # fmt: skip
_NUMBER = rf"(?:\d[\d.,]*k?|{'|'.join(_WORDS)})"
_LEXICON = {
    Claim.URGENCY: (
        r"\bhurry", r"\bact (?:now|fast)", r"\bends? (?:in|today|tonight|soon|tomorrow|at|on|this)\b", r"\bending soon",
        r"\blast (?:chance|day|days|hours?|call|minute)", r"\b(?:today|tonight|weekend|week) only", r"\bonly today",
        r"\blimited[- ]time", r"\bflash (?:sale|deal)", r"\bbefore it'?s (?:gone|too late)", r"\bdon'?t (?:miss|wait)",
        r"\bnow or never", r"\bcountdown", r"\b\d+ ?(?:h|hrs?|hours?|min|minutes?|days?) left", r"\btime is running",
        r"\bexpires?\b", r"\bwhile (?:it|they|offer) lasts?", r"\border within", r"\b\d{1,2}:\d{2}(?::\d{2})? left",
    ),
    Claim.SCARCITY: (
        rf"\bonly {_NUMBER} (?:left|remaining|available|in stock|pieces?)",
        rf"\blast {_NUMBER}\b(?! ?(?:h\b|hrs?|hours?|days?|min|weeks?|months?))",
        r"\blast (?:one|ones|items?|pieces?)\b",
        rf"(?<!:)\b{_NUMBER} (?:left|remaining)(?! (?:hours?|days?|min))", r"\blow (?:in )?stock", r"\bfew left",
        r"\bselling (?:out|fast)", r"\balmost (?:gone|sold out)", r"\bnearly (?:gone|sold out)", r"\bgoing fast",
        r"\bwhile (?:stocks?|supplies) last", r"\blimited (?:stock|quantit\w+|edition|supply|availability)",
        r"\brare\b",
        r"\bscarce", r"\bhigh demand", r"\bsell(?:s|ing)? out",
        rf"\bin (?:{_NUMBER}\+? )?(?:(?:your|another|other|people's|shoppers') )?(?:carts?|baskets?)\b",
    ),
    Claim.SOCIAL_PROOF: (
        r"\bbest[- ]?sell(?:er|ing)", r"\btop[- ]?(?:rated|seller|selling|pick)",
        r"\bmost (?:popular|loved|bought|wanted)",
        r"\bpopular\b", r"\btrending", r"\bviral", r"\bcustomers?'? (?:favou?rites?|love|loved|also)",
        r"\bfan favou?rite",
        rf"\b{_NUMBER}\+? (?:of )?(?:people|customers|shoppers|others|buyers|neighbou?rs)", rf"\bbought {_NUMBER}",
        rf"\b{_NUMBER}\+? (?:sold|bought|bought this|viewing|watching|looking)", r"\b(?:everyone|everybody)\b",
        r"\bpeople (?:are )?(?:viewing|watching|looking|bought|buying|love)", r"(?<!\w)#1\b", r"\bnumber one\b",
        r"\b\d(?:\.\d)? ?(?:stars?|★)", r"\brecommended by \d",
    ),
}  # fmt: skip
_PATTERNS = {claim: re.compile("|".join(words)) for claim, words in _LEXICON.items()}


def classify(badge: str | None) -> Claim:
    """Return which claims a badge text makes; a text with no known claim makes none.

    Example:
        >>> classify("Only 3 left - hurry!")
        <Claim.URGENCY|SCARCITY: 3>
        >>> classify("New this week")
        <Claim.NONE: 0>
    """
    if not badge:
        return Claim.NONE
    text = _plain(badge)
    found = Claim.NONE
    for claim, pattern in _PATTERNS.items():
        if pattern.search(text):
            found |= claim
    return found


def claimed_number(badge: str | None, claim: Claim) -> float:
    """Return the number in the words that make a claim: the smallest that are left, the largest that want it.

    NaN where the badge does not make the claim or names no number in it.

    Example:
        >>> claimed_number("Only three left, was 24.99", Claim.SCARCITY)
        3.0
        >>> claimed_number("1,200 people bought this", Claim.SOCIAL_PROOF)
        1200.0
    """
    numbers = [_value(word) for match in _PATTERNS[claim].finditer(_plain(badge or ""))
               for word in re.findall(_NUMBER, match.group())]  # fmt: skip
    found = [number for number in numbers if number is not None]
    if not found:
        return float("nan")
    return min(found) if claim is Claim.SCARCITY else max(found)


def _plain(badge: str) -> str:
    return unicodedata.normalize("NFKC", badge).casefold().replace("\u2019", "'")


def _value(word: str) -> float | None:
    if word in _WORDS:
        return _WORDS[word]
    digits = re.sub(r"[.,](?=\d{3}\b)", "", word.rstrip("k.,")).replace(",", ".")
    try:
        return float(digits) * (1000 if word.endswith("k") else 1)
    except ValueError:
        return None
