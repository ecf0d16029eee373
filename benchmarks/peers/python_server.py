# SPDX-License-Identifier: Apache-2.0
"""lossd.v1.LossService with torch, as it is usually written in Python: a
grpc.server with a pool of threads, generated code, and torch's autograd.

Knows ComputeGradient of cross_entropy with float32 logits and int64 classes.
"""

import argparse
import concurrent.futures
import os
import sys
import threading
import warnings

import gradient
import grpc
import torch


def make_servicer(stubs):
    """The servicer over code generated into the folder `stubs`."""
    sys.path.insert(0, stubs)
    from lossd.v1 import evaluation_pb2, loss_service_pb2_grpc, tensor_pb2

    class LossService(loss_service_pb2_grpc.LossServiceServicer):
        def ComputeGradient(self, request, context):  # noqa: N802
            case = request.evaluation.cross_entropy
            logits = gradient.from_bytes(
                case.input.data, torch.float32, tuple(case.input.shape)
            )
            target = gradient.from_bytes(
                case.target.data, torch.int64, tuple(case.target.shape)
            )
            loss, by_logits = gradient.cross_entropy(logits, target)
            response = evaluation_pb2.ComputeGradientResponse()
            response.result.loss = loss.item()
            found = response.result.gradients.add(wrt="input")
            found.value.dtype = tensor_pb2.DTYPE_FLOAT32
            found.value.shape.extend(by_logits.shape)
            found.value.data = by_logits.numpy().tobytes()
            return response

    return LossService(), loss_service_pb2_grpc.add_LossServiceServicer_to_server


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stubs", required=True)
    parser.add_argument("--port-file", required=True)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--torch-threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.torch_threads)
    # The bytes of a message cannot be written, and nothing writes to them.
    warnings.filterwarnings("ignore", message="The given buffer is not writable")

    servicer, add_to_server = make_servicer(options.stubs)
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(max_workers=options.workers),
        options=[
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
        ],
    )
    add_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with open(options.port_file + ".tmp", "w") as file:
        file.write(f"listen=127.0.0.1:{port}\n")
    os.rename(options.port_file + ".tmp", options.port_file)
    threading.Event().wait()


if __name__ == "__main__":
    main()
