"""An engine of others at work, one image, one thread: peer.py litert|openvino|onnxruntime FILE

Prints its name. Then reads lines of seconds, runs for so long and prints the nanoseconds of each run. Ends with its input.
"""

import sys
import time

import numpy

numbers = numpy.random.default_rng(0)


def pixels(shape, dtype):
    if numpy.issubdtype(dtype, numpy.floating):
        return numbers.random(shape, dtype=numpy.float32)
    bounds = numpy.iinfo(dtype)
    return numbers.integers(bounds.min, bounds.max + 1, shape).astype(dtype)


def of_one_image(shape):
    return [size if isinstance(size, int) and size > 0 else 1 for size in shape]


def litert(path):
    from importlib.metadata import version

    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path, num_threads=1)
    image = interpreter.get_input_details()[0]
    interpreter.resize_tensor_input(image["index"], of_one_image(image["shape"].tolist()))
    interpreter.allocate_tensors()
    interpreter.set_tensor(image["index"], pixels(of_one_image(image["shape"].tolist()), image["dtype"]))
    return f"LiteRT {version('ai-edge-litert')} with XNNPACK", interpreter.invoke


def openvino(path):
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    dims = list(model.inputs[0].partial_shape)
    shape = [1] + [size.get_length() for size in dims[1:]]
    model.reshape({0: shape})
    options = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    compiled = core.compile_model(model, "CPU", options)
    request = compiled.create_infer_request()
    request.set_input_tensor(openvino.Tensor(pixels(shape, compiled.inputs[0].element_type.to_dtype())))
    return f"OpenVINO {openvino.__version__.split('-')[0]}", request.infer


def onnxruntime(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    image, scores = session.get_inputs()[0], session.get_outputs()[0]
    binding = session.io_binding()
    binding.bind_cpu_input(image.name, pixels(of_one_image(image.shape), numpy.float32))
    binding.bind_output(scores.name)
    return f"ONNX Runtime {onnxruntime.__version__}", lambda: session.run_with_iobinding(binding)


engine, path = sys.argv[1:]
name, run = {"litert": litert, "openvino": openvino, "onnxruntime": onnxruntime}[engine](path)
run()
print(name, flush=True)
for line in sys.stdin:
    took = []
    end = time.perf_counter_ns() + int(float(line) * 1e9)
    while not took or time.perf_counter_ns() < end:
        start = time.perf_counter_ns()
        run()
        took.append(time.perf_counter_ns() - start)
    print(*took, flush=True)
