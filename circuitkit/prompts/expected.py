"""What is expected of one pair: where its answers are read, and their token ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from circuitkit.errors import AnswerError, PromptError
from circuitkit.prompts.answers import Entry
from circuitkit.prompts.batch import Labels
from circuitkit.prompts.encoding import answer_ids, pieces, shown
from circuitkit.prompts.pairs import ANSWERS, Answer, PromptPair, Span

FIELDS = {"answers": False, "wrong_answers": True}  # and whether its answers are wrong


@dataclass(frozen=True)
class Expected:
    """The places of a prompt at which answers are read, by token, and the answers of each."""

    places: list[int]
    entries: list[Entry]

    @property
    def is_plain(self) -> bool:
        """Whether there is one place, and every answer is one token."""
        return len(self.places) == 1 and all(len(entry.ids) == 1 for entry in self.entries)

    @property
    def right(self) -> list[int] | list[tuple[int, ...]]:
        """The right answers, which pairs of one cluster have in common: ids, or place and ids."""
        if self.is_plain:
            return self.first_ids(is_wrong=False)
        return [(e.place, *e.ids) for e in self.entries if not e.is_wrong]

    def first_ids(self, *, is_wrong: bool) -> list[int]:
        """Return the first token of each answer at the first place, once each."""
        own = (e for e in self.entries if e.place == 0 and e.is_wrong == is_wrong)
        return list(dict.fromkeys(entry.ids[0] for entry in own))

    def with_answers_of(self, other: "Expected") -> "Expected":
        """Return these places with the answers of another prompt.

        Raises:
            PromptError: it has another number of places.
        """
        if len(self.places) != len(other.places):
            raise PromptError(
                f"answers: to be exchanged, all pairs must have equally many places, got "
                f"{len(self.places)} and {len(other.places)}. Each answer needs a place. Give all "
                "pairs the same roles in `answer_after`."
            )
        return Expected(self.places, other.entries)


def expected_from(labels: Labels, row: int, columns: Sequence[int]) -> Expected:
    """Return what is expected of a pair whose answers are spelled, given its labelled columns."""
    assert labels.spelled is not None, "there are answers of several tokens or places"
    answers, tensors = [], (x[row].tolist() for x in labels.spelled.tensors)
    for ids, _, is_wrong, place in zip(*tensors, strict=True):
        own = tuple(token for token in ids if token >= 0)
        answers += [Entry(own, is_wrong, place)] if own else []
    n_places = 1 + max(entry.place for entry in answers)
    return Expected(list(columns[:n_places]), answers)


def expected_of(
    pair: PromptPair,
    roles: Mapping[str, Span],
    tokenizer: PreTrainedTokenizerBase | None,
    known: dict[str, tuple[int, ...]],
) -> Expected:
    """Return what is expected of a pair, given its roles as spans of tokens.

    `known` keeps the ids of answers from pair to pair.

    Raises:
        PromptError: `answer_after` names no role, or the answers are of the wrong kind.
        AnswerError: there is none, one is unknown, wrong as well, or begins as another one does.
    """
    names = [pair.answer_after] if isinstance(pair.answer_after, str) else pair.answer_after
    places = _places(pair, names, roles)
    several = not isinstance(pair.answer_after, str)
    by_place: list[list[Entry]] = [[] for _ in places]
    for field, is_wrong in FIELDS.items():
        for place, answers in enumerate(_by_place(pair, field, len(places), several)):
            if not (answers or is_wrong):
                raise AnswerError(
                    f"prompt {shown(pair.clean)}: needs at least one answer, got none. "
                    "Metrics compare answers. Fill `answers`."
                )
            ids = [_ids_of(answer, tokenizer, known) for answer in answers]
            _require_different(pair, field, ids, tokenizer)
            by_place[place] += [Entry(each, is_wrong, place) for each in ids]
    for entries in by_place:
        _require_apart(pair, entries, tokenizer)
    return Expected(places, [entry for entries in by_place for entry in entries])


def _places(pair: PromptPair, names: object, roles: Mapping[str, Span]) -> list[int]:
    """Return the last token of each role in `answer_after`."""
    where = f"prompt {shown(pair.clean)}"
    if ANSWERS in roles:
        raise PromptError(
            f"{where}: no role may be called {ANSWERS!r}. The tokens of answers behind a prompt "
            "are called so. Give the span another name."
        )
    if not isinstance(names, Sequence) or not names or not all(isinstance(n, str) for n in names):
        raise PromptError(
            f"{where}: answer_after must be a role, or a list of some, got {shown(names)}. The "
            "answer is read after it. Name a span of roles."
        )
    for name in names:
        if name not in roles:
            raise PromptError(
                f"{where}: answer_after must be a role, got {name!r} among {sorted(roles)}. The "
                "answer is read after it. Name the span in roles."
            )
    places = [roles[name][1] - 1 for name in names]
    if len(set(places)) < len(places):
        raise PromptError(
            f"{where}: the roles in answer_after must end at different tokens, got {shown(names)} "
            f"at the tokens {places}. A place would count twice. Take one out."
        )
    return places


def _by_place(pair: PromptPair, field: str, n_places: int, several: bool) -> list[Sequence[Answer]]:
    """Return the answers of one field, place by place."""
    value = getattr(pair, field)
    if not _is_list(value) or (several and not all(map(_is_list, value))):
        kind = "a sequence for each role in answer_after" if several else "a sequence"
        raise PromptError(
            f"prompt {shown(pair.clean)}: {field} must be {kind}, got {shown(value)}. It could "
            "not be read. Correct the pair."
        )
    if not several:
        return [value]
    if field == "wrong_answers" and not value:
        return [()] * n_places
    if len(value) != n_places:
        raise PromptError(
            f"prompt {shown(pair.clean)}: {field} must hold a sequence for each of the {n_places} "
            f"roles in answer_after, got {len(value)}. Answers are read after each. Correct the "
            "pair."
        )
    return list(value)


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _ids_of(
    answer: Answer,
    tokenizer: PreTrainedTokenizerBase | None,
    known: dict[str, tuple[int, ...]],
) -> tuple[int, ...]:
    if not isinstance(answer, str):
        return answer_ids(answer, tokenizer)
    if answer not in known:
        known[answer] = answer_ids(answer, tokenizer)
    return known[answer]


def _require_different(
    pair: PromptPair,
    field: str,
    answers: Sequence[tuple[int, ...]],
    tokenizer: PreTrainedTokenizerBase | None,
) -> None:
    if len(set(answers)) < len(answers):
        raise AnswerError(
            f"prompt {shown(pair.clean)}: {field} must differ, got "
            f"{_texts(answers, tokenizer)}. One of them would count twice. Take it out."
        )


def _require_apart(
    pair: PromptPair, entries: Sequence[Entry], tokenizer: PreTrainedTokenizerBase | None
) -> None:
    """Refuse answers that are right and wrong, or begin another: both would count the same text."""
    right = {entry.ids for entry in entries if not entry.is_wrong}
    both = sorted(entry.ids for entry in entries if entry.is_wrong and entry.ids in right)
    if both:
        raise AnswerError(
            f"prompt {shown(pair.clean)}: no answer may be a wrong answer too, got "
            f"{_texts(both, tokenizer)} in both. It would count for and against itself. "
            "Take it out of one of them."
        )
    known = {entry.ids for entry in entries}
    for ids in sorted(known):
        for end in range(1, len(ids)):
            if ids[:end] in known:
                raise AnswerError(
                    f"prompt {shown(pair.clean)}: no answer may begin with another one, got "
                    f"{_texts([ids[:end], ids], tokenizer)}. Who gives the longer one has given "
                    "the shorter one too. Take one out, or add what follows the shorter one."
                )


def _texts(answers: Sequence[tuple[int, ...]], tokenizer: PreTrainedTokenizerBase | None) -> str:
    """Return answers as a message shows them; those of one token as that token."""
    parts = [pieces(ids, tokenizer) for ids in answers]
    return shown([part[0] if len(part) == 1 else "".join(part) for part in parts])
