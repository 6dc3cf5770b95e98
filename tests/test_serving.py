"""The registered student as others get it: loaded by mlflow, and behind `mlflow models serve` over HTTP."""

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import numpy as np
import pytest

from sfddm.errors import UserError
from sfddm.tracking.request import read_request
from tests.project import OURS, Project
from tests.servers import free_port, listening_at, stop, wait_until_it_answers

MODEL = "models:/sfddm-tiny/1"
WISHES: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({}, ()), ({"index_set": [20, 64]}, ("--levels", "20,64")), ({"steps": 3}, ("--steps", "3"))
]  # fmt: skip
"""Beside seed and number, and the same as options of `sfddm sample`."""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "at least 1"),
        ({"num": 0}, "at least 1"),
        ({"num": 10_001}, "at most 10000"),
        ({"num": 2, "seed": -1}, "at least 0"),
        ({"num": 2, "seed": "3"}, "a whole number"),
        ({"num": 2.5}, "a whole number"),
        ({"num": True}, "a whole number"),
        ({"num": 2, "sed": 3}, "did you mean 'seed'?"),
        ({"num": 2, "steps": 2, "index_set": [64]}, "exclude each other"),
        ({"num": 2, "index_set": [0]}, "at least 1"),
        ({"num": 2, "index_set": "64"}, "expected a list"),
        ({"num": 2, "class_label": -2}, "at least -1"),
    ],
)
def test_what_no_request_can_be_is_refused_with_a_sentence(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as refused:
        read_request(given)
    assert words in str(refused.value)


def test_a_request_leaves_out_what_it_does_not_say() -> None:
    request = read_request({"num": 3, "steps": None, "index_set": [20, 64]})
    assert (request.seed, request.num, request.steps, request.index_set) == (0, 3, 0, (20, 64))


LOADED = """
import json, sys
import mlflow, numpy as np
model = mlflow.pyfunc.load_model(sys.argv[1])
for position, asked in enumerate(json.loads(sys.argv[2])):
    np.save(f"{sys.argv[3]}/{position}.npy", model.predict(asked))
"""


@pytest.fixture(scope="module")
def drawn(project: Project, tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """What the command line draws for each of the wishes."""
    found, path = [], tmp_path_factory.mktemp("drawn") / "b.npz"
    for _, options in WISHES:
        project.run("sfddm", "sample", OURS, "--out", str(path), "--num", "5", "--seed", "3", *options)
        found.append(np.load(path)["images"])
    return found


@pytest.fixture(scope="module")
def loaded(original: Project, tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """What a process that unpickles nothing draws for each of the wishes."""
    asked = [{"seed": 3, "num": 5, **wish} for wish, _ in WISHES]
    uri = f"sqlite:///{original.folder / 'mlflow.db'}"
    environment = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    folder = tmp_path_factory.mktemp("loaded")
    original.run("python", "-P", "-c", LOADED, MODEL, json.dumps(asked), str(folder), **environment)
    return [np.load(folder / f"{position}.npy") for position in range(len(asked))]


def test_a_loaded_student_draws_what_the_command_line_draws(drawn: list[np.ndarray], loaded: list[np.ndarray]) -> None:
    for expected, found in zip(drawn, loaded, strict=True):
        assert found.dtype == np.uint8 and found.shape == (5, 1, 8, 8) and (found == expected).all()


@pytest.fixture(scope="module")
def served(original: Project) -> Iterator[int]:
    """The port of the registered student's HTTP server."""
    port = free_port()
    uri = f"sqlite:///{original.folder / 'mlflow.db'}"
    environment = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    where = ("--host", "127.0.0.1", "--port", str(port))
    command = ("mlflow", "models", "serve", "--model-uri", MODEL, "--env-manager", "local", *where)
    process = original.start(*command, **environment)
    try:
        wait_until_it_answers(process, port)
        yield port
    finally:
        stop(process)


def ask(port: int, body: Any) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        text = body if isinstance(body, str) else json.dumps(body)
        connection.request("POST", "/invocations", text, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("form", [lambda asked: {"inputs": asked}, lambda asked: {"dataframe_records": [asked]}])
def test_a_server_draws_the_same(drawn: list[np.ndarray], served: int, form: Any) -> None:
    for (wish, _), expected in zip(WISHES, drawn, strict=True):
        status, text = ask(served, form({"seed": 3, "num": 5, **wish}))
        assert status == 200, text
        assert (np.array(json.loads(text)["predictions"]) == expected).all()


def test_a_server_listens_on_this_machine_alone(served: int) -> None:
    assert listening_at(served) == {"0100007F"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"inputs": {"num": 5, "seed": "three"}}, "invalid literal for int() with base 10: 'three'"),
        ({"dataframe_records": [{"num": 5, "seed": "three"}]}, "seed"),
        ({"inputs": {"num": 100_000}}, "at most 10000"),
        ({"inputs": {"num": 5, "index_set": [20, 65]}}, "above the teacher's noisiest, 64"),
        ({"inputs": {"num": 5, "steps": 65}}, "the teacher has 64"),
        ({"inputs": {"num": 5, "class_label": 0}}, "there is no class 0: the network is told none"),
        ({"inputs": {"sed": 5}}, "at least 1"),
        ({"dataframe_records": [{"num": 1}, {"num": 2}]}, "expected one request, found 2"),
        ({"inputs": {}}, "at least 1"),
        ("{", "JSON"),
    ],
)
def test_a_server_answers_400_and_a_sentence(served: int, body: Any, words: str) -> None:
    status, text = ask(served, body)
    assert status == 400 and words in text, text
    assert "Traceback" not in text and "site-packages" not in text
