"""The other side of `float_speed --onnxruntime`: the same images through ONNX Runtime, on request.

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


try:
    import numpy
    import onnxruntime
except ImportError as error:
    fail(f"{sys.executable}: {error}; install it with pip install onnxruntime")


class Runtime:
    def __init__(self, model, images, channels, height, width, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(threads)
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        data = numpy.fromfile(images, dtype=numpy.float32)
        self.images = data.reshape(-1, int(channels), int(height), int(width))
        self.input = self.session.get_inputs()[0].name
        self.output = self.session.get_outputs()[0].name
        self.batches = {}

    def scores(self):
        (scores,) = self.session.run(None, {self.input: self.images})
        return {"scores": scores.ravel().tolist()}

    def values(self, size):
        """The images as batches in ONNX Runtime's own memory, which spares each run a conversion."""
        if size not in self.batches:
            parts = [self.images[i : i + size] for i in range(0, len(self.images), size)]
            value = onnxruntime.OrtValue.ortvalue_from_numpy
            self.batches[size] = [{self.input: value(numpy.ascontiguousarray(part))} for part in parts]
        return self.batches[size]

    def time(self, size):
        batches = self.values(size)
        outputs = [self.output]
        run = self.session.run_with_ort_values
        start, cpu = time.perf_counter(), time.process_time()
        for batch in batches:
            run(outputs, batch)
        return {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}


def main():
    runtime = None
    for line in sys.stdin:
        what, *rest = line.split()
        if what == "setup":
            runtime = Runtime(*rest)
            answer = {"version": onnxruntime.__version__}
        elif what == "scores":
            answer = runtime.scores()
        else:
            answer = runtime.time(int(rest[0]))
        print(json.dumps(answer), flush=True)


main()
