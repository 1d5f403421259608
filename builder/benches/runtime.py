"""The other side of `float_speed`: the same images through an engine of others, on request. Its argument names the engine, onnxruntime or
openvino.

Each line of standard input asks for one thing, each is answered by one line of JSON on standard output, {"error": reason} before the end:

    setup MODEL IMAGES C H W THREADS   {"version": version}; IMAGES is a file of float32 [N, C, H, W]
    scores                             {"scores": of all images}
    time BATCH                         {"seconds": wall time for all images, "cpu_seconds": of all threads}
"""

import json
import sys
import time


def fail(reason):
    print(json.dumps({"error": reason}), flush=True)
    sys.exit(1)


ENGINE = sys.argv[1]
try:
    import numpy

    if ENGINE == "openvino":
        import openvino
    else:
        import onnxruntime
except ImportError as error:
    fail(f"{sys.executable}: {error}; install it with pip install {ENGINE}")


class Engine:
    def __init__(self, images, channels, height, width):
        data = numpy.fromfile(images, dtype=numpy.float32)
        self.images = data.reshape(-1, int(channels), int(height), int(width))
        self.batches = {}

    def prepared(self, size):
        """The images as batches in the engine's own memory, which spares each run a conversion."""
        if size not in self.batches:
            parts = [self.images[i : i + size] for i in range(0, len(self.images), size)]
            self.batches[size] = [self.prepare(numpy.ascontiguousarray(part)) for part in parts]
        return self.batches[size]

    def time(self, size):
        batches = self.prepared(size)
        run = self.run
        start, cpu = time.perf_counter(), time.process_time()
        for batch in batches:
            run(batch)
        return {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}


class OnnxRuntime(Engine):
    def __init__(self, model, images, channels, height, width, threads):
        super().__init__(images, channels, height, width)
        self.version = onnxruntime.__version__
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(threads)
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name
        self.outputs = [self.session.get_outputs()[0].name]

    def scores(self):
        (scores,) = self.session.run(None, {self.input: self.images})
        return {"scores": scores.ravel().tolist()}

    def prepare(self, part):
        return {self.input: onnxruntime.OrtValue.ortvalue_from_numpy(part)}

    def run(self, batch):
        self.session.run_with_ort_values(self.outputs, batch)


class OpenVino(Engine):
    """Networks of fixed batch sizes, each batch one request: one stream of all threads, which the hint for latency gives, in float32."""

    def __init__(self, model, images, channels, height, width, threads):
        super().__init__(images, channels, height, width)
        self.version = openvino.__version__.split("-")[0]
        self.core = openvino.Core()
        self.model = model
        self.settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": int(threads),
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self.requests = {}

    def request(self, size):
        if size not in self.requests:
            model = self.core.read_model(self.model)
            model.reshape([size, *self.images.shape[1:]])
            self.requests[size] = self.core.compile_model(model, "CPU", self.settings).create_infer_request()
        return self.requests[size]

    def scores(self):
        parts = [self.images[i : i + 1] for i in range(len(self.images))]
        return {"scores": [float(score) for part in parts for score in self.result(self.prepare(part))]}

    def result(self, batch):
        self.run(batch)
        return batch[0].get_output_tensor().data.ravel()

    def prepare(self, part):
        return self.request(len(part)), openvino.Tensor(part, shared_memory=True)

    def run(self, batch):
        request, images = batch
        request.set_input_tensor(images)
        request.infer()


ENGINES = {"onnxruntime": OnnxRuntime, "openvino": OpenVino}


def main():
    runtime = None
    for line in sys.stdin:
        what, *rest = line.split()
        if what == "setup":
            runtime = ENGINES[ENGINE](*rest)
            answer = {"version": runtime.version}
        elif what == "scores":
            answer = runtime.scores()
        else:
            answer = runtime.time(int(rest[0]))
        print(json.dumps(answer), flush=True)


main()
