"""One small invented shop for all rooms of the laboratory, fitted once."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from rich.console import Console

from boundary.policy import Policy
from boundary.taxonomy import Taxonomy
from data.synthetic import TAXONOMY, make_shop
from experiments.space import Space
from recsys.bundle import Bundle
from recsys.interactions import Weighing
from recsys.shop import Choice, Shop, fit_shop, latest, read_shop


@dataclass(frozen=True)
class Lab:
    """A shop, how it is fitted, and the fitted bundle."""

    shop: Shop
    taxonomy: Taxonomy
    policy: Policy
    choice: Choice
    space: Space
    bundle: Bundle
    folder: Path


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("lab")
    make_shop(folder / "shop", users=600, items=250, events=40_000, seed=3)
    shop = read_shop(folder / "shop", rejects=folder / "rejects", console=Console(quiet=True))
    taxonomy, policy = Taxonomy.load(TAXONOMY), Policy.named("default")
    weighing = Weighing({"purchase": 1.0, "cart": 1.0, "view": 0.3})
    choice = Choice("als", {"factors": 8, "iterations": 3}, weighing, 7)
    bundle = fit_shop(shop, taxonomy=taxonomy, policy=policy, choice=choice, now=latest(shop.events))
    bundle.save(folder / "bundle")
    space = replace(Space.load(), fewest=10, room=0.0, round_users=40, rounds=2, n=8)
    return Lab(shop, taxonomy, policy, choice, space, Bundle.load(folder / "bundle"), folder / "bundle")
