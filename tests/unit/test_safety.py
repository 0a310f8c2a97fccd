"""The package runs nothing that it reads: no pickles, no code of others, no shell; and it shows no
secret."""

import ast
import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from scalelab.errors import UserError, redacted
from scalelab.plan import remote
from scalelab.training import state

PACKAGE = Path(__file__).resolve().parents[2] / "scalelab"
MODULES = sorted(PACKAGE.rglob("*.py"))
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
ALLOWED = {("training/state.py", "pickle")}
"""For the name of an error that torch raises."""
READERS = {"load", "loads", "Unpickler", "read_pickle"}
RUNNERS = {"eval", "exec", "system", "popen", "getoutput", "getstatusoutput"}


def offences(source: str, name: str) -> list[str]:
    """What a module must not do, with the line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        line = f"{name}:{getattr(node, 'lineno', 0)}"
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [(node.module or "").partition(".")[0]]
        found += [
            f"{line} imports {module}"
            for module in modules
            if module in UNPICKLERS | {"yaml"} and (name, module) not in ALLOWED
        ]
        if isinstance(node, ast.Call):
            found += [f"{line} {what}" for what in wrong_call(node)]
    return found


def wrong_call(call: ast.Call) -> list[str]:
    """What is wrong with a call, in words."""
    given = {word.arg: ast.unparse(word.value) for word in call.keywords if word.arg}
    called = ast.unparse(call.func)
    owner, _, last = called.rpartition(".")
    wrong = []
    if (owner in UNPICKLERS and last in READERS) or last == "read_pickle":
        wrong.append(f"unpickles by {called}")
    if called == "torch.load" and given.get("weights_only") != "True":
        wrong.append("torch.load without weights_only=True")
    if given.get("allow_pickle") == "True":
        wrong.append("allow_pickle=True")
    if called in RUNNERS or (owner in ("os", "subprocess") and last in RUNNERS):
        wrong.append(f"runs text by {called}")
    if given.get("shell", "False") != "False":
        wrong.append("shell=True")
    if given.get("trust_remote_code", "False") != "False":
        wrong.append("trust_remote_code")
    if last == "YAML" and given.get("typ") in ("'unsafe'", "'base'"):
        wrong.append("a YAML loader that makes objects")
    return wrong


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_runs_what_it_reads(path: Path) -> None:
    assert offences(path.read_text(encoding="utf-8"), path.relative_to(PACKAGE).as_posix()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "import yaml",
        "pickle.load(file)",
        "pandas.read_pickle(path)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "eval(text)",
        "exec(text)",
        "os.system(text)",
        "subprocess.run(text, shell=True)",
        "AutoTokenizer.from_pretrained(name, trust_remote_code=True)",
        "YAML(typ='unsafe')",
    ],
)
def test_the_check_sees_each_of_them(source: str) -> None:
    assert len(offences(source, "module.py")) == 1


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("how", ["torch", "pickle", "no state", "cut"])
def test_a_state_of_strangers_is_one_sentence_and_runs_nothing(tmp_path: Path, how: str) -> None:
    """With a checksum that is right."""
    touched, path = tmp_path / "touched", tmp_path / "000000010.state"
    content = {"identity": "one", "optimizer": Touch(touched)}
    buffer = io.BytesIO()
    torch.save(content if how != "no state" else [1.0], buffer)
    payload = pickle.dumps(content) if how == "pickle" else buffer.getvalue()
    payload = payload[:50] if how == "cut" else payload
    path.write_bytes(hashlib.sha256(payload).digest() + payload)
    with pytest.raises(UserError) as caught:
        state.load(path, "one")
    told = str(caught.value)
    assert told.startswith(f"{path}: ") and "\n" not in told
    assert not touched.exists()
    assert state.load_newest(tmp_path, "one") == (None, [f"{told}, passed over"])


SECRET = "5ec2e7key"
ADDRESSES = [
    f"https://user:{SECRET}@host.example/text.jsonl",
    f"https://host.example/text.jsonl?X-Amz-Date=1&X-Amz-Signature={SECRET}",
    f"https://host.example/text.jsonl?sig={SECRET}&sv=2",
    f"s3://:{SECRET}@bucket/text.jsonl",
    f"https://host.example/text.jsonl?access_token={SECRET}",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_secret_in_an_address_is_refused_without_being_shown(address: str) -> None:
    with pytest.raises(UserError) as caught:
        remote.describe(address, "corpus.paths")
    told = str(caught.value)
    assert "found a password or a signature in an address" in told
    assert "***" in told and SECRET not in told
    assert SECRET not in str(UserError(f"line 3: found {address!r}, expected a list"))


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/a:b@c/text.jsonl",
        "https://host.example/text.jsonl?version=3&keys=1",
        "https://user@host.example/text.jsonl",
        "host: at 10:30 user@host",
    ],
)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert redacted(text) == text
