"""Messages, rendered by the model's own chat template, with places tracked through it.

    [{"role": "user", "content": "Hi"}]  --template-->  "<bos>[INST] Hi [/INST]"

The template is rendered twice: with a mark in place of each content, which tells the template's
own text from the contents, and with the contents. The second must be the first with the contents
in place of the marks; a template that drops, changes, repeats or reorders them is refused. The
generation prompt is included. Messages that end with one of the assistant are a prefill: the text
ends with its content, as `continue_final_message` has it. What a template writes for today's date
is a fixed one, so that a run of tomorrow reads the same tokens.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os.path import commonprefix
from typing import Any

from transformers import PreTrainedTokenizerBase

from circuitkit.errors import PromptError
from circuitkit.prompts.messages import ASSISTANT, CONTENT, ROLE, USER, require_messages
from circuitkit.prompts.pairs import Message, Span
from circuitkit.work.text import error_text, shown

ASSISTANT_PREFIX = "assistant-prefix"  # what asks the model to speak, as "<|assistant|>\n"
INSTRUCTION_END = "instruction-end"  # the template's text behind the last content of the user
# what a template asks for today's date, as a macro of its own that knows another
DATE = {"d": 26, "m": "07", "b": "Jul", "B": "July", "Y": 2024, "y": 24, "a": "Fri", "A": "Friday"}
DATED = "{%- macro strftime_now(form) -%}{{- form"
DATED += "".join(f" | replace('%{key}', '{value}')" for key, value in DATE.items())
DATED += " -}}{%- endmacro -%}"
LONG = 700  # characters of a text that a message shows


@dataclass(frozen=True)
class RenderedChat:
    """The text that a chat template makes of messages, and which characters of it are what.

    `contents` are the spans of the messages' contents, `roles` those that need no naming: each
    content by who speaks (`user`; earlier ones `user-1`, `user-2`), `instruction-end` and
    `assistant-prefix`.
    """

    text: str
    contents: tuple[Span, ...]
    roles: dict[str, Span]


def render_chat(
    messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase | None
) -> RenderedChat:
    """Return messages as the model reads them.

    Raises:
        PromptError: they are no messages, there is no chat template, it fails, or it does not keep
            every content as it is, in order.
    """
    where = f"prompt {shown(messages)}"
    require_messages(messages, where)
    template = _template_of(tokenizer, where)
    is_prefill = messages[-1][ROLE] == ASSISTANT
    given = [message[CONTENT] for message in messages]
    literals = _literals(messages, lambda some: template(some, not is_prefill), where)
    expected, contents = _joined(literals, given)
    text = template(messages, not is_prefill)
    if text != expected:
        raise PromptError(_changed(where, given, expected, text, literals))
    if is_prefill:
        text = text[: contents[-1][1]]
    asked = messages[:-1] if is_prefill else messages
    before = template(asked, False) if asked else text
    roles = _speakers(messages, contents) | _of_template(messages, contents, text, before)
    return RenderedChat(text, contents, roles)


Template = Callable[[Sequence[Message], bool], str]


def _template_of(tokenizer: PreTrainedTokenizerBase | None, where: str) -> Template:
    """Return what renders messages, given whether to add the generation prompt."""
    if tokenizer is None or not getattr(tokenizer, "chat_template", None):
        has = "no tokenizer" if tokenizer is None else "a tokenizer without a chat template"
        raise PromptError(
            f"{where}: messages need the model's chat template, got {has}. It says how the model "
            "was told who speaks. Give text or token ids, choose a chat model, or set "
            "`tokenizer.chat_template`."
        )

    def rendered(messages: Sequence[Message], asks: bool) -> str:
        plain: Any = [dict(message) for message in messages]
        try:
            text = tokenizer.get_chat_template()
            text = DATED + text if "strftime_now" in text else text
            options: Any = {"tokenize": False, "add_generation_prompt": asks}
            return str(tokenizer.apply_chat_template(plain, chat_template=text, **options))
        except Exception as error:  # a template raises what it likes: TemplateError, TypeError
            said = [message[ROLE] for message in messages]
            raise PromptError(
                f"{where}: the chat template must take messages of {shown(said)}, got "
                f"{error_text(error)}. There is nothing to read. Change who speaks when, as some "
                "models know no system message, or mend the template."
            ) from error

    return rendered


def _literals(
    messages: Sequence[Message], rendered: Callable[[Sequence[Message]], str], where: str
) -> list[str]:
    """Return the template's own text: before each content, and behind the last."""
    marks = [f"\ue000{place}\ue001" for place in range(len(messages))]
    marked = [{ROLE: m[ROLE], CONTENT: mark} for m, mark in zip(messages, marks, strict=True)]
    rest, literals = rendered(marked), []
    counts = [rest.count(mark) for mark in marks]
    for place, mark in enumerate(marks):
        before, found, rest = rest.partition(mark)
        if not found or counts[place] != 1:
            raise PromptError(
                f"{where}: the chat template must write the content of every message once, and in "
                f"order, got that of message {place} ({messages[place][ROLE]}) "
                f"{_how_often(counts[place])}:\n  given    {_both(messages)}\n"
                f"  rendered {shown(rendered(messages), LONG)}\n"
                "The model would read another conversation. Order the messages as the template "
                "does, leave out what it drops, or render the text yourself."
            )
        literals.append(before)
    return [*literals, rest]


def _how_often(count: int) -> str:
    return "out of order" if count == 1 else f"{count} times" if count else "nowhere"


def _both(messages: Sequence[Message]) -> str:
    return shown([message[CONTENT] for message in messages], LONG)


def _joined(literals: Sequence[str], given: Sequence[str]) -> tuple[str, tuple[Span, ...]]:
    """Return the contents between the template's text, and where each stands."""
    text, spans = literals[0], []
    for content, literal in zip(given, literals[1:], strict=True):
        spans.append((len(text), len(text) + len(content)))
        text += content + literal
    return text, tuple(spans)


def _changed(
    where: str, given: Sequence[str], expected: str, text: str, literals: Sequence[str]
) -> str:
    """Return what to say of a template that does not keep the contents as they are."""
    is_white_space = _joined(literals, [content.strip() for content in given])[0] == text
    remedy = (
        "It takes white space off the ends of contents: take it off yourself."
        if is_white_space
        else "Use other words, or render the text yourself."
    )
    return (
        f"{where}: the chat template must keep the contents as they are, got another text:\n"
        f"  given    {shown(expected, LONG)}\n  rendered {shown(text, LONG)}\n"
        f"Roles could not be placed, and the model would read other words. {remedy}"
    )


def _speakers(messages: Sequence[Message], contents: Sequence[Span]) -> dict[str, Span]:
    """Return the contents by who speaks: the last by the name alone, earlier ones numbered."""
    total, seen, roles = Counter(m[ROLE] for m in messages), Counter[str](), {}
    for message, span in zip(messages, contents, strict=True):
        name = message[ROLE]
        seen[name] += 1
        roles[name if seen[name] == total[name] else f"{name}-{seen[name]}"] = span
    return roles


def _of_template(
    messages: Sequence[Message], contents: Sequence[Span], text: str, before: str
) -> dict[str, Span]:
    """Return the spans of the template's own text that have a name.

    `before` is the text of what was said, without asking for more. Where a template writes nothing
    to ask the model to speak, there is no assistant-prefix.
    """
    is_prefill = messages[-1][ROLE] == ASSISTANT
    end = contents[-1][0] if is_prefill else len(text)
    roles: dict[str, Span] = {}
    users = [place for place, message in enumerate(messages) if message[ROLE] == USER]
    if users:
        last = users[-1]
        behind = contents[last + 1][0] if last + 1 < len(messages) else len(text)
        roles[INSTRUCTION_END] = (contents[last][1], behind)
    start = len(commonprefix([before, text]))  # it may end the text where it does not ask
    if start >= contents[-1 - is_prefill][1]:
        roles[ASSISTANT_PREFIX] = (start, end)
    # white space alone belongs to the token of a word next to it
    return {name: span for name, span in roles.items() if text[slice(*span)].strip()}
