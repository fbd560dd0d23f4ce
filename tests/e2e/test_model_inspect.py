"""aviaryctl model inspect: without a server, against protoc for ONNX, against the reference table for TensorFlow Lite."""
import json
import random
import re
import struct
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared/data"
PROTOC = ["protoc", f"-I{ROOT}/tests/e2e", f"{ROOT}/tests/e2e/onnx.proto"]
TYPES = {1: ("float32", 4), 2: ("uint8", 1), 3: ("int8", 1), 6: ("int32", 4), 7: ("int64", 8), 11: ("float64", 8)}


@pytest.fixture(scope="module")
def inspect(request):
    program = Path(request.config.getoption("--build")) / "aviaryctl"

    def run(path, *options):
        return subprocess.run([program, "model", "inspect", str(path), *options], capture_output=True, text=True, timeout=30)

    return run


def facts_of(inspect, path):
    result = inspect(path, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


# ---- ONNX: models written as text, encoded by protoc, and what protoc decodes of them, counted from its text ----

class Writer:
    """Text of a model, of random structure."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def tensor(self):
        kind = self.random.choice(list(TYPES))
        dims = [self.random.randint(1, 5) for _ in range(self.random.randint(0, 4))]
        count = 1
        for d in dims:
            count *= d
        text = "".join(f"dims: {d} " for d in dims) + f"data_type: {kind} "
        style = self.random.random()
        if style < 0.2:
            return text + 'external_data { key: "location" value: "w.bin" } external_data { key: "length" value: "%d" } data_location: 1' % (
                count * TYPES[kind][1])
        if style < 0.6 or kind == 2:
            return text + 'raw_data: "%s"' % "".join(f"\\{self.random.randrange(256):03o}" for _ in range(count * TYPES[kind][1]))
        field, value = {1: ("float_data", "0.5"), 3: ("int32_data", "-3"), 6: ("int32_data", "70000"), 7: ("int64_data", "-1"),
                        11: ("double_data", "2.5")}[kind]
        return text + f"{field}: {value} " * count

    def value(self, name):
        dims = "".join(self.random.choice(["dim { dim_value: %d } " % self.random.randint(0, 300), 'dim { dim_param: "batch" } ', "dim { } "])
                       for _ in range(self.random.randint(0, 5)))
        return 'name: "%s" type { tensor_type { elem_type: %d shape { %s} } }' % (name, self.random.choice(list(TYPES)), dims)

    def node(self, depth):
        text = 'op_type: "%s" input: "a" output: "b" ' % self.random.choice(["Conv", "Relu", "MatMul", "If", "Loop", "Gate"])
        if self.random.random() < 0.2:
            text += 'domain: "my.ops" '
        if depth < 3 and self.random.random() < 0.2:
            text += 'attribute { name: "g" type: 5 g { %s } } ' % self.graph(depth + 1, 4)
        if self.random.random() < 0.2:
            text += 'attribute { name: "k" ints: 3 ints: 3 } attribute { name: "v" t { %s } } ' % self.tensor()
        return text

    def graph(self, depth, nodes):
        text = "".join("node { %s } " % self.node(depth) for _ in range(self.random.randint(1, nodes)))
        text += "".join("initializer { %s } " % self.tensor() for _ in range(self.random.randint(0, nodes)))
        if depth == 0:
            text += "".join("%s { %s } " % (kind, self.value(f"{kind}{i}")) for kind in ("input", "output") for i in range(self.random.randint(1, 4)))
        return text

    def model(self, nodes):
        return ('ir_version: %d producer_name: "test" opset_import { version: %d } opset_import { domain: "my.ops" version: 3 } graph { %s }' %
                (self.random.randint(3, 10), self.random.randint(7, 21), self.graph(0, nodes)))


def parse(lines):
    """protoc's text as nested lists of (name, value)."""
    out = []
    for line in lines:
        line = line.strip()
        if line == "}":
            return out
        if line.endswith("{"):
            out.append((line[:-1].strip(), parse(lines)))
        else:
            name, value = line.split(": ", 1)
            out.append((name, value))
    return out


def every(message, name):
    return [value for key, value in message if key == name]


def one(message, name, otherwise=None):
    found = every(message, name)
    return found[-1] if found else otherwise


def unquoted_length(text):
    """Bytes of a quoted text in which protoc has escaped what is not printable."""
    return len(re.sub(r"\\([0-7]{3}|.)", "x", text[1:-1]))


def expected(message):
    """The same structure as aviaryctl's JSON, from protoc's decoding alone."""
    opsets = {(one(o, "domain", '""').strip('"')): int(one(o, "version", "0")) for o in every(message, "opset_import")}
    ops, sums = {}, {"constant": 0, "external": 0, "external_bytes": 0, "graphs": 0}

    def walk(graph):
        sums["graphs"] += 1
        for node in every(graph, "node"):
            domain = one(node, "domain", '""').strip('"')
            key = (one(node, "op_type").strip('"'), domain, opsets.get(domain, 0))
            ops[key] = ops.get(key, 0) + 1
            for attribute in every(node, "attribute"):
                for inner in every(attribute, "g") + every(attribute, "graphs"):
                    walk(inner)
        for t in every(graph, "initializer"):
            if one(t, "data_location") == "1":
                sums["external"] += 1
                sums["external_bytes"] += sum(int(one(e, "value").strip('"')) for e in every(t, "external_data") if one(e, "key") == '"length"')
                continue
            width = TYPES[int(one(t, "data_type"))][1]
            values = sum(len(every(t, f)) for f in ("float_data", "int32_data", "int64_data", "double_data"))
            sums["constant"] += unquoted_length(one(t, "raw_data")) if one(t, "raw_data") else values * width

    def io(value):
        tensor = one(one(value, "type"), "tensor_type")
        dims = [int(one(d, "dim_value")) if one(d, "dim_value") else one(d, "dim_param", "").strip('"') or None
                for d in every(one(tensor, "shape"), "dim")]
        return one(value, "name").strip('"'), TYPES[int(one(tensor, "elem_type"))][0], dims

    graph = one(message, "graph")
    walk(graph)
    return {
        "ir": int(one(message, "ir_version")), "opsets": opsets, "ops": ops, "sums": sums,
        "inputs": [io(v) for v in every(graph, "input")], "outputs": [io(v) for v in every(graph, "output")],
    }


def found(facts):
    return {
        "ir": facts["ir_version"], "opsets": {o["domain"]: o["version"] for o in facts["opset_imports"]},
        "ops": {(o["name"], o["domain"], o["version"]): o["count"] for o in facts["operators"]},
        "sums": {"constant": facts["constant_bytes"], "external": facts["external_tensors"], "external_bytes": facts["external_bytes"],
                 "graphs": facts["subgraphs"]},
        "inputs": [(v["name"], v["type"], v["shape"]) for v in facts["inputs"]],
        "outputs": [(v["name"], v["type"], v["shape"]) for v in facts["outputs"]],
    }


@pytest.mark.parametrize("seed,nodes", [(1, 3), (2, 10), (3, 20), (4, 40), (5, 3000)])
def test_onnx_is_what_protoc_decodes(inspect, tmp_path, seed, nodes):
    text = Writer(seed).model(nodes)
    binary = subprocess.run([*PROTOC, "--encode=onnx.ModelProto"], input=text.encode(), capture_output=True, check=True).stdout
    (tmp_path / "m.onnx").write_bytes(binary)
    decoded = subprocess.run([*PROTOC, "--decode=onnx.ModelProto"], input=binary, capture_output=True, check=True).stdout.decode("latin-1")
    assert found(facts_of(inspect, tmp_path / "m.onnx")) == expected(parse(iter(decoded.splitlines())))


@pytest.mark.parametrize("name", ["small", "nested", "functions"])
def test_stored_onnx_files_are_of_the_schema(name):
    binary = (ROOT / f"tests/fuzz/corpus/onnx/{name}.onnx").read_bytes()
    decoded = subprocess.run([*PROTOC, "--decode=onnx.ModelProto"], input=binary, capture_output=True, check=True).stdout.decode()
    assert not re.search(r"^\s*\d+:", decoded, re.M), "a field that the schema does not know"


# ---- TensorFlow Lite: the table of the data ----

def table():
    rows = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", (DATA / "README.md").read_text(), re.M)
    return [(name, *map(int, numbers)) for name, *numbers in rows]


def test_real_models(inspect):
    if not DATA.exists():
        pytest.skip("no shared data")
    rows = table()
    assert len(rows) == 10
    for name, size, ops, head, total, macs in rows:
        facts = facts_of(inspect, DATA / f"models/{name}.tflite")
        assert (facts["format"], facts["file_bytes"], facts["head_bytes"], facts["macs"]) == ("tflite", size, head, macs), name
        assert sum(o["count"] for o in facts["operators"]) == ops
        assert total <= facts["arena_bytes"] <= total * 1.25
        assert not facts["hybrid"] and not facts["custom_operators"]
    facts = facts_of(inspect, DATA / "models/kws_ref_model_float32.tflite")
    assert facts["hybrid"] and facts["hybrid_at"] == "subgraphs[0].operators[0]"
    facts = facts_of(inspect, DATA / "models/person_detect_vela.tflite")
    assert facts["custom_operators"] == ["ethos-u"] and facts["macs"] is None


def test_people_read_it_too(inspect):
    result = inspect(ROOT / "tests/fuzz/corpus/tflite/hybrid.tflite")
    assert result.returncode == 0
    assert "FULLY_CONNECTED@3  180 MACs" in result.stdout
    assert "float activations with integer filters, at subgraphs[0].operators[0]" in result.stdout


def test_damaged_files_are_refused_with_the_place(inspect, tmp_path):
    whole = (ROOT / "tests/fuzz/corpus/tflite/conv8.tflite").read_bytes()
    (tmp_path / "cut.tflite").write_bytes(whole[:400])
    result = inspect(tmp_path / "cut.tflite", "--json")
    assert result.returncode == 6 and result.stdout == ""
    assert re.search(r"tflite: [\w\[\].]+ at byte \d+: ", result.stderr)
    # a gigabyte of tensors that is not there, in a sparse file: refused at once
    huge = tmp_path / "huge.tflite"
    with huge.open("wb") as f:
        f.write(struct.pack("<I4s", 0x7ffffff0, b"TFL3"))
        f.truncate(1 << 31)
    begin = time.monotonic()
    assert inspect(huge).returncode == 6
    assert time.monotonic() - begin < 1


def test_a_file_that_lies_about_its_type(inspect, tmp_path):
    onnx = ROOT / "tests/fuzz/corpus/onnx/small.onnx"
    result = inspect(onnx, "--declared", "tflite")
    assert result.returncode == 6 and "declared tflite, but the bytes are onnx" in result.stderr
    assert inspect(onnx, "--declared", "onnx").returncode == 0
    (tmp_path / "text").write_text("not a model")
    result = inspect(tmp_path / "text", "--declared", "executorch")
    assert result.returncode == 6 and "declared executorch, but the bytes are not of that format" in result.stderr
    assert facts_of(inspect, tmp_path / "text")["format"] == "opaque"
