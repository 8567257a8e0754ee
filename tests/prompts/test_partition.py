"""Columns that hold every real position once, whatever roles the prompts have."""

import pytest

from circuitkit.errors import PromptError
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.partition import partition
from circuitkit.prompts.tokenization import tokenize_pairs


def pairs_of(*rows):
    """Make pairs of some lengths with roles."""
    made = []
    for n, roles in rows:
        tokens = list(range(1, n + 1))
        made.append(PromptPair(tokens, [*tokens[:-1], 30], [6], roles=roles))
    return tokenize_pairs(made)


def names_of(columns, pairs, row):
    at = [names_at for names_at in columns.masks[:, row].T.tolist()]
    real = pairs.mask[row].tolist()
    found = [[n for n, is_in in zip(columns.names, own, strict=True) if is_in] for own in at]
    assert all(len(own) == is_real for own, is_real in zip(found, real, strict=True))
    return [own[0] for own in found if own]


def test_every_real_token_is_in_one_column_named_by_the_role_before_it():
    pairs = pairs_of((8, {"A": (2, 4), "B": (5, 6)}), (9, {"A": (1, 2), "B": (6, 8)}))
    columns = partition(pairs, "roles")
    first = ["start+1", "start+2..", "A", "A", "A+1", "B", "B+1", "END"]
    second = ["start+1", "A", "A+1", "A+2..", "A+2..", "A+2..", "B", "B", "END"]
    assert names_of(columns, pairs, 0) == first
    assert names_of(columns, pairs, 1) == second


def test_a_role_that_counts_is_counted_on_and_is_found_again():
    pairs = pairs_of((8, {"A": (1, 2), "A+1": (2, 3)}))
    columns = partition(pairs, "roles")
    expected = ["start+1", "A", "A+1", "A+2", "A+3..", "A+3..", "A+3..", "END"]
    assert names_of(columns, pairs, 0) == expected
    again = partition(pairs, "roles", columns.names)
    assert (again.names, again.masks.tolist()) == (columns.names, columns.masks.tolist())


def test_a_role_that_some_pair_lacks_is_no_column_of_its_own_and_is_missed_where_it_was_one():
    pairs = pairs_of((6, {"A": (1, 2)}), (6, {"A": (1, 2), "B": (3, 4)}))
    assert "B" not in partition(pairs, "roles").names
    having = pairs.select([1])
    names = partition(having, "roles").names
    assert "B" in names
    with pytest.raises(PromptError, match="must have the roles A, B, END, got none of B"):
        partition(pairs, "roles", names)


def test_of_two_roles_that_overlap_the_shorter_has_the_token():
    pairs = pairs_of((6, {"A": (1, 5), "B": (2, 3)}))
    assert names_of(partition(pairs, "roles"), pairs, 0)[1:4] == ["A", "B", "A"]
