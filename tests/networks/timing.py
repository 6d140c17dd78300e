"""ONNX Runtime's times, of several networks in turn."""

import statistics
import time

import onnxruntime


def opened(path):
    """A session of ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    # Random weights can let activations fade to numbers that a processor is slow with.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def answers(session, x):
    return session.run(None, {session.get_inputs()[0].name: x})


def passes(paths, x, turns=4, seconds=0.8):
    """Milliseconds of a pass of each, the median of as many turns, each the median of so many seconds. One session is there at a time: the
    threads of another spin while they wait, and keep the cores."""
    times = [[] for _ in paths]
    for _ in range(turns):
        for medians, path in zip(times, paths):
            session, spent = opened(path), []
            for _ in range(5):
                answers(session, x)
            end = time.monotonic() + seconds
            while time.monotonic() < end or len(spent) < 3:
                start = time.perf_counter()
                answers(session, x)
                spent.append(time.perf_counter() - start)
            medians.append(statistics.median(spent))
            del session
    return [1e3 * statistics.median(medians) for medians in times]
