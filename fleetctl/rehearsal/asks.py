"""Request bodies of the OpenAI API, read as far as a rehearsal needs them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import msgspec

from fleetctl.errors import NotFound, UsageError

CHARACTERS_PER_TOKEN = 4
"""A prompt has `ceil(characters / 4)` tokens, at least 1: about what common tokenizers make of English."""

OUTPUT_TOKENS_DEFAULT = 16
"""OpenAI's default for `/v1/completions`; for chat too, where a real model would go on until it has said all."""

_Count = Annotated[int, msgspec.Meta(ge=1)]


class Shape(StrEnum):
    """Which of the two endpoints was asked."""

    TEXT = "text"
    CHAT = "chat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What one request wants."""

    shape: Shape
    model: str
    prompt_tokens: int
    output_tokens: int
    stream: bool
    include_usage: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _StreamOptions:
    include_usage: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stated:
    """Our extension: `"rehearsal": {"input_tokens": 3000}` states the prompt's length without sending the text."""

    input_tokens: _Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Body:
    """What both endpoints read. Fields that are not here are ignored."""

    model: str | None = None
    max_tokens: _Count | None = None
    max_completion_tokens: _Count | None = None
    n: int | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    rehearsal: _Stated | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _TextBody(_Body):
    prompt: str | list[str | int | list[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    type: str
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    role: str
    content: str | list[_Part] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _ChatBody(_Body):
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]


def read_ask(shape: Shape, body: bytes, *, models: tuple[str, ...], max_model_len: int) -> Ask:
    """The request in `body`, for an engine that answers to the names `models`; a body that names none gets the first.

    Raises `UsageError` for a body that is wrong and `NotFound` for a model that is not served.
    """
    asked = _decode(shape, body)
    if asked.model is not None and asked.model not in models:
        raise NotFound(f"the model `{asked.model}` does not exist; served here: {', '.join(models)}")
    if asked.n not in (None, 1):
        raise UsageError(f"n is {asked.n}; a rehearsal engine gives one choice per request")
    prompt_tokens = _prompt_tokens(asked)
    output_tokens = asked.max_completion_tokens or asked.max_tokens or OUTPUT_TOKENS_DEFAULT
    if prompt_tokens + output_tokens > max_model_len:
        raise UsageError(
            f"the model's context length is {max_model_len} tokens; this request has {prompt_tokens} in its prompt "
            f"and asks for {output_tokens}"
        )
    return Ask(
        shape=shape,
        model=asked.model or models[0],
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        stream=bool(asked.stream),
        include_usage=asked.stream_options is not None and asked.stream_options.include_usage,
    )


def _decode(shape: Shape, body: bytes) -> _TextBody | _ChatBody:
    try:
        if shape is Shape.TEXT:
            return msgspec.json.decode(body, type=_TextBody)
        return msgspec.json.decode(body, type=_ChatBody)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the request body cannot be used: {error}") from error


def _prompt_tokens(asked: _TextBody | _ChatBody) -> int:
    if asked.rehearsal is not None and asked.rehearsal.input_tokens is not None:
        return asked.rehearsal.input_tokens
    if isinstance(asked, _ChatBody):
        return _tokens_in("".join(_text_of(message) for message in asked.messages))
    match asked.prompt:
        case str(text) | [str(text)]:
            return _tokens_in(text)
        case [[_, *_] as numbers]:
            return len(numbers)
        case [_, *_] as numbers if all(isinstance(number, int) for number in numbers):
            return len(numbers)
        case _:
            raise UsageError("prompt must be one text or one list of token numbers; a rehearsal engine takes one")


def _text_of(message: _Message) -> str:
    if isinstance(message.content, list):
        return "".join(part.text for part in message.content)
    return message.content or ""


def _tokens_in(text: str) -> int:
    return max(1, -(-len(text) // CHARACTERS_PER_TOKEN))
