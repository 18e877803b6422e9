"""Response bodies of the OpenAI API: the words of an answer, whole or in pieces, and the shape of an error."""

from dataclasses import dataclass

import msgspec

from fleetctl.rehearsal.asks import CHARACTERS_PER_TOKEN, Shape

SENTENCE = "No model was run; a rehearsal engine wrote these words. "
"""What every answer says, over and over, in tokens of four characters; its length is a multiple of four."""

FINGERPRINT = "rehearsal"
"""`system_fingerprint` of every answer."""

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _TextChoice:
    index: int = 0
    text: str
    logprobs: None = None
    finish_reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """A chat message, or in a stream a piece of one; of the pieces only the first carries a role."""

    role: str | msgspec.UnsetType = msgspec.UNSET
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _ChatChoice:
    index: int = 0
    message: _Said
    logprobs: None = None
    finish_reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _DeltaChoice:
    index: int = 0
    delta: _Said
    logprobs: None = None
    finish_reason: str | None


_Choices = tuple[_TextChoice | _ChatChoice | _DeltaChoice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Completion:
    id: str
    object: str
    created: int
    model: str
    system_fingerprint: str = FINGERPRINT
    choices: _Choices
    usage: Usage | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Writes the answer to one request. `created` is in Unix seconds."""

    id: str
    shape: Shape
    model: str
    created: int

    def whole(self, text: str, finish_reason: str, usage: Usage) -> bytes:
        """The answer as one JSON body."""
        if self.shape is Shape.TEXT:
            return self._encode("text_completion", (_TextChoice(text=text, finish_reason=finish_reason),), usage)
        message = _Said(role="assistant", content=text)
        return self._encode("chat.completion", (_ChatChoice(message=message, finish_reason=finish_reason),), usage)

    def piece(self, text: str, finish_reason: str | None, *, first: bool) -> bytes:
        """A part of the answer as a server-sent event; the first of a chat is led by one that names the role."""
        if self.shape is Shape.TEXT:
            return self._event((_TextChoice(text=text, finish_reason=finish_reason),), None)
        event = self._event((_DeltaChoice(delta=_Said(content=text), finish_reason=finish_reason),), None)
        if not first:
            return event
        role = _Said(role="assistant", content="")
        return self._event((_DeltaChoice(delta=role, finish_reason=None),), None) + event

    def counted(self, usage: Usage) -> bytes:
        """The last event before DONE of a stream whose request asked for `stream_options.include_usage`."""
        return self._event((), usage)

    def _event(self, choices: _Choices, usage: Usage | None) -> bytes:
        kind = "text_completion" if self.shape is Shape.TEXT else "chat.completion.chunk"
        return b"data: " + self._encode(kind, choices, usage) + b"\n\n"

    def _encode(self, kind: str, choices: _Choices, usage: Usage | None) -> bytes:
        return msgspec.json.encode(
            _Completion(id=self.id, object=kind, created=self.created, model=self.model, choices=choices, usage=usage)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fault:
    message: str
    type: str
    param: None = None
    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _FaultBody:
    error: _Fault


def fault(status: int, kind: str, message: str) -> bytes:
    """An error body of OpenAI's shape; `code` is the HTTP status, as vLLM has it."""
    return msgspec.json.encode(_FaultBody(error=_Fault(message=message, type=kind, code=status)))


def words(tokens: range) -> str:
    """The text of an answer's tokens, by their numbers from 0."""
    starts = (number * CHARACTERS_PER_TOKEN % len(SENTENCE) for number in tokens)
    return "".join(SENTENCE[start : start + CHARACTERS_PER_TOKEN] for start in starts)
