"""The other side of `training_cost --pytorch`: the same training steps in PyTorch, on request.

Each line of standard input asks for one thing, each is answered by one line of JSON on standard output, {"error": reason} before the end:

    setup NETWORK BATCH THREADS   {"torch": version, "parameters": count, "modes": [...], "left_out": {mode: reason}}
    time MODE STEPS               {"seconds": wall time, "cpu_seconds": of all threads}
"""

import json
import sys
import time



def fail(reason):
    print(json.dumps({"error": reason}), flush=True)
    sys.exit(1)


try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError as error:
    fail(f"{sys.executable}: {error}; install it with pip install torch")


def conv(inputs, outputs, kernel, stride, bias):
    # Where Keras pads below and at the right only, padding all around has the same size and cost, without a copy.
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=bias)


class Block(nn.Module):
    """Two 3x3 convolutions; where the shape changes, the shortcut is a 1x1 convolution or, without one, option A."""

    def __init__(self, inputs, outputs, stride, projection, bias):
        super().__init__()
        self.conv1 = conv(inputs, outputs, 3, stride, bias)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = conv(outputs, outputs, 3, 1, bias)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.more = outputs - inputs
        self.shortcut = conv(inputs, outputs, 1, stride, bias) if projection and inputs != outputs else None

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        if self.shortcut is not None:
            x = self.shortcut(x)
        elif self.more:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more // 2, self.more // 2))
        return F.relu(y + x, inplace=True)


class ResNet(nn.Module):
    def __init__(self, blocks, projection, bias):
        super().__init__()
        self.conv = conv(3, 16, 3, 1, bias)
        self.bn = nn.BatchNorm2d(16)
        layers, inputs = [], 16
        for stage, outputs in enumerate([16, 32, 64]):
            for n in range(blocks):
                layers.append(Block(inputs, outputs, 2 if stage > 0 and n == 0 else 1, projection, bias))
                inputs = outputs
        self.blocks = nn.Sequential(*layers)
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.bn(self.conv(x)), inplace=True)
        return self.linear(self.blocks(x).mean((2, 3)))


NETWORKS = {
    "resnet8": lambda: ResNet(1, projection=True, bias=True),
    "resnet20": lambda: ResNet(3, projection=False, bias=False),
}


class Training:
    def __init__(self, network, batch, compiled):
        torch.manual_seed(1)
        self.network = NETWORKS[network]().to(memory_format=torch.channels_last).train()
        self.forward = torch.compile(self.network) if compiled else self.network
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4, nesterov=True
        )
        self.images = torch.randn(batch, 3, 32, 32).to(memory_format=torch.channels_last)
        self.labels = torch.arange(batch) % 10

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(self.forward(self.images), self.labels).backward()
        self.optimizer.step()


def setup(network, batch, threads):
    if network not in NETWORKS:
        fail(f"{network} has no PyTorch form here; there are {', '.join(NETWORKS)}")
    torch.set_num_threads(threads)
    modes, left_out = {}, {}
    for mode in ["eager", "compiled"]:
        try:
            training = Training(network, batch, mode == "compiled")
            for _ in range(3):
                training.step()
            modes[mode] = training
        except Exception as error:
            left_out[mode] = (str(error).strip() or repr(error)).splitlines()[0]
    parameters = sum(p.numel() for p in NETWORKS[network]().parameters())
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
        what, *rest = line.split()
        if what == "setup":
            modes, answer = setup(rest[0], int(rest[1]), int(rest[2]))
        else:
            answer = measure(modes[rest[0]], int(rest[1]))
        print(json.dumps(answer), flush=True)


main()
