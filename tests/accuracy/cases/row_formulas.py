# SPDX-License-Identifier: Apache-2.0
"""The losses of rows of classes and of labelled sequences, term by term, in mpmath; see formulas.py.

Each function takes one row: lists by tensor name, whole tensors where they are shared between rows, and plain integers
for labels. The derivatives by tensor are lists of terms, one a place of the row.
"""

from mpmath import mp, mpf

from cases.formulas import Answer, Parameters, Row, Terms, is_positive, sigmoid, softplus


def weight_of(row: Row, c: int) -> mpf:
    """The weight of a class."""
    return row["weight"][c] if "weight" in row else mpf(1)


def probabilities(x: list[mpf]) -> list[mpf]:
    """The softmax."""
    powers = [mp.exp(value) for value in x]
    total = sum(powers)
    return [power / total for power in powers]


def nll_loss(row: Row, _: Parameters) -> Answer:
    """-w[y] x[y]."""
    x, y = row["input"], row["target"]
    slope = [[-weight_of(row, y)] if c == y else [mpf(0)] for c in range(len(x))]
    return [-weight_of(row, y) * x[y]], {"input": slope}


def cross_entropy(row: Row, parameters: Parameters) -> Answer:
    """-w[y] log p[y], to its own last place; with smoothing or probabilities -sum of a_c log p_c."""
    x, target, smoothing = row["input"], row["target"], mpf(parameters.get("label_smoothing", 0.0))
    p, classes = probabilities(x), range(len(x))
    if isinstance(target, int) and smoothing == 0:
        w = weight_of(row, target)
        return [-w * mp.log(p[target])], {"input": [[w * (p[c] - (c == target))] for c in classes]}
    spread = smoothing / len(x)
    if isinstance(target, int):
        w = weight_of(row, target)
        mass = [(1 - smoothing) * w * (c == target) + spread * weight_of(row, c) for c in classes]
    else:
        mass = [weight_of(row, c) * ((1 - smoothing) * target[c] + spread) for c in classes]
    log_p = [mp.log(value) for value in p]
    total = sum(mass)
    slope = [[p[c] * total, -mass[c]] for c in classes]
    answer = {"input": slope}
    if not isinstance(target, int):
        answer["target"] = [[-(1 - smoothing) * weight_of(row, c) * log_p[c]] for c in classes]
        answer["weight"] = [[-((1 - smoothing) * target[c] + spread) * log_p[c]] for c in classes]
    return [-mass[c] * log_p[c] for c in classes], answer


def multilabel_margin_loss(row: Row, _: Parameters) -> Answer:
    """The sum over targets y and other classes i of max(0, 1 - x_y + x_i), over C."""
    x, size = row["input"], len(row["input"])
    targets = []
    for y in row["target"]:
        if y < 0:
            break
        targets.append(y)
    loss, counts = [], [0] * size
    for y in targets:
        for i in range(size):
            terms = [mpf(1), -x[y], x[i]]
            if i not in targets and is_positive(terms):
                loss += [term / size for term in terms]
                counts[y] -= 1
                counts[i] += 1
    return loss or [mpf(0)], {"input": [[mpf(count) / size] for count in counts]}


def multi_margin_loss(row: Row, parameters: Parameters) -> Answer:
    """w[y] times the sum over i != y of max(0, margin - x_y + x_i)^p, over C."""
    x, y, size = row["input"], row["target"], len(row["input"])
    p, margin = parameters.get("p", 1), mpf(parameters.get("margin", 1.0))
    factor = weight_of(row, y) / size
    loss: Terms = []
    slope: list[Terms] = [[mpf(0)] for _ in range(size)]
    for i in range(size):
        terms = [margin, -x[y], x[i]]
        if i == y or not is_positive(terms):
            continue
        z = sum(terms)
        loss += [factor * term * (z if p == 2 else 1) for term in terms]
        rise = [2 * factor * term for term in terms] if p == 2 else [factor]
        slope[i] = rise
        slope[y] = slope[y] + [-term for term in rise]
    return loss or [mpf(0)], {"input": slope}


def multilabel_soft_margin_loss(row: Row, _: Parameters) -> Answer:
    """The mean over the classes of w (t softplus(-x) + (1 - t) softplus(x))."""
    x, t, size = row["input"], row["target"], len(row["input"])
    loss: Terms = []
    slope, of_target, of_weight = [], [], []
    for c in range(size):
        w = weight_of(row, c) / size
        of_weight.append([t[c] * softplus(-x[c]) / size, (1 - t[c]) * softplus(x[c]) / size])
        loss += [w * t[c] * softplus(-x[c]), w * (1 - t[c]) * softplus(x[c])]
        slope.append([w * (1 - t[c]) * sigmoid(x[c]), -w * t[c] * sigmoid(-x[c])])
        of_target.append([-w * x[c]])
    return loss, {"input": slope, "target": of_target, "weight": of_weight}


def forward_backward(p: list[list[mpf]], labels: list[int], blank: int) -> tuple[mpf, list[list[mpf]]]:
    """The probability of the labels, and by step and class that of the alignments that pass there."""
    extended = [blank]
    for label in labels:
        extended += [label, blank]
    steps, places = len(p), len(extended)

    def reachable(s: int) -> list[int]:
        """The places that may come before place s."""
        before = [s] + ([s - 1] if s > 0 else [])
        if s > 1 and extended[s] != blank and extended[s] != extended[s - 2]:
            before.append(s - 2)
        return before

    forward = [[mpf(0)] * places for _ in range(steps)]
    for s in range(min(2, places)):
        forward[0][s] = p[0][extended[s]]
    for t in range(1, steps):
        for s in range(places):
            forward[t][s] = p[t][extended[s]] * sum(forward[t - 1][r] for r in reachable(s))
    backward = [[mpf(0)] * places for _ in range(steps)]  # of what follows step t
    for s in range(max(0, places - 2), places):
        backward[-1][s] = mpf(1)
    for t in range(steps - 1, 0, -1):
        for s in range(places):
            for r in reachable(s):
                backward[t - 1][r] += p[t][extended[s]] * backward[t][s]
    total = sum(forward[-1][max(0, places - 2) :])
    passing = [[mpf(0)] * len(p[0]) for _ in range(steps)]
    for t in range(steps):
        for s in range(places):
            passing[t][extended[s]] += forward[t][s] * backward[t][s]
    return total, passing


def ctc_loss(row: Row, parameters: Parameters) -> Answer:
    """-log of the probability of the labels, as 1 + loss less 1: an alignment's logarithm has no small last place."""
    steps, length = row["input_lengths"], row["target_lengths"]
    p = [[mp.exp(value) for value in step] for step in row["log_probs"][:steps]]
    total, passing = forward_backward(p, row["targets"][:length], parameters.get("blank", 0))
    logits = parameters.get("gradient_convention", "LOGITS") == "LOGITS"
    slope = []
    for t in range(len(row["log_probs"])):
        for c in range(len(row["log_probs"][t])):
            if t >= steps:
                slope.append([mpf(0)])
            else:
                slope.append(([p[t][c]] if logits else []) + [-passing[t][c] / total])
    return [1 - mp.log(total), mpf(-1)], {"log_probs": slope}


CLASSES = {
    function.__name__: function
    for function in (
        nll_loss,
        cross_entropy,
        multilabel_margin_loss,
        multi_margin_loss,
        multilabel_soft_margin_loss,
        ctc_loss,
    )
}
