from circuitkit.prompts.columns import by_role
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs


def names(*roles):
    pair = PromptPair([1, 2, 3, 4], [1, 2, 3, 5], [6], roles={n: (0, 1) for n in roles})
    return by_role(tokenize_pairs([pair] * 2)).names


def test_no_two_columns_have_one_name_whatever_a_role_is_called():
    assert names("A") == ("A", "END", "rest")
    assert names("rest") == ("rest", "END", "other rest")
    assert len(set(names("rest", "other rest"))) == 4
