"""Prints the many-digit references of Tests/TensorModuleTests/References.swift.

Usage: python3 references.py > ../../Tests/TensorModuleTests/References.swift   (needs mpmath)
"""
from mpmath import mp, mpf, erfc, exp, expm1, log, log1p, nstr, pi, sech, sqrt, tanh

mp.prec = 4000

K1 = 2 * sqrt(2 / pi)
K3 = K1 * mpf("0.044715")


def s(x):
    return 1 / (1 + exp(-x))


def normal(x):
    return erfc(-x / sqrt(mpf(2))) / 2


def inner(x):
    return K1 * x + K3 * x**3


FUNCTIONS = [
    ("CK_GELU_ERF", lambda x: x * normal(x),
     lambda x: normal(x) + x * exp(-x * x / 2) / sqrt(2 * pi), normal),
    ("CK_GELU_TANH", lambda x: x * s(inner(x)),
     lambda x: s(inner(x)) * (1 + x * s(-inner(x)) * (K1 + 3 * K3 * x * x)),
     lambda x: s(inner(x))),
    ("CK_SILU", lambda x: x * s(x), lambda x: s(x) * (1 + x * s(-x)), s),
    ("CK_TANH", tanh, lambda x: sech(x)**2, lambda x: mpf(0)),
    ("CK_SIGMOID", s, lambda x: s(x) * s(-x), lambda x: mpf(0)),
    ("CK_SOFTPLUS", lambda x: log1p(exp(x)), s, lambda x: mpf(0)),
]
# Exact in float. Both sides of the places where a formula changes; tails; the derivatives' zeros.
POINTS = [
    -37.5, -24.0, -19.0, -12.75, -9.5, -7.0, -5.25, -3.875, -2.5, -1.75, -1.28125, -1.0, -0.75,
    -0.625, -0.5, -0.1875, -0.0078125, -1.52587890625e-05, -9.313225746154785e-10,
    9.313225746154785e-10, 1.52587890625e-05, 0.0078125, 0.1875, 0.5, 0.59375, 0.625, 0.6875, 1.0,
    1.65625, 1.6875, 2.0, 3.0, 4.5, 7.0, 11.0, 19.0, 20.0,
]


def swift(x):
    return nstr(x, 20, min_fixed=0, max_fixed=0)


print("// swift-format-ignore-file")
print("// Written by Sources/CKernels/references.py (mpmath, 4000 bits); do not edit.")
print("import CKernels")
print()
print("struct ActivationReference {")
print("  var x, value, derivative: Double")
print("  /// The first of the two terms the derivative is a sum of: where they cancel, its scale.")
print("  var term: Double")
print("}")
print()
print("let activationReferences: [(ck_activation, [ActivationReference])] = [")
for name, f, d, term in FUNCTIONS:
    print("  (")
    print(f"    {name},")
    print("    [")
    for p in POINTS:
        x = mpf(p)
        if name == "CK_GELU_TANH" and p < -22:
            continue
        print(f"      ActivationReference(")
        print(f"        x: {p!r}, value: {swift(f(x))}, derivative: {swift(d(x))},")
        print(f"        term: {swift(term(x))}),")
    print("    ]")
    print("  ),")
print("]")
print()
print("struct CrossEntropyReference {")
print("  var logits: [Double]")
print("  var label: Int64")
print("  var loss, rest, certificate, fisherQuadratic, gradientDot: Double")
print("}")
print()
print("/// Quadratic and dot product are those of q = (1, -2, 0.5, 3), exact.")
print("let crossEntropyReferences: [CrossEntropyReference] = [")
Q = [mpf(1), mpf(-2), mpf("0.5"), mpf(3)]
for z, y in [
    ([0.5, -1.25, 2.0, 0.75], 2), ([0.5, -1.25, 2.0, 0.75], 1),
    ([46.0, 0.0, -3.0, -10.5], 0),  # p_y = 1 - 1e-20
    ([46.0, 0.0, -3.0, -10.5], 3), ([700.0, -20.0, 0.0, -30.0], 0),
    ([-600.0, 20.0, 0.0, 3.0], 0), ([27.625, 0.0, -90.0, 0.0], 0),
    ([1.0, 1.0, 1.0, 1.0], 3), ([1e-9, 0.0, -40.0, -40.0], 1),
    ([-1000.0, -1030.0, -1031.0, -1028.5], 0),
]:
    m = [mpf(v) for v in z]
    e = [exp(v) for v in m]
    total = sum(e)
    others = sum(v for c, v in enumerate(e) if c != y)
    p = [v / total for v in e]
    mean = sum(a * b for a, b in zip(p, Q))
    quadratic = sum(a * (b - mean)**2 for a, b in zip(p, Q))
    dot = mean - Q[y]
    print("  CrossEntropyReference(")
    print(f"    logits: {z!r}, label: {y}, loss: {swift(log1p(others / e[y]))},")
    print(f"    rest: {swift(others / total)}, certificate: {swift(others / e[y])},")
    print(f"    fisherQuadratic: {swift(quadratic)},")
    print(f"    gradientDot: {swift(dot)}),")
print("]")
