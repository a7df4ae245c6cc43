"""What shoppers say tightens their limits in bounded steps, fades, and is forgotten with them."""

from __future__ import annotations

import pytest
from corner import DAY, NOW, shopper

from recsys.bundle import Bundle
from recsys.engine import Engine, EngineError

WHO = shopper(3)
FAMILIES = {"too_personal": "personal", "too_often": "frequent", "too_pushy": "conversion"}


def complain(engine: Engine, kind: str, times: int, *, at: int = NOW) -> None:
    for _ in range(times):
        engine.feedback(WHO, "item-34", kind, now=at)


@pytest.mark.parametrize(("kind", "family"), FAMILIES.items())
def test_complaints_tighten_one_family_in_bounded_steps(engine: Engine, kind: str, family: str) -> None:
    """Each complaint takes a quarter of the limit, at most three; the other families stay."""
    seen = []
    for _ in range(5):
        seen.append(engine.explain(WHO, "item-34", now=NOW).complaints)
        complain(engine, kind, 1)
    assert [one[family] for one in seen] == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.25])
    assert all(one[other] == 1.0 for one in seen for other in FAMILIES.values() if other != family)


def test_complaints_fade_slowly(engine: Engine) -> None:
    """Half of the tightening is left after seventy days, none after a hundred and forty."""
    complain(engine, "too_often", 2)
    ease = [engine.explain(WHO, "item-34", now=NOW + days * DAY).complaints["frequent"] for days in (0, 70, 140, 400)]
    assert ease == pytest.approx([0.5, 0.75, 1.0, 1.0])


def test_too_often_shows_items_less_often(engine: Engine) -> None:
    """Who said it thrice sees an item once before its cap, not three times."""

    def showings() -> int:
        count = 0
        while count < 9:
            slate = engine.score(WHO, n=40, now=NOW)
            if item not in [s.item_id for s in slate.items]:
                break
            engine.shown(slate)
            count += 1
        return count

    item = engine.score(WHO, n=40, now=NOW, reserve=False).items[0].item_id
    complain(engine, "too_often", 3)
    assert showings() < 3


def test_too_personal_makes_the_limit_smaller(engine: Engine) -> None:
    """The limit of ``too_close`` that ``explain`` tells falls with each complaint."""

    def limit() -> float | None:
        rules = {rule.rule: rule for rule in engine.explain(WHO, "item-34", now=NOW).rules}
        return rules["too_close"].limit

    before = limit()
    complain(engine, "too_personal", 2)
    assert (before, limit()) == (50, 25)


def test_a_dismissed_item_is_gone_and_only_for_them(engine: Engine) -> None:
    """The item is withheld with its reason; another shopper still gets it."""
    item = engine.score(WHO, now=NOW, reserve=False).items[0].item_id
    engine.feedback(WHO, item, "dismiss", now=NOW)
    slate = engine.score(WHO, now=NOW + 1, reserve=False)
    assert item not in [s.item_id for s in slate.items]
    assert slate.withheld["dismissed"] >= 1
    assert "dismissed" in engine.explain(WHO, item, now=NOW + 1).reasons
    assert "dismissed" not in engine.explain(shopper(4), item, now=NOW + 1).reasons


def test_forgetting_takes_the_complaints_along(engine: Engine) -> None:
    """Nothing of what was said is left in the ledger."""
    complain(engine, "too_often", 3)
    engine.forget(WHO, now=NOW)
    assert set(engine.explain(WHO, "item-34", now=NOW).complaints.values()) == {1.0}


@pytest.mark.parametrize(
    ("user", "item", "kind", "told"),
    [
        (WHO, "item-34", "love", "`kind` must be one of"),
        (WHO, None, "dismiss", "`item_id` must name"),
        (WHO, "", "dismiss", "`item_id` must name"),
        (WHO, "item-3 4", "dismiss", "`item_id` 'item-3 4' is not in the catalogue"),
        ("", "item-34", "dismiss", "`user_id` must name"),
        ("\ud800", "item-34", "dismiss", "`user_id` must be Unicode"),
    ],
)
def test_feedback_that_says_nothing_is_refused(
    engine: Engine, user: str, item: str | None, kind: str, told: str
) -> None:
    """One line names what is missing."""
    with pytest.raises(EngineError, match=told):
        engine.feedback(user, item, kind, now=NOW)


@pytest.mark.parametrize("slate", [None, "slate", {"slate_id": "1"}])
def test_only_a_slate_can_have_been_shown(engine: Engine, slate: object) -> None:
    """Anything else is refused in one line, and so is feedback from nowhere."""
    with pytest.raises(EngineError, match="`slate` must be what `score` or `serve` returned"):
        engine.shown(slate)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="`surface` must be a word but got ''"):
        engine.feedback(WHO, "item-34", "dismiss", surface="", now=NOW)


def test_without_a_ledger_feedback_says_so(bundle: Bundle) -> None:
    """It is never taken and lost."""
    with pytest.raises(EngineError, match="no ledger to keep feedback in"):
        Engine(bundle, ledger=None).feedback(WHO, "item-34", "too_often", now=NOW)
