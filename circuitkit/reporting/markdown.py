"""The report as Markdown with tables, for a repository or a review; pictures lie next to it."""

import re
from collections.abc import Iterable, Mapping

from circuitkit.interpretation.findings import Card, Interpretation
from circuitkit.interpretation.section import Picture, Section
from circuitkit.interpretation.sections import sections_of
from circuitkit.reporting import content
from circuitkit.reporting.cards import all_edges_table, components_table, role_words
from circuitkit.reporting.pictures import Missing
from circuitkit.reporting.reading import READING
from circuitkit.reporting.sample_texts import Parts, SampleText, sample_texts
from circuitkit.reporting.sections import caption, picture_files, table_text
from circuitkit.reporting.story.sentence import story_of
from circuitkit.reporting.story.verdict import plain_verdict
from circuitkit.reporting.values import NONE, TableText, marked, visible
from circuitkit.study.records import RunRecord

CIRCUIT_FILE, CURVE_FILE, GROUPS_FILE = "circuit.svg", "curve.svg", "groups.svg"
STORY_FILE = "story.svg"
MOST_ANSWERS = 3  # that an example shows


def report_markdown(record: RunRecord, missing: Mapping[str, Missing] | None = None) -> str:
    """Return the whole report; it shows `circuit.svg`, `curve.svg` and each heat map.

    Where one of them is `missing`, by the name of its file, it says why.

    Text of prompts, tokens and names is escaped, so it cannot become markup, a link or HTML.
    """
    sections = (
        _verdict(record),
        _question(record),
        _circuit(record),
        *_findings(record),
        _patching(record),
        _faithfulness(record),
        ["## Top edges", _note("edges"), _table(content.edges_table(record))],
        [
            "## Provenance",
            _note("provenance"),
            _table(content.provenance_table(record)),
            *([_note("choices")] if record.info.choices else []),
            *(f"- {escaped(choice)}" for choice in record.info.choices),
            _fenced(record.info.command) if record.info.command else _note("from_python"),
        ],
    )
    blocks = (block for section in sections for block in section)
    return "\n\n".join(_unless_missing(block, missing or {}) for block in blocks) + "\n"


def _unless_missing(block: str, missing: Mapping[str, Missing]) -> str:
    picture = re.fullmatch(r"!\[.*\]\((.*)\)", block)
    if picture is None or picture[1] not in missing:
        return block
    return f"*{escaped(missing[picture[1]].says)}*"


def escaped(text: str) -> str:
    """Return text that Markdown and HTML show as it is, also in a table cell."""
    shown = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    shown = re.sub(r"([\\`*_{}\[\]|#~!$])", r"\\\1", shown)
    return re.sub(r"(https?|ftp)://", r"\1:&#47;&#47;", " ".join(shown.splitlines()))


def _verdict(record: RunRecord) -> list[str]:
    verdict = record.validation.verdict
    return [
        f"# {escaped(content.title_of(record))}",
        escaped(record.info.description),
        *_story(record),
        f"**{escaped(marked(verdict.outcome))}**",
        *_plain(record),
        "## How sure",
        *(escaped(sentence) for sentence in content.verdict_sentences(record)),
        _table(content.questions_table(record)),
        _note("questions"),
        content.measurements(record),
        "## Checks",
        _note("verdict"),
        _table(content.checks_table(record)),
    ]


def _story(record: RunRecord) -> list[str]:
    """Return what the circuit does, its example and its picture."""
    story = story_of(record)
    blocks = [escaped(story.sentence)]
    if story.example is not None:
        answers = ", ".join(map(escaped, story.example.answers[:MOST_ANSWERS]))
        blocks.append(f"Example: {escaped(story.example.text)} → {answers}")
    if story.ask:
        blocks += ["To find out:", _fenced(story.ask)]
    return [*blocks, f"![What the parts do]({STORY_FILE})"]


def _plain(record: RunRecord) -> list[str]:
    """Return the verdict in plain words, its strongest caveat and what would change it."""
    plain = plain_verdict(record)
    blocks = [escaped(plain.says)]
    blocks += [f"But: {escaped(plain.caveat)}"] if plain.caveat else []
    blocks.append(f"What would change this: {escaped(plain.change)}")
    for step in plain.steps:
        blocks.append(f"Next: {escaped(step.says)}")
        blocks += [_fenced(step.command)] if step.command else []
    return blocks


def _question(record: RunRecord) -> list[str]:
    blocks = [
        "## What was asked",
        _note("question"),
        _table(content.question_table(record)),
        "### Baseline: can the model do it?",
        _table(content.baseline_table(record)),
    ]
    samples = sample_texts(record)
    if samples:
        blocks += ["### Sample pairs", _note("samples")]
    for number, sample in enumerate(samples, start=1):
        blocks += [f"Pair {number}:", _sample(sample, record.info.unit)]
    return blocks


def _sample(sample: SampleText, unit: str) -> str:
    top = ", ".join(f"{escaped(token)} {share}" for token, share in sample.top)
    rows = (
        ("clean", _prompt(sample.clean)),
        ("corrupted", _prompt(sample.corrupted)),
        ("answers", escaped(", ".join(sample.answers))),
        ("wrong answers", escaped(", ".join(sample.wrong_answers)) or NONE),
        ("model says", top),
        ("metric", f"{sample.metric} {escaped(unit)}"),
    )
    return "\n".join(f"- {name}: {text}" for name, text in rows)


def _prompt(parts: Parts) -> str:
    """Return a prompt with its differing parts in <ins>: bold needs spaces where there are none."""
    return "".join(f"<ins>{escaped(t)}</ins>" if differs else escaped(t) for t, differs in parts)


def _circuit(record: RunRecord) -> list[str]:
    return [
        "## The circuit",
        _note("circuit"),
        _table(content.counts_table(record)),
        f"Components: {escaped(content.component_list(record))}",
        f"![The circuit: {escaped(content.caption_of(record))}]({CIRCUIT_FILE})",
    ]


def _findings(record: RunRecord) -> list[list[str]]:
    """Return what is said of the parts; without an interpretation, the edges and components."""
    tables = [_table(components_table(record)), _table(all_edges_table(record))]
    found = record.interpretation
    if found is None:
        return [["## Components and edges", *tables]]
    every = sections_of(found)
    files = picture_files(every)
    sections = [
        ["## Components and edges", _note("cards"), *tables],
        ["## What each component does", _table(_cards_table(found))],
        *(_section(section, files) for section in every),
    ]
    if found.notes:
        sections.append(["## Notes", _list(found.notes)])
    return sections


def _cards_table(found: Interpretation) -> TableText:
    rows = tuple(
        (
            card.component,
            card.group or NONE,
            role_words(card),
            card.summary,
            _tokens(card),
            ", ".join(card.backups) or NONE,
        )
        for card in found.cards
    )
    headers = ("component", "group", "roles", "in words", "raises", "backed up by")
    return TableText(headers, rows, code=frozenset({"component"}))


def _tokens(card: Card) -> str:
    return ", ".join(visible(each.token) for each in card.promotes) or NONE


def _section(section: Section, files: Mapping[str, Picture]) -> list[str]:
    """Return any finding; pictures are shown by the names of their files."""
    blocks = [f"## {escaped(section.title)}", f"*{escaped(section.reading)}*"]
    blocks += map(escaped, section.sentences)
    for picture in section.pictures:
        file = next(name for name, each in files.items() if each is picture)
        blocks.append(f"![{escaped(caption(picture))}]({file})")
        blocks += [escaped(picture.says)] if picture.says else []
    for table in section.tables:
        blocks += [f"### {escaped(table.title)}"] if table.title else []
        blocks.append(_table(table_text(table)))
    return [*blocks, _list(section.notes)] if section.notes else blocks


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {escaped(item)}" for item in items)


def _patching(record: RunRecord) -> list[str]:
    blocks = ["## Exact effects of patching", _note("patching")]
    files = content.heat_map_files(record.heat_maps)
    for heat_map, file in zip(record.heat_maps, files, strict=True):
        words = f"{heat_map.name}: {heat_map.description}, {heat_map.direction}"
        blocks.append(f"![{escaped(words)}]({file})")
    return blocks if files else [*blocks, "No patching sweep was run."]


def _faithfulness(record: RunRecord) -> list[str]:
    return [
        "## Faithfulness",
        _note("faithfulness"),
        f"![Faithfulness over the number of edges]({CURVE_FILE})",
        _table(content.curve_table(record)),
        "### The same circuit under each ablation",
        _note("ablations"),
        _table(content.ablations_table(record)),
    ]


def _note(section: str) -> str:
    return f"*{escaped(READING[section])}*"


def _table(table: TableText) -> str:
    """Return a table; numbers are aligned right, names set as code."""
    rule = ["---:" if header in table.numeric else "---" for header in table.headers]
    lines = [_row(map(escaped, table.headers)), _row(rule)]
    for cells in table.rows:
        named = zip(table.headers, cells, strict=True)
        lines.append(_row(_code(c) if h in table.code else escaped(c) for h, c in named))
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _code(name: str) -> str:
    """Return a name as code; one that code cannot hold in a table, as text."""
    return escaped(name) if set(name) & set("`|\r\n") or not name else f"`{name}`"


def _fenced(code: str) -> str:
    """Return code in a fence that is longer than any inside it."""
    longest = max((len(run) for run in re.findall("`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{code}\n{fence}"
