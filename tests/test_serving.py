"""The memory over HTTP: every path, errors as JSON, the key, streams, and OpenAI's chat completions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tiny_flow import LAMPS, SHIFT, open_memory
from typer.testing import CliRunner

from hybrid_memory.cli.app import app as command_line
from hybrid_memory.memory import HybridMemory

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install 'hybrid-memory-sdk[server]'")

from fastapi.testclient import TestClient

from hybrid_memory.serving.app import create_app

CAFE = "The harbour café opens at nine."
QUESTION = "When does the harbour café open?"


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[HybridMemory]:
    with open_memory(tmp_path) as opened:
        yield opened


@pytest.fixture
def client(memory: HybridMemory) -> TestClient:
    return TestClient(create_app(memory))


def posted(client: TestClient, path: str, status: int = 200, **body: Any) -> Any:
    response = client.post(path, json=body)
    assert response.status_code == status, response.text
    return response.json()


def events(client: TestClient, path: str, **body: Any) -> list[Any]:
    """The data of each server-sent event, in order."""
    response = client.post(path, json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    data = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    return [one if one == "[DONE]" else json.loads(one) for one in data]


# ---------------------------------------------------------------- REST


def test_what_is_ingested_is_found_listed_and_forgotten(client: TestClient) -> None:
    """The flow of the library, one path a verb."""
    receipt = posted(client, "/v1/records", text=CAFE, user_id="ann", metadata={"city": "Bergen"})
    record_id = receipt["record_id"]

    (hit,) = posted(client, "/v1/search", query=QUESTION, user_id="ann", top_k=3)["hits"]
    assert (hit["record"]["id"], hit["record"]["text"]) == (record_id, CAFE)
    assert [one["id"] for one in client.get("/v1/records", params={"user_id": "ann"}).json()["records"]] == [record_id]
    assert client.get(f"/v1/records/{record_id}").json()["metadata"] == {"city": "Bergen"}
    assert posted(client, "/v1/search", query=QUESTION, user_id="ben")["hits"] == []

    forgotten = posted(client, "/v1/forget", record_id=record_id)

    assert forgotten["retrieval"]["still_found"] == 0
    names = [one["name"] for one in client.get(f"/v1/records/{record_id}/history").json()["events"]]
    assert (names[0], names[-1]) == ("ingested", "forgotten")
    assert client.get("/v1/doctor").json()["problems"] == []


def test_an_agents_finished_turn_gets_its_verdict(client: TestClient, memory: HybridMemory) -> None:
    """The messages in place of an answer's id, in their scope."""
    turn = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "At six."}]

    receipt = posted(client, "/v1/feedback", messages=turn, correction="At nine.", agent_id="bot")

    record = memory.get(receipt["record_id"])
    assert (record.examples[0].prompt, record.examples[0].response) == (QUESTION, "At nine.")
    assert record.scope.agent_id == "bot"
    for given in ({}, {"answer_id": "a", "messages": turn}):
        refused = posted(client, "/v1/feedback", status=400, accepted=True, **given)
        assert "one of answer_id and messages" in refused["error"]["message"]


def test_a_receipt_is_checked_over_http(tmp_path: Path) -> None:
    """As it came, and with one number changed."""
    with open_memory(tmp_path, forget={"key_file": "receipt.key"}) as memory:
        client = TestClient(create_app(memory))
        receipt = posted(client, "/v1/forget", record_id=posted(client, "/v1/records", text=CAFE)["record_id"])
        changed = {**receipt, "retrieval": {**receipt["retrieval"], "passages": 7}}

        assert posted(client, "/v1/receipts/check", receipt=receipt) == {"unchanged": True}
        assert posted(client, "/v1/receipts/check", receipt=changed) == {"unchanged": False}


def test_what_was_forgotten_comes_back_only_when_the_request_says_so(client: TestClient) -> None:
    """Metadata is no such word."""
    posted(client, "/v1/forget", record_id=posted(client, "/v1/records", text=CAFE)["record_id"])

    refused = posted(client, "/v1/records", status=400, text=CAFE, metadata={"force": True})

    assert "forgotten on" in refused["error"]["message"]
    assert posted(client, "/v1/records", text=CAFE, force=True)["record_id"]


def test_records_are_filtered_looked_up_in_the_past_updated_and_purged(client: TestClient) -> None:
    """The rest of the verbs about records, by the same rules as in Python."""
    price = {"subject": "day ticket", "attribute": "price", "value": "21"}
    posted(client, "/v1/records", fact=price, source="list", valid_from="2023-01-01T00:00:00Z")
    new = posted(client, "/v1/records", fact={**price, "value": "24"}, source="list", valid_from="2024-01-01T00:00:00Z")
    posted(client, "/v1/records", text=CAFE)

    def values(**params: str) -> list[str]:
        listed = client.get("/v1/records", params={"filters": '{"source": "list"}', **params}).json()
        return [one["value"] for one in listed["records"]]

    assert (values(), values(as_of="2023-05-01T00:00:00+00:00")) == (["24"], ["21"])
    before = client.get("/v1/records", params={"filters": '{"value": "24"}'}).json()["records"][0]["recorded_at"]
    then = (datetime.fromisoformat(before) - timedelta(microseconds=1)).isoformat()
    assert values(known_at=then) == ["21"]
    assert [hit["record"]["value"] for hit in posted(client, "/v1/search", query="price", known_at=then)["hits"]] == [
        "21"
    ]
    path = f"/v1/records/{new['record_id']}"
    assert client.patch(path, json={"metadata": {"checked": True}}).json()["metadata"] == {"checked": True}
    assert client.patch(path, json={"fact": {**price, "value": "25"}}).json()["value"] == "25"
    assert client.patch(path, json={"user_id": "ann"}).status_code == 400
    assert (values(), posted(client, "/v1/purge", older_than=3600)["records"]) == (["25"], [])
    for params, says in (({"filters": "{"}, "filters are no JSON"), ({"filters": "[1]"}, "must be a JSON object")):
        response = client.get("/v1/records", params=params)
        assert (response.status_code, says in response.json()["error"]["message"]) == (400, True)


SHOUTED = [{"prompt": "cat", "response": "CAT!"}, {"prompt": "dog", "response": "DOG!"}]


@pytest.mark.parametrize(
    "given",
    [
        {"messages": [{"role": "user", "content": "I live in Bergen."}]},
        {"fact": {"subject": "Island ticket", "attribute": "price", "value": "19 euros"}},
        {"example": {"prompt": "Where?", "response": "Here."}},
        {"preference": {"rule": "Be brief.", "examples": [{"prompt": "Why?", "response": "So."}]}},
        {"task": {"name": "shout", "demonstrations": SHOUTED}},
    ],
    ids=lambda given: next(iter(given)),
)
def test_every_kind_of_input_can_be_ingested(client: TestClient, given: dict[str, Any]) -> None:
    """As JSON what the library takes as a value."""
    assert posted(client, "/v1/records", **given, trust="operator")["record_id"]


def test_a_task_is_asked_for_by_its_name(client: TestClient) -> None:
    """As in Python, and one that nobody told is not found."""
    told = posted(client, "/v1/records", task={"name": "shout", "demonstrations": SHOUTED})

    answer = posted(client, "/v1/query", question="cow", task="shout", max_new_tokens=2)

    assert answer["shown"] == [told["record_id"]]
    assert client.post("/v1/query", json={"question": "cow", "task": "whisper"}).status_code == 404


def test_a_context_is_given_to_a_model_of_the_callers_own(client: TestClient) -> None:
    """Of what is known, or of a task."""
    posted(client, "/v1/records", text=CAFE)
    posted(client, "/v1/records", task={"name": "shout", "demonstrations": SHOUTED})

    of_facts = posted(client, "/v1/context", question=QUESTION, passages=3, max_tokens=900)
    of_task = posted(client, "/v1/context", question="cow", task="shout")

    assert CAFE in of_facts["messages"][-1]["content"]
    assert [turn["role"] for turn in of_task["messages"]] == ["user", "assistant", "user", "assistant", "user"]
    assert client.post("/v1/context", json={"question": "cow", "task": "whisper"}).status_code == 404


def test_a_question_is_answered_and_feedback_is_taken(client: TestClient) -> None:
    """The same answer as in Python, and a correction by its id."""
    posted(client, "/v1/records", text=CAFE)

    answer = posted(client, "/v1/query", question=QUESTION, mode="retrieval_only", max_new_tokens=4)

    assert [one["record"]["text"] for one in answer["sources"]] == [CAFE]
    assert posted(client, "/v1/feedback", answer_id=answer["id"], correction="At nine.")["record_id"]


def test_a_streamed_answer_comes_in_pieces_and_then_whole(client: TestClient) -> None:
    """The pieces make up the text of the answer at the end."""
    posted(client, "/v1/records", text=CAFE)

    *pieces, last = events(client, "/v1/query", question=QUESTION, stream=True)

    assert "".join(piece["text"] for piece in pieces) == last["answer"]["text"]
    assert last["answer"]["sources"][0]["record"]["text"] == CAFE


def test_a_window_is_opened_and_its_adapters_are_listed_and_switched(client: TestClient) -> None:
    """What is learned here serves until it is rolled back."""
    for text in (SHIFT, LAMPS):
        posted(client, "/v1/records", text=text, route="learn", trust="operator")

    report = posted(client, "/v1/consolidate", budget_s=600)

    assert report["learned"] == 2
    (version,) = client.get("/v1/adapters").json()["adapters"]
    assert posted(client, f"/v1/adapters/{version['id']}/promote")["status"] == "active"
    assert posted(client, "/v1/adapters/rollback", 404)["error"]["kind"] == "NotFoundError"
    assert posted(client, "/v1/adapters/rollback", at="2026-11-01T00:00:00Z") == {"serving": [], "kept": {}}
    assert (
        "not both"
        in posted(client, "/v1/adapters/rollback", 400, to="x", at="2026-11-01T00:00:00Z")["error"]["message"]
    )


def test_neighbouring_parts_come_along(client: TestClient) -> None:
    """In a search and in an answer; JSON has no nan, so what was not scored has no similarity."""
    names = ("anchors", "ballast", "cables")
    posted(client, "/v1/records", text="\n\n".join(" ".join([f"The {name} are listed."] * 30) for name in names))

    before, found, after = posted(client, "/v1/search", query="ballast", top_k=1, neighbours=1)["hits"]
    answer = posted(client, "/v1/query", question="ballast", mode="retrieval_only", neighbours=1, max_new_tokens=4)

    assert [hit["beside"] for hit in (before, found, after)] == [found["record"]["id"], None, found["record"]["id"]]
    assert (before["score"], before["similarity"]) == (0.0, None)
    assert [hit["record"]["id"] for hit in answer["sources"]] == [hit["record"]["id"] for hit in (before, found, after)]


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/v1/search", {"query": "  "}, 400, "empty"),
        ("/v1/search", {"query": "x", "filters": {"colour": "red"}}, 400, "unknown field"),
        ("/v1/search", {"query": "x", "topk": 3}, 400, "topk: Extra inputs are not permitted"),
        ("/v1/search", {"query": "x", "neighbours": 4}, 400, "from 0 to 3"),
        ("/v1/search", {}, 400, "query: Field required"),
        ("/v1/records", {}, 400, "give one of text, messages"),
        ("/v1/records", {"text": "a", "fact": {}}, 400, "got text, fact"),
        ("/v1/records", {"fact": {"subject": "a"}}, 400, "fact has the fields subject, attribute, value"),
        ("/v1/records", {"text": "a", "trust": "god"}, 400, "trust"),
        ("/v1/query", {"question": " ", "stream": True}, 400, "empty"),
        ("/v1/forget", {}, 400, "name what to forget"),
        ("/v1/forget", {"everywhere": True}, 400, "everywhere=True goes with filters alone"),
        ("/v1/feedback", {"answer_id": "nope", "accepted": True}, 404, "nope"),
        ("/v1/adapters/nope/promote", {}, 404, "nope"),
        ("/v1/chat/completions", {"messages": [{"role": "system", "content": "x"}]}, 400, "no user message"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "n": 2}, 400, "n cannot be served"),
    ],
)
def test_a_mistake_is_answered_with_its_reason(
    client: TestClient, path: str, body: dict[str, Any], status: int, says: str
) -> None:
    """The library's own sentence, under one shape."""
    error = posted(client, path, status, **body)["error"]

    assert says in error["message"]
    assert error["kind"].endswith("Error")


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "says"),
    [
        ("POST", "/v1/search", "{bad", 400, "the body is no JSON: Expecting property name"),
        ("POST", "/v1/search", "[]", 400, "the body must be a JSON object, sent as application/json"),
        ("POST", "/v1/search", "", 400, "the body must be a JSON object, sent as application/json"),
        ("GET", "/v1/serach", None, 404, "Not Found: GET /v1/serach; /docs shows what there is"),
        ("DELETE", "/v1/records/a", None, 405, "Method Not Allowed: DELETE /v1/records/a; /docs"),
        ("GET", "/v1/records?usr_id=ann", None, 400, "usr_id: Extra inputs are not permitted"),
        ("GET", "/v1/adapters?shard=a", None, 400, "GET /v1/adapters takes no parameters in the query, got shard"),
        ("GET", "/v1/records/a?user_id=ann", None, 400, "takes no parameters in the query, got user_id"),
        ("GET", "/v1/doctor?x=1", None, 400, "takes no parameters in the query, got x; send what it takes as JSON"),
        ("POST", "/v1/search?user_id=ann", '{"query": "x"}', 400, "takes no parameters in the query, got user_id"),
        ("POST", "/v1/adapters/a/promote?x=1", None, 400, "takes no parameters in the query, got x"),
        ("GET", "/v1/models?x=1", None, 400, "takes no parameters in the query, got x"),
        ("GET", "/v1/records?limit=many", None, 400, "limit: Input should be a valid integer"),
    ],
)
def test_what_is_no_request_of_ours_is_answered_in_the_same_shape(
    client: TestClient, method: str, path: str, content: str | None, status: int, says: str
) -> None:
    """A misspelt scope of a list, above all, must not show everybody's records."""
    response = client.request(method, path, content=content, headers={"content-type": "application/json"})

    assert response.status_code == status
    assert says in response.json()["error"]["message"]
    assert response.json()["error"]["kind"].endswith("Error")


def test_a_search_explains_its_scores(client: TestClient) -> None:
    """As in Python."""
    posted(client, "/v1/records", text=CAFE)

    plain, explained = (
        posted(client, "/v1/search", query=QUESTION, explain=wanted)["hits"] for wanted in (False, True)
    )

    assert plain[0]["explanation"] == []
    assert explained[0]["explanation"]


def test_without_the_key_nothing_is_served_but_health(memory: HybridMemory) -> None:
    """Neither reading nor writing nor the list of paths."""
    locked = TestClient(create_app(memory, api_key="s3cret"))

    assert locked.get("/health?from=balancer").status_code == 200
    for path in ("/v1/doctor", "/v1/models", "/openapi.json"):
        assert locked.get(path).status_code == 401
        assert locked.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert locked.get(path, headers={"Authorization": "Bearer s3cret"}).status_code == 200


# ---------------------------------------------------------------- chat completions

CHAT = [
    {"role": "system", "content": "You are helpful."},
    {"role": "user", "content": "Hello."},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": QUESTION},
]


def test_a_chat_completion_has_openais_shape_and_the_memorys_sources(client: TestClient, memory: HybridMemory) -> None:
    """The latest user message is the question; the scope comes from `user`."""
    record_id = memory.ingest(CAFE, user_id="ann").record_id

    reply = posted(client, "/v1/chat/completions", model="gpt-x", messages=CHAT, user="ann", temperature=0.7)

    (choice,) = reply["choices"]
    assert (reply["object"], reply["model"], choice["index"]) == ("chat.completion", "gpt-x", 0)
    assert choice["message"] == {"role": "assistant", "content": memory.query(QUESTION, user_id="ann").text}
    assert reply["usage"]["total_tokens"] == reply["usage"]["prompt_tokens"] + reply["usage"]["completion_tokens"]
    assert reply["hybrid_memory"]["sources"] == [record_id]
    assert reply["hybrid_memory"]["not_used"] == ["temperature"]
    assert posted(client, "/v1/chat/completions", messages=CHAT, user="ben")["hybrid_memory"]["sources"] == []


def test_a_streamed_completion_has_openais_chunks(client: TestClient, memory: HybridMemory) -> None:
    """A role, pieces, a reason to stop, and the end mark."""
    memory.ingest(CAFE)

    first, *middle, last, done = events(client, "/v1/chat/completions", messages=CHAT, stream=True, max_tokens=3)

    assert done == "[DONE]"
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    text = "".join(chunk["choices"][0]["delta"]["content"] for chunk in middle)
    assert text == memory.query(QUESTION, max_new_tokens=3).text
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({}, "length")
    assert {chunk["object"] for chunk in (first, *middle, last)} == {"chat.completion.chunk"}


def test_content_may_come_in_text_parts(client: TestClient, memory: HybridMemory) -> None:
    """As newer clients send it; pictures are refused."""
    memory.ingest(CAFE)
    parts = [{"type": "text", "text": QUESTION}]

    reply = posted(client, "/v1/chat/completions", messages=[{"role": "user", "content": parts}])

    assert reply["choices"][0]["message"]["content"] == memory.query(QUESTION).text
    picture = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    posted(client, "/v1/chat/completions", 400, messages=[{"role": "user", "content": picture}])


def test_what_users_say_is_remembered_on_request(memory: HybridMemory) -> None:
    """In the scope of the call, and only with `remember`."""
    said = [{"role": "user", "content": "My locker in the boat house is number twelve."}]
    posted(TestClient(create_app(memory)), "/v1/chat/completions", messages=said, user="ann")
    assert memory.list(user_id="ann") == []

    posted(TestClient(create_app(memory, remember=True)), "/v1/chat/completions", messages=said, user="ann")

    assert [record.text for record in memory.list(user_id="ann")] == [said[0]["content"]]
    assert memory.list(user_id="ben") == []


def test_an_unknown_scope_name_is_refused(client: TestClient) -> None:
    """A typing mistake must not widen the scope to everybody's."""
    error = posted(client, "/v1/chat/completions", 400, messages=CHAT, metadata={"tenant": "acme"})["error"]

    assert "metadata has tenant; known are tenant_id" in error["message"]


# ---------------------------------------------------------------- the command


def test_serve_refuses_to_listen_to_others_without_a_key(tmp_path: Path) -> None:
    """Whoever reaches it could forget everything."""
    result = CliRunner().invoke(command_line, ["serve", "--host", "0.0.0.0", "--memory", str(tmp_path)])

    assert result.exit_code == 2
    assert "set HYBRID_MEMORY_API_KEY" in result.stderr
