"""The shop that data/README.md tells of by example can be read, fitted and scored as it stands there."""

import re
from pathlib import Path

import pytest
from rich.console import Console

from boundary import Taxonomy
from recsys.cli import main
from recsys.shop import read_shop

CARD = Path(__file__).resolve().parents[2] / "data" / "README.md"


def test_the_example_of_a_shop_can_be_used_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No row is rejected, its taxonomy marks the test alone, and its two commands run."""
    text = CARD.read_text(encoding="utf-8").partition("## Your own shop")[2].partition("## Complete Journey")[0]
    shop = tmp_path / "my_shop"
    shop.mkdir()
    found = re.findall(r"`(\w+\.(?:csv|toml))`[^`]*(?:`[^`\n]*`[^`]*)*?\n\n```(?:csv|toml)\n(.*?)```", text, re.DOTALL)
    assert [name for name, _ in found] == ["events.csv", "catalogue.csv", "customers.csv", "taxonomy.toml"]
    for name, body in found:
        (shop / name).write_text(body, encoding="utf-8")
    tables = read_shop(shop, rejects=tmp_path / "rejects", console=Console(quiet=True))
    assert tables.customers is not None
    assert (len(tables.events), len(tables.catalogue), len(tables.customers)) == (3, 4, 2)
    bits = Taxonomy.load(shop / "taxonomy.toml").family_bits(tables.catalogue)
    assert dict(zip(tables.catalogue["item_id"], bits.tolist(), strict=True))["test-3"] == 1
    assert bits.sum() == 1
    commands = re.findall(r"^cornerstore (.*)$", text, re.MULTILINE)
    assert len(commands) == 2
    monkeypatch.chdir(tmp_path)
    for words in commands:
        monkeypatch.setattr("sys.argv", ["cornerstore", *words.split()])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code, capsys.readouterr()
