# SPDX-License-Identifier: Apache-2.0
"""Builders of the golden cases, one module per family of losses."""
