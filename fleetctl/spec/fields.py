"""The types of fields: how pydantic reads each kind of value, and how the JSON Schema describes it."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, PlainValidator, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError

from fleetctl.decide.policies import policy_names
from fleetctl.engines import engine_names
from fleetctl.model.services import Gpu
from fleetctl.spec import units, words
from fleetctl.spec.preset_files import preset_names
from fleetctl.spec.problems import Unfit

REPLICAS_MAX = 10_000
"""Of one Service, and Instances of one Pool: ten times the largest fleet that fleetctl is measured with."""
CONCURRENCY_MAX = 65_536
"""Requests of one Replica: no engine batches more, and a port has no more connections."""
PRICE_MAX = 100_000.0
"""US dollars per hour: more is a slip of the decimal point."""
LIST_MAX = 64
"""Entries of any list: more belong in another Service."""
ENV_MAX = 256
"""Variables of one Service."""
THRESHOLD_MAX = 1000.0
"""Times what is there; with this, panic never begins."""
PERCENT_MAX = 100_000
"""Knative's own limit: a thousandfold at once."""
PERCENT_LIKELY_MIN = 20
"""A target of so much without its sign is meant as per cent; less is requests, as other autoscalers have it."""
STEPS_MAX = 100
"""Scale steps of one Standby."""

Schema = dict[str, Any]
"""A piece of JSON Schema."""


class Also:
    """A shorter form that a field may be written in, for the JSON Schema."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> Schema:
        return {"anyOf": [self.schema, handler(core)]}


class Only:
    """The JSON Schema of a field, where it is not known before it is asked for."""

    def __init__(self, schema: Callable[[], Schema]) -> None:
        self.schema = schema

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> Schema:
        return self.schema()


def problem(message: str, fix: str) -> PydanticCustomError:
    """An error that carries through pydantic what is wrong and what to write instead."""
    return PydanticCustomError("unfit", "{message}", {"message": message, "fix": fix})


def reading(parse: Callable[[Any], object]) -> Callable[[Any], object]:
    """`parse`, its `Unfit` carried through pydantic."""

    def read(value: Any) -> object:
        try:
            return parse(value)
        except Unfit as error:
            raise problem(error.message, error.fix) from error

    return read


def text_schema(pattern: str | None = None, **more: object) -> Schema:
    shape: Schema = {"type": "string", "maxLength": words.TEXT_CHARS_MAX, **more}
    return shape if pattern is None else {**shape, "pattern": pattern}


DURATIONS = ["500ms", "5s", "10m", "2h", "1d"]
POSITIVE_DURATION_SCHEMA = text_schema(units.DURATION_PATTERN, examples=DURATIONS)
DURATION_SCHEMA: Schema = {"anyOf": [text_schema(units.DURATION_PATTERN), {"enum": [0, "0"]}], "examples": DURATIONS}
GPU_SCHEMA = text_schema(units.GPU_PATTERN, examples=["L40S:1", "H100:8", "any:1"])


def _positive_duration(value: object) -> float:
    seconds = units.duration(value)
    if seconds <= 0:
        raise Unfit("must be longer than 0", "write a duration such as 5s, 10m or 2h")
    return seconds


def _utilization(value: object) -> float:
    number = units.share(value)
    if number <= 0:
        raise Unfit("must be more than 0", "write a share such as 70%")
    return number


def _target(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 1 < value < PERCENT_LIKELY_MIN:
        raise Unfit(
            f"{value:g} is more than everything: a target is the share of `concurrency` that a replica is kept at",
            f"write a share such as 70%; for {value:g} requests a replica write concurrency: {value:g}"
            if isinstance(value, int)
            else "write a share such as 70%",
        )
    return _utilization(value)


def _tolerance(value: object) -> float:
    number = units.share(value)
    if number >= 1:
        raise Unfit("must be less than 100%", "write a share such as 10%")
    return number


def _share_schema(**bounds: float) -> Schema:
    number = {"type": "number", "minimum": 0, "maximum": 1, **bounds}
    return {"anyOf": [text_schema(units.SHARE_PATTERN), number], "examples": ["70%", 0.7]}


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _policy_schema() -> Schema:
    """Of the rules in `decide/policies`."""
    return {"enum": list(policy_names())}


def _preset_schema() -> Schema:
    return {"anyOf": [{"enum": list(preset_names())}, text_schema(r"\.ya?ml$")]}


def _matching(pattern: str, what: str, example: str) -> Callable[[Any], object]:
    return reading(words.matching(pattern, what, example))


Name = Annotated[str, PlainValidator(reading(words.name)), WithJsonSchema(text_schema(words.NAME_PATTERN))]
Text = Annotated[str, PlainValidator(reading(words.text)), WithJsonSchema(text_schema())]
Word = Annotated[str, PlainValidator(reading(words.word)), WithJsonSchema(text_schema(r"^\S+$"))]
Path = Annotated[
    str,
    PlainValidator(_matching(words.PATH_PATTERN, "path", "/health")),
    WithJsonSchema(text_schema(words.PATH_PATTERN)),
]
Metric = Annotated[
    str,
    PlainValidator(_matching(words.METRIC_PATTERN, "metric name", "engine:requests_running")),
    WithJsonSchema(text_schema(words.METRIC_PATTERN)),
]
EnvName = Annotated[
    str,
    PlainValidator(_matching(words.ENV_NAME_PATTERN, "name of a variable", "HF_HOME")),
    WithJsonSchema(text_schema(words.ENV_NAME_PATTERN)),
]
LabelName = Annotated[
    str,
    PlainValidator(_matching(words.LABEL_PATTERN, "name of a label", "team")),
    WithJsonSchema(text_schema(words.LABEL_PATTERN)),
]
LabelValue = Annotated[
    str, PlainValidator(reading(words.label_value)), WithJsonSchema(text_schema(words.LABEL_VALUE_PATTERN))
]
Labels = Annotated[dict[LabelName, LabelValue], Field(max_length=LIST_MAX)]
Setting = Annotated[
    str,
    PlainValidator(_matching(words.SETTING_PATTERN, "name of a setting", "disk_gb")),
    WithJsonSchema(text_schema(words.SETTING_PATTERN)),
]
Engine = Annotated[str, PlainValidator(reading(words.engine_name)), Only(lambda: {"enum": list(engine_names())})]
Policy = Annotated[str, PlainValidator(reading(words.one_of(policy_names(), "policy"))), Only(_policy_schema)]
Preset = Annotated[str, PlainValidator(reading(words.word)), Only(_preset_schema)]
MarketName = BeforeValidator(reading(words.market))
MARKET_NAMES: Schema = {"enum": ["on_demand", "spot", "reserved"]}
Cron = Annotated[str, PlainValidator(reading(words.cron)), WithJsonSchema(text_schema())]
TimeZone = Annotated[str, PlainValidator(reading(words.time_zone)), WithJsonSchema(text_schema(r"^\S+$"))]
Store = Annotated[str, PlainValidator(reading(words.store)), WithJsonSchema(text_schema(r"^\S+$"))]
Listen = Annotated[str, PlainValidator(reading(units.listen_address)), WithJsonSchema(text_schema(r"^\S+:[0-9]{1,5}$"))]
Mirrors = Annotated[
    list[
        Annotated[
            str,
            PlainValidator(_matching(words.MIRROR_PATTERN, "address of a mirror", "https://mirror.example:5000")),
            WithJsonSchema(text_schema(words.MIRROR_PATTERN)),
        ]
    ],
    Field(max_length=LIST_MAX),
    BeforeValidator(_listed),
    Also(text_schema(words.MIRROR_PATTERN)),
]

Duration = Annotated[float, PlainValidator(reading(units.duration)), WithJsonSchema(DURATION_SCHEMA)]
PositiveDuration = Annotated[
    float, PlainValidator(reading(_positive_duration)), WithJsonSchema(POSITIVE_DURATION_SCHEMA)
]
Share = Annotated[float, PlainValidator(reading(units.share)), WithJsonSchema(_share_schema())]
Target = Annotated[float, PlainValidator(reading(_target)), WithJsonSchema(_share_schema(exclusiveMinimum=0))]
Utilization = Annotated[float, PlainValidator(reading(_utilization)), WithJsonSchema(_share_schema(exclusiveMinimum=0))]
Tolerance = Annotated[float, PlainValidator(reading(_tolerance)), WithJsonSchema(_share_schema(exclusiveMaximum=1))]
Count = Annotated[int, Field(ge=0, le=REPLICAS_MAX)]
PositiveCount = Annotated[int, Field(ge=1, le=REPLICAS_MAX)]
Price = Annotated[float, Field(ge=0, le=PRICE_MAX, allow_inf_nan=False)]
PositivePrice = Annotated[float, Field(gt=0, le=PRICE_MAX, allow_inf_nan=False)]

Gpus = Annotated[
    list[Annotated[Gpu, PlainValidator(reading(units.gpu)), WithJsonSchema(GPU_SCHEMA)]],
    Field(min_length=1, max_length=LIST_MAX),
    BeforeValidator(_listed),
    Also(GPU_SCHEMA),
]
Words = Annotated[
    list[Text],
    Field(max_length=LIST_MAX),
    BeforeValidator(reading(units.words)),
    Also(text_schema()),
]
