"""Tokens as engines count them, read from the end of their answers."""

import json

import pytest

from fleetctl.gateway.usage import NO_USAGE, usage_in

VLLM = b'"usage":{"prompt_tokens":12,"total_tokens":45,"completion_tokens":33,"prompt_tokens_details":null}'


@pytest.mark.parametrize(
    ("tail", "expected", "why"),
    [
        (b'{"id":"x","choices":[],' + VLLM + b',"prompt_logprobs":null}', (12, 33, 0), "vLLM"),
        (
            b'{"usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}}',
            (9, 2, 0),
            "llama.cpp, SGLang: another order",
        ),
        (
            b'{"usage":{"prompt_tokens":100,"total_tokens":101,"completion_tokens":1,'
            b'"prompt_tokens_details":{"cached_tokens":96}}}',
            (100, 1, 96),
            "with what was cached",
        ),
        (
            b'{"usage":{"input_tokens":7,"cache_read_input_tokens":3,"output_tokens":5}}',
            (7, 5, 3),
            "Anthropic's messages, OpenAI's responses",
        ),
        (b'data: {"choices":[],' + VLLM + b"}\n\ndata: [DONE]\n\n", (12, 33, 0), "the last event of a stream"),
        (b'data: {"usage":null,"choices":[{"delta":{}}]}\n\n', NO_USAGE, "an event without"),
        (
            b'data: {"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\ndata: {' + VLLM + b"}",
            (12, 33, 0),
            "the last",
        ),
        (b'{"choices":[{"text":"nothing"}]}', NO_USAGE, "none at all"),
        (b"", NO_USAGE, "nothing"),
        (b'{"usage":{"prompt_tokens":1.5e3,"completion_tokens":-4}}', NO_USAGE, "no counts"),
        (b'{"usage":{"prompt_tokens":12,"comple', (12, 0, 0), "cut"),
    ],
)
def test_usage_is_found_at_the_end(tail: bytes, expected: tuple[int, int, int], why: str) -> None:
    assert usage_in(tail) == expected


def test_what_a_model_wrote_is_not_taken_for_usage() -> None:
    text = '"usage":{"prompt_tokens":1000000,"total_tokens":1,"completion_tokens":1000000}'
    answer = json.dumps({"choices": [{"text": text}]}).encode()

    assert usage_in(answer) == NO_USAGE
    assert usage_in(answer[:-1] + b"," + VLLM + b"}") == (12, 33, 0)


def test_only_the_end_is_looked_into() -> None:
    assert usage_in(b"{" + VLLM + b'},"text":"' + b"x" * 5000 + b'"}') == NO_USAGE
