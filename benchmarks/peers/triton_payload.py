# SPDX-License-Identifier: Apache-2.0
"""Rewrites encoded lossd.v1 ComputeGradientRequests of cross_entropy as those of
Triton's ModelInfer, with the tensors in raw_input_contents."""

import argparse
import pathlib
import sys

from tritonclient.grpc import service_pb2

MODEL = "cross_entropy"
DATATYPES = {"input": "FP32", "target": "INT64"}


def rewrite(request):
    infer = service_pb2.ModelInferRequest(model_name=MODEL)
    case = request.evaluation.cross_entropy
    for name, datatype in DATATYPES.items():
        tensor = getattr(case, name)
        infer.inputs.add(name=name, datatype=datatype, shape=tensor.shape)
        infer.raw_input_contents.append(tensor.data)
    for name in ("loss", "gradient"):
        infer.outputs.add(name=name)
    return infer


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stubs", required=True)
    parser.add_argument("--to", type=pathlib.Path, required=True)
    parser.add_argument("payloads", type=pathlib.Path, nargs="+")
    options = parser.parse_args()
    sys.path.insert(0, options.stubs)
    from lossd.v1 import evaluation_pb2

    for path in options.payloads:
        request = evaluation_pb2.ComputeGradientRequest.FromString(path.read_bytes())
        (options.to / path.name).write_bytes(rewrite(request).SerializeToString())


if __name__ == "__main__":
    main()
