"""Does the quick attacker find what is planted, and nothing where nothing is?"""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from experiments.light_attack import LightAttacker, auc_within

USERS, ITEMS = 600, 40


def planted():
    random = np.random.default_rng(0)
    member = random.random(USERS) < 0.4
    history = (random.random((USERS, ITEMS)) < 0.2).astype(np.float32)
    history[:, :4] = random.random((USERS, 4)) < np.where(member, 0.7, 0.1)[:, None]
    return member[:, None], random.random(USERS), csr_matrix(history), random


def lists_of(table):
    rows = csr_matrix(table)
    return rows.indptr.astype(np.int64), rows.indices.astype(np.int32)


def test_the_history_itself_leaks_whole():
    """Who shows the history tells all that it tells."""
    member, activity, history, _ = planted()
    attacker = LightAttacker(member, activity, history)
    leak = attacker.leak_remaining(*lists_of(history), items=ITEMS)
    assert leak == {0: 1.0}


def test_one_list_for_everybody_leaks_nothing():
    """There is nothing to tell people apart by."""
    member, activity, history, _ = planted()
    same = np.tile(np.arange(ITEMS) < 10, (USERS, 1)).astype(np.float32)
    leak = LightAttacker(member, activity, history).leak_remaining(*lists_of(same), items=ITEMS)
    assert leak[0] < 0.1


def test_random_lists_leak_little_and_telling_ones_much():
    """The order of policies is what the quick attacker is for."""
    member, activity, history, random = planted()
    attacker = LightAttacker(member, activity, history)
    chance = (random.random((USERS, ITEMS)) < 0.2).astype(np.float32)
    some = chance.copy()
    some[:, :2] = history.toarray()[:, :2]
    noise, part = (attacker.leak_remaining(*lists_of(table), items=ITEMS)[0] for table in (chance, some))
    assert noise < 0.2 < part < 1.0


def test_a_family_with_too_few_members_is_not_judged():
    """Neither are those of which the history tells nothing."""
    member, activity, history, random = planted()
    rare = np.zeros(USERS, bool)
    rare[:10] = True
    both = np.stack([member[:, 0], rare, random.random(USERS) < 0.4], axis=1)
    attacker = LightAttacker(both, activity, history, fewest=40, room=0.1)
    assert list(attacker.leak_remaining(*lists_of(history), items=ITEMS)) == [0]


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 2)), min_size=1, max_size=30))
def test_pairs_are_counted_as_one_would_by_hand(rows):
    """The share of ordered pairs within a stratum, ties a half."""
    score, member, stratum = (np.array(column) for column in zip(*rows, strict=True))
    won = pairs = 0.0
    for one in range(len(rows)):
        for other in range(len(rows)):
            if stratum[one] == stratum[other] and member[one] and not member[other]:
                pairs += 1
                won += 1.0 if score[one] > score[other] else 0.5 * (score[one] == score[other])
    found = auc_within(score.astype(float), member, stratum)
    assert np.isnan(found) if not pairs else abs(found - won / pairs) < 1e-12
