"""A function's kernels as one CUDA graph: a step launches thousands of small ones, for which a GPU would wait most of the time."""

import torch

WARM_UP = 3


class Captured:
    """A function of tensors that leaves gradients in parameters, captured once and replayed (shapes stay as they are)."""

    def __init__(self, function, inputs, parameters):
        self.inputs = [tensor.clone() for tensor in inputs]
        self.parameters = parameters
        # What is chosen at a first call, such as cuDNN's algorithms, must be chosen before, on a stream of its own.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                function(*self.inputs)
        torch.cuda.current_stream().wait_stream(stream)
        for parameter in parameters:
            parameter.grad = None
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.outputs = function(*self.inputs)
        self.gradients = [parameter.grad for parameter in parameters]

    def __call__(self, inputs):
        """Replays; the result is overwritten by the next call."""
        torch._foreach_copy_(self.inputs, list(inputs))
        self.graph.replay()
        for parameter, gradient in zip(self.parameters, self.gradients):
            parameter.grad = gradient
        return self.outputs
