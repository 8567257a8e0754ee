"""What `dictionary` does: reads dictionaries, tries them, and shows a card of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circuitkit.cli.actions.requests import request_of
from circuitkit.cli.dictionary import TriedOn, Where
from circuitkit.cli.loading import EXIT_BAD_INPUT
from circuitkit.cli.options import Machine, ShownAtOnce
from circuitkit.cli.terminal import NOTES, alarming, show_json, show_table
from circuitkit.dictionaries.dictionary import Dictionary
from circuitkit.dictionaries.transcoder_sets import TranscoderSet
from circuitkit.dictionaries.trial import Trial, try_dictionary
from circuitkit.errors import DictionaryError
from circuitkit.study.subject import Subject, subject_of
from circuitkit.zoo.dictionaries import load_dictionaries

PAGE = "https://www.neuronpedia.org/"


@dataclass(frozen=True)
class Card:
    """A dictionary, and how it did or why it could not be tried."""

    dictionary: Dictionary
    trial: Trial | None = None
    refused: str = ""

    @property
    def link(self) -> str:
        """The page of its features, if its file names one."""
        link = self.dictionary.link
        return link if not link or link.startswith("http") else PAGE + link

    def facts(self) -> dict[str, Any]:
        """Return what is said of it, for scripts."""
        own, place = self.dictionary, self.dictionary.place
        return {
            "name": own.name,
            "kind": own.kind,
            "features": own.n_features,
            "d_in": own.d_in,
            "d_out": own.d_out,
            "layer": place.layer,
            "reads": place.reads,
            "writes": place.writes,
            "hook": place.hook,
            "link": self.link,
            "digest": own.digest,
            "trial": self.trial and self.trial.as_dict(),
            "refused": self.refused,
        }

    @property
    def place(self) -> str:
        """Where it was tried, or stands by its file."""
        at = self.trial or self.dictionary.place
        if at.layer is None or not at.reads:
            return self.dictionary.place.hook or "not said"
        way = at.reads if at.reads == at.writes else f"{at.reads} to {at.writes}"
        return f"layer {at.layer}, {way}"


def show_dictionaries(
    path: Path, on: TriedOn, where: Where, machine: Machine, shown: ShownAtOnce
) -> int:
    """Show what is in a file or folder; 2 if a trial was asked for and none came off."""
    found = load_dictionaries(path)
    each = found.transcoders if isinstance(found, TranscoderSet) else found
    _require_one_layer(len(each), where)
    is_asked = bool(on.task) or on.prompts is not None
    if is_asked:
        subject = subject_of(request_of(on, machine))
        cards = [_tried(one, subject, where) for one in each]
    else:
        cards = [Card(one) for one in each]
    if shown.as_json:
        show_json([card.facts() for card in cards])
    else:
        _show(cards, path)
    return EXIT_BAD_INPUT if is_asked and all(card.refused for card in cards) else 0


def _require_one_layer(n: int, where: Where) -> None:
    if n > 1 and where.layer is not None:
        raise DictionaryError(
            f"--layer: must be said of one dictionary, got {where.layer} for {n}. They cannot all "
            "stand there. Name the folder of one."
        )


def _tried(dictionary: Dictionary, subject: Subject, where: Where) -> Card:
    try:
        trial = try_dictionary(
            dictionary,
            subject.model,
            subject.splits.discovery,
            layer=where.layer,
            site=where.site.replace("-", " "),
            with_bos=where.with_bos,
        )
    except DictionaryError as error:
        return Card(dictionary, refused=str(error))
    return Card(dictionary, trial)


def _show(cards: Sequence[Card], path: Path) -> None:
    if len(cards) == 1:
        show_table(cards[0].dictionary.name or str(path), ("what", "value"), _rows(cards[0]))
    else:
        rows = [_row(card) for card in cards]
        header = list(dict.fromkeys(name for row in rows for name in row))
        show_table(str(path), header, [[row.get(name, "") for name in header] for row in rows])
    for refused in dict.fromkeys(card.refused for card in cards if card.refused):
        NOTES.print(alarming("Not tried", refused), soft_wrap=True)


def _rows(card: Card) -> list[tuple[str, str]]:
    own, trial = card.dictionary, card.trial
    rows = [
        ("kind", own.kind),
        ("features", f"{own.n_features:,}"),
        ("widths", f"reads {own.d_in:,}, writes {own.d_out:,}"),
        ("place", card.place),
        ("digest", own.digest),
    ]
    if card.link:
        rows.append(("page", card.link))
    if trial is None:
        return rows
    left_out = f", {trial.n_bos} that begin a sequence left out" if trial.n_bos else ""
    return [
        *rows,
        ("model", trial.model),
        ("tokens", f"{trial.n_tokens:,} of {trial.n_prompts} prompts{left_out}"),
        *_scores(trial).items(),
        ("loss at the answer", f"{trial.loss:.3f} nats"),
        ("with the reconstruction", f"{trial.loss_with_reconstruction:.3f} nats"),
        ("with zeros", f"{trial.loss_with_zero:.3f} nats"),
    ]


def _row(card: Card) -> dict[str, str]:
    own = card.dictionary
    said = {"place": card.place, "kind": own.kind, "features": f"{own.n_features:,}"}
    return said | (_scores(card.trial) if card.trial else {})


def _scores(trial: Trial) -> dict[str, str]:
    recovered = trial.loss_recovered
    return {
        "explained variance": f"{trial.explained_variance:.3f}",
        "L0": f"{trial.l0:.1f}",
        "dead on these tokens": f"{trial.dead_share:.1%}",
        "loss recovered": "zeros do no harm" if recovered is None else f"{recovered:.3f}",
    }
