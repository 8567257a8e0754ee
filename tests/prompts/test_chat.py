"""Messages, rendered by the chat templates of many families, and the roles in them."""

from pathlib import Path

import pytest
from tokenizers import AddedToken

from circuitkit.errors import PromptError
from circuitkit.prompts.chat import render_chat
from circuitkit.prompts.columns import by_role, own_places
from circuitkit.prompts.encoding import encode
from circuitkit.prompts.messages import fill_chat
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.spans import token_roles
from circuitkit.prompts.tokenization import tokenize_pairs

from .tokenizers import fast_bytes, slow_bytes

TEMPLATES = Path(__file__).parents[1] / "data" / "chat"
LLAMA_3 = ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"]
GEMMA = ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"]
CHATML = [None, "<|im_end|>", "<|im_start|>"]
# of each family: the BOS, the end of a turn, and further special tokens
SPECIAL = {
    "llama-2": ["<s>", "</s>"],
    "llama-3": LLAMA_3,
    "llama-3.1": LLAMA_3,
    "gemma": GEMMA,
    "gemma-3": GEMMA,
    "mistral-v1": ["<s>", "</s>"],
    "mistral-v3": ["<s>", "</s>", "[INST]", "[/INST]"],
    "qwen-2": CHATML,
    "qwen-3": CHATML,
    "phi-3": ["<s>", "<|endoftext|>", "<|end|>", "<|user|>", "<|system|>", "<|assistant|>"],
    "zephyr": ["<s>", "</s>"],
    "deepseek": [
        "<｜begin▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        "<｜User｜>",
        "<｜Assistant｜>",
    ],
    "command-r": [
        "<BOS_TOKEN>",
        "<|END_OF_TURN_TOKEN|>",
        "<|START_OF_TURN_TOKEN|>",
        "<|SYSTEM_TOKEN|>",
        "<|USER_TOKEN|>",
        "<|CHATBOT_TOKEN|>",
    ],
}


def chat_tokenizer(family, make=fast_bytes):
    tokenizer = make()
    tokens = [
        token and AddedToken(token, special=True, normalized=False) for token in SPECIAL[family]
    ]
    named = {"bos_token": tokens[0], "eos_token": tokens[1], "extra_special_tokens": tokens[2:]}
    tokenizer.add_special_tokens({name: token for name, token in named.items() if token})
    tokenizer.bos_token = SPECIAL[family][0]
    tokenizer.chat_template = (TEMPLATES / f"{family}.jinja").read_text().rstrip("\n")
    return tokenizer


@pytest.fixture(scope="module")
def tokenizers():
    return {family: chat_tokenizer(family) for family in SPECIAL}


def said(*contents, system=None):
    first = [] if system is None else [{"role": "system", "content": system}]
    speakers = ["user", "assistant"] * len(contents)
    return first + [
        {"role": who, "content": content} for who, content in zip(speakers, contents, strict=False)
    ]


# what the model reads for a user who says `user`, which is in some templates a word of their own
ASKED = {
    "llama-2": "<s>[INST] user [/INST]",
    "llama-3": "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nuser<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "gemma": "<bos><start_of_turn>user\nuser<end_of_turn>\n<start_of_turn>model\n",
    "mistral-v1": "<s>[INST] user [/INST]",
    "mistral-v3": "<s>[INST] user[/INST]",
    "qwen-2": "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\nuser<|im_end|>\n<|im_start|>assistant\n",
    "qwen-3": "<|im_start|>user\nuser<|im_end|>\n<|im_start|>assistant\n",
    "phi-3": "<|user|>\nuser<|end|>\n<|assistant|>\n",
    "zephyr": "<|user|>\nuser</s>\n<|assistant|>\n",
    "deepseek": "<｜begin▁of▁sentence｜><｜User｜>user<｜Assistant｜>",
    "command-r": "<BOS_TOKEN><|START_OF_TURN_TOKEN|><|USER_TOKEN|>user<|END_OF_TURN_TOKEN|>"
    "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
}
# of the same: where the user's word stands, the text behind it, and what of it asks for an answer
BEHIND = {
    "llama-2": (" [/INST]", None),
    "llama-3": (
        "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "gemma": ("<end_of_turn>\n<start_of_turn>model\n", "<start_of_turn>model\n"),
    "mistral-v1": (" [/INST]", None),
    "mistral-v3": ("[/INST]", None),
    "qwen-2": ("<|im_end|>\n<|im_start|>assistant\n", "<|im_start|>assistant\n"),
    "qwen-3": ("<|im_end|>\n<|im_start|>assistant\n", "<|im_start|>assistant\n"),
    "phi-3": ("<|end|>\n<|assistant|>\n", "<|assistant|>\n"),
    "zephyr": ("</s>\n<|assistant|>\n", "<|assistant|>\n"),
    "deepseek": ("<｜Assistant｜>", "<｜Assistant｜>"),
    "command-r": (
        "<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
    ),
}
PREFILLED = {
    "llama-2": "<s>[INST] Hi [/INST] user",
    "llama-3": "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nuser",
    "gemma": "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nuser",
    "mistral-v1": "<s>[INST] Hi [/INST]user",
    "mistral-v3": "<s>[INST] Hi[/INST] user",
    "qwen-3": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nuser",
    "phi-3": "<|user|>\nHi<|end|>\n<|assistant|>\nuser",
    "zephyr": "<|user|>\nHi</s>\n<|assistant|>\nuser",
    "deepseek": "<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜>user",
    "command-r": "<BOS_TOKEN><|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hi<|END_OF_TURN_TOKEN|>"
    "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>user",
}
INSTRUCTED = {
    "llama-2": "<s>[INST] <<SYS>>\nBe brief\n<</SYS>>\n\nHi [/INST]",
    "gemma-3": "<bos><start_of_turn>user\nBe brief\n\nHi<end_of_turn>\n<start_of_turn>model\n",
    "mistral-v3": "<s>[INST] Be brief\n\nHi[/INST]",
    "qwen-2": "<|im_start|>system\nBe brief<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    "<|im_start|>assistant\n",
    "phi-3": "<|system|>\nBe brief<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\n",
    "deepseek": "<｜begin▁of▁sentence｜>Be brief<｜User｜>Hi<｜Assistant｜>",
}


def pieces_of(chat):
    return {name: chat.text[slice(*span)] for name, span in chat.roles.items()}


def words_of(messages, tokenizer):
    """Return what stands at the tokens of each role."""
    encoded = encode(messages, tokenizer, "auto")
    roles = token_roles(messages, {}, encoded)
    return {name: tokenizer.decode(encoded.ids[s:e]) for name, (s, e) in roles.items()}


@pytest.mark.parametrize("family", ASKED)
def test_a_question_is_rendered_with_its_generation_prompt_and_every_role_is_found(
    tokenizers, family
):
    chat = render_chat(said("user"), tokenizers[family])
    assert chat.text == ASKED[family]
    behind, prefix = BEHIND[family]
    found = words_of(said("user"), tokenizers[family])
    assert found.pop("assistant-prefix", None) == prefix
    assert found == {"user": "user", "instruction-end": behind}
    # the content, not the template's own word before it
    assert chat.roles["user"] == (len(chat.text) - len(behind) - 4, len(chat.text) - len(behind))


@pytest.mark.parametrize("family", PREFILLED)
def test_a_last_message_of_the_assistant_is_continued(tokenizers, family):
    tokenizer = tokenizers[family]
    chat = render_chat(said("Hi", "user"), tokenizer)
    assert chat.text == PREFILLED[family]
    assert chat.text == tokenizer.apply_chat_template(
        said("Hi", "user"), tokenize=False, continue_final_message=True
    )
    assert chat.roles["assistant"] == (len(chat.text) - 4, len(chat.text))
    found = words_of(said("Hi", "user"), tokenizer)
    expected = BEHIND[family][1]
    if family == "qwen-3":  # which writes an empty thought
        expected += "<think>\n\n</think>\n\n"
    assert found.get("assistant-prefix") == expected
    assert "Hi" + found["instruction-end"] + "user" in chat.text


@pytest.mark.parametrize("family", INSTRUCTED)
def test_a_system_message_is_a_role_wherever_the_template_puts_it(tokenizers, family):
    chat = render_chat(said("Hi", system="Be brief"), tokenizers[family])
    assert chat.text == INSTRUCTED[family]
    assert pieces_of(chat)["system"] == "Be brief"
    assert pieces_of(chat)["user"] == "Hi"


@pytest.mark.parametrize("family", SPECIAL)
def test_the_tokens_are_those_of_the_tokenizer_itself_and_hold_one_bos_at_most(tokenizers, family):
    tokenizer, messages = tokenizers[family], said("Hi", "Yes?", "Where is it?")
    chat = render_chat(messages, tokenizer)
    own = tokenizer(chat.text, add_special_tokens=False)["input_ids"]
    found = encode(messages, tokenizer, "auto")
    assert found.ids == own
    if family != "llama-3.1":  # which writes the date of today
        asked = {"tokenize": True, "add_generation_prompt": True, "return_dict": False}
        assert found.ids == tokenizer.apply_chat_template(messages, **asked)
    if tokenizer.bos_token_id is not None:
        n_bos = 2 if family in ("llama-2",) else 0 if family in ("phi-3", "zephyr") else 1
        assert found.ids.count(tokenizer.bos_token_id) == n_bos
        assert found.ids[:2].count(tokenizer.bos_token_id) <= 1
    assert found.bos == ("none" if family in ("phi-3", "zephyr", "qwen-2", "qwen-3") else "present")


def test_always_adds_the_bos_that_a_template_leaves_out_and_no_second_one(tokenizers):
    for family, starts in (("zephyr", "added"), ("llama-3", "present")):
        found = encode(said("Hi"), tokenizers[family], "always")
        assert found.bos == starts
        assert found.ids.count(tokenizers[family].bos_token_id) == 1
        assert found.ids[0] == tokenizers[family].bos_token_id


def test_earlier_turns_have_numbers_and_the_last_has_the_name_alone(tokenizers):
    chat = render_chat(said("one", "two", "three"), tokenizers["llama-3"])
    found = pieces_of(chat)
    assert (found["user-1"], found["assistant"], found["user"]) == ("one", "two", "three")
    assert list(chat.contents) == [chat.roles[name] for name in ("user-1", "assistant", "user")]


def test_a_template_that_writes_another_text_where_it_does_not_ask_has_no_assistant_prefix():
    tokenizer = fast_bytes()
    tokenizer.chat_template = (
        "{% if add_generation_prompt %}Q: {% endif %}{{ messages[0].content }}"
    )
    chat = render_chat(said("Hi"), tokenizer)
    assert (chat.text, chat.roles) == ("Q: Hi", {"user": (3, 5)})


def test_a_date_that_a_template_writes_is_not_that_of_today(tokenizers):
    text = render_chat(said("Hi", system="Be brief"), tokenizers["llama-3.1"]).text
    assert "Today Date: 26 Jul 2024\n\nBe brief<|eot_id|>" in text


# --- roles of pairs


def asking(city="Paris", other="Turin", **changes):
    messages = said("Where is {city}?", system="Name the country")
    clean, roles = fill_chat(messages, city=city)
    settings = {"answers": ["F"], "roles": roles} | changes
    return PromptPair(clean, fill_chat(messages, city=other)[0], **settings)


@pytest.mark.parametrize("family", ["llama-2", "llama-3", "deepseek", "qwen-3", "command-r"])
def test_a_span_of_a_content_becomes_the_tokens_that_hold_it(tokenizers, family):
    tokenizer = tokenizers[family]
    pairs = tokenize_pairs([asking()], tokenizer)
    [roles] = pairs.roles
    words = {n: tokenizer.decode(pairs.clean[0, s:e]) for n, (s, e) in roles.items()}
    assert words["city"] == "Paris"
    assert words["system"] == "Name the country"
    assert words["user"] == "Where is Paris?"
    assert roles["END"] == (pairs.clean.shape[1] - 1, pairs.clean.shape[1])
    assert roles["instruction-end"][1] == roles["END"][1]


def test_a_slow_tokenizer_finds_the_same_places(tokenizers):
    slow = chat_tokenizer("zephyr", slow_bytes)
    found, same = (tokenize_pairs([asking()], each) for each in (slow, tokenizers["zephyr"]))
    assert found.roles == same.roles


def test_the_answer_can_be_read_after_a_role_that_messages_have_by_themselves(tokenizers):
    pairs = tokenize_pairs([asking(answer_after="user")], tokenizers["llama-3"])
    assert pairs.label_pos.tolist() == [pairs.roles[0]["user"][1] - 1]


def test_a_role_of_the_pair_stands_before_one_of_the_same_name(tokenizers):
    pairs = tokenize_pairs([asking(roles={"user": (1, 9, 14)})], tokenizers["llama-3"])
    assert tokenizers["llama-3"].decode(pairs.clean[0, slice(*pairs.roles[0]["user"])]) == "Paris"


def test_columns_by_role_do_not_overlap(tokenizers):
    pairs = tokenize_pairs([asking()] * 2, tokenizers["llama-3"])
    columns = by_role(pairs)
    assert (columns.masks.sum(0) == pairs.mask).all()
    assert {"system", "user", "city", "assistant-prefix", "instruction-end"} < {*columns.names}
    places, roles = own_places(pairs, 0), pairs.roles[0]
    word = tokenizers["llama-3"].decode(pairs.clean[0, places["user"]])
    assert word == "Where is ?"
    assert places["city"] == list(range(*roles["city"]))
    assert places["instruction-end"] == [roles["instruction-end"][0]]
    assert places["END"][0] not in places["assistant-prefix"]


def test_named_roles_that_overlap_keep_all_their_tokens(tokenizers):
    inner = {"city": (1, 9, 14), "phrase": (1, 6, 14)}
    pairs = tokenize_pairs([asking(roles=inner)], tokenizers["llama-3"])
    assert own_places(pairs, 0)["phrase"] == list(range(*pairs.roles[0]["phrase"]))


def test_slots_are_filled_in_every_message():
    filled, roles = fill_chat(said("Is {a} {b}?", "{c}", system="{a}!"), a="it", b="so", c="Yes")
    assert [message["content"] for message in filled] == ["it!", "Is it so?", "Yes"]
    assert roles == {"a": (1, 3, 5), "b": (1, 6, 8), "c": (2, 0, 3)}


# --- what is refused


def test_a_template_that_drops_a_message_is_refused_with_both_texts():
    tokenizer = fast_bytes()
    tokenizer.chat_template = "{{ messages[-1].content }}"
    with pytest.raises(PromptError) as error:
        render_chat(said("Hello there", system="Be brief"), tokenizer)
    message = str(error.value)
    assert "got that of message 0 (system) nowhere" in message
    assert "given    ['Be brief', 'Hello there']" in message
    assert "rendered 'Hello there'" in message


def test_a_template_that_writes_a_content_twice_is_refused():
    tokenizer = fast_bytes()
    tokenizer.chat_template = "{% for m in messages %}{{ m.content ~ m.content }}{% endfor %}"
    with pytest.raises(PromptError, match=r"message 0 \(user\) 2 times"):
        render_chat(said("Hi"), tokenizer)


def test_a_template_that_reorders_is_refused_with_both_texts(tokenizers):
    with pytest.raises(PromptError) as error:
        render_chat(said("One", "Two", "Three", system="Be brief"), tokenizers["mistral-v3"])
    assert "in order, got that of message 1 (user) out of order" in str(error.value)
    assert "rendered '<s>[INST] One[/INST] Two</s>[INST] Be brief" in str(error.value)


def test_a_system_message_that_a_prefill_loses_is_refused(tokenizers):
    with pytest.raises(PromptError, match=r"message 0 \(system\) nowhere"):
        render_chat(said("Hi", "Yes", system="Be brief"), tokenizers["mistral-v3"])


@pytest.mark.parametrize("family", ["llama-2", "llama-3", "gemma", "command-r"])
def test_white_space_that_a_template_strips_is_refused_and_that_it_keeps_is_kept(
    tokenizers, family
):
    with pytest.raises(PromptError, match=r"white space off the ends of contents") as error:
        render_chat(said("Hi "), tokenizers[family])
    assert "given" in str(error.value)
    assert "Hi " in str(error.value)
    assert pieces_of(render_chat(said("Hi "), tokenizers["zephyr"]))["user"] == "Hi "


def test_a_content_that_a_template_changes_is_refused_with_both_texts(tokenizers):
    with pytest.raises(PromptError) as error:
        render_chat(said("Hi", "<think>so</think>Yes"), tokenizers["deepseek"])
    assert "<｜Assistant｜><think>so</think>Yes<" in str(error.value)
    assert "<｜Assistant｜>Yes<" in str(error.value)
    assert "Use other words" in str(error.value)


def test_a_template_that_raises_is_named_with_who_spoke(tokenizers):
    with pytest.raises(
        PromptError, match=r"take messages of \['system', 'user'\], got TemplateError: System role"
    ):
        render_chat(said("Hi", system="Be brief"), tokenizers["gemma"])
    broken = fast_bytes()
    broken.chat_template = "{% for m in messages %}"
    with pytest.raises(PromptError, match="the chat template must take messages of .*Syntax"):
        render_chat(said("Hi"), broken)


def test_without_a_chat_template_messages_are_refused():
    with pytest.raises(PromptError, match="got a tokenizer without a chat template"):
        tokenize_pairs([PromptPair(said("Hi"), said("Ho"), [1])], fast_bytes())
    with pytest.raises(PromptError, match="got no tokenizer"):
        tokenize_pairs([PromptPair(said("Hi"), said("Ho"), [1])])


def test_a_bos_of_the_template_that_falls_into_pieces_is_refused():
    tokenizer = chat_tokenizer("llama-2")
    tokenizer.split_special_tokens = True
    with pytest.raises(PromptError, match=r"'<s>' that it begins with must be one token"):
        encode(said("Hi"), tokenizer, "auto")


@pytest.mark.parametrize(
    ("span", "message"),
    [
        ((0, 4), r"must be a span \(message, start, end\) of whole numbers, got \(0, 4\)"),
        ((2, 0, 4), "must lie in one of the 2 messages of the clean prompt, got the message 2"),
        ((-1, 0, 4), "must lie in one of the 2 messages"),
        ((1, 9, 90), r"must lie in message 1 of the clean prompt, of length 15, got the span"),
        ((1, 3, 3), "must lie in message 1"),
        ((1, 0.5, 3), "must be a span"),
    ],
)
def test_a_span_that_lies_in_no_content_is_refused(tokenizers, span, message):
    pair = PromptPair(asking().clean, asking().clean, ["F"], roles={"A": (0, 0, 4)})
    assert tokenize_pairs([pair], tokenizers["llama-3"]).roles[0]["A"]
    object.__setattr__(pair, "roles", {"A": span})
    with pytest.raises(PromptError, match=f"role 'A' {message}"):
        tokenize_pairs([pair], tokenizers["llama-3"])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"role": "user"}, "message 1 must hold role and content alone"),
        ({"role": "user", "content": "Hi", "name": "x"}, "message 1 must hold role and content"),
        ("Hi", "message 1 must hold role and content alone, got 'Hi'"),
        ({"role": "", "content": "Hi"}, "the role of message 1 must be text"),
        ({"role": "a\x1b", "content": "Hi"}, "the role of message 1 must be text"),
        ({"role": "user", "content": ""}, "the content of message 1 must be text, and not empty"),
        ({"role": "user", "content": [{"type": "text"}]}, "the content of message 1 must be text"),
        ({"role": "user", "content": "\ud800"}, "the content of message 1 must be text"),
    ],
)
def test_a_message_with_an_odd_part_is_refused_with_its_number(tokenizers, bad, message):
    with pytest.raises(PromptError, match=message):
        render_chat([*said("Hi"), bad], tokenizers["llama-3"])
