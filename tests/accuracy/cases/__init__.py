# SPDX-License-Identifier: Apache-2.0
"""The cases of the accuracy vectors, their exact values and PyTorch's answers."""
