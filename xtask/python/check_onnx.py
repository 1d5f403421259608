"""Exports architectures of the zoo and checks every file with the full checker of the `onnx` package.

usage: check_onnx.py SKIPSTONE FOLDER [--full]

SKIPSTONE is the program, FOLDER holds one file at a time. Without --full only the architectures for images of 3x32x32
are exported. Exit code 1 if a file does not pass; every failure is one line.
"""

import json
import pathlib
import subprocess
import sys

import onnx

# Operator set and further arguments of `skipstone export`.
VARIANTS = [
    (13, []),
    (17, []),
    (17, ["--fold-batch-norm"]),
    (21, ["--batch", "1"]),
]
SMALL = "3x32x32"


def dims(value):
    """Dimensions of an input or output; symbols as they are."""
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def check(path, arch, opset, arguments):
    """Raises what is wrong with a file."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)], model.opset_import
    assert all(node.domain == "" for node in model.graph.node), "operators that are not standard"
    assert model.producer_name == "skipstone" and model.producer_version, "no producer"
    keys = {entry.key for entry in model.metadata_props}
    assert {"skipstone.mean", "skipstone.std", "skipstone.command"} <= keys, keys
    batch = 1 if "--batch" in arguments else "N"
    (image,), (scores,) = model.graph.input, model.graph.output
    channels, height, width = (int(size) for size in arch["input"].split("x"))
    assert dims(image) == [batch, channels, height, width], dims(image)
    assert dims(scores) == [batch, arch["classes"]], dims(scores)
    names = [node.name for node in model.graph.node]
    assert all(names) and len(set(names)) == len(names), "nodes without names of their own"


def main():
    skipstone, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    full = sys.argv[3:] == ["--full"]
    zoo = json.loads(subprocess.run([skipstone, "zoo", "--json"], check=True, capture_output=True).stdout)
    chosen = [arch for arch in zoo if full or arch["input"] == SMALL]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "checked.onnx"
    files, failures = 0, 0
    for arch in chosen:
        for opset, arguments in VARIANTS:
            command = [skipstone, "export", "--arch", arch["name"], "--opset", str(opset), "-o", str(path), *arguments]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
            try:
                check(path, arch, opset, arguments)
            except Exception as error:
                failures += 1
                reason = " ".join(str(error).split()) or type(error).__name__
                print(f"{arch['name']}, opset {opset} {' '.join(arguments)}: {reason}")
            files += 1
            path.unlink()
    print(f"onnx {onnx.__version__}: {files - failures} of {files} files of {len(chosen)} architectures pass")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
