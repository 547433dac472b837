"""Models as files that run without the catalog: ONNX, TorchScript, a SavedModel of TensorFlow, StableHLO of JAX."""
