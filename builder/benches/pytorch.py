"""The other side of `training_cost --pytorch`: the same training steps in PyTorch, on request.

Each line of standard input asks for one thing, each is answered by one line of JSON on standard output, {"error":
reason} before the end:

    setup FILE.onnx BATCH THREADS  {"torch": version, "parameters": count, "modes": [...], "left_out": {mode: reason}}
    time MODE STEPS                {"seconds": wall time, "cpu_seconds": of all threads}

Words are separated by tabs. The network is the file's: each of its nodes becomes the module that a PyTorch user would write for it.
"""

import json
import sys
import time


def fail(reason):
    print(json.dumps({"error": reason}), flush=True)
    sys.exit(1)


try:
    import onnx
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError as error:
    fail(f"{sys.executable}: {error}; install it with pip install torch onnx")


def around(attributes):
    """Padding as PyTorch has it, the same on both sides. Where a network pads below and at the right only, padding all
    around has the same size and cost, without a copy."""
    pads = attributes.get("pads", [0, 0, 0, 0])
    return [(pads[0] + pads[2] + 1) // 2, (pads[1] + pads[3] + 1) // 2]


class Network(nn.Module):
    """An ONNX graph of one image input and one output."""

    def __init__(self, graph):
        super().__init__()
        array = onnx.numpy_helper.to_array
        self.constants = {tensor.name: torch.from_numpy(array(tensor).copy()) for tensor in graph.initializer}
        self.modules_ = nn.ModuleList()
        self.steps = []
        uses = {}
        for node in graph.node:
            for name in node.input:
                uses[name] = uses.get(name, 0) + 1
        for node in graph.node:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            inputs = [name for name in node.input if name and name not in self.constants]
            self.steps.append((self.operation(node, attributes, uses), inputs, node.output[0]))
        self.input, self.output = graph.input[0].name, graph.output[0].name

    def module(self, module):
        self.modules_.append(module)
        return module

    def operation(self, node, attributes, uses):
        constant = lambda i: self.constants.get(node.input[i]) if i < len(node.input) else None
        kind = node.op_type
        if kind == "Conv":
            weight, bias = constant(1), constant(2)
            groups = attributes.get("group", 1)
            conv = nn.Conv2d(
                weight.shape[1] * groups, weight.shape[0], tuple(weight.shape[2:]), attributes.get("strides", [1, 1]),
                around(attributes), groups=groups, bias=bias is not None,
            )
            return self.module(conv)
        if kind == "BatchNormalization":
            return self.module(nn.BatchNorm2d(len(constant(1)), eps=attributes.get("epsilon", 1e-5)))
        if kind == "Gemm":
            weight = constant(1)
            return self.module(nn.Linear(weight.shape[1], weight.shape[0], bias=constant(2) is not None))
        if kind == "Relu":
            # What batch norm or an addition made is read by nothing else, as in torchvision.
            inplace = uses[node.input[0]] == 1
            return lambda x: F.relu(x, inplace=inplace)
        if kind == "Concat":
            return lambda *x: torch.cat(x, attributes["axis"])
        if kind in ("MaxPool", "AveragePool"):
            size, strides = attributes["kernel_shape"], attributes.get("strides")
            if kind == "MaxPool":
                return lambda x: F.max_pool2d(x, size, strides, around(attributes))
            return lambda x: F.avg_pool2d(x, size, strides, around(attributes))
        if kind == "Resize":
            mode = attributes["mode"].decode()
            scale = constant(2) if constant(2) is not None and len(constant(2)) else None
            sizes = constant(3)
            options = {"size": sizes[2:].tolist()} if sizes is not None else {"scale_factor": scale[2:].tolist()}
            if mode == "nearest":
                return lambda x: F.interpolate(x, **options)
            corners = attributes.get("coordinate_transformation_mode", b"") == b"align_corners"
            return lambda x: F.interpolate(x, mode="bilinear", align_corners=corners, **options)
        if kind == "Pad":
            pads = constant(1).tolist()
            rank = len(pads) // 2
            order = [pads[i + side * rank] for i in reversed(range(rank)) for side in (0, 1)]
            return lambda x: F.pad(x, order)
        if kind == "Slice":
            starts, axes, steps = constant(1).tolist(), constant(3).tolist(), constant(4).tolist()
            ends = constant(2).tolist()
            cuts = [slice(None)] * 4
            for start, end, axis, step in zip(starts, ends, axes, steps):
                cuts[axis] = slice(start, min(end, 1 << 40), step)
            cuts = tuple(cuts)
            return lambda x: x[cuts]
        plain = {
            "Add": lambda a, b: a + b,
            "Mul": lambda a, b: a * b,
            "Sigmoid": torch.sigmoid,
            "GlobalAveragePool": lambda x: x.mean((2, 3), keepdim=True),
            "Flatten": lambda x: x.flatten(1),
            "Identity": lambda x: x,
        }
        if kind in plain:
            return plain[kind]
        fail(f"{kind} ({node.name}) has no PyTorch form here")

    def forward(self, x):
        values = {self.input: x}
        for operation, inputs, output in self.steps:
            values[output] = operation(*[values[name] for name in inputs])
        return values[self.output]


class Training:
    def __init__(self, network, shape, batch, compiled, bf16):
        torch.manual_seed(1)
        self.network = network().to(memory_format=torch.channels_last).train()
        self.forward = torch.compile(self.network) if compiled else self.network
        self.bf16 = bf16
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4, nesterov=True
        )
        self.images = torch.randn(batch, *shape).to(memory_format=torch.channels_last)
        self.labels = torch.arange(batch) % 10

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            scores = self.forward(self.images)
        F.cross_entropy(scores.float(), self.labels).backward()
        self.optimizer.step()


# Each with whether it is compiled and whether its products are bfloat16's, by autocast.
MODES = {
    "float32": (False, False),
    "float32 compiled": (True, False),
    "bf16": (False, True),
    "bf16 compiled": (True, True),
}


def setup(file, batch, threads):
    graph = onnx.load(file).graph
    shape = [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim][1:]
    torch.set_num_threads(threads)
    modes, left_out = {}, {}
    for mode, (compiled, bf16) in MODES.items():
        try:
            training = Training(lambda: Network(graph), shape, batch, compiled, bf16)
            for _ in range(3):
                training.step()
            modes[mode] = training
        except Exception as error:
            left_out[mode] = (str(error).strip() or repr(error)).splitlines()[0]
    parameters = sum(p.numel() for p in Network(graph).parameters())
    answer = {"torch": torch.__version__, "parameters": parameters, "modes": list(modes), "left_out": left_out}
    return modes, answer


def measure(training, steps):
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(steps):
        training.step()
    return {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}


def main():
    modes = {}
    for line in sys.stdin:
        what, *rest = line.rstrip("\n").split("\t")
        if what == "setup":
            modes, answer = setup(rest[0], int(rest[1]), int(rest[2]))
        else:
            answer = measure(modes[rest[0]], int(rest[1]))
        print(json.dumps(answer), flush=True)


main()
