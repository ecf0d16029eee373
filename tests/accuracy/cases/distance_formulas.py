# SPDX-License-Identifier: Apache-2.0
"""The losses of distances between rows, term by term, in mpmath; see formulas.py."""

from mpmath import mp, mpf

from cases.formulas import TINY, TOLERANCE, Ambiguous, Answer, Parameters, Row, Terms, is_positive, negated, sign

# A distance and its gradient with respect to its first argument, as terms.
Distance = tuple[Terms, list[Terms]]
Vector = list[mpf]


def dot(a: Vector, b: Vector) -> mpf:
    """The inner product."""
    return sum(x * y for x, y in zip(a, b, strict=True))


def place_of_largest(values: Vector) -> int:
    """Where the largest value is; it has to be the only one."""
    second, first = sorted(values)[-2:]
    if first - second <= TOLERANCE["relative"] * first:
        raise Ambiguous
    return values.index(first)


def norm(u: Vector, degree: float) -> Distance:
    """The norm of that degree, one term, and its gradient."""
    sizes = [abs(value) for value in u]
    if degree == mp.inf:
        place = place_of_largest(sizes)
        return [sizes[place]], [[mpf(sign(value) * (i == place))] for i, value in enumerate(u)]
    length = sum(size**degree for size in sizes) ** (1 / mpf(degree))
    return [length], [[sign(value) * (abs(value) / length) ** (degree - 1)] for value in u]


def cosine(a: Vector, b: Vector, epsilon: mpf) -> tuple[Terms, list[Terms], list[Terms]]:
    """The terms of a.b / sqrt((|a|^2 + e)(|b|^2 + e)), and of its gradients."""
    square_a, square_b = dot(a, a) + epsilon, dot(b, b) + epsilon
    root = mp.sqrt(square_a * square_b)
    terms = [x * y / root for x, y in zip(a, b, strict=True)]
    of_a = [[y / root] + [-term * x / square_a for term in terms] for x, y in zip(a, b, strict=True)]
    of_b = [[x / root] + [-term * y / square_b for term in terms] for x, y in zip(a, b, strict=True)]
    return terms, of_a, of_b


def distance_between(x: Vector, y: Vector, name: str, degree: float, epsilon: mpf) -> Distance:
    """One of the distances by name; NORM is that of triplet_margin_loss."""
    difference = [a - b for a, b in zip(x, y, strict=True)]
    if name == "NORM":
        return norm([value + epsilon for value in difference], degree)
    if name == "PAIRWISE":
        return norm([value + mpf(1e-6) for value in difference], 2)
    if name == "SQUARED_EUCLIDEAN":
        return [dot(difference, difference)], [[2 * value] for value in difference]
    if name == "MANHATTAN":
        return norm(difference, 1)
    if name == "CHEBYSHEV":
        return norm(difference, mp.inf)
    terms, of_x, _ = cosine(x, y, mpf(0))
    return [mpf(1)] + negated(terms), [negated(place) for place in of_x]


def triplet(row: Row, parameters: Parameters, name: str) -> Answer:
    """max(0, margin + d(a, p) - d(a, n)); with `swap` the second is min(d(a, n), d(p, n))."""
    a, p, n = row["anchor"], row["positive"], row["negative"]
    degree, epsilon = parameters.get("p", 2.0), mpf(parameters.get("eps", 1e-6))
    degree = int(degree) if degree != mp.inf else mp.inf

    def measured(x: Vector, y: Vector) -> Distance:
        """The distance with this row's settings."""
        return distance_between(x, y, name, degree, epsilon)

    near, near_slope = measured(a, p)
    far, far_slope = measured(a, n)
    # The second distance's gradient with respect to its second argument is that of the reversed pair, but for eps:
    # all these distances depend on the difference alone, except the cosine, which is symmetric.
    symmetric = name == "COSINE"
    second_slope = measured(p, a)[1] if symmetric else [negated(place) for place in near_slope]
    third_slope = measured(n, a)[1] if symmetric else [negated(place) for place in far_slope]
    other = a
    if parameters.get("swap", False):
        swapped, swapped_slope = measured(p, n)
        if is_positive(far + negated(swapped)):
            far, other = swapped, p
            far_slope = swapped_slope
            third_slope = measured(n, p)[1] if symmetric else [negated(place) for place in swapped_slope]
    terms = [mpf(parameters.get("margin", 1.0))] + near + negated(far)
    size = range(len(a))
    if not is_positive(terms):
        return [mpf(0)], {key: [[mpf(0)] for _ in size] for key in ("anchor", "positive", "negative")}
    of_other = [negated(place) for place in far_slope]
    of_anchor = [near_slope[i] + (of_other[i] if other is a else []) for i in size]
    of_positive = [second_slope[i] + (of_other[i] if other is p else []) for i in size]
    of_negative = [negated(place) for place in third_slope]
    return terms, {"anchor": of_anchor, "positive": of_positive, "negative": of_negative}


def triplet_margin_loss(row: Row, parameters: Parameters) -> Answer:
    """With the norm of degree p of the difference plus eps."""
    return triplet(row, parameters, "NORM")


def triplet_margin_with_distance_loss(row: Row, parameters: Parameters) -> Answer:
    """With one of the named distances."""
    return triplet(row, parameters, parameters.get("distance_function", "PAIRWISE"))


def cosine_embedding_loss(row: Row, parameters: Parameters) -> Answer:
    """1 - cos where t is 1, max(0, cos - margin) where it is -1."""
    terms, of_first, of_second = cosine(row["input1"], row["input2"], TINY)
    if row["target"] == 1:
        slopes = {"input1": [negated(place) for place in of_first], "input2": [negated(place) for place in of_second]}
        return [mpf(1)] + negated(terms), slopes
    loss = terms + [-mpf(parameters.get("margin", 0.0))]
    if not is_positive(loss):
        return [mpf(0)], {key: [[mpf(0)] for _ in terms] for key in ("input1", "input2")}
    return loss, {"input1": of_first, "input2": of_second}


DISTANCES = {
    function.__name__: function
    for function in (triplet_margin_loss, triplet_margin_with_distance_loss, cosine_embedding_loss)
}
