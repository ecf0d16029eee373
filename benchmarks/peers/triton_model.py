# SPDX-License-Identifier: Apache-2.0
"""The model of Triton's Python backend: cross_entropy and its gradient.

Triton loads it as model.py of its repository and calls `execute` with the
requests that wait.
"""

import os
import sys

# The interpreter of the backend takes no path from its environment by itself.
sys.path.append(os.environ["TRITON_MODEL_PACKAGES"])

import gradient  # noqa: E402
import torch  # noqa: E402
import triton_python_backend_utils as triton  # noqa: E402
from torch.utils import dlpack  # noqa: E402


class TritonPythonModel:
    def initialize(self, args):
        del args
        torch.set_num_threads(1)

    def execute(self, requests):
        return [self._respond(request) for request in requests]

    def _respond(self, request):
        logits, target = (
            dlpack.from_dlpack(
                triton.get_input_tensor_by_name(request, name).to_dlpack()
            )
            for name in ("input", "target")
        )
        loss, by_logits = gradient.cross_entropy(logits, target)
        return triton.InferenceResponse(
            [
                triton.Tensor.from_dlpack("loss", dlpack.to_dlpack(loss.reshape(1))),
                triton.Tensor.from_dlpack("gradient", dlpack.to_dlpack(by_logits)),
            ]
        )
