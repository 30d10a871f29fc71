"""Prints coefficients.h: the polynomials behind the kernels of activations.inc and losses.c.

Each is the interpolant at Chebyshev nodes (within a factor of about two of the best polynomial),
computed with 200 bits, rounded to the precision it is used in. The errors printed in the comments
are relative errors of the function that is built from it, before rounding of the coefficients.

Usage: python3 coefficients.py > coefficients.h   (needs mpmath)
"""
from mpmath import mp, mpf, matrix, lu_solve, polyval, cos, pi, exp, tanh, atanh, erfc, sqrt, log, nstr

mp.prec = 200


def interpolant(f, a, b, n):
    nodes = [(a + b) / 2 + (b - a) / 2 * cos(pi * (2 * k + 1) / (2 * n)) for k in range(n)]
    powers = matrix(n, n)
    values = matrix(n, 1)
    for i, x in enumerate(nodes):
        values[i] = f(x)
        for j in range(n):
            powers[i, j] = x**j
    return list(lu_solve(powers, values))


def show(name, comment, f, a, b, counts, error):
    """f on [a, b], counts of coefficients for float and double; error(x, p(x)) is relative."""
    print(f"// {comment}")
    for bits, ctype, n, low, high in zip((24, 53), ("float", "double"), counts, a, b):
        p = interpolant(f[ctype], mpf(low), mpf(high), n)
        worst = mpf(0)
        for i in range(1, 1000):
            x = low + (high - low) * mpf(i) / 1000
            worst = max(worst, abs(error[ctype](x, polyval(p[::-1], x))))
        mp_bits = mp.prec
        mp.prec = bits
        rounded = [+c for c in p]
        mp.prec = mp_bits
        suffix = "f" if ctype == "float" else ""
        print(f"// {ctype}: error 2^{nstr(log(worst, 2), 4)}")
        print(f"static const {ctype} {name}_{ctype}[{n}] = {{")
        for c in rounded:
            print(f"    {float(c).hex()}{suffix},")
        print("};")
    print()


def same(f):
    return {"float": f, "double": f}


print("// Written by coefficients.py; do not edit.")
print("#ifndef CK_COEFFICIENTS_H")
print("#define CK_COEFFICIENTS_H")
print()

half = log(mpf(2)) / 2 * mpf("1.0001")
show(
    "ck_exp", "exp(r) = 1 + (r + r^2 P(r)), |r| <= log(2)/2",
    same(lambda r: (exp(r) - 1 - r) / r**2 if abs(r) > 1e-20 else mpf(1) / 2),
    (-half, -half), (half, half), (6, 11),
    same(lambda r, p: (1 + r + r * r * p) / exp(r) - 1))

show(
    "ck_tanh", "tanh(x) = x + x w P(w), w = x^2 <= 0.625^2",
    same(lambda w: (tanh(sqrt(w)) / sqrt(w) - 1) / w),
    (mpf("1e-12"), mpf("1e-12")), (mpf("0.390625"), mpf("0.390625")), (6, 12),
    same(lambda w, p: (1 + w * p) / (tanh(sqrt(w)) / sqrt(w)) - 1))

show(
    "ck_log1p", "log1p(e) = 2 s + s w P(w), s = e / (2 + e), w = s^2 <= 1/9",
    same(lambda w: (2 * atanh(sqrt(w)) / sqrt(w) - 2) / w),
    (mpf("1e-12"), mpf("1e-12")), (mpf(1) / 9, mpf(1) / 9), (5, 10),
    same(lambda w, p: (2 + w * p) / (2 * atanh(sqrt(w)) / sqrt(w)) - 1))

shift = {"float": mpf(3), "double": mpf(5)}
largest = {"float": mpf("14.6"), "double": mpf(39)}


def tail(k):
    def f(q):
        a = k * (1 + q) / (1 - q)
        return erfc(a / sqrt(mpf(2))) * exp(a * a / 2) / 2 * (a + k)
    return f


tails = {t: tail(k) for t, k in shift.items()}
show(
    "ck_tail",
    "Phi(-a) = exp(-a^2 / 2) P(q) / (a + k), q = (a - k) / (a + k), k = 3 (float), 5 (double)",
    tails, (-1, -1), tuple((largest[t] - shift[t]) / (largest[t] + shift[t]) for t in shift),
    (11, 24),
    {t: (lambda q, p, t=t: p / tails[t](q) - 1) for t in shift})

print("#endif")
