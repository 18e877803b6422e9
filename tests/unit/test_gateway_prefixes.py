"""Prompts that begin alike have hashes that begin alike, in every process."""

import json
import subprocess
import sys

import pytest

from fleetctl.gateway.prefixes import chain, seed_of

SEED = seed_of("chat", "")


def body(*texts: str, key: str = "messages", model: str = "m") -> bytes:
    return json.dumps({"model": model, key: [{"role": "user", "content": text} for text in texts]}).encode()


@pytest.mark.parametrize(("length", "links"), [(100, 0), (300, 1), (1100, 2), (4200, 3), (16_500, 4), (200_000, 4)])
def test_a_link_for_each_length_that_the_prompt_fills(length: int, links: int) -> None:
    assert len(chain(body("x" * length), SEED)) == links


def test_what_begins_alike_shares_links_up_to_where_it_differs() -> None:
    one, two = chain(body("s" * 2000 + "one" * 1000), SEED), chain(body("s" * 2000 + "two" * 1000), SEED)

    assert (len(one), len(two)) == (3, 3)
    assert [mine == theirs for mine, theirs in zip(one, two, strict=True)] == [True, True, False]


def test_a_difference_at_the_beginning_changes_every_link() -> None:
    one, two = chain(body("a" + "s" * 5000), SEED), chain(body("b" + "s" * 5000), SEED)

    assert not set(one) & set(two)


def test_what_stands_before_the_prompt_does_not_count_but_the_service_and_adapter_do() -> None:
    same = chain(body("s" * 2000, model="m"), SEED), chain(body("s" * 2000, model="another"), SEED)
    other_service = chain(body("s" * 2000), seed_of("code", ""))
    other_adapter = chain(body("s" * 2000), seed_of("chat", "sql"))

    assert same[0] == same[1] != ()
    assert len({same[0], other_service, other_adapter}) == 3


def test_a_service_and_an_adapter_are_not_taken_for_one_another() -> None:
    assert seed_of("a", "bc") != seed_of("ab", "c")


@pytest.mark.parametrize("key", ["messages", "prompt", "input"])
def test_every_api_has_its_key(key: str) -> None:
    assert len(chain(body("s" * 2000, key=key), SEED)) == 2


def test_what_has_no_prompt_has_no_prefix() -> None:
    assert chain(b"x" * 5000, SEED) == ()


def test_another_process_says_the_same() -> None:
    program = (
        "from fleetctl.gateway.prefixes import chain, seed_of;"
        'print(chain(b\'"messages"\' + b"s" * 2000, seed_of("chat", "sql")))'
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert said.strip() == str(chain(b'"messages"' + b"s" * 2000, seed_of("chat", "sql")))
