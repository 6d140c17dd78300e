"""One layer's least squares in NumPy and SciPy as one would write them: Gram matrix of the inputs, then row by row the kept weights.

960 inputs, 160 outputs, 6272 places (128 images of 7x7), 90 % pruned: a projection of MobileNetV2. Needs: numpy scipy.
Compare with `cargo bench --bench repair`, which fits the same shape.
"""
import time

import numpy as np
import scipy.linalg

random = np.random.default_rng(0)
x, y, w = random.normal(size=(6272, 960)), random.normal(size=(6272, 160)), random.normal(size=(160, 960))
keep = random.random(w.shape) < 0.1
start = time.perf_counter()
xc, yc = x - x.mean(0), y - y.mean(0)
gram, across = xc.T @ xc, xc.T @ yc
middle = time.perf_counter()
pull = 0.1 * np.trace(gram) / 960
for o in range(160):
    s = np.flatnonzero(keep[o])
    w[o, s] += scipy.linalg.solve(gram[np.ix_(s, s)] + pull * np.eye(len(s)), across[s, o] - gram[np.ix_(s, s)] @ w[o, s], assume_a="pos")
print(f"sums {1000 * (middle - start):.0f} ms, rows {1000 * (time.perf_counter() - middle):.0f} ms")
