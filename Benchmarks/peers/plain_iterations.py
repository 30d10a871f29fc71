"""How many iterations plain conjugate gradients need: Algorithm 5 in single precision as a loop of
products and dot products, its residuals not made orthogonal to earlier ones.

    plain_iterations.py fixtures/digits/epoch-*.bin

For checkpoints of an MLP with three layers fc1 to fc3, ReLU and cross-entropy. The Jacobian is formed,
once, so that a product is two of single precision; how far above the least gamma an iterate is, is
told by a singular value decomposition in double. Prints the first multiple of 5 iterations that is
within 10 %, 1 % and 0.1 %.
"""

import json
import struct
import sys

import numpy as np

LEVELS = (0.1, 0.01, 0.001)


def tensors(path):
    """Of a safetensors file, as doubles or integers."""
    kinds = {"F32": np.float32, "F64": np.float64, "I32": np.int32, "I64": np.int64}
    data = open(path, "rb").read()
    size = struct.unpack("<Q", data[:8])[0]
    found = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            values = np.frombuffer(data[8 + size + begin:8 + size + end], kinds[entry["dtype"]])
            found[name] = values.reshape(entry["shape"])
    return found


def jacobian(t):
    """J [N, C, P], probabilities and their difference to the labels [N, C]."""
    named = {k[k.index("fc"):]: v.astype(float) for k, v in t.items() if "fc" in k}
    inputs = next(v for k, v in t.items() if k.endswith("inputs")).astype(float)
    labels = next(v for k, v in t.items() if k.split(".")[-1] == "labels")
    weights = [named[f"fc{i}.weight"] for i in (1, 2, 3)]
    biases = [named[f"fc{i}.bias"] for i in (1, 2, 3)]
    rows, active = [inputs], []
    for w, b in zip(weights[:2], biases):
        z = rows[-1] @ w.T + b
        active.append(z > 0)
        rows.append(np.maximum(z, 0))
    logits = rows[-1] @ weights[2].T + biases[2]
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    n, classes = p.shape
    per_class = []
    for c in range(classes):
        cotangent, parts = np.eye(classes)[[c] * n], []
        for layer in (2, 1, 0):
            outer = cotangent[:, :, None] * rows[layer][:, None, :]
            parts = [outer.reshape(n, -1), cotangent] + parts
            if layer > 0:
                cotangent = (cotangent @ weights[layer]) * active[layer - 1]
        per_class.append(np.concatenate(parts, 1))
    return np.stack(per_class, 1), p, p - np.eye(classes)[labels]


def plain_iterations(path, most=4000):
    j, p, difference = jacobian(tensors(path))
    n, classes, count = j.shape
    root = np.sqrt(p)
    factor = np.concatenate(  # F = B^T B
        [root[i][:, None] * (j[i] - p[i] @ j[i]) for i in range(n)])
    g = np.einsum("nc,ncp->p", difference, j)
    _, s, vt = np.linalg.svd(factor, full_matrices=False)
    kept = s > 1e-12 * s[0]
    most_gain = np.sum((vt[kept] @ g / s[kept]) ** 2)
    rows, p = j.reshape(n * classes, count).astype(np.float32), p.astype(np.float32)

    def product(v):
        u = (rows @ v).reshape(n, classes)
        return rows.T @ (p * (u - np.sum(p * u, 1, keepdims=True))).ravel()

    x, r = np.zeros(count, np.float32), g.astype(np.float32)
    d, square, found = r.copy(), r @ r, {}
    for k in range(1, most + 1):
        fd = product(d)
        step = square / (d @ fd)
        x, r = x + step * d, r - step * fd
        square, before = r @ r, square
        d = r + square / before * d
        if k % 5 == 0:
            image = factor @ x.astype(float)
            excess = np.sqrt(most_gain * (image @ image)) / abs(g @ x.astype(float)) - 1
            for level in LEVELS:
                if excess <= level:
                    found.setdefault(level, k)
            if len(found) == len(LEVELS):
                break
    return [found.get(level, "-") for level in LEVELS]


if __name__ == "__main__":
    for path in sys.argv[1:]:
        print(path, *plain_iterations(path), flush=True)
