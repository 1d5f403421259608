"""Writes the int8 tensors of a QDQ file: peer.py MODEL IMAGES.f32 COUNT OPTIMIZATION OUT NAME..."""

import sys

import numpy
import onnx
import onnxruntime

model, images, count, optimization, out, *names = sys.argv[1:]
model = onnx.load(model)
del model.graph.output[:]
for name in names:
    model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT8, None))
options = onnxruntime.SessionOptions()
options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, optimization)
session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
image = session.get_inputs()[0]
batch = numpy.fromfile(images, numpy.float32).reshape(int(count), *image.shape[1:])
with open(out, "wb") as file:
    for name, values in zip(names, session.run(names, {image.name: batch})):
        assert values.dtype == numpy.int8, f"{name} is {values.dtype}"
        channels_last = numpy.moveaxis(values, 1, -1)
        file.write(numpy.ascontiguousarray(channels_last).tobytes())
