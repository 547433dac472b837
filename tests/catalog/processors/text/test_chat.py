"""Conversations as the tokenizer's template writes them, and templates that may do nothing else."""

import pytest

from catalog.errors import ProcessorError
from catalog.processors.text import train_bytes
from catalog.processors.text.chat import render

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi \U0001f642"},
    {"role": "assistant", "content": "Hello."},
]
CHATML = (
    "{% for message in messages %}\n"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}\n"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LLAMA = (
    "{% if messages[0]['role'] == 'system' %}{% set system = '<<SYS>>\\n' ~ messages[0]['content'] ~ '\\n<</SYS>>\\n\\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + (system if loop.first else '') + message['content'] | trim + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'] | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}


def test_the_two_usual_forms():
    """ChatML, and the form of the second LLaMA; the expected texts are written by hand from their descriptions."""
    said = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi \U0001f642<|im_end|>\n"
    assert render(CHATML, TALK[:2], {}, answer=True) == said + "<|im_start|>assistant\n"
    assert render(CHATML, TALK, {}, answer=False) == said + "<|im_start|>assistant\nHello.<|im_end|>\n"
    said = "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi \U0001f642 [/INST]"
    assert render(LLAMA, TALK[:2], SPECIAL, answer=True) == said
    assert render(LLAMA, TALK, SPECIAL, answer=False) == said + " Hello. </s>"


def test_json_loops_and_breaks():
    template = "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m | tojson }}{% endfor %}"
    assert render(template, TALK[1:], {}, answer=False) == '{"role": "user", "content": "Hi \U0001f642"}'


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ messages.__class__.__mro__ }}", "SecurityError"),
        ("{{ cycler.__init__.__globals__.os.system('true') }}", "SecurityError"),
        ("{{ ''.join.__self__.__class__.__mro__ }}", "SecurityError"),
        ("{% for i in range(10 ** 9) %}{% endfor %}", "OverflowError"),
        ("{{ messages.append(1) }}", "SecurityError"),
        ("{% include '/etc/hostname' %}", "TypeError"),
        ("{% for %}", "TemplateSyntaxError"),
        ("{{ nothing.there }}", "UndefinedError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        (LLAMA, "TemplateRuntimeError: roles must alternate"),
    ],
)
def test_a_template_that_is_broken_or_reaches_out_or_refuses(template, said):
    with pytest.raises(ProcessorError, match=f"the tokenizer's chat template: {said}"):
        render(template, [TALK[2]], SPECIAL, answer=True)


def test_the_conversation_itself_is_not_changed():
    talk = [dict(message) for message in TALK]
    render("{% set _ = messages[0].__len__ if false else 1 %}{{ messages[0].content }}", talk, {}, answer=True)
    assert talk == TALK


def test_a_tokenizer_without_a_template_says_what_to_do():
    with pytest.raises(ProcessorError, match=r"has no chat template; give one: having\(chat_template=...\)"):
        train_bytes(["a text"] * 3, 300).chat(TALK)
    made = train_bytes(["a text"] * 3, 300).having(chat_template="{{ messages[1].content }}{{ eos_token }}")
    assert made.chat(TALK) == "Hi \U0001f642<|endoftext|>"
